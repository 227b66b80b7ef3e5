"""Interceptors of activities: the chain from the worker to the activity and back. Names as in the official package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from perdure.activity import Info
from perdure.wire.api import common


@dataclass
class ExecuteActivityInput:
    """One attempt, as interceptors see it.

    Attributes:
        fn: What to call.
        args: Its decoded arguments.
        executor: Where a sync activity runs; None for async ones.
        headers: Of the command that scheduled it.
    """

    fn: Callable[..., Any]
    args: Sequence[Any]
    executor: Executor | None
    headers: Mapping[str, common.Payload]


class ActivityOutboundInterceptor:
    """Calls that an activity makes: override what is of interest, call `self.next` for the rest."""

    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        self.next = next

    def info(self) -> Info:
        """The running activity."""
        return self.next.info()

    def heartbeat(self, *details: Any) -> None:
        """A heartbeat."""
        self.next.heartbeat(*details)


class ActivityInboundInterceptor:
    """Calls to an activity: override what is of interest, call `self.next` for the rest."""

    def __init__(self, next: ActivityInboundInterceptor) -> None:
        self.next = next

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Set up the outbound chain: wrap `outbound` and hand it on."""
        self.next.init(outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Run the activity; its result."""
        return await self.next.execute_activity(input)
