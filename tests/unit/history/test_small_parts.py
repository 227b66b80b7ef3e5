"""What no transcript shows: memory that is given back, what counts as empty, tokens, drafts that are given up."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.ids import QueueKey, QueueKind, TaskRowId, run_key, workflow_id_key
from perdure.entity.transition import Effect, EventRow, FactChange, Task, VisibilityRow
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history import transitions
from perdure.history.activity import attempts as activity
from perdure.history.draft import deadlines, tokens
from perdure.history.draft.draft import Draft
from perdure.history.draft.transition import RunTransition
from perdure.history.run.wanted_tasks import is_stale
from perdure.history.state import run_state as state
from perdure.history.state.facts import FactKind
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import Activity, Deadline, DeadlineKind, RunState, Timer
from perdure.history.state.table import Table
from perdure.wire.errors import InvalidArgument
from tests.transcripts.script import Script
from tests.transcripts.world import NAMESPACE_ID, World

KEY = run_key("n", "w", "r")
QUEUE = QueueKey("n", "q", QueueKind.WORKFLOW)
ROW = VisibilityRow("n", "w", "r", "T", "q", 1, 1, 1)
CHANGES: dict[str, Any] = {
    "events": EventRow(0, 1, 1, b"x"),
    "facts": (FactChange(FactKind.STICKY, "", None),),
    "tasks": (Task(QUEUE, KEY, 1, 0, 0),),
    "finished_tasks": (TaskRowId(QUEUE, 1, 1),),
    "effects": (Effect(workflow_id_key("n", "o"), "k", "q", b""),),
    "visibility": ROW,
    "current": CurrentRun("r", "r", "q", 1, 1),
    "wake_at_ns": 0,
    "delete_at_ns": 0,
    "also": (RunTransition(KEY),),
}


def test_a_transition_that_only_answers_is_empty() -> None:
    assert RunTransition(KEY).is_empty
    assert RunTransition(KEY, reply="something", state=RunState(KEY)).is_empty


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_to_be_written_makes_it_one_that_is_not(name: str) -> None:
    assert not RunTransition(KEY, **{name: CHANGES[name]}).is_empty


def test_every_field_of_a_transition_is_judged() -> None:
    known = set(RunTransition.__struct_fields__)
    assert known == {*CHANGES, "key", "state", "reply", "notes"}


# --- deadlines of steps that ended ---


def with_pending(activities: int, timers: int) -> RunState:
    state = RunState(KEY)
    state.activities = state.owned(state.activities)
    for number in range(activities):
        one = Activity(
            scheduled_event_id=number,
            activity_id="a",
            activity_type="T",
            queue_name="q",
            scheduled_ns=0,
            schedule_to_close_ns=0,
            schedule_to_start_ns=0,
            start_to_close_ns=0,
            heartbeat_ns=0,
            retry_policy=None,
            attributes=b"",
        )
        state.activities.set(number, one)
    state.timers = state.owned(state.timers)
    for number in range(timers):
        state.timers.set(str(number), Timer(str(number), number, 1))
    return state


@pytest.mark.parametrize(("activities", "timers", "most"), [(0, 0, 64), (1, 0, 72), (2, 3, 104)])
def test_old_deadlines_go_once_they_are_many_beside_what_is_pending(
    activities: int, timers: int, most: int
) -> None:
    state = with_pending(activities, timers)
    old = [Deadline(n, DeadlineKind.TIMER, n) for n in range(most)]
    state.deadlines = list(old)
    deadlines.compact(state)
    assert state.deadlines == old
    state.add_deadline(Deadline(most, DeadlineKind.TIMER, most))
    deadlines.compact(state)
    assert state.deadlines == [], "a run that does not run has none"


# --- what is heard of workers ---


def heard_after(count: int) -> dict[int, int]:
    """What is remembered after a heartbeat, with this many activities that have ended."""
    script = Script()
    script.run(
        ["start", "poll workflow", "complete", "  schedule a start_to_close=1h heartbeat=5s"]
    )
    script.run(["poll activity"])
    world = script.world
    world.state.heard_ns.update(dict.fromkeys(range(1_000, 1_000 + count), 1))
    request = activity.Heartbeat()
    activity.heartbeat(world.state, script.activity_tokens["a"], request, world.env)
    return world.state.heard_ns


def test_ended_activities_are_forgotten_once_they_are_many() -> None:
    spare = activity._HEARD_SPARE
    kept = heard_after(spare + 2)
    assert len(kept) == spare + 3
    assert len(heard_after(spare + 3)) == 1
    assert 5 in kept, "the one that was heard"


def test_what_was_heard_never_goes_back() -> None:
    state = RunState(KEY)
    activity._hear(state, 5, 7)
    activity._hear(state, 5, 6)
    assert state.heard_ns == {5: 7}
    activity._hear(state, 5, 8)
    assert state.heard_ns == {5: 8}


# --- attempts ---


def test_a_task_that_comes_before_its_pause_is_over_is_stale() -> None:
    script = Script()
    script.run(["start", "poll workflow", "complete", "  schedule a start_to_close=1h"])
    script.run(["poll activity", "failed a"])
    world = script.world
    early = Task(
        queue=QueueKey(NAMESPACE_ID, "q", QueueKind.ACTIVITY),
        entity=world.state.key,
        scheduled_event_id=5,
        stamp=world.state.activity_progress[5].stamp,
        created_ns=world.now_ns,
    )
    assert is_stale(world.state, early)
    poll = PollInfo(identity="worker", request_id="early")
    started = transitions.start_activity(world.state, early, None, poll, world.env)
    assert world.commit(started).reply == StaleTask()
    script.run(["wake 1s"])
    assert not is_stale(world.state, early)


def test_a_task_that_was_taken_or_replaced_is_stale_wherever_it_lies() -> None:
    script = Script()
    script.run(["start"])
    world = script.world
    ((_, first),) = world.queue(QueueKind.WORKFLOW)
    assert not is_stale(world.state, first)
    script.run(["poll workflow"])
    assert is_stale(world.state, first), "a worker has it"
    script.run(["complete", "  schedule a start_to_close=1h"])
    assert is_stale(world.state, first), "it has ended"
    ((_, attempt),) = world.queue(QueueKind.ACTIVITY)
    assert not is_stale(world.state, attempt)
    script.run(["poll activity"])
    assert is_stale(world.state, attempt), "a worker has it"
    script.run(["failed a", "wake 1s"])
    assert is_stale(world.state, attempt), "another attempt waits"
    poll = PollInfo(identity="worker", request_id="late")
    late = transitions.start_activity(world.state, attempt, None, poll, world.env)
    assert world.commit(late).reply == StaleTask()


# --- tokens ---


def test_tokens_survive_and_are_not_mistaken_for_each_other() -> None:
    known: list[tokens.TaskToken] = [
        tokens.ActivityTaskToken("n", "w", "r", 5, 2, "a", 3),
        tokens.QueryToken("n", "q"),
    ]
    for token in known:
        data = tokens.encode_token(token)
        assert tokens.decode_token(data, type(token)) == token
        for other in known:
            if other is not token:
                with pytest.raises(InvalidArgument, match="another kind"):
                    tokens.decode_token(data, type(other))
        with pytest.raises(InvalidArgument, match="not issued by this server"):
            tokens.decode_token(data[:-1], type(token))
    with pytest.raises(InvalidArgument, match="not issued by this server"):
        tokens.decode_token(b"", tokens.QueryToken)
    assert tokens.ActivityTaskToken("n", "w", "r", 5, 2, "a").entity == KEY


# --- drafts that are given up ---

SETTING = """
start run_timeout=1h memo.fields.m=1 search_attributes.indexed_fields.k=1
poll workflow
complete sticky=mine
  schedule a start_to_close=1m heartbeat=5s attempts=3
  schedule b start_to_close=1m
  timer t 5s
  StartChildWorkflowExecution workflow_id=c workflow_type=Sub
  SignalExternalWorkflowExecution execution.workflow_id=o signal_name=go
  RequestCancelExternalWorkflowExecution workflow_id=o
poll activity
signal go request=s1
poll workflow
""".strip().splitlines()
STEPS: list[list[str]] = [
    ["done a result"],
    ["failed a"],
    ["heartbeat a details"],
    ["undo a"],
    ["time-out-orphans"],
    ["signal more request=s2"],
    ["cancel"],
    ["child-started 8"],
    ["child-closed 8 Completed"],
    ["child-start-failed 8 WORKFLOW_ALREADY_EXISTS"],
    ["signal-sent 9"],
    ["cancel-sent 10"],
    ["terminate"],
    ["fail-task"],
    ["reset-sticky"],
    ["complete", "  cancel-timer t", "  cancel-activity 5", "  memo m=2", "  upsert k=2"],
    ["complete", "  accept u own=x", "  respond u done"],
    ["complete", "  finish"],
    ["complete", "  ContinueAsNewWorkflowExecution"],
    ["poll activity"],
    ["wake 5s"],
    ["wake 1m"],
    ["wake 1h"],
]


class Died(Exception):
    """Stands for any error within a step."""


@pytest.mark.parametrize("step", STEPS, ids=" ".join)
def test_a_step_that_fails_changes_nothing_and_can_be_taken_again(step: list[str]) -> None:
    script = Script()
    script.run(list[str](SETTING))
    world: World = script.world
    before, due = world.state.snapshot(), deadlines.live_deadlines(world.state)

    def die(draft: Draft, reply: object = None) -> RunTransition:
        raise Died

    wait = ["wait " + step[0].split()[1]] if step[0].startswith("wake") else []
    script.run(wait)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft, "done", die)
        with pytest.raises(Died):
            script.run(["wake" if wait else step[0], *step[1:]])
    assert world.state.snapshot() == before
    assert deadlines.live_deadlines(world.state) == due
    world.check()
    assert script.run(["wake" if wait else step[0], *step[1:]])
    assert world.state.snapshot() != before or step[0] in {"wake 5s", "heartbeat a details"}


def test_what_no_journal_undoes_is_copied_when_a_draft_opens() -> None:
    run = RunState(KEY)
    tables = {name for name in RunState.__slots__ if isinstance(getattr(run, name), Table)}
    kept_in_memory = {"deadlines", "heard_ns", "history_limit_ns", "journal", "key", "loaded_ns"}
    assert set(state._SCALARS) == set(RunState.__slots__) - tables - kept_in_memory


def test_a_snapshot_holds_all_that_is_durable() -> None:
    names = set(RunState(KEY).snapshot())
    kept_in_memory = {"deadlines", "heard_ns", "history_limit_ns", "journal", "key", "loaded_ns"}
    assert names == set(RunState.__slots__) - kept_in_memory
