"""Where the next workflow task goes: sticky queues, the next task inline, heartbeats (S-10 to S-15)."""

from __future__ import annotations

from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.entity.workers import PollInfo
from perdure.history import transitions
from perdure.wire.api import enums
from perdure.wire.errors import NotFound
from tests.unit.history.harness import (
    QUEUE,
    STICKY,
    Run,
    complete_workflow,
    start_timer,
)
from tests.unit.history.workflow_tasks import fail, started_run

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
    assert [each.may_be_sticky for each in run.offered] == [False, True]
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
    run.reload()
    task = run.poll_workflow(QUEUE)
    assert (task.attempt, task.first_event_id) == (1, 1)
    run.reload()
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
    run.reload()
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
    raise AssertionError("heartbeats go on forever")


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
