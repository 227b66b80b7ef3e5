"""Activities: results, retries, time-outs, heartbeats, cancellation."""

from __future__ import annotations

from typing import Any

from tests.reference.commands import (
    application_failure,
    cancel_activity,
    complete_workflow,
    fields,
    no_retry,
    payloads,
    retry,
    schedule_activity,
    seconds,
)
from tests.reference.play import Case, script

HOUR_S = 3600.0


async def scheduled(case: Case, **options: Any) -> None:
    """Start a run with one activity `a`, whose scheduled event is event 5."""
    await case.start()
    await case.step(schedule_activity(case.queue, **options))


async def ended(case: Case) -> None:
    """Complete the workflow after the end of the activity, and record its history."""
    await case.step(complete_workflow())
    await case.closed()


@script
async def completed(case: Case) -> None:
    await scheduled(case, input=payloads("in"), header=fields(trace="t"))
    task = await case.poll_activity()
    await case.describe()
    await case.complete_activity(task, result=payloads("out"))
    await case.complete_activity(task, result=payloads("again"))
    await ended(case)


@script
async def failed(case: Case) -> None:
    await scheduled(case, retry_policy=no_retry())
    task = await case.poll_activity()
    await case.fail_activity(task, failure=application_failure("no", details=payloads("why")))
    await case.fail_activity(task, failure=application_failure("again"))
    await ended(case)


@script
async def options_are_filled_in(case: Case) -> None:
    await case.start(workflow_run_timeout=seconds(7200))
    await case.step(
        schedule_activity(case.queue, "a", schedule_to_close_timeout=seconds(60)),
        schedule_activity(case.queue, "b", start_to_close_timeout=seconds(9000)),
        schedule_activity(
            case.queue, "c", heartbeat_timeout=seconds(900), start_to_close_timeout=seconds(30)
        ),
        schedule_activity(
            case.queue,
            "d",
            schedule_to_start_timeout=seconds(5),
            retry_policy=retry(3, HOUR_S, HOUR_S),
        ),
        schedule_activity(case.queue, "e", priority={"priority_key": 4}),
    )
    await case.happened(*["ACTIVITY_TASK_SCHEDULED"] * 5)
    await case.describe()


@script
async def priority_is_inherited(case: Case) -> None:
    await case.start(priority={"priority_key": 2, "fairness_key": "f"})
    await case.step(
        schedule_activity(case.queue_named("a"), "a"),
        schedule_activity(case.queue_named("b"), "b", priority={"priority_key": 5}),
    )
    await case.happened("ACTIVITY_TASK_SCHEDULED")
    for name in "ab":
        await case.poll_activity(case.queue_named(name))


@script
async def retried(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    for attempt in range(2):
        await case.fail_activity(
            await case.poll_activity(), failure=application_failure(f"attempt {attempt}")
        )
    task = await case.poll_activity()
    await case.history()
    await case.describe()
    await case.complete_activity(task)
    await ended(case)


@script
async def waiting_for_a_retry(case: Case) -> None:
    await scheduled(
        case, retry_policy=retry(5, HOUR_S, HOUR_S), schedule_to_close_timeout=seconds(9000)
    )
    task = await case.poll_activity(identity="first")
    await case.fail_activity(task, failure=application_failure("no"))
    await case.describe()
    await case.heartbeat(task)
    await case.complete_activity(task)
    await case.history()


@script
async def retries_are_exhausted(case: Case) -> None:
    await scheduled(case, retry_policy=retry(2))
    for attempt in range(2):
        await case.fail_activity(
            await case.poll_activity(), failure=application_failure(f"attempt {attempt}")
        )
    await ended(case)


@script
async def a_failure_that_is_final(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    await case.fail_activity(
        await case.poll_activity(), failure=application_failure("no", non_retryable=True)
    )
    await ended(case)


@script
async def a_type_that_is_final(case: Case) -> None:
    await scheduled(case, retry_policy=retry(non_retryable_error_types=["Fatal"]))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    task = await case.poll_activity()
    await case.fail_activity(task, failure=application_failure("no", "Fatal"))
    await ended(case)


@script
async def the_failure_names_the_delay(case: Case) -> None:
    await scheduled(case, retry_policy=retry(3))
    failure = application_failure("later", next_retry_delay=seconds(HOUR_S))
    await case.fail_activity(await case.poll_activity(), failure=failure)
    await case.describe()


@script
async def no_time_for_a_retry(case: Case) -> None:
    await scheduled(
        case, retry_policy=retry(0, HOUR_S, HOUR_S), schedule_to_close_timeout=seconds(600)
    )
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    await ended(case)


@script
async def nobody_takes_it(case: Case) -> None:
    await scheduled(case, schedule_to_start_timeout=seconds(1))
    await ended(case)


@script
async def it_takes_too_long(case: Case) -> None:
    await scheduled(case, start_to_close_timeout=seconds(1), retry_policy=no_retry())
    task = await case.poll_activity()
    workflow_task = await case.poll()
    await case.complete_activity(task)
    await case.complete(workflow_task, complete_workflow())
    await case.closed()


@script
async def it_takes_too_long_twice(case: Case) -> None:
    await scheduled(case, start_to_close_timeout=seconds(1), retry_policy=retry(2))
    await case.poll_activity()
    await case.poll_activity()
    await ended(case)


@script
async def all_attempts_take_too_long(case: Case) -> None:
    await scheduled(
        case, schedule_to_close_timeout=seconds(3), retry_policy=retry(0, HOUR_S, HOUR_S)
    )
    await case.poll_activity()
    await ended(case)


@script
async def time_is_up_between_attempts(case: Case) -> None:
    await scheduled(case, schedule_to_close_timeout=seconds(4), retry_policy=retry(0, 2.5, 2.5))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    await case.poll_activity()
    await ended(case)


@script
async def no_heartbeat(case: Case) -> None:
    await scheduled(case, heartbeat_timeout=seconds(1), retry_policy=no_retry())
    task = await case.poll_activity()
    await case.heartbeat(task, details=payloads("half"))
    await ended(case)


@script
async def a_type_of_time_out_that_is_final(case: Case) -> None:
    final = retry(non_retryable_error_types=["TemporalTimeout:Heartbeat"])
    await scheduled(case, heartbeat_timeout=seconds(1), retry_policy=final)
    await case.poll_activity()
    await ended(case)


@script
async def heartbeat_details_reach_the_next_attempt(case: Case) -> None:
    await scheduled(case, heartbeat_timeout=seconds(600), retry_policy=retry())
    task = await case.poll_activity()
    await case.heartbeat(task, details=payloads("one"))
    await case.heartbeat(task, details=payloads("two"))
    await case.describe()
    await case.fail_activity(task, failure=application_failure("no"))
    task = await case.poll_activity()
    await case.heartbeat(task)
    await case.fail_activity(
        task, failure=application_failure("no"), last_heartbeat_details=payloads("three")
    )
    await case.complete_activity(await case.poll_activity())
    await ended(case)


@script
async def canceled_before_it_starts(case: Case) -> None:
    await scheduled(case)
    await case.signal()
    await case.step(cancel_activity(5))
    await case.happened("ACTIVITY_TASK_CANCELED")
    await ended(case)


@script
async def scheduled_and_canceled_at_once(case: Case) -> None:
    await case.start()
    await case.step(schedule_activity(case.queue), cancel_activity(5))
    await case.happened("ACTIVITY_TASK_CANCEL_REQUESTED")
    await ended(case)


async def cancel_requested(case: Case, **options: Any) -> Any:
    """Start an activity and request its cancellation; return its task."""
    await scheduled(case, **options)
    task = await case.poll_activity()
    await case.signal()
    await case.step(cancel_activity(5))
    await case.describe()
    await case.heartbeat(task)
    return task


@script
async def canceled_while_it_runs(case: Case) -> None:
    task = await cancel_requested(case)
    await case.call(
        "RespondActivityTaskCanceled", task_token=task.task_token, details=payloads("stopped")
    )
    await ended(case)


@script
async def a_cancel_request_is_ignored(case: Case) -> None:
    task = await cancel_requested(case)
    await case.complete_activity(task, result=payloads("finished all the same"))
    await ended(case)


@script
async def it_fails_after_a_cancel_request(case: Case) -> None:
    task = await cancel_requested(case, retry_policy=retry())
    await case.fail_activity(task, failure=application_failure("no"))
    await ended(case)


@script
async def canceled_without_being_asked(case: Case) -> None:
    await scheduled(case)
    task = await case.poll_activity()
    await case.call("RespondActivityTaskCanceled", task_token=task.task_token)
    await case.complete_activity(task)


@script
async def canceled_during_the_back_off(case: Case) -> None:
    await scheduled(case, retry_policy=retry(0, HOUR_S, HOUR_S))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    await case.signal()
    await case.step(cancel_activity(5))
    await case.happened("ACTIVITY_TASK_CANCELED")
    await ended(case)


@script
async def a_retry_while_the_cancel_is_decided(case: Case) -> None:
    await scheduled(case, retry_policy=retry(2))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    task = await case.poll_activity()
    await case.signal()
    await case.step(cancel_activity(5), cancel_activity(5))
    await case.heartbeat(task)
    await case.history()


@script
async def the_run_closes_first(case: Case) -> None:
    await scheduled(case)
    task = await case.poll_activity()
    await case.terminate()
    await case.heartbeat(task)
    await case.complete_activity(task)
    await case.fail_activity(task)
    await case.call("RespondActivityTaskCanceled", task_token=task.task_token)
    await case.closed()


@script
async def by_id(case: Case) -> None:
    await case.start()
    activities = {
        name: schedule_activity(case.queue_named(name), name, retry_policy=no_retry())
        for name in "abc"
    }
    await case.step(*activities.values())
    for name in activities:
        await case.poll_activity(case.queue_named(name))
    run: dict[str, Any] = {"workflow_id": case.id()}
    await case.call(
        "RecordActivityTaskHeartbeatById", **run, activity_id="a", details=payloads("d")
    )
    await case.call(
        "RespondActivityTaskCompletedById", **run, activity_id="a", result=payloads("r")
    )
    await case.call("RespondActivityTaskCompletedById", **run, activity_id="a")
    await case.happened("ACTIVITY_TASK_COMPLETED")
    task = await case.poll()
    await case.call(
        "RespondActivityTaskFailedById", **run, activity_id="b", failure=application_failure()
    )
    await case.call("RespondActivityTaskCanceledById", **run, activity_id="c")
    await case.history()
    await case.complete(task)
    await case.step(cancel_activity(7))
    await case.call("RecordActivityTaskHeartbeatById", **run, activity_id="c")
    await case.call(
        "RespondActivityTaskCanceledById", **run, activity_id="c", details=payloads("d")
    )
    await ended(case)


@script
async def by_id_before_it_starts(case: Case) -> None:
    await scheduled(case)
    run: dict[str, Any] = {"workflow_id": case.id(), "activity_id": "a"}
    await case.call("RecordActivityTaskHeartbeatById", **run)
    await case.call("RespondActivityTaskFailedById", **run, failure=application_failure())
    await case.call("RespondActivityTaskCompletedById", **run, result=payloads("early"))
    await case.history()


@script
async def ends_during_a_workflow_task(case: Case) -> None:
    await case.start()
    queues = [case.queue_named(name) for name in "ab"]
    await case.step(schedule_activity(queues[0], "a"), schedule_activity(queues[1], "b"))
    tasks = [await case.poll_activity(queue) for queue in queues]
    await case.signal("before")
    workflow_task = await case.poll()
    await case.complete_activity(tasks[1], result=payloads("second"))
    await case.signal("during")
    await case.complete_activity(tasks[0], result=payloads("first"))
    await case.history()
    await case.complete(workflow_task)
    await ended(case)


@script
async def eager(case: Case) -> None:
    await case.start()
    command = schedule_activity(case.queue, request_eager_execution=True)
    answer = await case.step(command)
    await case.describe()
    await case.complete_activity(answer.activity_tasks[0])
    await ended(case)


@script
async def an_old_attempt(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    old = await case.poll_activity()
    await case.fail_activity(old, failure=application_failure("no"))
    task = await case.poll_activity()
    await case.heartbeat(old)
    await case.fail_activity(old, failure=application_failure("late"))
    await case.complete_activity(old)
    await case.complete_activity(task)
    await ended(case)
