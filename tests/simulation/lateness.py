"""Nothing happens before its deadline, and nothing happens later than faults explain.

There are two checks. While a world runs, a watch looks at the node's runs and at the stored wake-ups once a second: it
sees every kind of deadline (retries, heartbeats, time-outs, timers). At the end, the finished histories are checked:
they are what users see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from perdure.core.ids import EntityKind
from perdure.core.units import SECOND_NS
from perdure.history.draft.deadlines import live_deadlines
from perdure.wire.api import enums
from tests.simulation.violations import Kind, Violation

if TYPE_CHECKING:
    import sqlite3

    from google.protobuf.duration_pb2 import Duration

    from perdure.server.node.node import Node
    from perdure.testing.simulation.loop import SimClock, SimLoop
    from perdure.wire.api import history
    from tests.simulation.outages import Outages

LOOK_S = 1.0
ALLOWED_S = 2.0
"""For slow writes, and for the time until the watch looks (`LOOK_S`)."""

EventType = enums.EventType
TimeoutType = enums.TimeoutType


class Due(NamedTuple):
    """A deadline, and when its event happened, by the node's clock."""

    what: str
    at_ns: int
    happened_ns: int
    is_attempt: bool = False
    """It is the time-out of an attempt or of a workflow task."""


class Lateness:
    """Checks the deadlines of one world."""

    def __init__(
        self, loop: SimLoop, clock: SimClock, outages: Outages, database: sqlite3.Connection
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._outages = outages
        self._database = database

    # While the world runs.

    def look(self, node: Node) -> None:
        """No deadline in memory or in storage is overdue.

        Raises:
            Violation: One is.
        """
        stored = self._database.execute(
            "SELECT w.at_ns, e.name FROM wakes w JOIN entities e ON e.number = w.entity"
            " ORDER BY w.at_ns LIMIT 1"
        ).fetchone()
        if stored is not None:
            self._not_overdue(f"the stored wake-up of {stored[1]}", stored[0])
        for entry in node.engine.cache.of_kind(EntityKind.RUN):
            if entry.state is None or entry.pending is not None:
                continue
            for deadline in live_deadlines(entry.state)[:1]:
                self._not_overdue(f"{deadline.kind.name} of {entry.key.name}", deadline.at_ns)

    def _not_overdue(self, what: str, at_ns: int) -> None:
        late_s = (self._clock.now_ns() - at_ns) / SECOND_NS
        if late_s <= ALLOWED_S:
            return
        now_s = self._loop.time()
        hindered_s = self._outages.hindered_s(now_s - late_s, now_s)
        if late_s > ALLOWED_S + hindered_s:
            raise Violation(
                Kind.LATE,
                f"{what} is overdue by {late_s:.1f} s at {now_s:.1f}, of which faults explain"
                f" {hindered_s:.1f} s ({self._outages.around(now_s - late_s, now_s)})",
            )

    # At the end.

    def check_history(
        self, run: str, events: Sequence[history.HistoryEvent], *, is_embedded: bool = False
    ) -> None:
        """Everything in a history happened in time.

        Args:
            run: The workflow id.
            events: The history of a closed run.
            is_embedded: Attempts may end early: a new engine times out those of workers that died with the last one.

        Raises:
            Violation: Something happened early or late.
        """
        for due in _dues(events):
            late_s = (due.happened_ns - due.at_ns) / SECOND_NS
            if late_s < 0 and not (is_embedded and due.is_attempt):
                raise Violation(Kind.EARLY, f"{run}: {due.what} came {-late_s:.1f} s early")
            if late_s <= ALLOWED_S:
                continue
            hindered_s = self._outages.hindered_s(
                *self._outages.span_of(due.at_ns, due.happened_ns)
            )
            if late_s > ALLOWED_S + hindered_s:
                raise Violation(
                    Kind.LATE,
                    f"{run}: {due.what} came {late_s:.1f} s late, of which faults explain"
                    f" {hindered_s:.1f} s",
                )


def _dues(events: Sequence[history.HistoryEvent]) -> Iterator[Due]:
    by_id = {event.event_id: event for event in events}
    started_of: dict[int, history.HistoryEvent] = {}
    for event in events:
        at_ns = event.event_time.ToNanoseconds()
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                started_of[event.activity_task_started_event_attributes.scheduled_event_id] = event
            case EventType.EVENT_TYPE_TIMER_FIRED:
                begun = by_id[event.timer_fired_event_attributes.started_event_id]
                length = begun.timer_started_event_attributes.start_to_fire_timeout
                yield Due(f"timer {begun.event_id}", _after(begun, length), at_ns)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                yield from _activity_timeout(event, by_id, started_of)
            case EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
                yield from _workflow_task_timeout(event, by_id)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
                first = events[0].workflow_execution_started_event_attributes
                if first.HasField("workflow_run_timeout"):
                    backoff_ns = first.first_workflow_task_backoff.ToNanoseconds()
                    due_ns = _after(events[0], first.workflow_run_timeout) + backoff_ns
                    yield Due("the run's time-out", due_ns, at_ns)
            case _:
                pass


def _activity_timeout(
    event: history.HistoryEvent,
    by_id: dict[int, history.HistoryEvent],
    started_of: dict[int, history.HistoryEvent],
) -> Iterator[Due]:
    said = event.activity_task_timed_out_event_attributes
    asked = by_id[said.scheduled_event_id]
    limits = asked.activity_task_scheduled_event_attributes
    at_ns = event.event_time.ToNanoseconds()
    what = f"the time-out of activity {asked.event_id}"
    kind = said.failure.timeout_failure_info.timeout_type
    if kind == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE and said.scheduled_event_id in started_of:
        begun = started_of[said.scheduled_event_id]
        yield Due(what, _after(begun, limits.start_to_close_timeout), at_ns, is_attempt=True)
    elif kind == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE:
        yield Due(what, _after(asked, limits.schedule_to_close_timeout), at_ns)


def _workflow_task_timeout(
    event: history.HistoryEvent, by_id: dict[int, history.HistoryEvent]
) -> Iterator[Due]:
    said = event.workflow_task_timed_out_event_attributes
    at_ns = event.event_time.ToNanoseconds()
    if said.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE:
        asked = by_id[said.scheduled_event_id].workflow_task_scheduled_event_attributes
        begun = by_id[said.started_event_id]
        what = f"the time-out of workflow task {said.started_event_id}"
        yield Due(what, _after(begun, asked.start_to_close_timeout), at_ns, is_attempt=True)


def _after(event: history.HistoryEvent, length: Duration) -> int:
    return event.event_time.ToNanoseconds() + length.ToNanoseconds()
