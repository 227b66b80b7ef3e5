"""Local activities: short functions that run inside the workflow task, without a round trip.

`start_local_activity`, `execute_local_activity` and their `_method` variants; options are the keys of
`LocalActivityConfig`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, overload

from typing_extensions import Unpack

from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
    CallableAsyncNoParam,
    CallableAsyncSingleParam,
    CallableSyncNoParam,
    CallableSyncSingleParam,
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MethodSyncNoParam,
    MethodSyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)
from perdure.workflow import _runtime
from perdure.workflow._options import NO_ARGS, LocalActivityConfig, LocalActivityOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.workflow._handles import ActivityHandle


@overload
def start_local_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity(
    activity: Callable[..., Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity(
    activity: Callable[..., ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity(
    activity: str,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[Any]: ...
def start_local_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[Any]:
    """Schedule a local activity and return its handle.

    Args:
        activity: The activity's function, or its name; it must be registered on this worker.
        arg: Its argument, when it takes one.
        args: Its arguments, when it takes several; not together with `arg`.
        result_type: Type hint of the result, for activities given by name.
        options: The keys of `LocalActivityConfig`. `local_retry_threshold` is the longest back-off
            that is waited out inside the workflow task; longer ones become timers.

    Raises:
        ValueError: No time-out was given.
    """
    return _runtime.current().start_local_activity(
        activity, arg_or_args(arg, args), LocalActivityOptions(result_type=result_type, **options)
    )


@overload
async def execute_local_activity(
    activity: CallableAsyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...
@overload
async def execute_local_activity(
    activity: CallableSyncNoParam[ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...
@overload
async def execute_local_activity(
    activity: CallableAsyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
@overload
async def execute_local_activity(
    activity: CallableSyncSingleParam[ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
@overload
async def execute_local_activity(
    activity: Callable[..., Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
@overload
async def execute_local_activity(
    activity: Callable[..., ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
@overload
async def execute_local_activity(
    activity: str,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[LocalActivityConfig],
) -> Any: ...
async def execute_local_activity(
    activity: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[LocalActivityConfig],
) -> Any:
    """Run a local activity and wait for its result; see `start_local_activity`."""
    return await _runtime.current().start_local_activity(
        activity, arg_or_args(arg, args), LocalActivityOptions(result_type=result_type, **options)
    )


@overload
def start_local_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[ReturnType]: ...
def start_local_activity_method(
    activity: Callable[..., Any],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    **options: Unpack[LocalActivityConfig],
) -> ActivityHandle[Any]:
    """Schedule a local activity method and return its handle; see `start_local_activity`."""
    return _runtime.current().start_local_activity(
        activity, arg_or_args(arg, args), LocalActivityOptions(**options)
    )


@overload
async def execute_local_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...
@overload
async def execute_local_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[LocalActivityConfig]
) -> ReturnType: ...
@overload
async def execute_local_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
@overload
async def execute_local_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
@overload
async def execute_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
@overload
async def execute_local_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[LocalActivityConfig],
) -> ReturnType: ...
async def execute_local_activity_method(
    activity: Callable[..., Any],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    **options: Unpack[LocalActivityConfig],
) -> Any:
    """Run a local activity method and wait for its result; see `start_local_activity`."""
    return await _runtime.current().start_local_activity(
        activity, arg_or_args(arg, args), LocalActivityOptions(**options)
    )
