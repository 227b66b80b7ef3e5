"""Activities from a workflow: `start_activity`, `execute_activity` and their `_method`, `_local_` variants.

Overloads follow the shape of the callable (no, one or many parameters; sync or async; by name); options
are the keys of `ActivityConfig`. At least one of `schedule_to_close_timeout` and
`start_to_close_timeout` is required, on the call or on the activity's decorator.

`await my_activity(x)` inside a workflow comes here too, for activities that carry options on their decorator: through a
hook that `perdure.activity` asks before it calls such a function.

Not here: methods (`_activity_methods`) and local activities (`_local_activities`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from typing_extensions import Unpack

from perdure.activity.definition import Definition, set_schedule_hook
from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
    CallableAsyncNoParam,
    CallableAsyncSingleParam,
    CallableSyncNoParam,
    CallableSyncSingleParam,
    ParamType,
    ReturnType,
)
from perdure.workflow import _runtime
from perdure.workflow._options import (
    NO_ARGS,
    ActivityCancellationType,
    ActivityConfig,
    ActivityOptions,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.workflow._handles import ActivityHandle


@overload
def start_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity(
    activity: Callable[..., Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity(
    activity: Callable[..., ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity(
    activity: str,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[Any]: ...
def start_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[Any]:
    """Schedule an activity and return its handle.

    Args:
        activity: The activity's function, or its name.
        arg: Its argument, when it takes one.
        args: Its arguments, when it takes several; not together with `arg`.
        result_type: Type hint of the result, for activities given by name.
        options: The keys of `ActivityConfig`:
            task_queue: Queue to run on; the workflow's own by default.
            schedule_to_close_timeout: Limit for everything, retries and waiting included.
            schedule_to_start_timeout: Limit for waiting for a worker.
            start_to_close_timeout: Limit for one attempt.
            heartbeat_timeout: Longest silence of a running attempt.
            retry_policy: How failures are retried; the server's default retries forever.
            cancellation_type: What cancelling the handle does.
            activity_id: Id in history; by default a number. Advanced.
            versioning_intent: Deprecated; use worker deployments.
            summary: One line for UI and command line.
            priority: Priority and fairness of the task.

    Raises:
        ValueError: No time-out was given.
        TypeError: `activity` is neither a name nor a callable.

    Example:
        >>> handle = workflow.start_activity(
        ...     charge, order, start_to_close_timeout=timedelta(seconds=30)
        ... )
        >>> receipt = await handle
    """
    return _runtime.current().start_activity(
        activity, arg_or_args(arg, args), ActivityOptions(result_type=result_type, **options)
    )


@overload
async def execute_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...
@overload
async def execute_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...
@overload
async def execute_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
@overload
async def execute_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
@overload
async def execute_activity(
    activity: Callable[..., Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
@overload
async def execute_activity(
    activity: Callable[..., ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
@overload
async def execute_activity(
    activity: str,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ActivityConfig],
) -> Any: ...
async def execute_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ActivityConfig],
) -> Any:
    """Run an activity and wait for its result: `await start_activity(...)`, same arguments.

    Raises:
        perdure.exceptions.ActivityError: The activity failed, timed out or was cancelled.
    """
    # The schedule command is issued synchronously on the first step, and the handle is a task of its
    # own: histories depend on both.
    return await _runtime.current().start_activity(
        activity, arg_or_args(arg, args), ActivityOptions(result_type=result_type, **options)
    )


def _schedule_direct_call(definition: Definition, args: Sequence[Any], /) -> Awaitable[Any] | None:
    """Schedule the activity when the calling code is a workflow; None for a plain call elsewhere."""
    runtime = _runtime.maybe_current()
    if runtime is None or definition.name is None:
        return None
    given = definition.options.given() if definition.options is not None else {}
    if "cancellation_type" in given:
        given["cancellation_type"] = ActivityCancellationType(given["cancellation_type"])
    options = ActivityOptions(result_type=definition.ret_type, **given)
    return runtime.start_activity(definition.name, args, options)


set_schedule_hook(_schedule_direct_call)
