"""Local activities: asked for, recorded, answered from markers, kept alive."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.replay import commands as cmd
from perdure.replay.jobs import Backoff, Cancelled, Completed, Failed, ResolveActivity
from perdure.replay.local import LocalActivityCancel, LocalActivityRequest, LocalResult
from perdure.replay.markers import read_local_activity
from perdure.replay.mismatch import Rule
from perdure.replay.task import Completion, Fatal, WorkflowTask
from perdure.wire.api import common, enums, query
from perdure.wire.api import failure as failures
from tests.unit.replay.build import SECOND_NS, Driver, Events, live, payload, script, timer
from tests.unit.replay.test_engine import types

TRY, WAIT, ABANDON = cmd.ActivityCancellationType
END = [cmd.CompleteWorkflow()]


def local(
    seq: int = 1, cancel: cmd.ActivityCancellationType = TRY, **more: Any
) -> cmd.ScheduleLocalActivity:
    return cmd.ScheduleLocalActivity(
        seq=seq, activity_type="check", arguments=[payload("in")], cancellation_type=cancel, **more
    )


def go_on(driver: Driver) -> Any:
    """Run what the engine has to run, and answer the task if that is possible."""
    while (activation := driver.engine.next()) is not None:
        driver.seen.append(activation)
        result = cmd.ActivationResult(commands=driver.code(activation))
        assert driver.engine.commit(result) is None
    return driver.engine.ready()


def record(events: Events, completion: Completion) -> Events:
    """What a server writes for a completion of markers (and an end)."""
    events.completed()
    for command in completion.commands:
        if command.command_type == enums.COMMAND_TYPE_RECORD_MARKER:
            marker = command.record_marker_command_attributes
            events.add(
                "MarkerRecorded",
                marker_name=marker.marker_name,
                details=marker.details,
                failure=marker.failure if marker.HasField("failure") else None,
            )
        elif command.command_type == enums.COMMAND_TYPE_START_TIMER:
            events.timer(command.start_timer_command_attributes.timer_id)
        else:
            events.done()
    return events


def test_a_local_activity_runs_inside_its_task_and_leaves_a_marker() -> None:
    events = Events().start()
    driver = Driver(script([local()], END))
    assert driver.feed(live(events)) is None
    assert driver.engine.waits_for_local_activities
    assert driver.engine.local_requests() == [LocalActivityRequest(local())]
    assert driver.engine.local_requests() == []
    driver.engine.local_result(1, LocalResult(Completed(payload("yes")), runtime_ns=7))
    answer = go_on(driver)
    assert types(answer) == ["RECORD_MARKER", "COMPLETE_WORKFLOW_EXECUTION"]
    assert driver.seen[1].jobs == (ResolveActivity(1, Completed(payload("yes")), is_local=True),)
    assert driver.seen[1].time_ns == 3 * SECOND_NS + 7
    marker = read_local_activity(record(events, answer)[4])
    assert marker is not None
    assert (marker.seq, marker.activity_id, marker.activity_type) == (1, "1", "check")
    assert (marker.complete_time_ns, marker.activation_index) == (3 * SECOND_NS + 7, 1)
    assert marker.result == payload("yes")


def test_replay_answers_from_the_marker_at_the_same_time() -> None:
    events = Events().start()
    driver = Driver(script([local()], END))
    driver.feed(live(events))
    driver.engine.local_requests()
    driver.engine.local_result(1, LocalResult(Completed(payload("yes")), runtime_ns=7))
    record(events, go_on(driver))
    again = Driver(script([local()], END)).replay(events)
    assert again.engine.error is None
    assert again.engine.local_requests() == []
    facts = [(a.jobs, a.time_ns, a.history_length) for a in again.seen]
    assert facts == [(a.jobs, a.time_ns, a.history_length) for a in driver.seen]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Failed(failures.Failure(message="no")), "no"),
        (
            Failed(failures.Failure(timeout_failure_info=failures.TimeoutFailureInfo())),
            "Local Activity timed out",
        ),
        (
            Cancelled(failures.Failure(canceled_failure_info=failures.CanceledFailureInfo())),
            "Local Activity cancelled",
        ),
    ],
)
def test_failures_look_alike_live_and_on_replay(outcome: Failed | Cancelled, message: str) -> None:
    events = Events().start()
    driver = Driver(script([local()], END))
    driver.feed(live(events))
    driver.engine.local_requests()
    driver.engine.local_result(1, LocalResult(outcome))
    record(events, go_on(driver))
    job = driver.seen[1].jobs[0]
    assert isinstance(job, ResolveActivity)
    assert isinstance(job.result, type(outcome))
    assert job.result.failure.message == message
    again = Driver(script([local()], END)).replay(events)
    assert again.seen[1].jobs == driver.seen[1].jobs


def test_a_long_backoff_is_left_to_workflow_code() -> None:
    driver = Driver(script([local()], [timer()]))
    driver.feed(live(Events().start()))
    driver.engine.local_requests()
    failed = Failed(failures.Failure(message="later"))
    result = LocalResult(failed, 3, backoff_ns=90 * SECOND_NS, original_schedule_time_ns=5)
    driver.engine.local_result(1, result)
    assert types(go_on(driver)) == ["RECORD_MARKER", "START_TIMER"]
    expected = ResolveActivity(1, Backoff(4, 90 * SECOND_NS, 5), is_local=True)
    assert driver.seen[1].jobs == (expected,)


def test_results_come_in_the_activations_of_the_original_run() -> None:
    events = Events().start()
    code: list[list[cmd.Command]] = [[local(1), local(2)], [], [cmd.CompleteWorkflow()]]
    driver = Driver(script(*code))
    driver.feed(live(events))
    driver.engine.local_requests()
    driver.engine.local_result(2, LocalResult(Completed(payload())))
    assert go_on(driver) is None
    driver.engine.local_result(1, LocalResult(Completed(payload())))
    record(events, go_on(driver))
    again = Driver(script(*code)).replay(events)
    assert again.engine.error is None
    assert [activation.jobs for activation in again.seen] == [a.jobs for a in driver.seen]
    assert len(again.seen) == 3


def test_a_heartbeat_answers_the_task_and_asks_for_a_new_one() -> None:
    events = Events().start()
    driver = Driver(script([timer(), local()], END))
    driver.feed(live(events))
    driver.engine.local_requests()
    beat = driver.engine.heartbeat()
    assert types(beat) == ["START_TIMER"]
    assert beat is not None
    assert beat.force_create_new_workflow_task
    # The result may come between the two tasks: it waits for the second.
    driver.engine.local_result(1, LocalResult(Completed(payload())))
    assert driver.engine.next() is None
    record(events, beat).task()
    answer = driver.feed(live(events[3:], previous=3))
    assert types(answer) == ["RECORD_MARKER", "COMPLETE_WORKFLOW_EXECUTION"]
    assert not answer.force_create_new_workflow_task


def test_after_a_crash_an_unrecorded_local_activity_runs_again() -> None:
    events = Events().start()
    driver = Driver(script([timer(), local()]))
    driver.feed(live(events))
    driver.engine.local_requests()
    beat = driver.engine.heartbeat()
    assert beat is not None
    record(events, beat).task()
    cold = Driver(script([timer(), local()], END))
    assert cold.feed(live(events, previous=3)) is None
    assert cold.engine.local_requests() == [LocalActivityRequest(local())]


@pytest.mark.parametrize(
    ("cancel", "running", "requests", "resolved"),
    [
        (TRY, True, [LocalActivityCancel(1)], True),
        (TRY, False, [], True),
        (WAIT, True, [LocalActivityCancel(1)], False),
        (WAIT, False, [], True),
        (ABANDON, True, [], True),
        (ABANDON, False, [], True),
    ],
)
def test_cancelling_a_local_activity(
    cancel: cmd.ActivityCancellationType, running: bool, requests: list[Any], resolved: bool
) -> None:
    stop = cmd.RequestCancelLocalActivity(seq=1)
    if running:
        # A second local activity's result is the occasion to cancel the first.
        driver = Driver(script([local(1, cancel), local(2)], [stop]))
        driver.feed(live(Events().start()))
        driver.engine.local_requests()
        driver.engine.local_result(2, LocalResult(Completed(None)))
        go_on(driver)
        last = driver.seen[2:]
    else:
        driver = Driver(script([local(1, cancel), stop]))
        driver.feed(live(Events().start()))
        last = driver.seen[1:]
    assert driver.engine.local_requests() == requests
    assert bool(last) is resolved
    if resolved:
        job = last[0].jobs[0]
        assert isinstance(job, ResolveActivity)
        assert isinstance(job.result, Cancelled)


def test_a_result_that_nobody_waits_for_any_more_is_ignored() -> None:
    stop = cmd.RequestCancelLocalActivity(seq=1)
    driver = Driver(script([local(1), local(2)], [stop], [], END))
    driver.feed(live(Events().start()))
    driver.engine.local_requests()
    driver.engine.local_result(2, LocalResult(Completed(None)))
    go_on(driver)
    driver.engine.local_result(1, LocalResult(Completed(payload("late"))))
    driver.engine.local_result(77, LocalResult(Completed(payload("unknown"))))
    answer = go_on(driver)
    assert types(answer) == ["RECORD_MARKER", "RECORD_MARKER"]


def test_the_end_of_the_workflow_stops_what_still_runs() -> None:
    driver = Driver(script([local(1), local(2)], END))
    driver.feed(live(Events().start()))
    driver.engine.local_requests()
    driver.engine.local_result(1, LocalResult(Completed(None)))
    answer = go_on(driver)
    assert types(answer)[-1] == "COMPLETE_WORKFLOW_EXECUTION"
    assert driver.engine.local_requests() == [LocalActivityCancel(2)]


def test_a_query_is_answered_while_a_local_activity_runs() -> None:
    def code(activation: Any) -> list[cmd.Command]:
        if activation.history_length == 3 and not activation.is_replaying:
            return [local()]
        return [cmd.QueryResult(query_id="q", response=payload("here"))]

    driver = Driver(code)
    answer = driver.feed(live(Events().start(), queries={"q": query.WorkflowQuery()}))
    assert isinstance(answer, Completion)
    assert answer.force_create_new_workflow_task
    assert answer.query_results["q"].answer.payloads[0] == payload("here")


def test_a_marker_of_a_local_activity_that_never_was_is_a_mismatch() -> None:
    events = Events().start()
    driver = Driver(script([local()], END))
    driver.feed(live(events))
    driver.engine.local_requests()
    driver.engine.local_result(1, LocalResult(Completed(None)))
    record(events, go_on(driver))
    found = Driver(script(END)).replay(events).engine.mismatch
    assert found is not None
    assert found.rule is Rule.LOCAL_ACTIVITY
    renamed = cmd.ScheduleLocalActivity(seq=1, activity_type="other")
    other = Driver(script([renamed], END)).replay(events).engine.mismatch
    assert other is not None
    assert other.difference is not None
    assert other.difference.in_code == "other"


def test_a_marker_that_can_not_be_read_is_fatal() -> None:
    events = Events().start().completed()
    details = {"data": common.Payloads(payloads=[common.Payload(data=b"{}")])}
    events.add("MarkerRecorded", marker_name="core_local_activity", details=details)
    events.signal().task()
    driver = Driver(script([local()])).replay(events)
    assert isinstance(driver.engine.error, Fatal)
    assert driver.engine.error.event_id == 5


def test_arguments_are_recorded_on_request() -> None:
    driver = Driver(script([local(include_arguments_in_marker=True)], END))
    driver.feed(live(Events().start()))
    driver.engine.local_requests()
    driver.engine.local_result(1, LocalResult(Completed(None)))
    marker = go_on(driver).commands[0].record_marker_command_attributes
    assert marker.details["input"].payloads[0] == payload("in")


def test_no_heartbeat_without_a_local_activity() -> None:
    driver = Driver(script([timer()]))
    driver.engine.feed(WorkflowTask(Events().start(), 0, 3))
    assert driver.engine.heartbeat() is None


def test_no_result_is_an_empty_payload_live_and_on_replay() -> None:
    events = Events().start()
    driver = Driver(script([local()], END))
    driver.feed(live(events))
    driver.engine.local_requests()
    driver.engine.local_result(1, LocalResult(Completed(None)))
    record(events, go_on(driver))
    again = Driver(script([local()], END)).replay(events)
    assert again.seen[1].jobs == driver.seen[1].jobs
    assert again.seen[1].jobs[0] == ResolveActivity(1, Completed(common.Payload()), is_local=True)
