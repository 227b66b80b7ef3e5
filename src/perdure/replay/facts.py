"""Events and commands reduced to what a report may show: type, name, id. Never a payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.markers import is_local_activity_marker, read_local_activity, read_patch
from perdure.replay.mismatch import CommandFact, EventFact
from perdure.replay.operation_table import recorded_as

if TYPE_CHECKING:
    from perdure.wire.api import history

FOREIGN_MARKERS: Final = {
    "Version": "Go or Java (workflow.GetVersion)",
    "SideEffect": "Go or Java (SideEffect)",
    "MutableSideEffect": "Go or Java (MutableSideEffect)",
    "LocalActivity": "Go or Java (local activity)",
}
"""Marker name → who writes it (R-50)."""


def is_foreign_marker(event: history.HistoryEvent) -> bool:
    """Whether only an SDK of another language writes this marker."""
    return (
        event.event_type == ev.MARKER_RECORDED
        and event.marker_recorded_event_attributes.marker_name in FOREIGN_MARKERS
    )


def event_fact(event: history.HistoryEvent) -> EventFact:
    """What the event is about."""
    name, identifier = _name_and_id(event)
    return EventFact(event.event_id, event.event_type, name, identifier)


def _name_and_id(event: history.HistoryEvent) -> tuple[str, str]:
    match event.event_type:
        case ev.ACTIVITY_TASK_SCHEDULED:
            activity = event.activity_task_scheduled_event_attributes
            return activity.activity_type.name, activity.activity_id
        case ev.TIMER_STARTED:
            return "", event.timer_started_event_attributes.timer_id
        case ev.TIMER_CANCELED:
            return "", event.timer_canceled_event_attributes.timer_id
        case ev.MARKER_RECORDED:
            return event.marker_recorded_event_attributes.marker_name, _marker_label(event)
        case ev.CHILD_INITIATED:
            child = event.start_child_workflow_execution_initiated_event_attributes
            return child.workflow_type.name, child.workflow_id
        case ev.SIGNAL_EXTERNAL_INITIATED:
            signal = event.signal_external_workflow_execution_initiated_event_attributes
            return signal.signal_name, signal.workflow_execution.workflow_id
        case ev.CANCEL_EXTERNAL_INITIATED:
            cancel = event.request_cancel_external_workflow_execution_initiated_event_attributes
            return "", cancel.workflow_execution.workflow_id
        case ev.NEXUS_SCHEDULED:
            nexus = event.nexus_operation_scheduled_event_attributes
            return f"{nexus.service}.{nexus.operation}", ""
        case _:
            return "", ""


def _marker_label(event: history.HistoryEvent) -> str:
    patch = read_patch(event)
    if patch is not None:
        return patch.patch_id
    local = read_local_activity(event) if is_local_activity_marker(event) else None
    return local.activity_id if local is not None else ""


def command_fact(command: cmd.Command) -> CommandFact:
    """What the command is about."""
    name, identifier = command.subject
    return CommandFact(recorded_as(command), name, identifier, command.site)
