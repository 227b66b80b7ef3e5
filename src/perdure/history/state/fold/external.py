"""How signals and cancel requests to other workflows change the state of the one that sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.state.fold.evolve import evolves
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


@evolves(enums.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _signal_initiated(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.signal_external_workflow_execution_initiated_event_attributes
    state.external_signals = state.owned(state.external_signals)
    state.external_signals.set(event.event_id, attributes.workflow_execution.workflow_id)


@evolves(enums.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
def _signaled(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.external_workflow_execution_signaled_event_attributes
    state.external_signals.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _signal_failed(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.signal_external_workflow_execution_failed_event_attributes
    state.external_signals.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
def _cancel_initiated(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.request_cancel_external_workflow_execution_initiated_event_attributes
    state.external_cancels = state.owned(state.external_cancels)
    state.external_cancels.set(event.event_id, attributes.workflow_execution.workflow_id)


@evolves(enums.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_requested(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.external_workflow_execution_cancel_requested_event_attributes
    state.external_cancels.remove(attributes.initiated_event_id)


@evolves(enums.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED)
def _cancel_failed(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.request_cancel_external_workflow_execution_failed_event_attributes
    state.external_cancels.remove(attributes.initiated_event_id)
