"""How signals and the request to cancel a run change its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.state.fold.evolve import evolves
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
