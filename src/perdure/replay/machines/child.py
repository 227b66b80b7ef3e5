"""Child workflows (R-47): a start that may fail, then an outcome, and four ways to cancel."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.failures import canceled, child_failure, terminated, timed_out
from perdure.replay.flags import Flag
from perdure.replay.jobs import (
    Cancelled,
    ChildOutcome,
    ChildStarted,
    ChildStartFailed,
    ChildStartOutcome,
    Completed,
    Failed,
    ResolveChild,
    ResolveChildStart,
)
from perdure.replay.machines.base import Host, Machine, Table, check, single_payload
from perdure.replay.machines.external import CancelExternalMachine

if TYPE_CHECKING:
    from perdure.wire.api import enums, history
    from perdure.wire.api import failure as failures

_IMMEDIATE = frozenset(
    {cmd.ChildWorkflowCancellationType.ABANDON, cmd.ChildWorkflowCancellationType.TRY_CANCEL}
)


class State(enum.IntEnum):
    CREATED = 0
    INITIATED = 1
    STARTED = 2
    CLOSED = 3
    ABANDONED = 4
    """Resolved for user code by a cancellation; whatever the child does later is ignored."""
    CANCELED_BEFORE_SENT = 5


class ChildWorkflowMachine(Machine):
    __slots__ = ("initiated_event_id", "run_id", "started_event_id")

    kind: ClassVar[str] = "child workflow"
    settled: ClassVar = frozenset({State.CLOSED, State.ABANDONED})
    over: ClassVar = frozenset({State.CLOSED, State.CANCELED_BEFORE_SENT})
    taken_back: ClassVar = State.CANCELED_BEFORE_SENT
    command: cmd.StartChildWorkflow

    def __init__(self, command: cmd.StartChildWorkflow) -> None:
        super().__init__(command, State.CREATED)
        self.run_id = ""
        self.initiated_event_id = 0
        self.started_event_id = 0

    def cancel(self, command: cmd.CancelChildWorkflow, host: Host) -> None:
        """User code cancelled the child; ignored when it has already ended."""
        if self.state == State.CREATED:
            self.state = State.CANCELED_BEFORE_SENT
            message = f"Child Workflow Execution cancelled before scheduled: {command.reason}"
            self._resolve_start(Cancelled(child_failure(self, message, canceled())), host)
        elif self.state in {State.INITIATED, State.STARTED}:
            if self.command.cancellation_type != cmd.ChildWorkflowCancellationType.ABANDON:
                request = cmd.RequestCancelExternal(
                    seq=None,
                    namespace=self.command.namespace,
                    workflow_id=self.command.workflow_id,
                    run_id=self.run_id,
                    child_workflow_only=True,
                    reason=command.reason,
                    site=command.site,
                    event_group_markers=command.event_group_markers,
                )
                host.issue(CancelExternalMachine(request), request)
            if self.command.cancellation_type in _IMMEDIATE:
                self.state = State.ABANDONED
                self._resolve(self._cancelled(), host)

    def _cancelled(self) -> Cancelled:
        return Cancelled(child_failure(self, "Child Workflow execution cancelled", canceled()))

    def _resolve_start(self, outcome: ChildStartOutcome, host: Host) -> None:
        host.push_job(ResolveChildStart(self.command.seq, outcome))

    def _resolve(self, result: ChildOutcome, host: Host) -> None:
        host.push_job(ResolveChild(self.command.seq, result))

    def _initiated(self, event: history.HistoryEvent, host: Host) -> None:
        if host.may_use(Flag.ID_AND_TYPE_CHECKS):
            attributes = event.start_child_workflow_execution_initiated_event_attributes
            check("child workflow id", attributes.workflow_id, self.command.workflow_id)
            check("child workflow type", attributes.workflow_type.name, self.command.workflow_type)
        self.initiated_event_id = event.event_id
        self.state = State.INITIATED

    def _start_failed(self, event: history.HistoryEvent, host: Host) -> None:
        cause = event.start_child_workflow_execution_failed_event_attributes.cause
        self.state = State.CLOSED
        command = self.command
        self._resolve_start(
            ChildStartFailed(command.workflow_id, command.workflow_type, cause), host
        )

    def _started(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.child_workflow_execution_started_event_attributes
        self.run_id = attributes.workflow_execution.run_id
        self.started_event_id = event.event_id
        self.state = State.STARTED
        self._resolve_start(ChildStarted(self.run_id), host)

    def _completed(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.child_workflow_execution_completed_event_attributes
        result = single_payload(attributes.result, event) if attributes.HasField("result") else None
        self.state = State.CLOSED
        self._resolve(Completed(result), host)

    def _failed(self, event: history.HistoryEvent, host: Host) -> None:
        attributes = event.child_workflow_execution_failed_event_attributes
        cause = attributes.failure if attributes.HasField("failure") else None
        self._fail("Child Workflow execution failed", cause, host, attributes.retry_state)

    def _timed_out(self, event: history.HistoryEvent, host: Host) -> None:
        retry_state = event.child_workflow_execution_timed_out_event_attributes.retry_state
        self._fail("Child Workflow execution timed out", timed_out(), host, retry_state)

    def _terminated(self, _event: history.HistoryEvent, host: Host) -> None:
        self.state = State.CLOSED
        failure = child_failure(self, "Child Workflow execution terminated", terminated())
        self._resolve(Failed(failure), host)

    def _fail(
        self,
        message: str,
        cause: failures.Failure | None,
        host: Host,
        retry_state: enums.RetryState.ValueType,
    ) -> None:
        self.state = State.CLOSED
        self._resolve(Failed(child_failure(self, message, cause, retry_state)), host)

    def _canceled(self, _event: history.HistoryEvent, host: Host) -> None:
        self.state = State.CLOSED
        self._resolve(self._cancelled(), host)

    def _close_unheard(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.CLOSED

    table: ClassVar[Table] = {
        (State.CREATED, ev.CHILD_INITIATED): _initiated,
        (State.INITIATED, ev.CHILD_STARTED): _started,
        (State.INITIATED, ev.CHILD_START_FAILED): _start_failed,
        (State.STARTED, ev.CHILD_COMPLETED): _completed,
        (State.STARTED, ev.CHILD_FAILED): _failed,
        (State.STARTED, ev.CHILD_TIMED_OUT): _timed_out,
        (State.STARTED, ev.CHILD_CANCELED): _canceled,
        (State.STARTED, ev.CHILD_TERMINATED): _terminated,
        (State.ABANDONED, ev.CHILD_START_FAILED): _close_unheard,
        (State.ABANDONED, ev.CHILD_COMPLETED): _close_unheard,
        (State.ABANDONED, ev.CHILD_FAILED): _close_unheard,
        (State.ABANDONED, ev.CHILD_TIMED_OUT): _close_unheard,
        (State.ABANDONED, ev.CHILD_CANCELED): _close_unheard,
        (State.ABANDONED, ev.CHILD_TERMINATED): _close_unheard,
    }
