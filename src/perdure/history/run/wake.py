"""The wake-up of a run: do everything that is due, and say when to look again (D-7)."""

from __future__ import annotations

from heapq import heappop
from typing import TYPE_CHECKING

from perdure.core.units import END_OF_TIME_NS
from perdure.history.draft.deadlines import DEADLINE_HANDLERS
from perdure.history.draft.draft import Draft
from perdure.history.state.run_state import Deadline
from perdure.history.workflow_task.steps import schedule_workflow_task

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState


def wake(state: RunState, env: Env) -> RunTransition:
    """Fire what is due, in order of time; early wake-ups only re-arm.

    `Transition.wake_at_ns` *replaces* the stored bound: the next deadline, or 0 when there is none any more.
    """
    popped: list[Deadline] = []
    try:
        with Draft(state, env) as draft:
            draft.postpones_workflow_task = True
            draft.note_history_limit()
            _fire_due(draft, popped)
            draft.postpones_workflow_task = False
            if draft.owes_workflow_task:
                schedule_workflow_task(draft)
            transition = draft.done()
    except BaseException:
        # The draft is undone; the heap is derived and has no journal.
        for entry in popped:
            state.add_deadline(entry)
        raise
    transition.wake_at_ns = min(next_deadline_ns(state), END_OF_TIME_NS)
    return transition


def _fire_due(draft: Draft, popped: list[Deadline]) -> None:
    state = draft.state
    heap = state.deadlines
    while heap and heap[0].at_ns <= draft.now_ns and state.is_running:
        entry = heappop(heap)
        popped.append(entry)
        watch = DEADLINE_HANDLERS[entry.kind]
        due_ns = watch.due_ns(state, entry.key)
        if not due_ns:
            continue
        if due_ns > draft.now_ns:
            state.add_deadline(Deadline(due_ns, entry.kind, entry.key))
            continue
        watch.fire(draft, entry.key)
        left_ns = watch.due_ns(state, entry.key) if state.is_running else 0
        assert not 0 < left_ns <= draft.now_ns, f"{entry.kind.name} of {state.key} stays due"


def next_deadline_ns(state: RunState) -> int:
    """The earliest deadline, 0 for none; drops entries whose reason is gone."""
    if not state.is_running:
        state.deadlines.clear()
    heap = state.deadlines
    while heap:
        entry = heap[0]
        due_ns = DEADLINE_HANDLERS[entry.kind].due_ns(state, entry.key)
        if due_ns == entry.at_ns:
            return due_ns
        heappop(heap)
        if due_ns:
            state.add_deadline(Deadline(due_ns, entry.kind, entry.key))
    return 0
