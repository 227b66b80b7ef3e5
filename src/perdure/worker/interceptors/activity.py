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
    """One attempt of an activity, as interceptors see it.

    Attributes:
        fn: The function to call.
        args: Its converted arguments.
        executor: Where a sync activity runs; None for async activities.
        headers: Headers of the command that scheduled it, as payloads by name.
    """

    fn: Callable[..., Any]
    args: Sequence[Any]
    executor: Executor | None
    headers: Mapping[str, common.Payload]


class ActivityOutboundInterceptor:
    """Calls that an activity makes. Override methods as needed, and delegate to `self.next`.

    Args:
        next: The rest of the chain.
    """

    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        self.next = next

    def info(self) -> Info:
        """Called by `activity.info`."""
        return self.next.info()

    def heartbeat(self, *details: Any) -> None:
        """Called by `activity.heartbeat`.

        Args:
            details: The values of the heartbeat.
        """
        self.next.heartbeat(*details)


class ActivityInboundInterceptor:
    """Calls to an activity. Override methods as needed, and delegate to `self.next`.

    Args:
        next: The rest of the chain.
    """

    def __init__(self, next: ActivityInboundInterceptor) -> None:
        self.next = next

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Set up the outbound chain. Override it to wrap `outbound`.

        Args:
            outbound: The chain of the calls that the activity makes.
        """
        self.next.init(outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Run the activity.

        Args:
            input: Function and arguments.

        Returns:
            The activity's result.
        """
        return await self.next.execute_activity(input)
