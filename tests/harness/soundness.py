"""What holds for every run after every commit, whatever led there.

The state that is folded again from what was written only shows that memory and storage agree; a fold that forgets a
step would forget it in both.
"""

from __future__ import annotations

from perdure.history.state.run_state import RunState
from perdure.wire.api import history


def assert_sound(state: RunState, events: history.History) -> None:
    """Indexes say what they index, a closed run has nothing pending, events are numbered."""
    for number, event in enumerate(events.events, 1):
        assert (event.event_id, event.task_id) == (number, number), "ids are contiguous from 1"
        assert event.HasField("event_time")
    _steps_end_once(events)
    _indexes_are_true(state)
    if state.buffered:
        assert state.workflow_task_is_started, "events wait for a task that is not started"
    if state.is_running:
        _sticky_tasks_have_a_sticky_queue(state)
    else:
        _nothing_is_pending(state)


def _indexes_are_true(state: RunState) -> None:
    assert state.activity_bytes == sum(len(each.attributes) for each in state.activities.values())
    for name, key in state.activity_ids.items():
        assert state.activities[key].activity_id == name
    assert len(state.activity_ids) == len(state.activities), "an id names one pending activity"
    assert state.timers_by_event == {
        timer.started_event_id: name for name, timer in state.timers.items()
    }
    assert set(state.activity_progress) <= set(state.activities)
    progress = state.activity_progress.values()
    assert state.started_activities == sum(each.is_started for each in progress)
    assert all((each.started_ns != 0) is each.is_started for each in progress)
    assert state.open_updates == sum(not each.completed_event_id for each in state.updates.values())
    assert state.next_buffered == max(state.buffered, default=0) + 1


def _sticky_tasks_have_a_sticky_queue(state: RunState) -> None:
    task = state.workflow_task
    if task is not None and not task.started_event_id:
        assert task.is_sticky is (state.sticky is not None)


def _nothing_is_pending(state: RunState) -> None:
    assert state.close_event_id == state.next_event_id - 1
    assert state.close_ns
    assert state.workflow_task is None
    assert state.sticky is None
    for name in ("activities", "activity_ids", "timers", "timers_by_event", "buffered"):
        assert not getattr(state, name), name
    assert all(child.started_event_id for child in state.children.values())


def _steps_end_once(events: history.History) -> None:
    ended: set[tuple[str, int]] = set()
    for event in events.events:
        for name in _step_ended_by(event):
            assert name not in ended, f"{name} ends twice"
            ended.add(name)


def _step_ended_by(event: history.HistoryEvent) -> list[tuple[str, int]]:
    field = event.WhichOneof("attributes") or ""
    name = field.removesuffix("_event_attributes")
    attributes = getattr(event, field)
    activity = {f"activity_task_{end}" for end in ("completed", "failed", "timed_out", "canceled")}
    task = {f"workflow_task_{end}" for end in ("completed", "failed", "timed_out")}
    if name in activity:
        return [("activity", attributes.scheduled_event_id)]
    if name in {"timer_fired", "timer_canceled"}:
        return [("timer", attributes.started_event_id)]
    if name in task:
        return [("workflow task", attributes.scheduled_event_id)]
    closing = {
        f"workflow_execution_{end}"
        for end in (
            "completed",
            "failed",
            "timed_out",
            "canceled",
            "terminated",
            "continued_as_new",
        )
    }
    return [("run", 0)] if name in closing else []
