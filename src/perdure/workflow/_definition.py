"""Workflow classes: `@workflow.defn`, `@workflow.run`, `@workflow.init`, `@workflow.dynamic_config`.

A decorated class is read once and checked, and the result is kept as a `Definition` on the class. All problems of a
class are reported together.

Not here: instances, and anything about running them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, overload

from perdure.common import VersioningBehavior
from perdure.common.signatures import type_hints_from_func
from perdure.types import CallableAsyncType, CallableType, ClassType, MethodSyncNoParam, SelfType
from perdure.workflow._callables import (
    is_defined_on,
    is_raw_values,
    name_of,
    same_parameters,
)
from perdure.workflow._handler_definitions import (
    HandlerDefinition,
    QueryDefinition,
    SignalDefinition,
    UpdateDefinition,
)

_DEFINITION = "__perdure_workflow_definition__"
_RUN = "__perdure_workflow_run__"
_INIT = "__perdure_workflow_init__"
_DYNAMIC_CONFIG = "__perdure_workflow_dynamic_config__"

_UNSPECIFIED = VersioningBehavior.UNSPECIFIED


@dataclass(frozen=True)
class DynamicWorkflowConfig:
    """What a dynamic workflow decides for each run. Values that are set override those of `defn`.

    Attributes:
        failure_exception_types: Exceptions that fail the workflow instead of the workflow task. None: those of `defn`.
        versioning_behavior: When the run may move to another build.
    """

    failure_exception_types: Sequence[type[BaseException]] | None = None
    versioning_behavior: VersioningBehavior = _UNSPECIFIED


@dataclass(frozen=True)
class Definition:
    """A checked workflow class. `name` is None for the dynamic workflow."""

    name: str | None
    cls: type
    run_fn: Callable[..., Awaitable[Any]]
    signals: Mapping[str | None, SignalDefinition]
    queries: Mapping[str | None, QueryDefinition]
    updates: Mapping[str | None, UpdateDefinition]
    sandboxed: bool
    failure_exception_types: Sequence[type[BaseException]]
    versioning_behavior: VersioningBehavior
    dynamic_config_fn: Callable[..., DynamicWorkflowConfig] | None
    takes_init_args: bool
    arg_types: list[type] | None = field(init=False, default=None)
    ret_type: type | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        arg_types, ret_type = type_hints_from_func(self.run_fn)
        if self.name is None and (
            not arg_types or len(arg_types) != 1 or not is_raw_values(arg_types[0])
        ):
            message = "Dynamic workflow must accept a single Sequence[perdure.common.RawValue]"
            raise TypeError(message)
        object.__setattr__(self, "arg_types", arg_types)
        object.__setattr__(self, "ret_type", ret_type)

    @staticmethod
    def from_class(workflow_class: type) -> Definition | None:
        """The definition made on exactly this class (not one of its bases), or None."""
        found = cast("Definition | None", workflow_class.__dict__.get(_DEFINITION))
        return found if found is not None and found.cls is workflow_class else None

    @staticmethod
    def must_from_class(workflow_class: type) -> Definition:
        """The class's definition.

        Raises:
            ValueError: The class is not decorated.
        """
        found = Definition.from_class(workflow_class)
        if found is None:
            name = getattr(workflow_class, "__name__", "<unknown>")
            message = f"Workflow {name} missing attributes, was it decorated with @workflow.defn?"
            raise ValueError(message)
        return found

    @staticmethod
    def from_run_fn(fn: Callable[..., Any]) -> Definition | None:
        """The definition whose `@workflow.run` method `fn` is, or None."""
        return cast("Definition | None", getattr(fn, _DEFINITION, None))

    @staticmethod
    def must_from_run_fn(fn: Callable[..., Any]) -> Definition:
        """Like `from_run_fn`.

        Raises:
            ValueError: `fn` is not the run method of a decorated class.
        """
        found = Definition.from_run_fn(fn)
        if found is None:
            name = getattr(fn, "__qualname__", "<unknown>")
            message = (
                f"Function {name} missing attributes, was it decorated with @workflow.run "
                "and was its class decorated with @workflow.defn?"
            )
            raise ValueError(message)
        return found

    @staticmethod
    def name_and_result_type(
        workflow: str | Callable[..., Any],
    ) -> tuple[str, type | None]:
        """The type name and result type of a workflow given by name or by its run method."""
        if isinstance(workflow, str):
            return workflow, None
        if not callable(workflow):
            message = "Workflow must be a string or callable"
            raise TypeError(message)
        found = Definition.must_from_run_fn(workflow)
        if found.name is None:
            message = "Cannot invoke dynamic workflow explicitly"
            raise ValueError(message)
        return found.name, found.ret_type


@overload
def defn(cls: ClassType) -> ClassType: ...
@overload
def defn(
    *,
    name: str | None = None,
    sandboxed: bool = True,
    failure_exception_types: Sequence[type[BaseException]] = (),
    versioning_behavior: VersioningBehavior = _UNSPECIFIED,
) -> Callable[[ClassType], ClassType]: ...
@overload
def defn(
    *,
    sandboxed: bool = True,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] = (),
    versioning_behavior: VersioningBehavior = _UNSPECIFIED,
) -> Callable[[ClassType], ClassType]: ...
def defn(
    cls: type | None = None,
    *,
    name: str | None = None,
    sandboxed: bool = True,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] = (),
    versioning_behavior: VersioningBehavior = _UNSPECIFIED,
) -> Any:
    """Decorate a workflow class.

    Args:
        cls: The class, when the decorator is used without parentheses.
        name: The workflow type. Default: the class's name.
        sandboxed: False switches the determinism guard off for this workflow.
        dynamic: Run every workflow type that has no class of its own. `run` then takes one `Sequence[RawValue]`.
        failure_exception_types: Exceptions that fail the workflow, in addition to the worker's. Other exceptions fail
            the workflow task, which is retried until the code is corrected.
        versioning_behavior: When its runs may move to another build.

    Raises:
        ValueError: The class is not a workflow. The message lists everything that is wrong.

    Example:
        ```python
        @workflow.defn(name="order")
        class Order:
            @workflow.run
            async def run(self, order_id: str) -> str:
                return f"{order_id} paid"


        async with Worker(client, task_queue="orders", workflows=[Order]):
            result = await client.execute_workflow(
                "order", "order-7", id="order-7", task_queue="orders"
            )
        assert result == "order-7 paid"
        ```
    """

    def decorate(target: type) -> type:
        definition = _Reader(target, None if dynamic else name or target.__name__).read(
            sandboxed=sandboxed,
            failure_exception_types=failure_exception_types,
            versioning_behavior=versioning_behavior,
        )
        setattr(target, _DEFINITION, definition)
        setattr(definition.run_fn, _DEFINITION, definition)
        return target

    return decorate if cls is None else decorate(cls)


def run(fn: CallableAsyncType) -> CallableAsyncType:
    """Decorate the method that runs the workflow. Each workflow class has exactly one.

    Args:
        fn: An async method.

    Raises:
        ValueError: It is not async, or its class is defined inside a function.

    Example:
        ```python
        @workflow.defn
        class Doubling:
            @workflow.run
            async def run(self, number: int) -> int:
                return 2 * number


        async with Worker(client, task_queue="sums", workflows=[Doubling]):
            assert (
                await client.execute_workflow(Doubling.run, 21, id="sum-7", task_queue="sums") == 42
            )
        ```
    """
    if not inspect.iscoroutinefunction(fn):
        message = "Workflow run method must be an async function"
        raise ValueError(message)
    if "<locals>" in fn.__qualname__:
        message = "Local classes unsupported, @workflow.run cannot be on a local class"
        raise ValueError(message)
    setattr(fn, _RUN, True)
    return cast("CallableAsyncType", fn)


def init(init_fn: CallableType) -> CallableType:
    """Decorate `__init__` so that it receives the workflow's arguments, as `run` does.

    Signals and updates that arrive with the start are handled after `__init__` and before `run`, so they can use them.

    Args:
        init_fn: The `__init__` method. Its parameters are those of `run`.

    Raises:
        ValueError: The function is not `__init__`.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.init
            def __init__(self, order_id: str) -> None:
                self.order_id = order_id

            @workflow.run
            async def run(self, order_id: str) -> str:
                return self.order_id


        async with Worker(client, task_queue="orders", workflows=[Order]):
            result = await client.execute_workflow(Order.run, "o-7", id="o-7", task_queue="orders")
        assert result == "o-7"
        ```
    """
    if name_of(init_fn) != "__init__":
        message = "@workflow.init may only be used on the __init__ method"
        raise ValueError(message)
    setattr(init_fn, _INIT, True)
    return init_fn


def dynamic_config(
    fn: MethodSyncNoParam[SelfType, DynamicWorkflowConfig],
) -> MethodSyncNoParam[SelfType, DynamicWorkflowConfig]:
    """Decorate the method with which a dynamic workflow configures each run.

    Args:
        fn: A plain method without parameters that returns a `DynamicWorkflowConfig`.

    Raises:
        ValueError: It is async, or takes more than `self`.
    """
    if inspect.iscoroutinefunction(fn):
        message = "Workflow dynamic_config method must be synchronous"
        raise ValueError(message)
    if len(inspect.signature(fn).parameters) != 1:
        message = "Workflow dynamic_config method must only take self parameter"
        raise ValueError(message)
    setattr(fn, _DYNAMIC_CONFIG, True)
    return fn


class _Reader:
    """Collects what the decorators left on a class, and everything that is wrong with it."""

    def __init__(self, cls: type, name: str | None) -> None:
        if Definition.from_class(cls) is not None:
            message = "Class already contains workflow definition"
            raise ValueError(message)
        self.cls = cls
        self.name = name
        self.issues: list[str] = []
        self.run_fn: Callable[..., Awaitable[Any]] | None = None
        self.seen_run = False
        self.init_fn: Callable[..., None] | None = None
        self.config_fn: Callable[..., DynamicWorkflowConfig] | None = None
        self.signals: dict[str | None, SignalDefinition] = {}
        self.queries: dict[str | None, QueryDefinition] = {}
        self.updates: dict[str | None, UpdateDefinition] = {}

    def read(
        self,
        *,
        sandboxed: bool,
        failure_exception_types: Sequence[type[BaseException]],
        versioning_behavior: VersioningBehavior,
    ) -> Definition:
        for name, member in inspect.getmembers(self.cls):
            self._member(name, member)
        for base in inspect.getmro(self.cls)[1:]:
            for _, member in inspect.getmembers(base, inspect.isfunction):
                if is_defined_on(member, base):
                    self._overridden(member)
        if not self.seen_run:
            self.issues.append("Missing @workflow.run method")
        if self.init_fn and self.run_fn and not same_parameters(self.init_fn, self.run_fn):
            self.issues.append("@workflow.init and @workflow.run method parameters do not match")
        self._raise_issues()
        assert self.run_fn is not None  # an issue was raised otherwise
        return Definition(
            name=self.name,
            cls=self.cls,
            run_fn=self.run_fn,
            signals=self.signals,
            queries=self.queries,
            updates=self.updates,
            sandboxed=sandboxed,
            failure_exception_types=tuple(failure_exception_types),
            versioning_behavior=versioning_behavior,
            dynamic_config_fn=self.config_fn,
            takes_init_args=self.init_fn is not None,
        )

    def _member(self, name: str, member: Any) -> None:
        if hasattr(member, _RUN):
            self._run(name, member)
        elif (signal := SignalDefinition.from_fn(member)) is not None:
            self._handler("signal", name, signal, self.signals)
        elif (query := QueryDefinition.from_fn(member)) is not None:
            self._handler("query", name, query, self.queries)
        elif (update := UpdateDefinition.from_fn(member)) is not None:
            self._update(name, update)
        elif name == "__init__" and hasattr(member, _INIT):
            self.init_fn = member
        elif hasattr(member, _DYNAMIC_CONFIG):
            self._config(member)

    def _run(self, name: str, member: Any) -> None:
        self.seen_run = True
        if not is_defined_on(member, self.cls):
            self.issues.append(
                f"@workflow.run method {name} must be defined on {self.cls.__qualname__}"
            )
        elif self.run_fn is not None:
            other = name_of(self.run_fn)
            self.issues.append(
                f"Multiple @workflow.run methods found (at least on {name} and {other})"
            )
        else:
            self.run_fn = member

    def _handler(
        self, kind: str, name: str, found: HandlerDefinition, known: dict[str | None, Any]
    ) -> None:
        if found.name in known:
            other = name_of(known[found.name].fn)
            self.issues.append(
                f"Multiple {kind} methods found for {found.name or '<dynamic>'} "
                f"(at least on {name} and {other})"
            )
        else:
            known[found.name] = found

    def _update(self, name: str, found: UpdateDefinition) -> None:
        if found.validator and not same_parameters(found.fn, found.validator):
            self.issues.append(
                f"Update validator method {name_of(found.validator)} parameters "
                f"do not match update method {name_of(found.fn)} parameters"
            )
        self._handler("update", name, found, self.updates)

    def _config(self, member: Any) -> None:
        if self.name:
            self.issues.append(
                "@workflow.dynamic_config can only be used in dynamic workflows, but "
                f"workflow class {self.name} ({self.cls.__name__}) is not dynamic"
            )
        if self.config_fn:
            self.issues.append("@workflow.dynamic_config can only be defined once per workflow")
        self.config_fn = member

    def _overridden(self, base_member: Any) -> None:
        """A base's decorated method must be decorated in the override as well."""
        where = base_member.__qualname__
        if hasattr(base_member, _RUN):
            self.seen_run = True
            if self.run_fn is None or name_of(self.run_fn) != base_member.__name__:
                self.issues.append(f"@workflow.run defined on {where} but not on the override")
        for kind, found, known in (
            ("signal", SignalDefinition.from_fn(base_member), self.signals),
            ("query", QueryDefinition.from_fn(base_member), self.queries),
            ("update", UpdateDefinition.from_fn(base_member), self.updates),
        ):
            if found is not None and found.name not in known:
                self.issues.append(f"@workflow.{kind} defined on {where} but not on the override")

    def _raise_issues(self) -> None:
        if len(self.issues) == 1:
            message = f"Invalid workflow class: {self.issues[0]}"
            raise ValueError(message)
        if self.issues:
            reasons = ", ".join(self.issues)
            message = f"Invalid workflow class for {len(self.issues)} reasons: {reasons}"
            raise ValueError(message)
