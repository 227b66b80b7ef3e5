"""What a `WorkflowEnvironment` runs on: a connected client in real time, unless a subclass replaces that.

The environment is the public class and makes backends; a backend does the work and does not know the environment.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from perdure.client import Client
from perdure.core.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Generator

    from perdure.client import WorkflowHandle


class Backend:
    """A client that is connected already. Its methods are those of `WorkflowEnvironment`.

    Args:
        client: It is not closed with the backend.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def client(self) -> Client:
        """The client of the environment."""
        return self._client

    async def connect_client(self, **options: Any) -> Client:
        """Another client of the same service."""
        config = self.client.service_client.config
        defaults: dict[str, Any] = {
            "namespace": self.client.namespace,
            "rpc_metadata": config.rpc_metadata,
        }
        return await Client.connect(config.target_host, **(defaults | options))

    async def shutdown(self) -> None:
        """End what this backend started. Further calls have no effect."""

    async def sleep(self, duration: timedelta | float) -> None:
        """Sleep in real time.

        Args:
            duration: Seconds, or a timedelta.
        """
        await asyncio.sleep(seconds(duration))

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        """The current time, in UTC."""
        del handle
        return utc(SystemClock().now_ns())

    @property
    def supports_time_skipping(self) -> bool:
        """Whether `sleep` and waiting for results skip time."""
        return False

    @contextmanager
    def auto_time_skipping_disabled(self) -> Generator[None]:
        """Do not skip time while waiting for results, for the length of a block."""
        yield


def seconds(duration: timedelta | float) -> float:
    """A duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def utc(time_ns: int) -> datetime:
    """Nanoseconds since the epoch as a datetime, exact to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
