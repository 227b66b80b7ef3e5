"""Nexus operations (R-47): a start that may already be the end, an outcome, four ways to cancel.

As in the official engine, cancelling an operation that has not been reported as started resolves it
for user code and lets later events resolve it again: user code has no handle any more and ignores
them (R-14).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.failures import canceled, nexus_failure
from perdure.replay.flags import Flag
from perdure.replay.jobs import (
    Cancelled,
    Completed,
    Failed,
    NexusOutcome,
    NexusStarted,
    NexusStartOutcome,
    ResolveNexusOperation,
    ResolveNexusOperationStart,
)
from perdure.replay.machines.base import Host, Machine, Table, check
from perdure.wire.api import common
from perdure.wire.api import failure as failures

if TYPE_CHECKING:
    from perdure.wire.api import history

_Cancel = cmd.NexusOperationCancellationType
_IMMEDIATE = frozenset({_Cancel.ABANDON, _Cancel.TRY_CANCEL})


class State(enum.IntEnum):
    CREATED = 0
    SCHEDULED = 1
    STARTED = 2
    CLOSED = 3
    ABANDONED = 4
    """Resolved for user code by a cancellation; whatever comes later is ignored."""
    CANCELED_BEFORE_SENT = 5


class NexusOperationMachine(Machine):
    __slots__ = ("_cancel_sent", "operation_token", "scheduled_event_id")

    kind: ClassVar[str] = "nexus operation"
    settled: ClassVar = frozenset({State.CLOSED, State.ABANDONED})
    taken_back: ClassVar = State.CANCELED_BEFORE_SENT
    command: cmd.ScheduleNexusOperation

    def __init__(self, command: cmd.ScheduleNexusOperation) -> None:
        super().__init__(command, State.CREATED)
        self.scheduled_event_id = 0
        self.operation_token = ""
        self._cancel_sent = False

    @property
    def done(self) -> bool:
        # The fate of a cancel request may be reported after the operation itself has ended.
        return self.state == State.CLOSED and not self._cancel_sent

    def matches(self, event: history.HistoryEvent) -> bool:
        if event.event_type == ev.NEXUS_CANCEL_REQUESTED:
            return self._cancel_sent
        return super().matches(event)

    def on_event(self, event: history.HistoryEvent, host: Host) -> None:
        if event.event_type != ev.NEXUS_CANCEL_REQUESTED:
            super().on_event(event, host)

    def cancel(self, command: cmd.RequestCancelNexusOperation, host: Host) -> None:
        """User code cancelled the operation; ignored when it has ended or was cancelled before."""
        if self.state == State.CREATED:
            self.state = State.CANCELED_BEFORE_SENT
            failure = nexus_failure(self, "Nexus Operation cancelled before scheduled", canceled())
            self._resolve_start(Failed(failure), host)
        elif self.state in {State.SCHEDULED, State.STARTED} and not self._cancel_sent:
            self._cancel_sent = True
            if self.command.cancellation_type != _Cancel.ABANDON:
                host.issue(
                    self,
                    cmd.CancelNexusOperation(
                        scheduled_event_id=self.scheduled_event_id,
                        site=command.site,
                        event_group_markers=command.event_group_markers,
                    ),
                )
            if self.command.cancellation_type in _IMMEDIATE:
                if self.state == State.STARTED:
                    self.state = State.ABANDONED
                message = "Nexus operation cancelled after starting"
                self._resolve(Cancelled(nexus_failure(self, message, canceled())), host)

    def _resolve_start(self, outcome: NexusStartOutcome, host: Host) -> None:
        host.push_job(ResolveNexusOperationStart(self.command.seq, outcome))

    def _resolve(self, result: NexusOutcome, host: Host) -> None:
        host.push_job(ResolveNexusOperation(self.command.seq, result))

    def _scheduled(self, event: history.HistoryEvent, host: Host) -> None:
        if host.may_use(Flag.NEXUS_OPERATION_CHECKS):
            attributes = event.nexus_operation_scheduled_event_attributes
            check("nexus service", attributes.service, self.command.service)
            check("nexus operation", attributes.operation, self.command.operation)
        self.scheduled_event_id = event.event_id
        self.state = State.SCHEDULED

    def _started(self, event: history.HistoryEvent, host: Host) -> None:
        self.operation_token = event.nexus_operation_started_event_attributes.operation_token
        self.state = State.STARTED
        self._resolve_start(NexusStarted(self.operation_token), host)

    def _completed(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.nexus_operation_completed_event_attributes
        if self.state == State.SCHEDULED:
            self._resolve_start(NexusStarted(None), host)
        self.state = State.CLOSED
        result = attributes.result if attributes.HasField("result") else common.Payload()
        self._resolve(Completed(result), host)

    def _failed(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.nexus_operation_failed_event_attributes
        known = attributes.failure if attributes.HasField("failure") else None
        self._fail(known, "Nexus operation failed", host)

    def _timed_out(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.nexus_operation_timed_out_event_attributes
        known = attributes.failure if attributes.HasField("failure") else None
        self._fail(known, "Nexus operation timed out", host)

    def _fail(self, known: failures.Failure | None, what: str, host: Host) -> None:
        failure = Failed(known if known is not None else _unpopulated(what))
        before_start = self.state == State.SCHEDULED
        self.state = State.CLOSED
        if before_start:
            self._resolve_start(failure, host)
        else:
            self._resolve(failure, host)

    def _canceled(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.nexus_operation_canceled_event_attributes
        failure = _unpopulated("Nexus operation was cancelled")
        if attributes.HasField("failure"):
            failure = attributes.failure
        before_start = self.state == State.SCHEDULED
        self.state = State.CLOSED
        if before_start:
            self._resolve_start(Failed(failure), host)
        else:
            self._resolve(Cancelled(failure), host)

    def _cancel_delivered(self, _event: history.HistoryEvent, host: Host) -> None:
        if self.command.cancellation_type == _Cancel.WAIT_CANCELLATION_REQUESTED:
            self.state = State.ABANDONED
            message = "Nexus operation cancellation request completed"
            self._resolve(Cancelled(nexus_failure(self, message, canceled())), host)

    def _cancel_failed(self, event: history.HistoryEvent, host: Host) -> None:
        if self.command.cancellation_type == _Cancel.WAIT_CANCELLATION_REQUESTED:
            attributes = event.nexus_operation_cancel_request_failed_event_attributes
            message = "Nexus operation cancellation request failed"
            cause = failures.Failure(message=message)
            if attributes.HasField("failure"):
                cause = attributes.failure
            self._resolve(Failed(nexus_failure(self, message, cause)), host)

    table: ClassVar[Table] = {
        (State.CREATED, ev.NEXUS_SCHEDULED): _scheduled,
        (State.SCHEDULED, ev.NEXUS_STARTED): _started,
        (State.SCHEDULED, ev.NEXUS_COMPLETED): _completed,
        (State.SCHEDULED, ev.NEXUS_FAILED): _failed,
        (State.SCHEDULED, ev.NEXUS_CANCELED): _canceled,
        (State.SCHEDULED, ev.NEXUS_TIMED_OUT): _timed_out,
        (State.STARTED, ev.NEXUS_COMPLETED): _completed,
        (State.STARTED, ev.NEXUS_FAILED): _failed,
        (State.STARTED, ev.NEXUS_CANCELED): _canceled,
        (State.STARTED, ev.NEXUS_TIMED_OUT): _timed_out,
        (State.STARTED, ev.NEXUS_CANCEL_REQUEST_COMPLETED): _cancel_delivered,
        (State.STARTED, ev.NEXUS_CANCEL_REQUEST_FAILED): _cancel_failed,
    }


def _unpopulated(what: str) -> failures.Failure:
    return failures.Failure(message=f"{what} but failure field was not populated")
