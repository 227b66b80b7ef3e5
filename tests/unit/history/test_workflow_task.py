"""Workflow tasks: taken, completed, failed, timed out; transient attempts; sticky queues; heartbeats."""

from __future__ import annotations

import pytest

from perdure.core.ids import QueueKind
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.history import transitions
from perdure.history.commands import HANDLERS
from perdure.history.replies import PollInfo, StaleTask, WorkflowTaskReply
from perdure.history.state import RunStatus, WorkflowTaskKind
from perdure.history.tokens import WorkflowTaskToken
from perdure.wire.api import common, enums, failure, sdk, workflowservice
from perdure.wire.errors import InvalidArgument, NotFound
from perdure.wire.times import duration_ns
from tests.unit.history.harness import (
    QUEUE,
    STICKY,
    Run,
    cancel_timer,
    complete_workflow,
    event_kind,
    schedule_activity,
    start_request,
    start_timer,
)

Cause = enums.WorkflowTaskFailedCause
FailedRequest = workflowservice.RespondWorkflowTaskFailedRequest


def started_run(limits: Limits | None = None) -> Run:
    run = Run() if limits is None else Run(limits=limits)
    run.start()
    return run


def fail(run: Run, task: WorkflowTaskReply) -> None:
    request = FailedRequest(
        cause=Cause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
        failure=failure.Failure(message="history does not match"),
        identity="worker",
    )
    run.do(transitions.fail_workflow_task, task.token, request)


def failing_run(attempt: int) -> Run:
    """A run whose next task is this transient attempt."""
    run = started_run()
    for _ in range(attempt - 1):
        fail(run, run.poll_workflow())
    task = run.state.workflow_task
    assert task is not None
    assert task.attempt == attempt
    return run


# Delivery.


def test_a_poll_starts_the_task_and_gets_the_history() -> None:
    run = started_run()
    reply = run.poll_workflow(identity="me")
    assert run.kinds[-1] == "WorkflowTaskStarted"
    assert (reply.first_event_id, reply.last_event_id) == (1, 3)
    assert (reply.previous_started_event_id, reply.started_event_id) == (0, 3)
    assert (reply.attempt, reply.is_sticky, reply.queue_name) == (1, False, QUEUE)
    assert reply.workflow_type == "Greeting"
    assert run.event("WorkflowTaskStarted").identity == "me"
    assert not run.tasks, "the transition that starts a task removes its row"


def test_a_repeated_start_is_the_same_start() -> None:
    run = started_run()
    ((row, task),) = run.tasks.items()
    poll = PollInfo(identity="worker", request_id="poll")
    first = run.do(transitions.start_workflow_task, task, row, poll)
    again = run.do(transitions.start_workflow_task, task, None, poll)
    assert again.token == first.token
    other = PollInfo(identity="other", request_id="other")
    assert run.do(transitions.start_workflow_task, task, None, other) == StaleTask()


def test_a_stale_task_only_loses_its_row() -> None:
    run = started_run()
    run.do(transitions.terminate, workflowservice.TerminateWorkflowExecutionRequest())
    assert run.tasks
    assert run.poll() is None
    assert not run.tasks


def test_redelivery_is_the_same_token_with_the_full_history() -> None:
    run = started_run()
    assert transitions.redeliver(run.state, run.env) is None
    run.step(start_timer(ns=SECOND_NS))
    run.sleep(SECOND_NS)
    first = run.poll_workflow(STICKY)
    assert first.first_event_id == 4
    again = transitions.redeliver(run.state, run.env)
    assert again is not None
    assert again.token == first.token
    assert (again.first_event_id, again.is_sticky) == (1, False)


# Completion.


def test_rule_1_command_events_name_the_completed_event_and_follow_their_order() -> None:
    run = started_run()
    run.step(schedule_activity("a"), start_timer("t"))
    assert run.kinds[3:] == ["WorkflowTaskCompleted", "ActivityTaskScheduled", "TimerStarted"]
    for kind in ("ActivityTaskScheduled", "TimerStarted"):
        assert run.event(kind).workflow_task_completed_event_id == 4
    completed = run.event("WorkflowTaskCompleted")
    assert (completed.scheduled_event_id, completed.started_event_id) == (2, 3)


def test_the_completed_event_carries_what_replay_needs() -> None:
    run = started_run()
    metadata = sdk.WorkflowTaskCompletedMetadata(
        lang_used_flags=[3], sdk_name="perdure", sdk_version="1"
    )
    run.step(sdk_metadata=metadata, binary_checksum="build")
    completed = run.event("WorkflowTaskCompleted")
    assert completed.sdk_metadata == metadata
    assert completed.binary_checksum == "build"
    assert run.state.used_sdk == ("perdure", "1")


@pytest.mark.parametrize(
    "field", ["scheduled_event_id", "started_event_id", "attempt", "started_ns"]
)
def test_rule_13_a_token_of_another_task_is_not_found(field: str) -> None:
    run = started_run()
    token = run.poll_workflow().token
    values = {name: getattr(token, name) for name in token.__struct_fields__}
    wrong = WorkflowTaskToken(**(values | {field: values[field] + 1}))
    with pytest.raises(NotFound, match=r"Workflow task not found\."):
        run.complete(wrong)
    with pytest.raises(NotFound, match=r"Workflow task not found\."):
        run.do(transitions.fail_workflow_task, wrong, FailedRequest())


def test_rule_13_a_closed_run_has_no_tasks() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.do(transitions.terminate, workflowservice.TerminateWorkflowExecutionRequest())
    with pytest.raises(NotFound, match="Workflow task not found"):
        run.complete(task)
    with pytest.raises(NotFound, match="already completed"):
        fail(run, task)


def test_rule_6_the_first_completion_counts() -> None:
    run = started_run()
    run.step(complete_workflow("first"), complete_workflow("second"), start_timer())
    assert run.kinds[4:] == ["WorkflowExecutionCompleted"]
    assert b"first" in run.event("WorkflowExecutionCompleted").result.payloads[0].data


def test_rule_4_a_completion_with_unseen_events_fails_the_task_and_applies_nothing() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.signal()
    with pytest.raises(InvalidArgument, match=r"^UnhandledCommand$"):
        run.complete(task, [start_timer(), complete_workflow()])
    assert run.kinds[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    failed = run.event("WorkflowTaskFailed")
    assert failed.cause == Cause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    assert run.state.is_running
    assert not run.state.timers
    run.step(complete_workflow())
    assert run.state.status is RunStatus.COMPLETED


def test_rule_4_holds_for_a_transient_attempt_too() -> None:
    run = failing_run(2)
    task = run.poll_workflow()
    run.signal()
    with pytest.raises(InvalidArgument, match="UnhandledCommand"):
        run.complete(task, [complete_workflow()])
    # No WorkflowTaskFailed: it would have no Scheduled and Started. What came meanwhile makes a normal task.
    assert run.kinds[4:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    pending = run.state.workflow_task
    assert pending is not None
    assert (pending.attempt, pending.kind) == (1, WorkflowTaskKind.NORMAL)


def test_rule_5_a_cancelled_timer_that_fired_meanwhile_does_not_block_completion() -> None:
    run = started_run()
    run.step(start_timer("t", SECOND_NS))
    run.signal()
    task = run.poll_workflow(STICKY)
    run.sleep(SECOND_NS)
    assert run.state.buffered
    run.complete(task, [cancel_timer("t"), complete_workflow()])
    assert run.state.status is RunStatus.COMPLETED
    assert "TimerFired" not in run.kinds
    assert run.kinds[-2:] == ["TimerCanceled", "WorkflowExecutionCompleted"]


def test_rule_7_bad_attributes_fail_the_task_with_the_cause() -> None:
    run = started_run()
    with pytest.raises(InvalidArgument, match=r"^StartTimerDuplicateId: "):
        run.step(schedule_activity(), start_timer("t"), start_timer("t"))
    failed = run.event("WorkflowTaskFailed")
    assert failed.cause == Cause.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID
    assert failed.failure.message.startswith("StartTimerDuplicateId: ")
    assert failed.failure.HasField("server_failure_info")
    assert not run.state.activities
    assert not run.state.timers
    assert run.kinds[-1] == "WorkflowTaskFailed"


def test_rule_7_a_repeated_attempt_with_bad_attributes_writes_nothing() -> None:
    run = failing_run(2)
    task = run.poll_workflow()
    before = run.kinds
    with pytest.raises(InvalidArgument, match="StartTimerDuplicateId"):
        run.complete(task, [start_timer("t"), start_timer("t")])
    assert run.kinds == before
    assert run.state.workflow_task_is_started, "its time-out paces the retries"


def test_rule_7_an_oversized_payload_terminates_the_run() -> None:
    run = started_run(Limits(blob_size_bytes_max=100))
    with pytest.raises(InvalidArgument, match="exceeds size limit"):
        run.step(complete_workflow("x" * 200))
    assert run.kinds[3:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    assert run.state.status is RunStatus.TERMINATED


# Failures and transient attempts.


def test_rule_8_only_the_first_failure_is_history() -> None:
    run = failing_run(4)
    assert run.kinds == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
    ]
    assert run.event("WorkflowTaskFailed").failure.message == "history does not match"


def test_rule_8_a_transient_attempt_is_shown_and_written_when_it_completes() -> None:
    run = failing_run(3)
    task = run.poll_workflow(identity="w3")
    assert (task.attempt, task.started_event_id, task.last_event_id) == (3, 6, 4)
    scheduled, started = task.transient_events
    assert [event_kind(event) for event in task.transient_events] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert (scheduled.event_id, started.event_id) == (5, 6)
    assert scheduled.workflow_task_scheduled_event_attributes.attempt == 3
    assert run.kinds[-1] == "WorkflowTaskFailed"
    run.pass_time(SECOND_NS)
    run.complete(task, [start_timer()])
    assert run.kinds[4:] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "TimerStarted",
    ]
    for shown, written in zip(task.transient_events, run.events[4:6], strict=True):
        written.task_id = shown.task_id
        assert shown == written, "the worker was shown what history then says"


def test_rule_8_new_events_make_a_waiting_transient_attempt_a_normal_task() -> None:
    run = failing_run(2)
    run.signal()
    task = run.poll_workflow()
    assert run.kinds[4:] == [
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert (task.attempt, task.transient_events) == (1, ())
    run.complete(task)
    assert run.kinds[-1] == "WorkflowTaskCompleted"


def test_rule_8_the_history_tail_shows_transient_events_to_readers() -> None:
    run = failing_run(2)
    tail = transitions.tail(run.state, run.env)
    assert [event_kind(event) for event in tail.transient_events] == ["WorkflowTaskScheduled"]
    run.signal()
    assert transitions.tail(run.state, run.env).transient_events == ()


def test_rule_8_events_during_a_transient_attempt_wait_and_follow_it() -> None:
    run = failing_run(2)
    task = run.poll_workflow()
    run.signal()
    assert "WorkflowExecutionSignaled" not in run.kinds
    reply = run.complete(task)
    assert run.kinds[4:] == [
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert reply.workflow_task is not None


def test_a_transient_attempt_survives_a_restart() -> None:
    run = failing_run(3)
    run.restart()
    task = run.poll_workflow()
    run.restart()
    run.complete(task, [complete_workflow()])
    assert run.state.status is RunStatus.COMPLETED


def test_a_response_too_large_for_grpc_terminates() -> None:
    run = started_run()
    request = FailedRequest(cause=Cause.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE)
    request.failure.message = "5 MiB"
    run.do(transitions.fail_workflow_task, run.poll_workflow().token, request)
    assert run.kinds[-1] == "WorkflowExecutionTerminated"
    assert run.event("WorkflowExecutionTerminated").reason == "GrpcMessageTooLarge: 5 MiB"


# Time-outs.


def test_a_worker_that_does_not_answer_loses_its_task() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.sleep(10 * SECOND_NS)
    timed_out = run.event("WorkflowTaskTimedOut")
    assert timed_out.timeout_type == enums.TIMEOUT_TYPE_START_TO_CLOSE
    assert (timed_out.scheduled_event_id, timed_out.started_event_id) == (2, 3)
    with pytest.raises(NotFound):
        run.complete(task)
    assert run.poll_workflow().attempt == 2


def test_rule_8_later_time_outs_are_not_history() -> None:
    run = started_run()
    for attempt in (1, 2, 3):
        assert run.poll_workflow().attempt == attempt
        run.sleep(10 * SECOND_NS)
    assert run.kinds.count("WorkflowTaskTimedOut") == 1


def test_rule_9_retries_are_paced_by_a_growing_time_out() -> None:
    run = started_run()
    timeouts = list[int]()
    for _ in range(12):
        run.poll_workflow()
        task = run.state.workflow_task
        assert task is not None
        timeouts.append(task.start_to_close_ns // SECOND_NS)
        run.sleep(task.start_to_close_ns)
    assert timeouts == [10, 10, 10, 15, 20, 30, 50, 90, 170, 330, 610, 610]


def test_a_time_out_flushes_what_waited() -> None:
    run = started_run()
    run.poll_workflow()
    run.signal()
    run.sleep(10 * SECOND_NS)
    assert run.kinds[3:] == [
        "WorkflowTaskTimedOut",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    assert run.poll_workflow().attempt == 1


# Sticky queues.


def test_rule_12_a_sticky_hit_gets_only_what_is_new() -> None:
    run = started_run()
    run.step(start_timer(ns=SECOND_NS))
    run.sleep(SECOND_NS)
    scheduled = run.event("WorkflowTaskScheduled")
    assert (scheduled.task_queue.name, scheduled.task_queue.kind) == (
        STICKY,
        enums.TASK_QUEUE_KIND_STICKY,
    )
    assert scheduled.task_queue.normal_name == QUEUE
    task = run.poll_workflow(STICKY)
    assert task.is_sticky
    assert (task.previous_started_event_id, task.first_event_id) == (3, 4)
    assert task.last_event_id == task.started_event_id == len(run.events)


def test_rule_10_a_completion_without_sticky_attributes_clears_stickiness() -> None:
    run = started_run()
    run.step(start_timer("1", SECOND_NS))
    assert run.state.sticky is not None
    run.sleep(SECOND_NS)
    run.step(start_timer("2", SECOND_NS), sticky=False)
    assert run.state.sticky is None
    run.sleep(SECOND_NS)
    assert run.poll_workflow(QUEUE).first_event_id == 1


def test_rule_10_no_sticky_worker_moves_the_task_without_counting_an_attempt() -> None:
    run = started_run()
    run.step(start_timer(ns=SECOND_NS))
    run.sleep(SECOND_NS)
    run.sleep(10 * SECOND_NS)
    timed_out = run.event("WorkflowTaskTimedOut")
    assert timed_out.timeout_type == enums.TIMEOUT_TYPE_SCHEDULE_TO_START
    assert timed_out.started_event_id == 0
    assert run.state.sticky is None
    assert run.poll(STICKY) is None
    task = run.poll_workflow(QUEUE)
    assert (task.attempt, task.first_event_id) == (1, 1)


def test_rule_10_a_failure_on_the_sticky_queue_is_first_tried_elsewhere_as_attempt_1() -> None:
    run = started_run()
    run.step(start_timer(ns=SECOND_NS))
    run.sleep(SECOND_NS)
    fail(run, run.poll_workflow(STICKY))
    task = run.poll_workflow(QUEUE)
    assert (task.attempt, task.transient_events) == (1, ())
    fail(run, task)
    assert run.poll_workflow(QUEUE).attempt == 2


def test_rule_11_a_task_taken_from_the_normal_queue_clears_stickiness() -> None:
    run = started_run()
    run.step(start_timer(ns=SECOND_NS))
    run.sleep(SECOND_NS)
    ((row, task),) = run.tasks.items()
    assert task.queue.name == STICKY
    poll = PollInfo(identity="other", request_id="p", queue_name=QUEUE)
    reply = run.do(transitions.start_workflow_task, task, row, poll)
    assert (reply.is_sticky, reply.first_event_id) == (False, 1)
    assert run.state.sticky is None


def test_rule_11_reset_sticky_moves_the_waiting_task_at_once() -> None:
    run = started_run()
    run.step(start_timer(ns=SECOND_NS))
    run.sleep(SECOND_NS)
    before = run.kinds
    run.do(transitions.reset_sticky)
    assert run.kinds == before
    assert run.poll(STICKY) is None, "the old row is stale"
    run.restart()
    task = run.poll_workflow(QUEUE)
    assert (task.attempt, task.first_event_id) == (1, 1)
    run.restart()
    run.complete(task, [complete_workflow()])


def test_reset_sticky_of_a_run_that_is_not_sticky_is_a_no_op() -> None:
    run = started_run()
    run.do(transitions.reset_sticky)
    assert run.last is not None
    assert run.last.is_empty


# The next task inline, and heartbeats.


def test_rule_15_the_next_task_comes_inline_when_events_waited() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.signal()
    inline = run.complete(task, [start_timer()]).workflow_task
    assert inline is not None
    assert run.kinds[3:] == [
        "WorkflowTaskCompleted",
        "TimerStarted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert inline.is_sticky
    assert inline.first_event_id == 4
    request_id = run.event("WorkflowTaskStarted").request_id
    assert request_id == "request-from-RespondWorkflowTaskCompleted"
    assert not run.tasks


def test_rule_15_a_worker_that_takes_no_inline_task_finds_it_on_its_queue() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.signal()
    assert run.complete(task, return_new_workflow_task=False).workflow_task is None
    assert run.poll_workflow(STICKY).first_event_id == 4


def test_rule_15_a_worker_without_cache_gets_the_full_history_inline() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.signal()
    inline = run.complete(task, sticky=False).workflow_task
    assert inline is not None
    assert (inline.is_sticky, inline.first_event_id) == (False, 1)


def test_without_news_there_is_no_next_task() -> None:
    run = started_run()
    assert run.step(start_timer()).workflow_task is None
    assert run.state.workflow_task is None


def test_rule_14_a_heartbeat_writes_a_task_and_hands_it_back() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.pass_time(8 * SECOND_NS)
    inline = run.complete(task, force_create_new_workflow_task=True).workflow_task
    assert inline is not None
    assert run.kinds[3:] == [
        "WorkflowTaskCompleted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    pending = run.state.workflow_task
    assert pending is not None
    assert pending.original_scheduled_ns == run.events[1].event_time.ToNanoseconds()
    run.restart()
    assert run.complete(inline, [complete_workflow()]).workflow_task is None


def heartbeat_until_refused(run: Run) -> int:
    task = run.poll_workflow()
    for beats in range(1_000):
        run.pass_time(8 * SECOND_NS)
        try:
            inline = run.complete(task, force_create_new_workflow_task=True).workflow_task
        except NotFound as error:
            if error.message != "workflow task heartbeat timeout":
                raise
            return beats
        assert inline is not None
        task = inline
    raise AssertionError("heartbeats go on for ever")


def test_rule_14_heartbeats_alone_end_after_a_while() -> None:
    assert DEFAULT_LIMITS.workflow_task_heartbeat_ns == 30 * MINUTE_NS
    run = started_run(Limits(workflow_task_heartbeat_ns=2 * MINUTE_NS))
    assert heartbeat_until_refused(run) == 2 * MINUTE_NS // (8 * SECOND_NS)
    assert run.kinds[-2:] == ["WorkflowTaskTimedOut", "WorkflowTaskScheduled"]
    assert run.state.sticky is None
    assert run.poll_workflow(QUEUE).attempt == 1


def test_rule_14_progress_restarts_the_clock() -> None:
    run = started_run()
    task = run.poll_workflow()
    run.pass_time(9 * SECOND_NS)
    inline = run.complete(task, [start_timer()], force_create_new_workflow_task=True).workflow_task
    assert inline is not None
    pending = run.state.workflow_task
    assert pending is not None
    assert pending.original_scheduled_ns == 0


# Limits.


def test_started_events_suggest_to_continue_as_new() -> None:
    run = started_run(Limits(history_count_suggest_continue=3))
    run.poll_workflow()
    started = run.event("WorkflowTaskStarted")
    assert started.suggest_continue_as_new
    assert list(started.suggest_continue_as_new_reasons) == [
        enums.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS
    ]
    assert 0 < started.history_size_bytes < run.state.history_size_bytes


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(history_count_max=4), "Workflow history count exceeds limit."),
        (Limits(history_size_bytes_max=200), "Workflow history size exceeds limit."),
    ],
    ids=["count", "size"],
)
def test_a_history_over_its_limit_is_terminated(limits: Limits, reason: str) -> None:
    run = started_run(limits)
    run.step(start_timer())
    assert run.state.status is RunStatus.TERMINATED
    assert run.event("WorkflowExecutionTerminated").reason == reason


def test_priority_and_queue_kind_of_the_task() -> None:
    run = Run()
    run.start(start_request(priority=common.Priority(priority_key=1)))
    (task,) = run.tasks.values()
    assert (task.priority, task.queue.kind) == (1, QueueKind.WORKFLOW)


def test_the_scheduled_event_says_the_time_out() -> None:
    run = started_run()
    assert duration_ns(run.event("WorkflowTaskScheduled").start_to_close_timeout) == 10 * SECOND_NS


def test_an_abandoned_completion_leaves_the_run_as_it_was() -> None:
    run = started_run()
    task = run.poll_workflow()
    before = run.state.snapshot()

    def explode(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    broken = start_timer("t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(HANDLERS, int(broken.command_type), explode)
        with pytest.raises(RuntimeError):
            run.complete(task, [schedule_activity(), broken])
    assert run.state.snapshot() == before
    run.complete(task, [schedule_activity(), broken])
