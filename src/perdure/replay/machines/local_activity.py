"""One local activity: executed and then recorded, or answered by a marker (§1.8)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

import msgspec

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.failures import canceled, local_activity_wrapped
from perdure.replay.flags import Flag
from perdure.replay.jobs import (
    Backoff,
    Cancelled,
    Completed,
    Failed,
    Resolution,
    ResolveActivity,
)
from perdure.replay.local import LOCAL_ACTIVITY_KIND, LocalResult, check_marker
from perdure.replay.machines.base import Host, Machine, Table
from perdure.replay.markers import (
    LOCAL_ACTIVITY_MARKER,
    LocalActivityMarker,
    local_activity_details,
    read_local_activity,
)
from perdure.replay.mismatch import BadHistory, NondeterminismFound, Rule
from perdure.replay.outgoing import RecordMarker
from perdure.wire.api import common

if TYPE_CHECKING:
    from perdure.replay.run import Run
    from perdure.wire.api import history

_WAIT = cmd.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
_TRY = cmd.ActivityCancellationType.TRY_CANCEL


class State(enum.IntEnum):
    REQUESTED = 0
    """The worker runs it, or will."""
    WAITING_FOR_MARKER = 1
    ANSWERED_BY_MARKER = 2
    """Resolved ahead; the marker event itself has not been handled."""
    MARKER_CREATED = 3
    RECORDED = 4


class LocalActivityMachine(Machine):
    __slots__ = ("_new_work", "_started_ns", "_succeeded")

    kind: ClassVar[str] = LOCAL_ACTIVITY_KIND
    settled: ClassVar = frozenset({State.RECORDED})
    command: cmd.ScheduleLocalActivity

    def __init__(self, command: cmd.ScheduleLocalActivity, run: Run) -> None:
        super().__init__(command, State.WAITING_FOR_MARKER if run.replaying else State.REQUESTED)
        self._started_ns = run.now_ns
        self._new_work = not run.replaying
        self._succeeded = False
        if self._new_work:
            run.local.enqueue(self)

    @property
    def activity_id(self) -> str:
        """The user's id, or the sequence number."""
        return self.command.activity_id or str(self.command.seq)

    @property
    def done(self) -> bool:
        return self.state == State.RECORDED

    @property
    def waits_for_marker(self) -> bool:
        """A marker may still answer."""
        return self.state == State.WAITING_FOR_MARKER

    @property
    def has_command(self) -> bool:
        """Its marker is in the command queue, so the event is matched like any other."""
        return self.state == State.MARKER_CREATED

    def stop_waiting_for_marker(self) -> bool:
        """There will be no marker; True when it must be executed now."""
        if self.state != State.WAITING_FOR_MARKER:
            return False
        self.state = State.REQUESTED
        self._new_work = True
        return True

    # --- results ---

    def resolve_executed(self, result: LocalResult, run: Run) -> None:
        """The worker finished it; too late when it was cancelled without waiting."""
        if self.state != State.REQUESTED:
            return
        if result.outcome == Completed(None):
            # A marker can not tell "nothing" from an empty payload: replay must see the same.
            result = msgspec.structs.replace(result, outcome=Completed(common.Payload()))
        self._resolve(result, self._started_ns + result.runtime_ns, run)

    def resolve_cancelled(self, run: Run) -> None:
        """It was cancelled before the worker took it."""
        result = self._cancellation()
        if self.state == State.REQUESTED:
            self._resolve(result, self._started_ns, run)

    def resolve_from_marker(self, marker: LocalActivityMarker, run: Run) -> None:
        """History knows the result."""
        if self.state != State.WAITING_FOR_MARKER:
            raise BadHistory(f"history has two markers of local activity {marker.seq}")
        outcome: Completed | Failed | Cancelled = Completed(marker.result)
        if marker.failure is not None:
            is_cancel = marker.failure.HasField(
                "canceled_failure_info"
            ) or marker.failure.cause.HasField("canceled_failure_info")
            outcome = Cancelled(marker.failure) if is_cancel else Failed(marker.failure)
        result = LocalResult(
            outcome,
            marker.attempt,
            backoff_ns=marker.backoff_ns,
            original_schedule_time_ns=marker.original_schedule_time_ns,
        )
        self._resolve(result, marker.complete_time_ns, run)

    def _cancellation(self) -> LocalResult:
        return LocalResult(
            Cancelled(canceled()),
            self.command.attempt,
            original_schedule_time_ns=self.command.original_schedule_time_ns,
        )

    def _resolve(self, result: LocalResult, complete_time_ns: int | None, run: Run) -> None:
        self.state = State.MARKER_CREATED if self._new_work else State.ANSWERED_BY_MARKER
        self._succeeded = isinstance(result.outcome, Completed)
        run.push_job(ResolveActivity(self.command.seq, self._seen_by_code(result), is_local=True))
        if complete_time_ns is not None:
            run.advance_clock(complete_time_ns)
        if self._new_work:
            run.issue(self, self._marker(result, complete_time_ns, run))

    def _seen_by_code(self, result: LocalResult) -> Resolution:
        if result.backoff_ns is not None:
            return Backoff(result.attempt + 1, result.backoff_ns, result.original_schedule_time_ns)
        outcome = result.outcome
        if isinstance(outcome, Cancelled):
            return Cancelled(local_activity_wrapped(self, outcome.failure))
        if isinstance(outcome, Failed):
            # The official core wraps a time-out when it happens but not on replay; code must see
            # the same both times, so here it is always wrapped.
            return Failed(local_activity_wrapped(self, outcome.failure))
        return outcome

    def _marker(self, result: LocalResult, complete_time_ns: int | None, run: Run) -> RecordMarker:
        outcome = result.outcome
        marker = LocalActivityMarker(
            seq=self.command.seq,
            attempt=result.attempt,
            activity_id=self.activity_id,
            activity_type=self.command.activity_type,
            complete_time_ns=complete_time_ns,
            backoff_ns=result.backoff_ns,
            original_schedule_time_ns=result.original_schedule_time_ns,
            activation_index=run.local.activation_index,
            result=outcome.result if isinstance(outcome, Completed) else None,
        )
        arguments = self.command.arguments if self.command.include_arguments_in_marker else None
        return RecordMarker(
            marker_name=LOCAL_ACTIVITY_MARKER,
            label=self.activity_id,
            marker_details=local_activity_details(marker, arguments),
            failure=None if isinstance(outcome, Completed) else outcome.failure,
            site=self.command.site,
            summary=self.command.summary,
            event_group_markers=self.command.event_group_markers,
        )

    # --- cancellation ---

    def cancel(self, run: Run) -> None:
        """User code cancelled it."""
        kind = self.command.cancellation_type
        if self.state == State.REQUESTED and kind != _WAIT:
            if kind == _TRY:
                run.local.cancel_quietly(self)
            else:
                run.local.finished(self.command.seq)
            self._resolve(self._cancellation(), None, run)
        else:
            run.local.cancel(self, run)

    # --- the marker event ---

    def _recorded(self, event: history.HistoryEvent, host: Host) -> None:
        marker = read_local_activity(event)
        if marker is None or marker.seq != self.command.seq:
            raise NondeterminismFound(Rule.LOCAL_ACTIVITY)
        if self.state == State.MARKER_CREATED and self._succeeded != (marker.failure is None):
            raise NondeterminismFound(Rule.LOCAL_ACTIVITY)
        if host.flags.may_use(Flag.ID_AND_TYPE_CHECKS, record=self._new_work):
            check_marker(marker, self.command)
        self.state = State.RECORDED

    table: ClassVar[Table] = {
        (State.MARKER_CREATED, ev.MARKER_RECORDED): _recorded,
        (State.ANSWERED_BY_MARKER, ev.MARKER_RECORDED): _recorded,
    }
