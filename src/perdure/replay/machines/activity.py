"""Activities (R-47), with three ways to cancel.

Late events: after TRY_CANCEL the outcome is ignored (user code has its answer), after ABANDON every
event is (finding 3: the official core wedges the run there).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.failures import (
    activity_cancelled,
    activity_failed,
    activity_timed_out,
)
from perdure.replay.flags import Flag
from perdure.replay.jobs import Cancelled, Completed, Failed, Resolution, ResolveActivity
from perdure.replay.machines.base import Host, Machine, Table, check, single_payload

if TYPE_CHECKING:
    from perdure.wire.api import history

_WAIT = cmd.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
_ABANDON = cmd.ActivityCancellationType.ABANDON


class State(enum.IntEnum):
    CREATED = 0
    SCHEDULED = 1
    STARTED = 2
    SCHEDULED_CANCEL_CREATED = 3
    STARTED_CANCEL_CREATED = 4
    SCHEDULED_CANCEL_RECORDED = 5
    STARTED_CANCEL_RECORDED = 6
    CLOSED = 7
    """The closing event was seen."""
    ABANDONED = 8
    """Resolved for user code; the closing event may still come, and is ignored."""
    CANCELED_BEFORE_SENT = 9


class ActivityMachine(Machine):
    __slots__ = ("scheduled_event_id",)

    kind: ClassVar[str] = "activity"
    settled: ClassVar = frozenset({State.CLOSED, State.ABANDONED})
    over: ClassVar = frozenset({State.CLOSED, State.CANCELED_BEFORE_SENT})
    taken_back: ClassVar = State.CANCELED_BEFORE_SENT
    command: cmd.ScheduleActivity

    def __init__(self, command: cmd.ScheduleActivity) -> None:
        super().__init__(command, State.CREATED)
        self.scheduled_event_id = 0

    @property
    def activity_id(self) -> str:
        """The activity's id: the user's, or the sequence number."""
        return self.command.activity_id or str(self.command.seq)

    def cancel(self, command: cmd.RequestCancelActivity, host: Host) -> None:
        """User code cancelled the activity; ignored when it has already ended."""
        if self.state == State.CREATED:
            self.state = State.CANCELED_BEFORE_SENT
            self._resolve(Cancelled(activity_cancelled(self)), host)
        elif self.state in {State.SCHEDULED, State.STARTED}:
            if self.command.cancellation_type == _ABANDON:
                self.state = State.ABANDONED
                self._resolve(Cancelled(activity_cancelled(self)), host)
                return
            self.state = (
                State.SCHEDULED_CANCEL_CREATED
                if self.state == State.SCHEDULED
                else State.STARTED_CANCEL_CREATED
            )
            host.issue(
                self,
                cmd.CancelActivityTask(
                    scheduled_event_id=self.scheduled_event_id,
                    site=command.site,
                    event_group_markers=command.event_group_markers,
                ),
            )
            if self.command.cancellation_type != _WAIT:
                self._resolve(Cancelled(activity_cancelled(self)), host)

    def _resolve(self, result: Resolution, host: Host) -> None:
        host.push_job(ResolveActivity(self.command.seq, result))

    def _scheduled(self, event: history.HistoryEvent, host: Host) -> None:
        if host.may_use(Flag.ID_AND_TYPE_CHECKS):
            attributes = event.activity_task_scheduled_event_attributes
            check("activity id", attributes.activity_id, self.activity_id)
            check("activity type", attributes.activity_type.name, self.command.activity_type)
        self.scheduled_event_id = event.event_id
        self.state = State.SCHEDULED

    def _started(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.STARTED

    def _started_while_cancelling(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.STARTED_CANCEL_RECORDED

    def _cancel_requested(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = (
            State.SCHEDULED_CANCEL_RECORDED
            if self.state == State.SCHEDULED_CANCEL_CREATED
            else State.STARTED_CANCEL_RECORDED
        )

    def _close_unheard(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.CLOSED

    def _close(self, result: Resolution, host: Host) -> None:
        answered = self.state in _CANCEL_RECORDED and self.command.cancellation_type != _WAIT
        self.state = State.CLOSED
        if not answered:
            self._resolve(result, host)

    def _completed(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.activity_task_completed_event_attributes
        result = single_payload(attributes.result, event) if attributes.HasField("result") else None
        self._close(Completed(result), host)

    def _failed(self, event: history.HistoryEvent, host: Host) -> None:
        failure = activity_failed(self, event.activity_task_failed_event_attributes)
        self._close(Failed(failure), host)

    def _timed_out(self, event: history.HistoryEvent, host: Host) -> None:
        failure = activity_timed_out(self, event.activity_task_timed_out_event_attributes)
        self._close(Failed(failure), host)

    def _canceled(self, event: history.HistoryEvent, host: Host) -> None:
        failure = activity_cancelled(self, event.activity_task_canceled_event_attributes)
        self._close(Cancelled(failure), host)

    table: ClassVar[Table] = {
        (State.CREATED, ev.ACTIVITY_TASK_SCHEDULED): _scheduled,
        (State.SCHEDULED, ev.ACTIVITY_TASK_STARTED): _started,
        (State.SCHEDULED, ev.ACTIVITY_TASK_TIMED_OUT): _timed_out,
        (State.STARTED, ev.ACTIVITY_TASK_COMPLETED): _completed,
        (State.STARTED, ev.ACTIVITY_TASK_FAILED): _failed,
        (State.STARTED, ev.ACTIVITY_TASK_TIMED_OUT): _timed_out,
        (State.SCHEDULED_CANCEL_CREATED, ev.ACTIVITY_TASK_CANCEL_REQUESTED): _cancel_requested,
        (State.STARTED_CANCEL_CREATED, ev.ACTIVITY_TASK_CANCEL_REQUESTED): _cancel_requested,
        (State.SCHEDULED_CANCEL_RECORDED, ev.ACTIVITY_TASK_STARTED): _started_while_cancelling,
        (State.SCHEDULED_CANCEL_RECORDED, ev.ACTIVITY_TASK_CANCELED): _canceled,
        (State.SCHEDULED_CANCEL_RECORDED, ev.ACTIVITY_TASK_TIMED_OUT): _timed_out,
        (State.STARTED_CANCEL_RECORDED, ev.ACTIVITY_TASK_COMPLETED): _completed,
        (State.STARTED_CANCEL_RECORDED, ev.ACTIVITY_TASK_FAILED): _failed,
        (State.STARTED_CANCEL_RECORDED, ev.ACTIVITY_TASK_TIMED_OUT): _timed_out,
        (State.STARTED_CANCEL_RECORDED, ev.ACTIVITY_TASK_CANCELED): _canceled,
        (State.ABANDONED, ev.ACTIVITY_TASK_COMPLETED): _close_unheard,
        (State.ABANDONED, ev.ACTIVITY_TASK_FAILED): _close_unheard,
        (State.ABANDONED, ev.ACTIVITY_TASK_TIMED_OUT): _close_unheard,
        (State.ABANDONED, ev.ACTIVITY_TASK_CANCELED): _close_unheard,
    }


_CANCEL_RECORDED = frozenset({State.SCHEDULED_CANCEL_RECORDED, State.STARTED_CANCEL_RECORDED})
