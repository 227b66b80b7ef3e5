"""Local activities: run inside a workflow task, remembered by a marker (R-48).

While executing, the worker is asked to run them (`take_requests`) and reports back; while
replaying, results come from markers found ahead, each held back until the activation in which it
was delivered originally (`activation_index`; markers without one come in batches, as they did).

Invariants: a result is delivered once; nothing runs while a marker may still answer for it.

What is not here: running them, their retries and time-outs (the worker).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Protocol

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
from perdure.replay.local import (
    LOCAL_ACTIVITY_KIND,
    LocalActivityCancel,
    LocalActivityRequest,
    LocalRequest,
    LocalResult,
)
from perdure.replay.machines.base import Host, Machine, Table, check
from perdure.replay.markers import (
    LOCAL_ACTIVITY_MARKER,
    LocalActivityMarker,
    local_activity_details,
    read_local_activity,
)
from perdure.replay.mismatch import BadHistory, NondeterminismFound, Rule
from perdure.wire.api import common

if TYPE_CHECKING:
    from perdure.replay.jobs import Job
    from perdure.replay.operations import Operations
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


class LocalHost(Host, Protocol):
    """What local activities ask of their run besides what every machine may ask."""

    replaying: bool
    now_ns: int
    jobs: list[Job]
    operations: Operations
    local: LocalActivities

    def advance_clock(self, time_ns: int) -> None:
        """Workflow time moves on, never back."""
        ...


class LocalActivityMachine(Machine):
    """One local activity: executed and then recorded, or answered by a marker."""

    __slots__ = ("_new_work", "_started_ns", "_succeeded")

    kind: ClassVar[str] = LOCAL_ACTIVITY_KIND
    settled: ClassVar = frozenset({State.RECORDED})
    over: ClassVar = frozenset({State.RECORDED})
    command: cmd.ScheduleLocalActivity

    def __init__(self, command: cmd.ScheduleLocalActivity, run: LocalHost) -> None:
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

    # ── results ───────────────────────────────────────────────────────────────────────────────────

    def resolve_executed(self, result: LocalResult, run: LocalHost) -> None:
        """The worker finished it; too late when it was cancelled without waiting."""
        if self.state != State.REQUESTED:
            return
        if result.outcome == Completed(None):
            # A marker cannot tell "nothing" from an empty payload: replay must see the same.
            result = msgspec.structs.replace(result, outcome=Completed(common.Payload()))
        self._resolve(result, self._started_ns + result.runtime_ns, run)

    def resolve_cancelled(self, run: LocalHost) -> None:
        """It was cancelled before the worker took it."""
        result = self._cancellation()
        if self.state == State.REQUESTED:
            self._resolve(result, self._started_ns, run)

    def resolve_from_marker(self, marker: LocalActivityMarker, run: LocalHost) -> None:
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

    def _resolve(self, result: LocalResult, complete_time_ns: int | None, run: LocalHost) -> None:
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

    def _marker(
        self, result: LocalResult, complete_time_ns: int | None, run: LocalHost
    ) -> cmd.RecordMarker:
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
        return cmd.RecordMarker(
            marker_name=LOCAL_ACTIVITY_MARKER,
            label=self.activity_id,
            marker_details=local_activity_details(marker, arguments),
            failure=None if isinstance(outcome, Completed) else outcome.failure,
            site=self.command.site,
            summary=self.command.summary,
            event_group_markers=self.command.event_group_markers,
        )

    # ── cancellation ──────────────────────────────────────────────────────────────────────────────

    def cancel(self, _command: cmd.RequestCancelLocalActivity, run: LocalHost) -> None:
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

    # ── the marker event ──────────────────────────────────────────────────────────────────────────

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


class LocalActivities:
    """The local activities of one run that are not over."""

    __slots__ = ("_ahead", "_cancels", "_requests", "_running", "activation_index", "terminating")

    def __init__(self) -> None:
        self._ahead: list[LocalActivityMarker] = []
        self._requests: list[LocalActivityMachine] = []
        self._cancels: list[int] = []
        self._running: frozenset[int] = frozenset()
        self.activation_index = 0
        """Position of the next activation within its workflow task."""
        self.terminating = False
        """The workflow has ended: nothing is worth running or waiting for."""

    @property
    def outstanding(self) -> bool:
        """Whether the workflow task must wait for a result."""
        return not self.terminating and bool(self._running or self._requests)

    # ── execution ─────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, machine: LocalActivityMachine) -> None:
        """Ask the worker to run it."""
        self._requests.append(machine)

    def take_requests(self) -> list[LocalRequest]:
        """What the worker must do now."""
        if self.terminating:
            cancels: Iterable[int] = sorted(self._running)
            self._requests.clear()
            self._running = frozenset()
        else:
            cancels = self._cancels
        requests: list[LocalRequest] = [LocalActivityCancel(seq) for seq in cancels]
        requests += [LocalActivityRequest(machine.command) for machine in self._requests]
        self._running = self._running.union(machine.command.seq for machine in self._requests)
        self._requests, self._cancels = [], []
        return requests

    def finished(self, seq: int) -> None:
        """It no longer runs, or no code waits for it."""
        self._requests = [machine for machine in self._requests if machine.command.seq != seq]
        self._running -= {seq}

    def cancel(self, machine: LocalActivityMachine, run: LocalHost) -> None:
        """User code cancelled it: a marker may answer, else the queue, else the worker."""
        seq = machine.command.seq
        known = next((marker for marker in self._ahead if marker.seq == seq), None)
        if known is not None:
            if not self._is_early(known):
                self._ahead.remove(known)
                machine.resolve_from_marker(known, run)
        elif machine in self._requests:
            self._requests.remove(machine)
            machine.resolve_cancelled(run)
        elif seq in self._running:
            self._cancels.append(seq)

    def cancel_quietly(self, machine: LocalActivityMachine) -> None:
        """It is already resolved for user code: just stop it, wherever it is."""
        if machine in self._requests:
            self._requests.remove(machine)
        elif machine.command.seq in self._running:
            self._cancels.append(machine.command.seq)

    def execute_unrecorded(self, run: LocalHost) -> None:
        """A new task began: what still waits for a marker will get none, so it must run."""
        for machine in run.operations.of_kind(LOCAL_ACTIVITY_KIND):
            if machine.stop_waiting_for_marker():
                self.enqueue(machine)

    # ── replay ────────────────────────────────────────────────────────────────────────────────────

    def remember_marker(self, run: LocalHost, event: history.HistoryEvent) -> None:
        """Look-ahead found a marker in the next sequence."""
        marker = read_local_activity(event)
        if marker is None:
            raise BadHistory("a local activity's marker cannot be read", event.event_id)
        machine = run.operations.find_quietly(LOCAL_ACTIVITY_KIND, marker.seq)
        if machine is None or machine.waits_for_marker:
            self._ahead.append(marker)
            self.deliver(run)

    def _is_early(self, marker: LocalActivityMarker) -> bool:
        index = marker.activation_index
        return index is not None and index > self.activation_index

    def deliver(self, run: LocalHost) -> None:
        """Resolve from markers, in their order, as far as user code and the activations have got."""
        while self._ahead and not self._is_early(self._ahead[0]):
            machine = run.operations.find_quietly(LOCAL_ACTIVITY_KIND, self._ahead[0].seq)
            if machine is None:
                return
            machine.resolve_from_marker(self._ahead.pop(0), run)

    def release_if_idle(self, run: LocalHost) -> None:
        """Without further jobs, the next activation is the one that first delivered a result that is held back.

        An activation that only brought an update which was then rejected left nothing in the
        history, so replay has fewer activations than there were. Results that came in different
        activations stay apart all the same: code that waits for the first of several sees one.
        """
        if self._ahead and not run.jobs:
            if self._is_early(self._ahead[0]):
                self.activation_index = self._ahead[0].activation_index or 0
            self.deliver(run)

    def consume_marker(self, run: LocalHost, event: history.HistoryEvent) -> bool:
        """A marker event whose result was delivered ahead is only checked; True when it was."""
        marker = read_local_activity(event)
        if marker is None:
            raise BadHistory("a local activity's marker cannot be read", event.event_id)
        machine = run.operations.find_quietly(LOCAL_ACTIVITY_KIND, marker.seq)
        if machine is None:
            raise NondeterminismFound(Rule.LOCAL_ACTIVITY)
        if machine.has_command:
            return False
        machine.on_event(event, run)
        run.operations.forget(machine)
        return True


def check_marker(marker: LocalActivityMarker, command: cmd.ScheduleLocalActivity) -> None:
    """Id and type must be those of the code (flag 1 is checked by the caller)."""
    check("local activity id", marker.activity_id, command.activity_id or str(command.seq))
    check("local activity type", marker.activity_type, command.activity_type)
