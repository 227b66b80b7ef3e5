"""Local activities: run inside a workflow task, remembered by a marker (§1.8).

While executing, the worker is asked to run them (``take_requests``) and reports back; while
replaying, results come from markers found ahead, each held back until the activation in which it
was delivered originally (``activation_index``; markers without one come in batches, as they did).

Invariants: a result is delivered once; nothing runs while a marker may still answer for it.

What is not here: running them, their retries and time-outs (the worker), and the machine of one
(``machines.local_activity``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from perdure.replay import commands as cmd
from perdure.replay.jobs import Cancelled, Completed, Failed
from perdure.replay.machines.base import check
from perdure.replay.markers import LocalActivityMarker, read_local_activity
from perdure.replay.mismatch import BadHistory, NondeterminismFound, Rule

if TYPE_CHECKING:
    from perdure.replay.machines.local_activity import LocalActivityMachine
    from perdure.replay.run import Run
    from perdure.wire.api import history

LOCAL_ACTIVITY_KIND = "local activity"


class LocalActivityRequest(msgspec.Struct, frozen=True):
    """Run this local activity and call ``WorkflowReplay.local_result`` with ``command.seq``."""

    command: cmd.ScheduleLocalActivity


class LocalActivityCancel(msgspec.Struct, frozen=True):
    """Cancel the running local activity ``seq``; its result may still come."""

    seq: int


class LocalResult(msgspec.Struct, frozen=True):
    """How a local activity ended, as the worker saw it.

    ``backoff_ns`` is set when it must be tried again after longer than the local retry threshold:
    workflow code then sleeps durably. ``runtime_ns`` moves workflow time on.
    """

    outcome: Completed | Failed | Cancelled
    attempt: int = 1
    runtime_ns: int = 0
    backoff_ns: int | None = None
    original_schedule_time_ns: int | None = None


LocalRequest: TypeAlias = LocalActivityRequest | LocalActivityCancel


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

    # --- execution ---

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
        """It runs no longer, or nobody waits for it."""
        self._requests = [machine for machine in self._requests if machine.command.seq != seq]
        self._running -= {seq}

    def cancel(self, machine: LocalActivityMachine, run: Run) -> None:
        """User code cancelled it: a marker may answer, else the queue, else the worker."""
        seq = machine.command.seq
        known = next((marker for marker in self._ahead if marker.seq == seq), None)
        if known is not None:
            if not self._held(known):
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

    def execute_unrecorded(self, run: Run) -> None:
        """A new task began: what still waits for a marker will get none, so it must run."""
        for machine in run.operations.of_kind(LOCAL_ACTIVITY_KIND):
            if machine.stop_waiting_for_marker():
                self.enqueue(machine)

    # --- replay ---

    def remember_marker(self, run: Run, event: history.HistoryEvent) -> None:
        """Look-ahead found a marker in the next sequence."""
        marker = read_local_activity(event)
        if marker is None:
            raise BadHistory("a local activity's marker can not be read", event.event_id)
        machine = run.operations.find_quietly(LOCAL_ACTIVITY_KIND, marker.seq)
        if machine is None or machine.waits_for_marker:
            self._ahead.append(marker)
            self.deliver(run, include_held=False)

    def _held(self, marker: LocalActivityMarker) -> bool:
        index = marker.activation_index
        return index is not None and index > self.activation_index

    def deliver(self, run: Run, *, include_held: bool) -> None:
        """Resolve from markers, in their order, as far as user code has got."""
        while self._ahead and (include_held or not self._held(self._ahead[0])):
            machine = run.operations.find_quietly(LOCAL_ACTIVITY_KIND, self._ahead[0].seq)
            if machine is None:
                return
            machine.resolve_from_marker(self._ahead.pop(0), run)

    def release_if_idle(self, run: Run) -> None:
        """Without further jobs there is no later activation to hold results back for."""
        if self._ahead and not run.jobs:
            self.deliver(run, include_held=True)

    def consume_marker(self, run: Run, event: history.HistoryEvent) -> bool:
        """A marker event whose result was delivered ahead is only checked; True when it was."""
        marker = read_local_activity(event)
        if marker is None:
            raise BadHistory("a local activity's marker can not be read", event.event_id)
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
