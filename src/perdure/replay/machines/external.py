"""Signals and cancel requests to other workflows (R-47)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar, Final

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.failures import application, canceled
from perdure.replay.jobs import ResolveCancelExternal, ResolveSignalExternal
from perdure.replay.machines.base import Host, Machine, Table
from perdure.wire.api import enums

if TYPE_CHECKING:
    from perdure.wire.api import history

_Signal = enums.SignalExternalWorkflowExecutionFailedCause
_Cancel = enums.CancelExternalWorkflowExecutionFailedCause

_SIGNAL_REASONS: Final[dict[int, tuple[str, str]]] = {
    _Signal.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND: (
        "it was not found",
        "ExternalWorkflowExecutionNotFound",
    ),
    _Signal.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND: (
        "it was not found",
        "NamespaceNotFound",
    ),
    _Signal.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED: (
        "The per-workflow signal limit was exceeded",
        "SignalCountLimitExceeded",
    ),
}
_CANCEL_REASONS: Final[dict[int, tuple[str, str]]] = {
    _Cancel.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND: (
        "not found",
        "ExternalWorkflowExecutionNotFound",
    ),
    _Cancel.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND: (
        "not found",
        "NamespaceNotFound",
    ),
}
_UNKNOWN: Final = ("unknown", "Unspecified")


class State(enum.IntEnum):
    CREATED = 0
    INITIATED = 1
    CLOSED = 2
    CANCELED_BEFORE_SENT = 3


class SignalExternalMachine(Machine):
    __slots__ = ()

    kind: ClassVar[str] = "signal to another workflow"
    settled: ClassVar = frozenset({State.CLOSED})
    over: ClassVar = frozenset({State.CLOSED, State.CANCELED_BEFORE_SENT})
    taken_back: ClassVar = State.CANCELED_BEFORE_SENT
    command: cmd.SignalExternal

    def __init__(self, command: cmd.SignalExternal) -> None:
        super().__init__(command, State.CREATED)

    def cancel(self, _command: cmd.CancelSignalExternal, host: Host) -> None:
        """Take the signal back; once sent it cannot be."""
        if self.state == State.CREATED:
            self.state = State.CANCELED_BEFORE_SENT
            failure = canceled()
            failure.message = "Signal was cancelled before being sent"
            host.push_job(ResolveSignalExternal(self.command.seq, failure))

    def _initiated(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.INITIATED

    def _signaled(self, _event: history.HistoryEvent, host: Host) -> None:
        self.state = State.CLOSED
        host.push_job(ResolveSignalExternal(self.command.seq, None))

    def _failed(self, event: history.HistoryEvent, host: Host) -> None:
        cause = event.signal_external_workflow_execution_failed_event_attributes.cause
        reason, name = _SIGNAL_REASONS.get(cause, _UNKNOWN)
        self.state = State.CLOSED
        failure = application(f"Unable to signal external workflow because {reason}", name)
        host.push_job(ResolveSignalExternal(self.command.seq, failure, cause))

    table: ClassVar[Table] = {
        (State.CREATED, ev.SIGNAL_EXTERNAL_INITIATED): _initiated,
        (State.INITIATED, ev.EXTERNAL_SIGNALED): _signaled,
        (State.INITIATED, ev.SIGNAL_EXTERNAL_FAILED): _failed,
    }


class CancelExternalMachine(Machine):
    __slots__ = ()

    kind: ClassVar[str] = "cancel request to another workflow"
    settled: ClassVar = frozenset({State.CLOSED})
    over: ClassVar = frozenset({State.CLOSED})

    command: cmd.RequestCancelExternal

    def __init__(self, command: cmd.RequestCancelExternal) -> None:
        super().__init__(command, State.CREATED)

    def _initiated(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.INITIATED

    def _requested(self, _event: history.HistoryEvent, host: Host) -> None:
        self.state = State.CLOSED
        if self.command.seq is not None:
            host.push_job(ResolveCancelExternal(self.command.seq, None))

    def _failed(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.request_cancel_external_workflow_execution_failed_event_attributes
        reason, name = _CANCEL_REASONS.get(attributes.cause, _UNKNOWN)
        self.state = State.CLOSED
        if self.command.seq is not None:
            failure = application(f"Unable to cancel external workflow because {reason}", name)
            host.push_job(ResolveCancelExternal(self.command.seq, failure, attributes.cause))

    table: ClassVar[Table] = {
        (State.CREATED, ev.CANCEL_EXTERNAL_INITIATED): _initiated,
        (State.INITIATED, ev.EXTERNAL_CANCEL_REQUESTED): _requested,
        (State.INITIATED, ev.CANCEL_EXTERNAL_FAILED): _failed,
    }
