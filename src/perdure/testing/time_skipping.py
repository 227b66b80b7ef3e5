"""The backend whose time is skipped: an engine in this process, and a client that unlocks time while it waits.

Invariant: each unlock is undone, however the wait ends. Several waits may overlap: the server counts them, and time is
locked again when the last one has its result.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure.client import Interceptor, OutboundInterceptor
from perdure.client.enums import WorkflowHistoryEventFilterType
from perdure.client.history import WorkflowHistoryEventAsyncIterator
from perdure.core.units import SECOND_NS
from perdure.server.time_skipping.node import TimeSkippingNode, open_time_skipping_node
from perdure.testing.assertions import AssertionErrors
from perdure.testing.backend import seconds, utc
from perdure.testing.hosted import HostedBackend, attribute_types

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime, timedelta

    from perdure.client import WorkflowHandle
    from perdure.client.inputs import FetchWorkflowHistoryEventsInput
    from perdure.common import SearchAttributeKey
    from perdure.testing.backend import Backend
    from perdure.wire.api import history as history_pb

TARGET = "perdure-test"
"""The target in the client's configuration. Nothing listens there."""


async def start_time_skipping(
    *,
    search_attributes: Sequence[SearchAttributeKey[Any]],
    config: Mapping[str, Any],
    client: Mapping[str, Any],
) -> Backend:
    """See `WorkflowEnvironment.start_time_skipping`; `config` is for the connection, `client` for the client."""
    node = await open_time_skipping_node(
        namespaces=dict.fromkeys(("default", client["namespace"])),
        search_attributes=attribute_types(search_attributes),
    )
    return TimeSkippingBackend(node, config=config, client=client)


class TimeSkippingBackend(HostedBackend):
    """Made by `WorkflowEnvironment.start_time_skipping`."""

    def __init__(
        self, node: TimeSkippingNode, *, config: Mapping[str, Any], client: Mapping[str, Any]
    ) -> None:
        self._skipping = node
        self._time = node.time
        self._is_automatic = True
        super().__init__(
            node.node,
            target=TARGET,
            config=config,
            client=client,
            interceptors=(AssertionErrors(), _Unlocks(self)),
        )

    async def _stop(self) -> None:
        await self._skipping.stop_polls()

    async def _close(self) -> None:
        await self._skipping.close()

    async def sleep(self, duration: timedelta | float) -> None:
        """Skip a duration. Everything that is due in it happens.

        Args:
            duration: Seconds, or a timedelta.

        Raises:
            RuntimeError: The environment was shut down.
        """
        if self._is_shut:
            raise RuntimeError("this environment was shut down, its time has ended: start another")
        at_ns = self._time.clock.now_ns() + int(seconds(duration) * SECOND_NS)
        await self._time.sleep_until(at_ns, is_unlocked=True)

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        """The time of the workflows, in UTC."""
        del handle
        return utc(self._time.clock.now_ns())

    @property
    def supports_time_skipping(self) -> bool:
        """True."""
        return True

    @contextmanager
    def auto_time_skipping_disabled(self) -> Generator[None]:
        """Do not skip time while waiting for results, for the length of a block."""
        before, self._is_automatic = self._is_automatic, False
        try:
            yield
        finally:
            self._is_automatic = before

    @contextmanager
    def unlocked(self) -> Generator[None]:
        """Skip time for the length of the block, unless that is disabled."""
        if not self._is_automatic:
            yield
            return
        self._time.unlock()
        try:
            yield
        finally:
            self._time.lock()


class _Unlocks(Interceptor):
    """Unlocks time while a client waits for the end of a workflow."""

    def __init__(self, backend: TimeSkippingBackend) -> None:
        self._backend = backend

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _UnlocksOutbound(next, self._backend)


class _UnlocksOutbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, backend: TimeSkippingBackend) -> None:
        super().__init__(next)
        self._backend = backend

    def fetch_workflow_history_events(
        self, input: FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        events = super().fetch_workflow_history_events(input)
        waits_for_end = (
            input.wait_new_event
            and input.event_filter_type is WorkflowHistoryEventFilterType.CLOSE_EVENT
        )
        return _UnlockedEvents(events, self._backend) if waits_for_end else events


class _UnlockedEvents(WorkflowHistoryEventAsyncIterator):
    """Wraps an iterator of events: time is unlocked while the next one is awaited."""

    def __init__(
        self, inner: WorkflowHistoryEventAsyncIterator, backend: TimeSkippingBackend
    ) -> None:
        self._inner = inner
        self._backend = backend

    @property
    def current_page_index(self) -> int:
        return self._inner.current_page_index

    @property
    def current_page(self) -> Sequence[history_pb.HistoryEvent] | None:
        return self._inner.current_page

    @property
    def next_page_token(self) -> bytes | None:
        return self._inner.next_page_token

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        with self._backend.unlocked():
            await self._inner.fetch_next_page(page_size=page_size)

    async def __anext__(self) -> history_pb.HistoryEvent:
        with self._backend.unlocked():
            return await self._inner.__anext__()
