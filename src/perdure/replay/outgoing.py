"""Commands as they wait to be sent and matched, including those the engine itself adds.

Invariant: building the protobuf command is left to ``to_api`` because most commands of a replay
never leave.

What is not here: entries of the queue (``machines.base.Outgoing``), its order (``run``), and which
event takes which entry (``matching``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from perdure.replay import commands as cmd
from perdure.replay import events as ev

if TYPE_CHECKING:
    from perdure.wire.api import common
    from perdure.wire.api import failure as failures


class CancelActivityTask(cmd.BaseCommand, frozen=True, kw_only=True):
    """Request the cancellation of a scheduled activity."""

    scheduled_event_id: int


class CancelExternal(cmd.BaseCommand, frozen=True, kw_only=True):
    """Request the cancellation of another workflow, with the reason as it will be recorded."""

    namespace: str
    workflow_id: str
    run_id: str
    child_workflow_only: bool
    reason: str


class CancelNexusOperation(cmd.BaseCommand, frozen=True, kw_only=True):
    """Request the cancellation of a scheduled nexus operation."""

    scheduled_event_id: int


class RecordMarker(cmd.BaseCommand, frozen=True, kw_only=True):
    """Record a marker."""

    marker_name: str
    label: str
    marker_details: Mapping[str, common.Payloads]
    failure: failures.Failure | None = None


class SendMessage(cmd.BaseCommand, frozen=True, kw_only=True):
    """Fix the place of a protocol message among the commands."""

    message_id: str
    recorded_as: int


Wirable: TypeAlias = (
    cmd.StartTimer
    | cmd.CancelTimer
    | cmd.ScheduleActivity
    | CancelActivityTask
    | RecordMarker
    | cmd.UpsertSearchAttributes
    | cmd.ModifyProperties
    | cmd.StartChildWorkflow
    | CancelExternal
    | cmd.SignalExternal
    | cmd.ScheduleNexusOperation
    | CancelNexusOperation
    | SendMessage
    | cmd.CompleteWorkflow
    | cmd.FailWorkflow
    | cmd.CancelWorkflowExecution
    | cmd.ContinueAsNew
)
"""Commands that have a protobuf form."""

RECORDED_AS: Final[dict[type, int]] = {
    cmd.StartTimer: ev.TIMER_STARTED,
    cmd.CancelTimer: ev.TIMER_CANCELED,
    cmd.ScheduleActivity: ev.ACTIVITY_TASK_SCHEDULED,
    CancelActivityTask: ev.ACTIVITY_TASK_CANCEL_REQUESTED,
    RecordMarker: ev.MARKER_RECORDED,
    cmd.UpsertSearchAttributes: ev.UPSERT_SEARCH_ATTRIBUTES,
    cmd.ModifyProperties: ev.PROPERTIES_MODIFIED,
    cmd.StartChildWorkflow: ev.CHILD_INITIATED,
    CancelExternal: ev.CANCEL_EXTERNAL_INITIATED,
    cmd.SignalExternal: ev.SIGNAL_EXTERNAL_INITIATED,
    cmd.ScheduleNexusOperation: ev.NEXUS_SCHEDULED,
    CancelNexusOperation: ev.NEXUS_CANCEL_REQUESTED,
    cmd.CompleteWorkflow: ev.WORKFLOW_EXECUTION_COMPLETED,
    cmd.FailWorkflow: ev.WORKFLOW_EXECUTION_FAILED,
    cmd.CancelWorkflowExecution: ev.WORKFLOW_EXECUTION_CANCELED,
    cmd.ContinueAsNew: ev.WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}
"""Command → the type of the event that records it."""

TERMINAL: Final = (
    cmd.CompleteWorkflow,
    cmd.FailWorkflow,
    cmd.CancelWorkflowExecution,
    cmd.ContinueAsNew,
)


def recorded_as(command: Wirable) -> int:
    """Type of the event that ``command`` is recorded as."""
    if isinstance(command, SendMessage):
        return command.recorded_as
    return RECORDED_AS[type(command)]
