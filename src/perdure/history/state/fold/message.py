"""How messages to a run change its state: signals, the request to cancel it, and updates.

An update is known from Accepted on. From Completed on, the state says where its outcome is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.history.state.fold.evolve import evolves
from perdure.history.state.run_state import Update
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


@evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
def _signaled(state: RunState, event: history.HistoryEvent) -> None:
    state.signal_count = state.signal_count + 1
    request_id = event.workflow_execution_signaled_event_attributes.request_id
    if request_id:
        state.request_ids = state.owned(state.request_ids)
        state.request_ids.set(request_id, event.event_id)


@evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_requested(state: RunState, event: history.HistoryEvent) -> None:
    state.cancel_requested_event_id = event.event_id


@evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
def _update_accepted(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.workflow_execution_update_accepted_event_attributes
    state.updates = state.owned(state.updates)
    state.updates.set(attributes.protocol_instance_id, Update(accepted_event_id=event.event_id))
    state.open_updates = state.open_updates + 1


@evolves(enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
def _update_completed(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.workflow_execution_update_completed_event_attributes
    update = state.updates.get(attributes.meta.update_id)
    if update is None or update.completed_event_id:
        return  # of a run that this one continues by reset
    state.updates.set(
        attributes.meta.update_id,
        msgspec.structs.replace(update, completed_event_id=event.event_id),
    )
    state.open_updates = state.open_updates - 1
