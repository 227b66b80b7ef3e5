"""How child workflow events change the state of the parent: pending from Initiated to the one event that ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.history.state.fold.evolve import evolves
from perdure.history.state.run_state import Child
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


@evolves(enums.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
def _initiated(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    state.children = state.owned(state.children)
    state.children.set(
        event.event_id,
        Child(
            initiated_event_id=event.event_id,
            namespace_id=attributes.namespace_id,
            namespace=attributes.namespace,
            workflow_id=attributes.workflow_id,
            workflow_type=attributes.workflow_type.name,
            parent_close_policy=attributes.parent_close_policy,
        ),
    )


@evolves(enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
def _started(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.child_workflow_execution_started_event_attributes
    # The child may be gone when its start and its end come from the buffer together.
    if (child := state.children.get(attributes.initiated_event_id)) is not None:
        state.children.set(
            child.initiated_event_id,
            msgspec.structs.replace(
                child, started_event_id=event.event_id, run_id=attributes.workflow_execution.run_id
            ),
        )


@evolves(enums.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
def _start_failed(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.start_child_workflow_execution_failed_event_attributes
    state.children.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)
def _completed(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.child_workflow_execution_completed_event_attributes
    state.children.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)
def _failed(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.child_workflow_execution_failed_event_attributes
    state.children.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED)
def _canceled(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.child_workflow_execution_canceled_event_attributes
    state.children.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT)
def _timed_out(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.child_workflow_execution_timed_out_event_attributes
    state.children.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED)
def _terminated(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.child_workflow_execution_terminated_event_attributes
    state.children.remove(attributes.initiated_event_id)
