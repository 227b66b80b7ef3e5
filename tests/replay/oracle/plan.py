"""What a recorded workflow did, read back from its history: a plan for ``script.Planned``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.replay import events as ev
from perdure.replay.markers import CHANGE_VERSION_KEY, read_patch
from perdure.wire.api import history


def plan_of(events: Sequence[history.HistoryEvent]) -> dict[str, list[list[Any]]]:
    """Commands by the id of the WorkflowTaskStarted whose task issued them."""
    plan: dict[str, list[list[Any]]] = {}
    seqs: dict[int, int] = {}
    updates: dict[int, str] = {}
    started = 0
    for event in events:
        if event.event_type == ev.WORKFLOW_TASK_COMPLETED:
            started = event.workflow_task_completed_event_attributes.started_event_id
        elif event.event_type in ev.COMMAND_EVENTS:
            command = _command(event, seqs, updates)
            if command is not None:
                plan.setdefault(str(started), []).append(command)
    return plan


def _command(
    event: history.HistoryEvent, seqs: dict[int, int], updates: dict[int, str]
) -> list[Any] | None:
    match event.event_type:
        case ev.ACTIVITY_TASK_SCHEDULED:
            activity = event.activity_task_scheduled_event_attributes
            seqs[event.event_id] = seq = len(seqs) + 1
            return ["plan_activity", seq, activity.activity_id, activity.activity_type.name, 0]
        case ev.ACTIVITY_TASK_CANCEL_REQUESTED:
            cancelled = event.activity_task_cancel_requested_event_attributes
            return ["cancel_activity", seqs[cancelled.scheduled_event_id]]
        case ev.TIMER_STARTED:
            return ["start_timer", int(event.timer_started_event_attributes.timer_id), 1000]
        case ev.TIMER_CANCELED:
            return ["cancel_timer", int(event.timer_canceled_event_attributes.timer_id)]
        case ev.MARKER_RECORDED:
            patch = read_patch(event)
            assert patch is not None, "the plan knows patch markers only"
            return ["set_patch", patch.patch_id, patch.deprecated]
        case ev.UPSERT_SEARCH_ATTRIBUTES:
            upsert = event.upsert_workflow_search_attributes_event_attributes
            own = CHANGE_VERSION_KEY in upsert.search_attributes.indexed_fields
            return None if own else ["upsert", "Color"]
        case ev.UPDATE_ACCEPTED:
            accepted = event.workflow_execution_update_accepted_event_attributes
            updates[event.event_id] = accepted.protocol_instance_id
            return ["update_accepted", accepted.protocol_instance_id]
        case ev.UPDATE_COMPLETED:
            completed = event.workflow_execution_update_completed_event_attributes
            return ["update_completed", updates[completed.accepted_event_id]]
        case ev.WORKFLOW_EXECUTION_COMPLETED:
            return ["complete"]
        case ev.WORKFLOW_EXECUTION_FAILED:
            return ["fail"]
        case ev.WORKFLOW_EXECUTION_CANCELED:
            return ["cancel_workflow"]
        case ev.WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            return ["continue_as_new"]
        case _:
            raise TypeError(f"no plan for {ev.type_name(event.event_type)}")
