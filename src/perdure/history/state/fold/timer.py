"""How timer events change the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.state.fold.evolve import evolves
from perdure.history.state.run_state import Timer
from perdure.wire.api import enums, history
from perdure.wire.times import duration_ns, timestamp_ns

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


@evolves(enums.EVENT_TYPE_TIMER_STARTED)
def _started(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.timer_started_event_attributes
    fire_ns = timestamp_ns(event.event_time) + duration_ns(attributes.start_to_fire_timeout)
    state.timers = state.owned(state.timers)
    state.timers.set(attributes.timer_id, Timer(attributes.timer_id, event.event_id, fire_ns))
    state.timers_by_event = state.owned(state.timers_by_event)
    state.timers_by_event.set(event.event_id, attributes.timer_id)


@evolves(enums.EVENT_TYPE_TIMER_FIRED)
def _fired(state: RunState, event: history.HistoryEvent) -> None:
    state.drop_timer(event.timer_fired_event_attributes.started_event_id)


@evolves(enums.EVENT_TYPE_TIMER_CANCELED)
def _canceled(state: RunState, event: history.HistoryEvent) -> None:
    state.drop_timer(event.timer_canceled_event_attributes.started_event_id)
