"""Signal, query and update handlers: the decorators.

Not here: what they leave on the functions (`_handler_definitions`), running handlers
(`perdure.worker.host.handlers`).
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, overload, runtime_checkable

from perdure.types import (
    CallableSyncOrAsyncReturnNoneType,
    CallableType,
    MultiParamSpec,
    ProtocolReturnType,
    ReturnType,
)
from perdure.workflow._callables import is_async, name_of
from perdure.workflow._handler_definitions import (
    QUERY_MARK,
    SIGNAL_MARK,
    HandlerUnfinishedPolicy,
    QueryDefinition,
    SignalDefinition,
    UpdateDefinition,
)


def _check_choice(name: str | None, dynamic: bool | None) -> None:
    if name is not None and dynamic:
        message = "Cannot provide name and dynamic boolean"
        raise RuntimeError(message)


def warn_vararg(kind: str, *, stacklevel: int) -> None:
    """The warning for dynamic handlers in the old form."""
    warnings.warn(
        f"Dynamic {kind} with vararg third param is deprecated, use Sequence[RawValue]",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def warn_async_query(*, stacklevel: int) -> None:
    """The warning for queries that are async."""
    warnings.warn(
        "Queries as async def functions are deprecated",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


_WARN = HandlerUnfinishedPolicy.WARN_AND_ABANDON


@overload
def signal(fn: CallableSyncOrAsyncReturnNoneType) -> CallableSyncOrAsyncReturnNoneType: ...
@overload
def signal(
    *, unfinished_policy: HandlerUnfinishedPolicy = _WARN, description: str | None = None
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...
@overload
def signal(
    *,
    name: str,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...
@overload
def signal(
    *,
    dynamic: Literal[True],
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...
def signal(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Any:
    """Decorate a method that handles a signal. It may be async.

    Args:
        fn: The method, when the decorator is used without parentheses.
        name: The signal's name. Default: the method's name.
        dynamic: Handle every signal that has no handler of its own. The method takes `self`, the name and a
            `Sequence[RawValue]`.
        unfinished_policy: What to do when the workflow closes while the handler is running.
        description: One line to show in the UI and on the command line.

    Raises:
        RuntimeError: Both `name` and `dynamic` were given, or the parameters of a dynamic handler are others.

    Example:
        ```python
        @workflow.defn
        class Order:
            def __init__(self) -> None:
                self.paid_by = ""

            @workflow.signal
            def pay(self, customer: str) -> None:
                self.paid_by = customer

            @workflow.run
            async def run(self) -> str:
                await workflow.wait_condition(lambda: self.paid_by != "")
                return self.paid_by


        async with Worker(client, task_queue="orders", workflows=[Order]):
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await order.signal(Order.pay, "Ada")
            assert await order.result() == "Ada"
        ```
    """
    _check_choice(name, dynamic)

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        definition = SignalDefinition(
            name=None if dynamic else name or name_of(method),
            fn=method,
            is_method=True,
            description=description,
            unfinished_policy=unfinished_policy,
        )
        setattr(method, SIGNAL_MARK, definition)
        if definition.dynamic_vararg:
            warn_vararg("signals", stacklevel=2)
        return method

    return decorate if fn is None else decorate(fn)


@overload
def query(fn: CallableType) -> CallableType: ...
@overload
def query(
    *, name: str, description: str | None = None
) -> Callable[[CallableType], CallableType]: ...
@overload
def query(
    *, dynamic: Literal[True], description: str | None = None
) -> Callable[[CallableType], CallableType]: ...
@overload
def query(*, description: str) -> Callable[[CallableType], CallableType]: ...
def query(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    description: str | None = None,
) -> Any:
    """Decorate a method that answers a query. It must not change the workflow.

    Args:
        fn: The method, when the decorator is used without parentheses. It is not async.
        name: The query's name. Default: the method's name.
        dynamic: Answer every query that has no handler of its own. The method takes `self`, the name and a
            `Sequence[RawValue]`.
        description: One line to show in the UI and on the command line.

    Raises:
        RuntimeError: Both `name` and `dynamic` were given, or the parameters of a dynamic handler are others.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.query
            def state(self) -> str:
                return "waiting for payment"

            @workflow.run
            async def run(self) -> None:
                await workflow.wait_condition(lambda: False)


        async with Worker(client, task_queue="orders", workflows=[Order]):
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            assert await order.query(Order.state) == "waiting for payment"
        ```
    """
    _check_choice(name, dynamic)
    if fn is None and name is None and not dynamic and not description:
        message = "Cannot create query without function or name or dynamic"
        raise RuntimeError(message)

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        if is_async(method):
            warn_async_query(stacklevel=2)
        definition = QueryDefinition(
            name=None if dynamic else name or name_of(method),
            fn=method,
            is_method=True,
            description=description,
        )
        setattr(method, QUERY_MARK, definition)
        if definition.dynamic_vararg:
            warn_vararg("queries", stacklevel=2)
        return method

    return decorate if fn is None else decorate(fn)


@runtime_checkable
class UpdateMethodMultiParam(Protocol[MultiParamSpec, ProtocolReturnType]):
    """The result of `@workflow.update`: the method, with a `validator` decorator."""

    _defn: UpdateDefinition

    def __call__(
        self, *args: MultiParamSpec.args, **kwargs: MultiParamSpec.kwargs
    ) -> ProtocolReturnType | Awaitable[ProtocolReturnType]: ...

    def validator(self, vfunc: Callable[MultiParamSpec, None]) -> Callable[MultiParamSpec, None]:
        """Decorate the method that validates the update. It raises to reject the update before anything is recorded.

        Args:
            vfunc: A plain method with the parameters of the update. It must not change the workflow.
        """
        ...


@overload
def update(
    fn: Callable[MultiParamSpec, Awaitable[ReturnType]],
) -> UpdateMethodMultiParam[MultiParamSpec, ReturnType]: ...
@overload
def update(
    fn: Callable[MultiParamSpec, ReturnType],
) -> UpdateMethodMultiParam[MultiParamSpec, ReturnType]: ...
@overload
def update(
    *, unfinished_policy: HandlerUnfinishedPolicy = _WARN, description: str | None = None
) -> Callable[
    [Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]
]: ...
@overload
def update(
    *,
    name: str,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[
    [Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]
]: ...
@overload
def update(
    *,
    dynamic: Literal[True],
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Callable[
    [Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]
]: ...
def update(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = _WARN,
    description: str | None = None,
) -> Any:
    """Decorate a method that handles an update and returns its result to the caller. It may be async.

    A validator can be attached with `@name_of_the_method.validator`.

    Args:
        fn: The method, when the decorator is used without parentheses.
        name: The update's name. Default: the method's name.
        dynamic: Handle every update that has no handler of its own. The method takes `self`, the name and a
            `Sequence[RawValue]`.
        unfinished_policy: What to do when the workflow closes while the handler is running.
        description: One line to show in the UI and on the command line.

    Raises:
        RuntimeError: Both `name` and `dynamic` were given, or the parameters of a dynamic handler are others.

    Example:
        ```python
        from perdure.client import WorkflowUpdateFailedError


        @workflow.defn
        class Cart:
            def __init__(self) -> None:
                self.items: list[str] = []

            @workflow.update
            async def add(self, item: str) -> int:
                self.items.append(item)
                return len(self.items)

            @add.validator
            def check(self, item: str) -> None:
                if not item:
                    raise ValueError("an item needs a name")

            @workflow.run
            async def run(self) -> None:
                await workflow.wait_condition(lambda: False)


        async with Worker(client, task_queue="carts", workflows=[Cart]):
            cart = await client.start_workflow(Cart.run, id="cart-7", task_queue="carts")
            assert await cart.execute_update(Cart.add, "book") == 1
            try:
                await cart.execute_update(Cart.add, "")
            except WorkflowUpdateFailedError as error:
                assert "an item needs a name" in str(error.cause)
        ```
    """
    _check_choice(name, dynamic)

    def decorate(method: Any) -> Any:
        definition = UpdateDefinition(
            name=None if dynamic else name or name_of(method),
            fn=method,
            is_method=True,
            description=description,
            unfinished_policy=unfinished_policy,
        )

        def validator(validate: Callable[..., None]) -> Callable[..., None]:
            definition.set_validator(validate)
            return validate

        setattr(method, "_defn", definition)  # the official name, read by protocols  # noqa: B010
        method.validator = validator
        return method

    return decorate if fn is None else decorate(fn)
