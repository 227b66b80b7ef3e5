"""Processes the commands of an activation: each creates a machine or changes the state of one.

Invariants: what the official engine's stages do to commands (terminal commands last, patches once,
inherited options) happens here; a command that names an operation that never was is a bug of the
host, reported as `Fatal`; one that names an operation already over is ignored (R-15).

What is not here: which kind of command is taken how (`operation_table`), sending (`to_api`),
matching (`matching`), query results (`engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.flags import Flag
from perdure.replay.jobs import ordered_map
from perdure.replay.machines.local_activity import LocalActivityMachine
from perdure.replay.machines.simple import FireAndForgetMachine, PatchMachine
from perdure.replay.markers import (
    CHANGE_VERSION_KEY,
    PATCH_MARKER,
    change_version_payload,
    patch_details,
)
from perdure.replay.mismatch import BadHistory
from perdure.wire.api import common

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.replay.jobs import Job
    from perdure.replay.run import Run
    from perdure.replay.task import RunInfo

Take: TypeAlias = "Callable[[Run, Any, Operation], None]"
"""Takes a command from an activation."""
BuildAttributes: TypeAlias = "Callable[[Any, RunInfo], Message]"
"""Makes the attributes of a command, as the API has them."""


class Operation(NamedTuple):
    """How one kind of command is processed: a row of `operation_table`."""

    command: type[cmd.Command]
    take: Take | None = None
    """Processes it as part of an activation; None if only the engine issues it."""
    machine: Any = None
    """The class of the machine that it creates or changes."""
    recorded_as: int = 0
    """The type of the event that records it; 0 if it is never sent."""
    attributes: BuildAttributes | None = None
    """Its protobuf form; None if it is never sent."""
    jobs: tuple[type[Job], ...] = ()
    """The jobs that report its outcome to workflow code."""


def terminal_last(run: Run, commands: Sequence[cmd.Command]) -> Iterable[cmd.Command]:
    """Put the command that ends the workflow behind all others (flag 3, R-12)."""
    first = next((i for i, c in enumerate(commands) if isinstance(c, cmd.TerminalCommand)), None)
    if first is None:
        return commands
    if run.replaying and not run.flags.may_use(Flag.MOVE_TERMINAL_COMMANDS, record=False):
        return commands[: first + 1]
    rest = [command for command in commands if not isinstance(command, cmd.TerminalCommand)]
    return [*rest, commands[first]]


def start(run: Run, command: Any, operation: Operation) -> None:
    """Begin an operation that the server performs."""
    machine = operation.machine(command)
    run.operations.add(machine, command.seq)
    run.issue(machine, command)


def start_local(run: Run, command: cmd.ScheduleLocalActivity, _operation: Operation) -> None:
    """Begin a local activity. Its command, a marker, follows when it has ended."""
    run.operations.add(LocalActivityMachine(command, run), command.seq)


def cancel(run: Run, command: Any, operation: Operation) -> None:
    """Cancel an operation that user code has started."""
    machine = run.operations.find(operation.machine.kind, command.seq)
    if machine is not None:
        machine.cancel(command, run)


def cancel_external(run: Run, command: cmd.RequestCancelExternal, operation: Operation) -> None:
    """Request the cancellation of another workflow, with the reason as it will be recorded.

    A summary and details are not sent with it.
    """
    reason = (
        f"Cancel requested by workflow with run id {run.info.run_id} with reason: {command.reason}"
    )
    request = msgspec.structs.replace(command, reason=reason, summary=None, details=None)
    run.issue(operation.machine(request), request)


def set_patch(run: Run, command: cmd.SetPatchMarker, _operation: Operation) -> None:
    """Record a patch once per run, and list all of them in a search attribute (flag 2, R-9)."""
    seen_in_history = command.patch_id in run.patches
    if run.patches.get(command.patch_id):
        return
    marker = cmd.RecordMarker(
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
            upsert = cmd.UpsertSearchAttributes(
                search_attributes=common.SearchAttributes(
                    indexed_fields={CHANGE_VERSION_KEY: payload}
                ),
                site=command.site,
                event_group_markers=command.event_group_markers,
            )
            run.issue(FireAndForgetMachine(upsert, ev.UPSERT_SEARCH_ATTRIBUTES), upsert)
    run.patches[command.patch_id] = True


def upsert_search_attributes(
    run: Run, command: cmd.UpsertSearchAttributes, operation: Operation
) -> None:
    """Change search attributes, but not the one that the engine owns."""
    fields = command.search_attributes.indexed_fields
    for key in sorted(fields):
        run.search_attribute_changes[key] = fields[key]
    guarded = run.flags.may_use(Flag.UPSERT_SEARCH_ATTRIBUTE_ON_PATCH, record=not run.replaying)
    if guarded and CHANGE_VERSION_KEY in fields:
        # The key is the engine's own. The command stays, because histories have it.
        command = msgspec.structs.replace(command, search_attributes=common.SearchAttributes())
    fire_and_forget(run, command, operation)


def fire_and_forget(run: Run, command: cmd.Command, operation: Operation) -> None:
    """Issue a command that is complete once it is recorded."""
    run.issue(operation.machine(command, operation.recorded_as), command)


def end(run: Run, command: cmd.TerminalCommand, operation: Operation) -> None:
    """Close the workflow."""
    run.finished = True
    run.local.terminating = True
    fire_and_forget(run, command, operation)


def continue_as_new(run: Run, command: cmd.ContinueAsNew, operation: Operation) -> None:
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
    end(run, msgspec.structs.replace(command, **changes), operation)


def respond_to_update(run: Run, command: cmd.UpdateResponse, _operation: Operation) -> None:
    """Accept, reject or complete an update."""
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
