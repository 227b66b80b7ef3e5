"""The operation table: one row for each kind of command, and what the engine looks up in it.

A row says how a command of an activation is processed, which machine it creates or changes, which event records it, how
it is sent, and which jobs report its outcome to workflow code. A new kind of operation is a struct in
`commands`, a machine in `machines` with its jobs, a form in `to_api`, and a row here.

Invariant: a command has an event that records it if and only if it has a protobuf form.

What is not here: what happens in each step (`intake`, `machines`, `to_api`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay import intake, to_api
from perdure.replay.intake import Operation
from perdure.replay.jobs import (
    FireTimer,
    ResolveActivity,
    ResolveCancelExternal,
    ResolveChild,
    ResolveChildStart,
    ResolveNexusOperation,
    ResolveNexusOperationStart,
    ResolveSignalExternal,
)
from perdure.replay.machines.activity import ActivityMachine
from perdure.replay.machines.child import ChildWorkflowMachine
from perdure.replay.machines.external import CancelExternalMachine, SignalExternalMachine
from perdure.replay.machines.local_activity import LocalActivityMachine
from perdure.replay.machines.nexus import NexusOperationMachine
from perdure.replay.machines.simple import FireAndForgetMachine, PatchMachine
from perdure.replay.machines.timer import TimerMachine
from perdure.replay.machines.update import UpdateMachine
from perdure.replay.mismatch import BadHistory

if TYPE_CHECKING:
    from perdure.replay.run import Run
    from perdure.replay.task import RunInfo
    from perdure.wire.api import command as api

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        cmd.StartTimer,
        take=intake.start,
        machine=TimerMachine,
        recorded_as=ev.TIMER_STARTED,
        attributes=to_api.start_timer,
        jobs=(FireTimer,),
    ),
    Operation(
        cmd.CancelTimer,
        take=intake.cancel,
        machine=TimerMachine,
        recorded_as=ev.TIMER_CANCELED,
        attributes=to_api.cancel_timer,
    ),
    Operation(
        cmd.ScheduleActivity,
        take=intake.start,
        machine=ActivityMachine,
        recorded_as=ev.ACTIVITY_TASK_SCHEDULED,
        attributes=to_api.schedule_activity,
        jobs=(ResolveActivity,),
    ),
    Operation(cmd.RequestCancelActivity, take=intake.cancel, machine=ActivityMachine),
    Operation(
        cmd.CancelActivityTask,
        machine=ActivityMachine,
        recorded_as=ev.ACTIVITY_TASK_CANCEL_REQUESTED,
        attributes=to_api.cancel_activity,
    ),
    Operation(
        cmd.ScheduleLocalActivity,
        take=intake.start_local,
        machine=LocalActivityMachine,
        jobs=(ResolveActivity,),
    ),
    Operation(cmd.RequestCancelLocalActivity, take=intake.cancel, machine=LocalActivityMachine),
    Operation(cmd.RecordMarker, recorded_as=ev.MARKER_RECORDED, attributes=to_api.record_marker),
    Operation(cmd.SetPatchMarker, take=intake.set_patch, machine=PatchMachine),
    Operation(
        cmd.UpsertSearchAttributes,
        take=intake.upsert_search_attributes,
        machine=FireAndForgetMachine,
        recorded_as=ev.UPSERT_SEARCH_ATTRIBUTES,
        attributes=to_api.upsert_search_attributes,
    ),
    Operation(
        cmd.ModifyProperties,
        take=intake.fire_and_forget,
        machine=FireAndForgetMachine,
        recorded_as=ev.PROPERTIES_MODIFIED,
        attributes=to_api.modify_properties,
    ),
    Operation(
        cmd.StartChildWorkflow,
        take=intake.start,
        machine=ChildWorkflowMachine,
        recorded_as=ev.CHILD_INITIATED,
        attributes=to_api.start_child,
        jobs=(ResolveChildStart, ResolveChild),
    ),
    Operation(cmd.CancelChildWorkflow, take=intake.cancel, machine=ChildWorkflowMachine),
    Operation(
        cmd.SignalExternal,
        take=intake.start,
        machine=SignalExternalMachine,
        recorded_as=ev.SIGNAL_EXTERNAL_INITIATED,
        attributes=to_api.signal_external,
        jobs=(ResolveSignalExternal,),
    ),
    Operation(cmd.CancelSignalExternal, take=intake.cancel, machine=SignalExternalMachine),
    Operation(
        cmd.RequestCancelExternal,
        take=intake.cancel_external,
        machine=CancelExternalMachine,
        recorded_as=ev.CANCEL_EXTERNAL_INITIATED,
        attributes=to_api.cancel_external,
        jobs=(ResolveCancelExternal,),
    ),
    Operation(
        cmd.ScheduleNexusOperation,
        take=intake.start,
        machine=NexusOperationMachine,
        recorded_as=ev.NEXUS_SCHEDULED,
        attributes=to_api.schedule_nexus,
        jobs=(ResolveNexusOperationStart, ResolveNexusOperation),
    ),
    Operation(cmd.RequestCancelNexusOperation, take=intake.cancel, machine=NexusOperationMachine),
    Operation(
        cmd.CancelNexusOperation,
        machine=NexusOperationMachine,
        recorded_as=ev.NEXUS_CANCEL_REQUESTED,
        attributes=to_api.cancel_nexus,
    ),
    Operation(cmd.UpdateResponse, take=intake.respond_to_update, machine=UpdateMachine),
    Operation(
        cmd.SendAcceptance,
        machine=UpdateMachine,
        recorded_as=ev.UPDATE_ACCEPTED,
        attributes=to_api.protocol_message,
    ),
    Operation(
        cmd.SendOutcome,
        machine=UpdateMachine,
        recorded_as=ev.UPDATE_COMPLETED,
        attributes=to_api.protocol_message,
    ),
    Operation(
        cmd.CompleteWorkflow,
        take=intake.end,
        machine=FireAndForgetMachine,
        recorded_as=ev.WORKFLOW_EXECUTION_COMPLETED,
        attributes=to_api.complete_workflow,
    ),
    Operation(
        cmd.FailWorkflow,
        take=intake.end,
        machine=FireAndForgetMachine,
        recorded_as=ev.WORKFLOW_EXECUTION_FAILED,
        attributes=to_api.fail_workflow,
    ),
    Operation(
        cmd.CancelWorkflowExecution,
        take=intake.end,
        machine=FireAndForgetMachine,
        recorded_as=ev.WORKFLOW_EXECUTION_CANCELED,
        attributes=to_api.cancel_workflow,
    ),
    Operation(
        cmd.ContinueAsNew,
        take=intake.continue_as_new,
        machine=FireAndForgetMachine,
        recorded_as=ev.WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
        attributes=to_api.continue_as_new,
    ),
)

_BY_COMMAND: Final[Mapping[type[cmd.Command], Operation]] = {row.command: row for row in OPERATIONS}


def take(run: Run, commands: Sequence[cmd.Command]) -> None:
    """Apply an activation's commands (without query results) and queue what must be sent."""
    for command in intake.terminal_last(run, commands):
        operation = _BY_COMMAND.get(type(command))
        if operation is None or operation.take is None:
            raise BadHistory(f"{type(command).__name__} is not supported by this version")
        operation.take(run, command, operation)
    run.local.deliver(run)
    run.local.release_if_idle(run)
    run.settle_fresh()


def recorded_as(command: cmd.Command) -> int:
    """The type of the event that records `command`."""
    return _BY_COMMAND[type(command)].recorded_as


def sent(command: cmd.Command, run: RunInfo) -> api.Command:
    """The protobuf form of `command`."""
    attributes = _BY_COMMAND[type(command)].attributes
    assert attributes is not None  # only commands that leave are queued
    return to_api.with_attributes(attributes(command, run), command)
