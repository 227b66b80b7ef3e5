"""Activities that are methods: `start_activity_method`, `execute_activity_method`.

They take `SomeClass.method` (unbound), so that type checkers know the parameters besides `self`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, overload

from typing_extensions import Unpack

from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
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
from perdure.workflow._options import NO_ARGS, ActivityConfig, ActivityOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.workflow._handles import ActivityHandle


@overload
def start_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
@overload
def start_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[ReturnType]: ...
def start_activity_method(
    activity: Callable[..., Any],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    **options: Unpack[ActivityConfig],
) -> ActivityHandle[Any]:
    """Schedule an activity method and return its handle; see `start_activity`.

    Example:
        >>> workflow.start_activity_method(
        ...     Mailer.send, message, start_to_close_timeout=timedelta(seconds=30)
        ... )
    """
    return _runtime.current().start_activity(
        activity, arg_or_args(arg, args), ActivityOptions(**options)
    )


@overload
async def execute_activity_method(
    activity: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...
@overload
async def execute_activity_method(
    activity: MethodSyncNoParam[SelfType, ReturnType], **options: Unpack[ActivityConfig]
) -> ReturnType: ...
@overload
async def execute_activity_method(
    activity: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
@overload
async def execute_activity_method(
    activity: MethodSyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
@overload
async def execute_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
@overload
async def execute_activity_method(
    activity: Callable[Concatenate[SelfType, MultiParamSpec], ReturnType],
    *,
    args: Sequence[Any],
    **options: Unpack[ActivityConfig],
) -> ReturnType: ...
async def execute_activity_method(
    activity: Callable[..., Any],
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    **options: Unpack[ActivityConfig],
) -> Any:
    """Run an activity method and wait for its result; see `execute_activity`."""
    return await _runtime.current().start_activity(
        activity, arg_or_args(arg, args), ActivityOptions(**options)
    )
