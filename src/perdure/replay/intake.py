"""Taking the commands of an activation: each becomes a machine, or moves one.

Invariants: what the official engine's stages do to commands (terminal commands last, patches once,
inherited options) happens here; a command that names an operation that never was is a bug of the
host, reported as ``Fatal``; one that names an operation already over is ignored (R-15).

What is not here: sending (``to_api``), matching (``matching``), query results (``engine``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from perdure.replay import commands as cmd
from perdure.replay.flags import Flag
from perdure.replay.jobs import ordered_map
from perdure.replay.machines.activity import ActivityMachine
from perdure.replay.machines.child import ChildWorkflowMachine
from perdure.replay.machines.external import CancelExternalMachine, SignalExternalMachine
from perdure.replay.machines.local_activity import LocalActivityMachine
from perdure.replay.machines.nexus import NexusOperationMachine
from perdure.replay.machines.simple import FireAndForgetMachine, PatchMachine
from perdure.replay.machines.timer import TimerMachine
from perdure.replay.markers import (
    CHANGE_VERSION_KEY,
    PATCH_MARKER,
    change_version_payload,
    patch_details,
)
from perdure.replay.mismatch import BadHistory
from perdure.replay.outgoing import TERMINAL, CancelExternal, RecordMarker, Wirable
from perdure.wire.api import common

if TYPE_CHECKING:
    from perdure.replay.run import Run


def take(run: Run, commands: Sequence[cmd.Command]) -> None:
    """Apply an activation's commands (without query results) and queue what must be sent."""
    for command in _terminal_last(run, commands):
        handler = _HANDLERS.get(type(command))
        if handler is None:
            raise BadHistory(f"{type(command).__name__} is not supported by this version")
        handler(run, command)
    run.local.deliver(run)
    run.local.release_if_idle(run)
    run.settle_fresh()


def _terminal_last(run: Run, commands: Sequence[cmd.Command]) -> Iterable[cmd.Command]:
    """Put the command that ends the workflow behind all others (flag 3, R-12)."""
    first = next((i for i, c in enumerate(commands) if isinstance(c, TERMINAL)), None)
    if first is None:
        return commands
    if run.replaying and not run.flags.may_use(Flag.MOVE_TERMINAL_COMMANDS, record=False):
        return commands[: first + 1]
    rest = [command for command in commands if not isinstance(command, TERMINAL)]
    return [*rest, commands[first]]


def _start_timer(run: Run, command: cmd.StartTimer) -> None:
    machine = TimerMachine(command)
    run.operations.add(machine, command.seq)
    run.issue(machine, command)


def _cancel_timer(run: Run, command: cmd.CancelTimer) -> None:
    machine = run.operations.find(TimerMachine.kind, command.seq)
    if machine is not None:
        machine.cancel(command, run)


def _schedule_activity(run: Run, command: cmd.ScheduleActivity) -> None:
    machine = ActivityMachine(command)
    run.operations.add(machine, command.seq)
    run.issue(machine, command)


def _cancel_activity(run: Run, command: cmd.RequestCancelActivity) -> None:
    machine = run.operations.find(ActivityMachine.kind, command.seq)
    if machine is not None:
        machine.cancel(command, run)


def _schedule_local_activity(run: Run, command: cmd.ScheduleLocalActivity) -> None:
    run.operations.add(LocalActivityMachine(command, run), command.seq)


def _cancel_local_activity(run: Run, command: cmd.RequestCancelLocalActivity) -> None:
    machine = run.operations.find(LocalActivityMachine.kind, command.seq)
    if machine is not None:
        machine.cancel(run)


def _start_child(run: Run, command: cmd.StartChildWorkflow) -> None:
    machine = ChildWorkflowMachine(command)
    run.operations.add(machine, command.seq)
    run.issue(machine, command)


def _cancel_child(run: Run, command: cmd.CancelChildWorkflow) -> None:
    machine = run.operations.find(ChildWorkflowMachine.kind, command.seq)
    if machine is not None:
        machine.cancel(command, run)


def _signal_external(run: Run, command: cmd.SignalExternal) -> None:
    machine = SignalExternalMachine(command)
    run.operations.add(machine, command.seq)
    run.issue(machine, command)


def _cancel_signal(run: Run, command: cmd.CancelSignalExternal) -> None:
    machine = run.operations.find(SignalExternalMachine.kind, command.seq)
    if machine is not None:
        machine.cancel(run)


def _schedule_nexus(run: Run, command: cmd.ScheduleNexusOperation) -> None:
    machine = NexusOperationMachine(command)
    run.operations.add(machine, command.seq)
    run.issue(machine, command)


def _cancel_nexus(run: Run, command: cmd.RequestCancelNexusOperation) -> None:
    machine = run.operations.find(NexusOperationMachine.kind, command.seq)
    if machine is not None:
        machine.cancel(command, run)


def _cancel_external(run: Run, command: cmd.RequestCancelExternal) -> None:
    reason = (
        f"Cancel requested by workflow with run id {run.info.run_id} with reason: {command.reason}"
    )
    request = CancelExternal(
        namespace=command.namespace,
        workflow_id=command.workflow_id,
        run_id=command.run_id,
        child_workflow_only=False,
        reason=reason,
        site=command.site,
        event_group_markers=command.event_group_markers,
    )
    run.issue(CancelExternalMachine(request, command.seq), request)


def _set_patch(run: Run, command: cmd.SetPatchMarker) -> None:
    """Record a patch once per run, and list all of them in a search attribute (flag 2, R-9)."""
    seen_in_history = command.patch_id in run.patches
    if run.patches.get(command.patch_id):
        return
    marker = RecordMarker(
        marker_name=PATCH_MARKER,
        label=command.patch_id,
        marker_details=patch_details(command.patch_id, deprecated=command.deprecated),
        site=command.site,
        event_group_markers=command.event_group_markers,
    )
    run.issue(PatchMachine(marker, command.patch_id), marker)
    upserts = run.flags.may_use(Flag.UPSERT_SEARCH_ATTRIBUTE_ON_PATCH, record=not run.replaying)
    if upserts and (seen_in_history or not run.replaying):
        created = [patch_id for patch_id, issued in run.patches.items() if issued]
        payload = change_version_payload({*created, command.patch_id})
        if payload is not None:
            _fire_and_forget(
                run,
                cmd.UpsertSearchAttributes(
                    search_attributes=common.SearchAttributes(
                        indexed_fields={CHANGE_VERSION_KEY: payload}
                    ),
                    site=command.site,
                    event_group_markers=command.event_group_markers,
                ),
            )
    run.patches[command.patch_id] = True


def _upsert(run: Run, command: cmd.UpsertSearchAttributes) -> None:
    fields = command.search_attributes.indexed_fields
    for key in sorted(fields):
        run.search_attribute_changes[key] = fields[key]
    guarded = run.flags.may_use(Flag.UPSERT_SEARCH_ATTRIBUTE_ON_PATCH, record=not run.replaying)
    if guarded and CHANGE_VERSION_KEY in fields:
        # The key is the engine's own. The command stays, because histories have it.
        command = msgspec.structs.replace(command, search_attributes=common.SearchAttributes())
    _fire_and_forget(run, command)


def _fire_and_forget(run: Run, command: Wirable) -> None:
    run.issue(FireAndForgetMachine(command), command)


def _terminal(run: Run, command: cmd.TerminalCommand) -> None:
    run.finished = True
    run.local.terminating = True
    _fire_and_forget(run, command)


def _continue_as_new(run: Run, command: cmd.ContinueAsNew) -> None:
    """Empty memo, search attributes and retry policy are inherited (R-30)."""
    changes: dict[str, Any] = {}
    started = run.started
    if started is not None and not command.memo:
        changes["memo"] = ordered_map(started.memo.fields)
    if started is not None and command.retry_policy is None and started.HasField("retry_policy"):
        changes["retry_policy"] = started.retry_policy
    if command.search_attributes is None:
        inherited: dict[str, common.Payload] = {}
        if started is not None:
            inherited.update(ordered_map(started.search_attributes.indexed_fields))
        inherited.update(run.search_attribute_changes)
        if inherited:
            changes["search_attributes"] = common.SearchAttributes(indexed_fields=inherited)
    _terminal(run, msgspec.structs.replace(command, **changes))


def _respond_to_update(run: Run, command: cmd.UpdateResponse) -> None:
    machine = run.updates.get(command.protocol_instance_id)
    if machine is None:
        raise BadHistory(
            f"workflow code answered update {command.protocol_instance_id}, which was not requested"
        )
    if not machine.respond(command, run):
        raise BadHistory(
            f"workflow code answered update {command.protocol_instance_id} out of order"
        )
    if machine.done:
        run.forget(machine)


_HANDLERS: Final[dict[type, Callable[[Run, Any], None]]] = {
    cmd.StartTimer: _start_timer,
    cmd.CancelTimer: _cancel_timer,
    cmd.ScheduleActivity: _schedule_activity,
    cmd.RequestCancelActivity: _cancel_activity,
    cmd.ScheduleLocalActivity: _schedule_local_activity,
    cmd.RequestCancelLocalActivity: _cancel_local_activity,
    cmd.StartChildWorkflow: _start_child,
    cmd.CancelChildWorkflow: _cancel_child,
    cmd.SignalExternal: _signal_external,
    cmd.CancelSignalExternal: _cancel_signal,
    cmd.RequestCancelExternal: _cancel_external,
    cmd.ScheduleNexusOperation: _schedule_nexus,
    cmd.RequestCancelNexusOperation: _cancel_nexus,
    cmd.SetPatchMarker: _set_patch,
    cmd.UpsertSearchAttributes: _upsert,
    cmd.ModifyProperties: _fire_and_forget,
    cmd.UpdateResponse: _respond_to_update,
    cmd.CompleteWorkflow: _terminal,
    cmd.FailWorkflow: _terminal,
    cmd.CancelWorkflowExecution: _terminal,
    cmd.ContinueAsNew: _continue_as_new,
}
