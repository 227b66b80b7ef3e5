"""Calls out of order: each is refused or has no answer, and the run goes on as if it had not been made."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from perdure.replay import commands as cmd
from perdure.replay.commands import CallSite, Frame
from perdure.replay.engine import WorkflowReplay
from perdure.replay.jobs import Completed
from perdure.replay.local import LocalResult
from perdure.replay.task import Completion, EngineConfig, Fatal, NeedPage, WorkflowTask
from perdure.wire.api import common, enums, query, sdk
from tests.unit.replay.build import RUN, SECOND_NS, Driver, Events, live, payload, script, timer
from tests.unit.replay.script_values import command_of
from tests.unit.replay.test_engine import _update

NOTHING = cmd.ActivationResult()
LOCAL = cmd.ScheduleLocalActivity(seq=1, activity_type="check")
EARLY = Fatal("a workflow task arrived before the previous one was answered")


def engine_at(events: Events) -> WorkflowReplay:
    engine = WorkflowReplay(RUN, EngineConfig())
    engine.feed(live(events))
    return engine


def test_nothing_is_answered_or_handed_out_while_code_runs() -> None:
    engine = engine_at(Events().start())
    assert engine.ready() is None, "there is work to do"
    assert engine.next() is not None
    assert engine.next() is None, "one activation at a time"
    assert engine.ready() is None
    engine.commit(NOTHING)
    assert engine.next() is None
    assert isinstance(engine.ready(), Completion)
    assert engine.ready() is None, "an answer is given once"
    assert engine.next() is None


def test_a_task_while_code_runs_is_refused() -> None:
    events = Events().start()
    engine = engine_at(events)
    assert engine.next() is not None
    engine.feed(live(events))
    assert engine.error == EARLY


def test_nothing_is_answered_while_a_page_is_missing() -> None:
    events = Events().start()
    engine = WorkflowReplay(RUN, EngineConfig())
    assert engine.feed(WorkflowTask(events[:2], 0, 3, b"more")) == NeedPage(b"more")
    assert (engine.next(), engine.ready(), engine.heartbeat()) == (None, None, None)
    assert engine.feed_page(events[2:], b"") is None
    assert engine.next() is not None


def test_nothing_is_answered_while_a_query_waits() -> None:
    engine = WorkflowReplay(RUN, EngineConfig())
    asked = {"q": query.WorkflowQuery(query_type="state")}
    engine.feed(live(Events().start(), queries=asked))
    engine.next()
    engine.commit(NOTHING)
    assert engine.ready() is None
    assert engine.next() is not None
    engine.commit(cmd.ActivationResult([cmd.QueryResult(query_id="q")]))
    assert isinstance(engine.ready(), Completion)


def test_a_task_while_a_page_is_missing_is_refused() -> None:
    events = Events().start()
    engine = WorkflowReplay(RUN, EngineConfig())
    asked = {"q": query.WorkflowQuery(query_type="state")}
    task = WorkflowTask(events[:2], 0, 3, b"more", queries=asked)
    assert engine.feed(task) == NeedPage(b"more")
    assert (engine.next(), engine.ready(), engine.heartbeat()) == (None, None, None)
    engine.feed(live(events))
    assert engine.error == EARLY


def test_results_without_an_activation_are_refused_and_nothing_more_is_done() -> None:
    engine = engine_at(Events().start())
    assert engine.commit(NOTHING) is None
    assert engine.error == Fatal("commands arrived without an activation that asked for them")
    assert (engine.next(), engine.ready(), engine.heartbeat()) == (None, None, None)
    assert engine.feed_page([], b"") is None


def test_a_query_is_answered_once() -> None:
    engine = engine_at(Events().start())
    engine.next()
    engine.commit(NOTHING)
    engine.ready()
    engine.feed(WorkflowTask([], 3, 0, query=query.WorkflowQuery(query_type="state")))
    asked = engine.next()
    assert asked is not None
    engine.commit(cmd.ActivationResult([cmd.QueryResult(query_id="legacy_query")]))
    assert engine.ready() is not None
    assert engine.ready() is None


def test_what_else_the_code_of_a_query_issues_is_dropped() -> None:
    engine = engine_at(Events().start())
    engine.next()
    engine.commit(NOTHING)
    engine.ready()
    engine.feed(WorkflowTask([], 3, 0, query=query.WorkflowQuery(query_type="state")))
    assert engine.next() is not None
    engine.commit(cmd.ActivationResult([timer(), cmd.QueryResult(query_id="legacy_query")]))
    assert engine.ready() is not None
    assert engine.pending_operations == 0


def test_an_operation_begun_and_cancelled_after_the_end_leaves_nothing_behind() -> None:
    engine = WorkflowReplay(RUN, EngineConfig())
    asked = {"q": query.WorkflowQuery(query_type="state")}
    engine.feed(live(Events().start(), queries=asked))
    engine.next()
    engine.commit(cmd.ActivationResult([cmd.CompleteWorkflow()]))
    assert engine.next() is not None
    late = [timer(), cmd.CancelTimer(seq=1), cmd.QueryResult(query_id="q")]
    engine.commit(cmd.ActivationResult(late))
    answer = engine.ready()
    assert isinstance(answer, Completion)
    assert len(answer.commands) == 1
    assert engine.pending_operations == 0


def test_all_operations_that_are_cancelled_before_they_were_sent_are_taken_back() -> None:
    engine = engine_at(Events().start())
    engine.next()
    engine.commit(cmd.ActivationResult([LOCAL, *(timer(number) for number in (1, 2, 3, 4))]))
    engine.local_requests()
    engine.local_result(1, LocalResult(Completed(payload("x"))))
    assert engine.next() is not None
    cancelled = [cmd.CancelTimer(seq=number) for number in (1, 2, 3)]
    engine.commit(cmd.ActivationResult(cancelled))
    answer = engine.ready()
    assert isinstance(answer, Completion)
    kinds = [enums.CommandType.Name(command.command_type) for command in answer.commands]
    assert kinds == ["COMMAND_TYPE_START_TIMER", "COMMAND_TYPE_RECORD_MARKER"]
    assert answer.commands[0].start_timer_command_attributes.timer_id == "4"
    assert engine.pending_operations == 2, "the fourth timer and the local activity"


def test_an_unanswered_query_does_not_come_with_the_next_task() -> None:
    events = Events().start()
    driver = Driver(script())
    asked = query.WorkflowQuery(query_type="state")
    answer = driver.feed(live(events, queries={"q": asked}))
    assert not answer.query_results, "the code answered nothing"
    events.completed().signal().task()
    again = driver.feed(live(events[3:], previous=3))
    assert driver.jobs[-1] == ["SignalWorkflow"]
    assert not again.query_results


def test_a_result_while_code_runs_waits_until_it_is_quiet() -> None:
    engine = engine_at(Events().start())
    engine.next()
    engine.commit(cmd.ActivationResult([LOCAL, timer()]))
    assert len(engine.local_requests()) == 1
    engine.local_result(1, LocalResult(Completed(payload("one"))))
    assert engine.heartbeat() is None, "code has work to do"
    assert engine.ready() is None
    activation = engine.next()
    assert activation is not None
    second = msgspec.structs.replace(LOCAL, seq=2)
    third = msgspec.structs.replace(LOCAL, seq=3)
    engine.commit(cmd.ActivationResult([second, third]))
    engine.local_requests()
    engine.local_result(2, LocalResult(Completed(payload("two"))))
    assert engine.next() is not None
    assert engine.heartbeat() is None, "code runs"
    engine.local_result(3, LocalResult(Completed(payload("three"))))
    assert engine.next() is None, "one activation at a time"
    engine.commit(NOTHING)
    last = engine.next()
    assert last is not None
    assert [type(job).__name__ for job in last.jobs] == ["ResolveActivity"]


def test_a_command_of_an_unknown_kind_is_refused() -> None:
    class Later(cmd.Command, frozen=True, kw_only=True):
        """Of a version to come."""

    driver = Driver(lambda _activation: [Later()])
    driver.feed(live(Events().start()))
    assert driver.engine.error == Fatal("Later is not supported by this version")


# --- where in the code a command came from ---


def here() -> CallSite:
    caller = sys._getframe(1)
    return (Frame(caller.f_code, caller.f_lasti),)


GROUP = (sdk.EventGroupMarker(label=sdk.EventGroupMarker.Label(id="g")),)
ACTIVITY = "ScheduleActivity seq=1 activity_type=charge"
CHILD = "StartChildWorkflow seq=1 workflow_id=c workflow_type=Sub cancellation_type=TRY_CANCEL"
RECORDED: dict[str, dict[str, Any]] = {
    "TimerStarted": {"timer_id": "1"},
    "ActivityTaskScheduled": {
        "activity_id": "1",
        "activity_type": common.ActivityType(name="charge"),
    },
    "StartChildWorkflowExecutionInitiated": {
        "workflow_id": "c",
        "workflow_type": common.WorkflowType(name="Sub"),
    },
    "NexusOperationScheduled": {"service": "s", "operation": "o"},
}
NEXUS = "ScheduleNexusOperation seq=1 endpoint=e service=s operation=o"


@pytest.mark.parametrize(
    ("first", "event", "second"),
    [
        ("", "", "StartTimer seq=9 start_to_fire_timeout_ns=1s"),
        ("", "", ACTIVITY),
        ("", "", CHILD),
        ("", "", NEXUS),
        ("", "", "SignalExternal seq=1 workflow_id=o signal_name=go"),
        ("", "", "RequestCancelExternal seq=1 workflow_id=o"),
        ("", "", "SetPatchMarker patch_id=p"),
        ("", "", "UpsertSearchAttributes search_attributes.indexed_fields.k=1"),
        ("", "", "UpsertSearchAttributes search_attributes.indexed_fields.TemporalChangeVersion=1"),
        ("", "", "ModifyProperties upserted_memo.fields.k=1"),
        ("", "", "CompleteWorkflow"),
        ("", "", "ContinueAsNew"),
        ("StartTimer seq=1 start_to_fire_timeout_ns=1s", "TimerStarted", "CancelTimer seq=1"),
        (ACTIVITY, "ActivityTaskScheduled", "RequestCancelActivity seq=1"),
        (CHILD, "StartChildWorkflowExecutionInitiated", "CancelChildWorkflow seq=1"),
        (NEXUS, "NexusOperationScheduled", "RequestCancelNexusOperation seq=1"),
    ],
)
def test_each_command_remembers_its_place_and_its_group(
    first: str, event: str, second: str
) -> None:
    events = Events().start()
    steps: list[list[cmd.Command]] = []
    if first:
        events.completed(None).add(event, **RECORDED[event])
        events.signal().task()
        steps.append([command_of(first)])
    site = here()
    issued = msgspec.structs.replace(command_of(second), site=site, event_group_markers=GROUP)
    driver = Driver(script(*steps, [issued]))
    answer = driver.feed(live(events, previous=3 if first else 0))
    assert driver.engine.error is None
    left = driver.engine._run.commands
    assert [entry.command.site for entry in left] == [site] * len(left)
    assert len(left) == len(answer.commands) == (2 if "Patch" in second else 1)
    assert [list(each.event_group_markers) for each in answer.commands] == [list(GROUP)] * len(left)


def test_a_local_activitys_marker_remembers_its_place() -> None:
    site = here()
    engine = engine_at(Events().start())
    engine.next()
    local = msgspec.structs.replace(LOCAL, site=site, event_group_markers=GROUP)
    engine.commit(cmd.ActivationResult([local]))
    engine.local_requests()
    engine.local_result(1, LocalResult(Completed(payload("x")), runtime_ns=SECOND_NS))
    engine.next()
    engine.commit(NOTHING)
    assert [entry.command.site for entry in engine._run.commands] == [site]


@pytest.mark.parametrize("kind", ["accept", "complete"])
def test_an_updates_messages_remember_their_place(kind: str) -> None:
    site = here()
    answers: list[cmd.Command] = [
        cmd.UpdateResponse(
            protocol_instance_id="u1", response=response, site=site, event_group_markers=GROUP
        )
        for response in (cmd.UpdateAccepted(), cmd.UpdateCompleted(payload()))
    ]
    driver = Driver(script(answers))
    answer = driver.feed(live(Events().start(), messages=[_update()]))
    assert [entry.command.site for entry in driver.engine._run.commands] == [site, site]
    assert [list(each.event_group_markers) for each in answer.commands] == [list(GROUP)] * 2
    assert answer.messages[kind == "complete"].id == f"u1/request/{kind}"
