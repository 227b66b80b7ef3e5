"""Each phase of a workflow task and of an activity attempt, and what follows from it everywhere it is asked."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from perdure.core.ids import QueueKind
from perdure.history import transitions
from perdure.history.activity import phase as attempt
from perdure.history.activity.orphans import has_task_in_flight
from perdure.history.draft.deadlines import live_deadlines
from perdure.history.entity_types import RUNS
from perdure.history.run.wanted_tasks import is_stale, wanted_tasks
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task import phase as workflow_task
from perdure.wire.api import enums
from tests.transcripts.script import Script
from tests.transcripts.world import World


class Expected(NamedTuple):
    """What a run in this phase shows."""

    lines: list[str]
    phase: type
    queue: str
    """Where its task waits; empty when the run wants none."""
    shown: int | None
    """The state that `describe` shows; None when it shows no task."""
    deadlines: set[DeadlineKind]
    has_task_in_flight: bool


_SCHEDULED = enums.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
_STARTED = enums.PENDING_WORKFLOW_TASK_STATE_STARTED
WORKFLOW_TASKS = {
    "nothing is pending": Expected(
        ["start", "poll workflow", "complete"], workflow_task.NotPending, "", None, set(), False
    ),
    "the run is closed": Expected(
        ["start", "terminate"], workflow_task.NotPending, "", None, set(), False
    ),
    "a child waits for its parent": Expected(
        ["start parent=p"], workflow_task.AwaitingParent, "", None, set(), False
    ),
    "the first task is delayed": Expected(
        ["start delay=1h"],
        workflow_task.FirstTaskDelayed,
        "",
        None,
        {DeadlineKind.FIRST_TASK},
        False,
    ),
    "it waits for any worker": Expected(
        ["start"], workflow_task.InNormalQueue, "q", _SCHEDULED, set(), False
    ),
    "it waits for the worker that knows the run": Expected(
        ["start", "poll workflow", "complete sticky=s", "signal x"],
        workflow_task.InStickyQueue,
        "s",
        _SCHEDULED,
        {DeadlineKind.WORKFLOW_TASK_SCHEDULE_TO_START},
        True,
    ),
    "its second attempt waits": Expected(
        ["start", "poll workflow", "fail-task"],
        workflow_task.InNormalQueue,
        "q",
        _SCHEDULED,
        set(),
        False,
    ),
    "a worker has it": Expected(
        ["start", "poll workflow"],
        workflow_task.Started,
        "",
        _STARTED,
        {DeadlineKind.WORKFLOW_TASK_START_TO_CLOSE},
        True,
    ),
    "a worker has its second attempt": Expected(
        ["start", "poll workflow", "fail-task", "poll workflow"],
        workflow_task.Started,
        "",
        _STARTED,
        {DeadlineKind.WORKFLOW_TASK_START_TO_CLOSE},
        True,
    ),
}

_SCHEDULE = [
    "start",
    "poll workflow",
    "complete",
    "  schedule a start_to_close=1h schedule_to_start=2h heartbeat=1m",
]
ATTEMPTS = {
    "it waits": Expected(
        _SCHEDULE,
        attempt.Waiting,
        "q",
        enums.PENDING_ACTIVITY_STATE_SCHEDULED,
        {DeadlineKind.ACTIVITY_SCHEDULE_TO_START},
        False,
    ),
    "a worker has it": Expected(
        [*_SCHEDULE, "poll activity"],
        attempt.Running,
        "",
        enums.PENDING_ACTIVITY_STATE_STARTED,
        {DeadlineKind.ACTIVITY_START_TO_CLOSE, DeadlineKind.ACTIVITY_HEARTBEAT},
        True,
    ),
    "its second attempt backs off": Expected(
        [*_SCHEDULE, "poll activity", "failed a"],
        attempt.BackingOff,
        "",
        enums.PENDING_ACTIVITY_STATE_SCHEDULED,
        {DeadlineKind.ACTIVITY_RETRY},
        False,
    ),
    "its second attempt waits": Expected(
        [*_SCHEDULE, "poll activity", "failed a", "wake 1s"],
        attempt.Waiting,
        "q",
        enums.PENDING_ACTIVITY_STATE_SCHEDULED,
        {DeadlineKind.ACTIVITY_SCHEDULE_TO_START},
        False,
    ),
    "it is paused while it waits": Expected(
        [*_SCHEDULE, "pause a"],
        attempt.Paused,
        "",
        enums.PENDING_ACTIVITY_STATE_PAUSED,
        set(),
        False,
    ),
    "it is paused while it backs off": Expected(
        [*_SCHEDULE, "poll activity", "failed a", "pause a"],
        attempt.Paused,
        "",
        enums.PENDING_ACTIVITY_STATE_PAUSED,
        set(),
        False,
    ),
    "it is paused while a worker has it": Expected(
        [*_SCHEDULE, "poll activity", "pause a"],
        attempt.Running,
        "",
        enums.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED,
        set(),
        True,
    ),
    "its second attempt waits for the end of the pause": Expected(
        [*_SCHEDULE, "poll activity", "pause a", "failed a"],
        attempt.Paused,
        "",
        enums.PENDING_ACTIVITY_STATE_PAUSED,
        set(),
        False,
    ),
    "its start was taken back while it was paused": Expected(
        [*_SCHEDULE, "poll activity", "pause a", "undo a"],
        attempt.Paused,
        "",
        enums.PENDING_ACTIVITY_STATE_PAUSED,
        set(),
        False,
    ),
    "it goes on": Expected(
        [*_SCHEDULE, "poll activity", "failed a", "pause a", "unpause a"],
        attempt.Waiting,
        "q",
        enums.PENDING_ACTIVITY_STATE_SCHEDULED,
        {DeadlineKind.ACTIVITY_SCHEDULE_TO_START},
        False,
    ),
    "it goes on within the jitter": Expected(
        [*_SCHEDULE, "pause a", "unpause a jitter=1h"],
        attempt.BackingOff,
        "",
        enums.PENDING_ACTIVITY_STATE_SCHEDULED,
        {DeadlineKind.ACTIVITY_RETRY},
        False,
    ),
    "its worker goes on": Expected(
        [*_SCHEDULE, "poll activity", "pause a", "unpause a"],
        attempt.Running,
        "",
        enums.PENDING_ACTIVITY_STATE_STARTED,
        {DeadlineKind.ACTIVITY_START_TO_CLOSE, DeadlineKind.ACTIVITY_HEARTBEAT},
        True,
    ),
    "its start was taken back": Expected(
        [*_SCHEDULE, "poll activity", "undo a"],
        attempt.Waiting,
        "q",
        enums.PENDING_ACTIVITY_STATE_SCHEDULED,
        {DeadlineKind.ACTIVITY_SCHEDULE_TO_START},
        False,
    ),
}


def _world(lines: list[str]) -> World:
    script = Script()
    script.run(lines)
    return script.world


def _check_tasks(world: World, kind: QueueKind, queue: str) -> None:
    """What the run wants is where its row is, and every other row is stale."""
    state = world.state
    wanted = list(wanted_tasks(state))
    assert [task.queue.name for task in wanted] == ([queue] if queue else [])
    assert all(task.queue.kind is kind for task in wanted)
    assert RUNS.work(state).queues == tuple(task.queue for task in wanted)
    places = [(task.queue, task.scheduled_event_id, task.stamp) for task in wanted]
    fresh = [task for task in world.tasks.values() if not is_stale(state, task)]
    assert [(task.queue, task.scheduled_event_id, task.stamp) for task in fresh] == places
    assert [task.priority for task in fresh] == [task.priority for task in wanted]
    assert all(task.visible_ns <= world.now_ns for task in wanted)


@pytest.mark.parametrize("name", WORKFLOW_TASKS)
def test_a_workflow_task_is_in_one_phase_wherever_that_is_asked(name: str) -> None:
    expected = WORKFLOW_TASKS[name]
    world = _world(expected.lines)
    for state in (world.state, world.load()):
        assert type(workflow_task.phase_of(state)) is expected.phase
        assert {each.kind for each in live_deadlines(state)} == expected.deadlines
        assert has_task_in_flight(state) is expected.has_task_in_flight
        assert RUNS.work(state).is_in_workflow_task is (expected.phase is workflow_task.Started)
    _check_tasks(world, QueueKind.WORKFLOW, expected.queue)
    described = transitions.describe(world.state, world.env)
    assert described.HasField("pending_workflow_task") is (expected.shown is not None)
    assert described.pending_workflow_task.state == (expected.shown or 0)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_is_in_one_phase_wherever_that_is_asked(name: str) -> None:
    expected = ATTEMPTS[name]
    world = _world(expected.lines)
    for state in (world.state, world.load()):
        (activity,) = state.activities.values()
        assert type(attempt.phase_of(state, activity)) is expected.phase
        assert {each.kind for each in live_deadlines(state)} == expected.deadlines
        assert has_task_in_flight(state) is expected.has_task_in_flight
        is_running = expected.phase is attempt.Running
        assert RUNS.work(state).attempts == (("worker",) if is_running else ())
    _check_tasks(world, QueueKind.ACTIVITY, expected.queue)
    (pending,) = transitions.describe(world.state, world.env).pending_activities
    assert pending.state == expected.shown


def test_every_phase_is_in_the_tables() -> None:
    assert {each.phase for each in WORKFLOW_TASKS.values()} == set(
        workflow_task.WorkflowTaskPhase.__args__
    )
    assert {each.phase for each in ATTEMPTS.values()} == set(attempt.AttemptPhase.__args__)
