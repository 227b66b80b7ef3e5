"""The handles of what a workflow has started, or only names: activities, children, other workflows.

The methods of children and other workflows are implemented by the worker's host.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Concatenate, Generic, overload

from perdure.common.signatures import UNSET
from perdure.types import (
    AnyType,
    MethodSyncOrAsyncNoParam,
    MethodSyncOrAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)
from perdure.workflow._options import NO_ARGS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    class AsyncioTask(asyncio.Task[AnyType]):
        """asyncio.Task as type checkers see it."""

else:

    class AsyncioTask(Generic[AnyType], asyncio.Task):  # Task is the C base  # noqa: PYI059
        """asyncio.Task that can be subscribed at run time."""


class ActivityHandle(AsyncioTask[ReturnType]):  # pyright: ignore[reportInvalidTypeArguments]
    """A started activity: an `asyncio.Task` whose result is the activity's result.

    Awaiting it raises `perdure.exceptions.ActivityError` when the activity fails; `cancel()` cancels the
    activity in the way that its `cancellation_type` says.
    """


class ChildWorkflowHandle(AsyncioTask[ReturnType], Generic[SelfType, ReturnType]):  # pyright: ignore[reportInvalidTypeArguments]
    """A started child workflow: an `asyncio.Task` whose result is the child's result.

    Awaiting it raises `perdure.exceptions.ChildWorkflowError` when the child does not complete.
    """

    @property
    def id(self) -> str:
        """The child's workflow id."""
        raise NotImplementedError

    @property
    def first_execution_run_id(self) -> str | None:
        """Run id of the child's first run."""
        raise NotImplementedError

    @overload
    async def signal(self, signal: MethodSyncOrAsyncNoParam[SelfType, None]) -> None: ...
    @overload
    async def signal(
        self, signal: MethodSyncOrAsyncSingleParam[SelfType, ParamType, None], arg: ParamType
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[None] | None],
        *,
        args: Sequence[Any],
    ) -> None: ...
    @overload
    async def signal(
        self, signal: str, arg: Any = UNSET, *, args: Sequence[Any] = NO_ARGS
    ) -> None: ...
    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = NO_ARGS,
    ) -> None:
        """Signal the child.

        Args:
            signal: Name or method of the signal.
            arg: Its argument, when it takes one.
            args: Its arguments, when it takes several; not together with `arg`.
        """
        raise NotImplementedError


class ExternalWorkflowHandle(Generic[SelfType]):
    """A workflow that this one did not start, to signal or cancel it."""

    @property
    def id(self) -> str:
        """Its workflow id."""
        raise NotImplementedError

    @property
    def run_id(self) -> str | None:
        """The run that is meant, None for whichever is current."""
        raise NotImplementedError

    @overload
    async def signal(self, signal: MethodSyncOrAsyncNoParam[SelfType, None]) -> None: ...
    @overload
    async def signal(
        self, signal: MethodSyncOrAsyncSingleParam[SelfType, ParamType, None], arg: ParamType
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[None] | None],
        *,
        args: Sequence[Any],
    ) -> None: ...
    @overload
    async def signal(
        self, signal: str, arg: Any = UNSET, *, args: Sequence[Any] = NO_ARGS
    ) -> None: ...
    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = NO_ARGS,
    ) -> None:
        """Signal the workflow; returns when the server has recorded the signal.

        Args:
            signal: Name or method of the signal.
            arg: Its argument, when it takes one.
            args: Its arguments, when it takes several; not together with `arg`.

        Raises:
            ApplicationError: The workflow does not exist or can take no more signals.
        """
        raise NotImplementedError

    async def cancel(self, *, reason: str = "") -> None:
        """Request the workflow's cancellation; returns when the request is recorded."""
        raise NotImplementedError
