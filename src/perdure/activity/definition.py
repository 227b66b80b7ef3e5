"""The `defn` decorator and what it records about an activity.

With options (time-outs, retry policy, …) on the decorator, `await my_activity(x)` in a workflow *schedules* the
activity: the decorated function asks the schedule hook, which `perdure.workflow` installs. Outside workflows, and
without options, it is a plain call. Not here: scheduling itself.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast, overload

from perdure.common.priority import Priority
from perdure.common.raw import RawValue
from perdure.common.retry import RetryPolicy
from perdure.common.signatures import has_self, type_hints_from_func
from perdure.types import CallableType

_ATTRIBUTE = "__perdure_activity_definition"
# The mark of the official package's decorator.
_FOREIGN_ATTRIBUTE = "__temporal_activity_definition"


@dataclass(frozen=True)
class ActivityOptions:
    """Options of an activity on its decorator. The names are those of `workflow.execute_activity`.

    Attributes:
        task_queue: Queue of the activity's tasks. None: the workflow's own.
        schedule_to_close_timeout: Limit for the whole activity, retries and waiting included.
        schedule_to_start_timeout: Limit for an attempt's wait for a worker.
        start_to_close_timeout: Limit for one attempt.
        heartbeat_timeout: Limit for the time between two heartbeats of an attempt.
        retry_policy: How failures are retried. None: the server's default.
        cancellation_type: A `workflow.ActivityCancellationType`. None: its default.
        summary: One line to show in the UI and on the command line.
        priority: Priority and fairness of the task. None: the workflow's own.
    """

    task_queue: str | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    cancellation_type: int | None = None
    summary: str | None = None
    priority: Priority | None = None

    def given(self) -> dict[str, Any]:
        """The options that are set, as keyword arguments."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: value for name, value in values if value is not None}


@dataclass(frozen=True)
class Definition:
    """What is known about a decorated activity.

    Attributes:
        name: Its activity type; None for a dynamic activity, which takes every type that has no activity of its own.
        fn: What to call: the function, a bound method, or an object with `__call__`.
        is_async: Whether calling it gives a coroutine.
        no_thread_cancel_exception: Cancellation does not raise inside a thread.
        options: The options on the decorator; None when there were none.
        arg_types: Types of the positional arguments; None when unknown.
        ret_type: Type of the result; None when unknown.
        takes_self: Whether the decorated function is a method.
    """

    name: str | None
    fn: Callable[..., Any]
    is_async: bool
    no_thread_cancel_exception: bool
    options: ActivityOptions | None = None
    arg_types: list[type] | None = None
    ret_type: type | None = None
    takes_self: bool = False

    @staticmethod
    def from_callable(fn: Callable[..., Any]) -> Definition | None:
        """The definition of a decorated callable, about that very callable (a bound method, for instance)."""
        found: object = getattr(fn, _ATTRIBUTE, None)
        if not isinstance(found, Definition):
            return None
        if inspect.isfunction(fn):
            return found
        # A bound method or a callable object is itself what the worker calls.
        return dataclasses.replace(found, fn=fn)

    @staticmethod
    def must_from_callable(fn: Callable[..., Any]) -> Definition:
        """`from_callable`, or an error that says what to do.

        Raises:
            TypeError: `fn` is not decorated.
        """
        found = Definition.from_callable(fn)
        if found is not None:
            return found
        name = getattr(fn, "__name__", "<unknown>")
        if hasattr(fn, _FOREIGN_ATTRIBUTE):
            raise TypeError(
                f"Activity {name} was decorated with the activity.defn of the package 'temporalio':"
                " decorate it with the one of 'perdure'"
            )
        raise TypeError(
            f"Activity {name} missing attributes, was it decorated with @activity.defn?"
        )

    @staticmethod
    def get_name_and_result_type(
        name_or_run_fn: str | Callable[..., Any],
    ) -> tuple[str, type | None]:
        """Activity type and result type of what a caller named.

        Raises:
            TypeError: Neither a name nor a decorated callable.
            ValueError: A dynamic activity.
        """
        if isinstance(name_or_run_fn, str):
            return name_or_run_fn, None
        if not callable(cast("object", name_or_run_fn)):
            raise TypeError("Activity must be a string or callable")
        definition = Definition.must_from_callable(name_or_run_fn)
        if definition.name is None:
            raise ValueError(f"Activity {name_or_run_fn} definition has no name")
        return definition.name, definition.ret_type


class ScheduleHook(Protocol):
    """Decides whether a direct call schedules: installed once by `perdure.workflow`."""

    def __call__(self, definition: Definition, args: Sequence[Any], /) -> Awaitable[Any] | None:
        """The scheduled activity's result to await, or None when not in a workflow."""
        ...


_schedule_hook: ScheduleHook | None = None


def set_schedule_hook(hook: ScheduleHook | None) -> None:
    """Install what direct calls of activities with options ask; None removes it."""
    global _schedule_hook  # noqa: PLW0603 - one hook per process, set at import
    _schedule_hook = hook


_FnT = TypeVar("_FnT", bound=Callable[..., Any])


@overload
def defn(fn: CallableType) -> CallableType: ...
@overload
def defn(
    *,
    name: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
    task_queue: str | None = None,
    schedule_to_close_timeout: timedelta | None = None,
    schedule_to_start_timeout: timedelta | None = None,
    start_to_close_timeout: timedelta | None = None,
    heartbeat_timeout: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    cancellation_type: int | None = None,
    summary: str | None = None,
    priority: Priority | None = None,
) -> Callable[[_FnT], _FnT]: ...
def defn(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
    **options: Any,
) -> Any:
    """Decorate an activity: a function, a method, or a class with `__call__`; async or not.

    Args:
        fn: The function, when the decorator is used without parentheses.
        name: The activity type. Default: the function's name.
        no_thread_cancel_exception: Cancellation does not raise inside the thread of a sync activity.
        dynamic: Run every activity type that has no activity of its own. The function then has one parameter,
            a `Sequence[RawValue]`.
        **options: The fields of `ActivityOptions`. Only for async functions. Awaiting a direct call in a workflow then
            schedules the activity, and `workflow.execute_activity` uses them as defaults.

    Raises:
        TypeError: The function has keyword-only parameters, is dynamic with other parameters, or has options without
            being async; or an option is unknown.
        ValueError: The function is decorated twice, or both `name` and `dynamic` were given.

    Example:
        ```python
        @activity.defn(start_to_close_timeout=timedelta(seconds=10))
        async def charge(order_id: str) -> str:
            return f"receipt for {order_id}"


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self, order_id: str) -> str:
                return await charge(order_id)


        async with Worker(client, task_queue="orders", workflows=[Order], activities=[charge]):
            receipt = await client.execute_workflow(Order.run, "o-7", id="o-7", task_queue="orders")
        assert receipt == "receipt for o-7"
        ```
    """
    if name is not None and dynamic:
        raise ValueError("An activity is either dynamic or has a name, not both")
    unknown = options.keys() - {field.name for field in dataclasses.fields(ActivityOptions)}
    if unknown:
        raise TypeError(f"activity.defn has no option {', '.join(sorted(unknown))}")
    activity_options = ActivityOptions(**options)

    def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
        return _define(
            target,
            name=None if dynamic else name or target.__name__,
            no_thread_cancel_exception=no_thread_cancel_exception,
            options=activity_options if activity_options.given() else None,
        )

    return decorate if fn is None else decorate(fn)


def _define(
    fn: Callable[..., Any],
    *,
    name: str | None,
    no_thread_cancel_exception: bool,
    options: ActivityOptions | None,
) -> Callable[..., Any]:
    if hasattr(fn, _ATTRIBUTE):
        raise ValueError("Function already contains activity definition")
    if not callable(cast("object", fn)):
        raise TypeError("Activity is not callable")
    parameters = inspect.signature(fn).parameters.values()
    if any(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters):
        raise TypeError("Activity cannot have keyword-only arguments")
    arg_types, ret_type = type_hints_from_func(fn)
    if name is None and arg_types != [Sequence[RawValue]]:
        raise TypeError("Dynamic activity must accept a single Sequence[RawValue]")
    definition = Definition(
        name=name,
        fn=fn,
        is_async=inspect.iscoroutinefunction(fn)
        or inspect.iscoroutinefunction(getattr(fn, "__call__", None)),  # noqa: B004
        no_thread_cancel_exception=no_thread_cancel_exception,
        options=options,
        arg_types=arg_types,
        ret_type=ret_type,
        takes_self=has_self(fn),
    )
    if options is None:
        setattr(fn, _ATTRIBUTE, definition)
        return fn
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(
            f"Activity {name or '<dynamic>'} has options on its decorator, which only async functions may have:"
            " make it async, or give the options to workflow.execute_activity"
        )
    return _schedulable(definition)


def _schedulable(definition: Definition) -> Callable[..., Any]:
    """The decorated function: schedules inside a workflow, calls otherwise."""
    fn = cast("Callable[..., Awaitable[Any]]", definition.fn)
    signature = inspect.signature(fn)

    @functools.wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        hook = _schedule_hook
        if hook is not None:
            positional = signature.bind(*args, **kwargs).args if kwargs else args
            if definition.takes_self:
                positional = positional[1:]
            scheduled = hook(definition, positional)
            if scheduled is not None:
                return await scheduled
        return await fn(*args, **kwargs)

    setattr(call, _ATTRIBUTE, definition)
    return call
