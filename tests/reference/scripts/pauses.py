"""Activities that are paused and unpaused: waiting, backing off, running, by id, by type, with resets."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.reference.commands import (
    application_failure,
    cancel_activity,
    complete_workflow,
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


async def pause(case: Case, **fields: Any) -> Any:
    fields.setdefault("execution", case.execution())
    return await case.call("PauseActivity", **fields)


async def unpause(case: Case, **fields: Any) -> Any:
    fields.setdefault("execution", case.execution())
    return await case.call("UnpauseActivity", **fields)


async def poll_in_vain(case: Case) -> None:
    """Record that no activity task is in the queue."""
    await case.call("PollActivityTaskQueue", task_queue=case.queue, seconds=4)


@script
async def while_it_waits(case: Case) -> None:
    await scheduled(case)
    await pause(case, id="a", reason="because")
    await case.describe()
    await poll_in_vain(case)
    await unpause(case, id="a")
    await case.describe()
    await case.complete_activity(await case.poll_activity(), result=payloads("out"))
    await case.step(complete_workflow())
    await case.closed()


@script
async def while_it_runs(case: Case) -> None:
    await scheduled(case)
    task = await case.poll_activity()
    await case.heartbeat(task)
    await pause(case, id="a", reason="because")
    await case.describe()
    await case.heartbeat(task, details=payloads("half"))
    await case.call("RecordActivityTaskHeartbeatById", workflow_id=case.id(), activity_id="a")
    await unpause(case, id="a")
    await case.heartbeat(task)
    await case.describe()
    await pause(case, id="a")
    await case.complete_activity(task, result=payloads("out"))
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_fails_while_paused(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    task = await case.poll_activity()
    await pause(case, id="a")
    await case.fail_activity(task, failure=application_failure("no"))
    await case.describe()
    await poll_in_vain(case)
    await unpause(case, id="a")
    task = await case.poll_activity()
    await case.describe()
    await case.complete_activity(task)
    await case.step(complete_workflow())
    await case.closed()


@script
async def whose_policy_is_exhausted(case: Case) -> None:
    await scheduled(case, retry_policy=no_retry())
    task = await case.poll_activity()
    await pause(case, id="a")
    await case.fail_activity(task, failure=application_failure("no"))
    await case.describe()
    await unpause(case, id="a")
    task = await case.poll_activity()
    await case.fail_activity(task, failure=application_failure("again"))
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_fails_for_good(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    task = await case.poll_activity()
    await pause(case, id="a")
    await case.fail_activity(task, failure=application_failure("no", non_retryable=True))
    await case.step(complete_workflow())
    await case.closed()


@script
async def while_it_backs_off(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, HOUR_S, HOUR_S))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    await unpause(case, id="a", reset_attempts=True)
    await case.describe()
    await pause(case, id="a", reason="because")
    await case.describe()
    await unpause(case, id="a")
    await case.describe()
    await pause(case, id="a")
    await unpause(case, id="a", reset_attempts=True)
    task = await case.poll_activity()
    await case.describe()
    await case.complete_activity(task)
    await case.step(complete_workflow())
    await case.closed()


@script
async def whose_back_off_ends_while_paused(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, 2, 2))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    await pause(case, id="a")
    await poll_in_vain(case)
    await case.describe()
    await unpause(case, id="a")
    task = await case.poll_activity()
    await case.describe()
    await case.complete_activity(task)


@script
async def twice(case: Case) -> None:
    await scheduled(case)
    await pause(case, id="a", reason="first", identity="one", request_id="r1")
    await pause(case, id="a", reason="second", identity="two", request_id="r2")
    await pause(case, id="a", reason="first", identity="one", request_id="r1")
    await pause(case, id="a")
    await pause(case, type="Activity")
    await case.describe()
    await unpause(case, id="a")
    await unpause(case, id="a")
    await case.describe()
    await pause(case, id="a")
    await pause(case, id="a")


@script
async def that_is_not_there(case: Case) -> None:
    await pause(case, id="a")
    await unpause(case, id="a")
    await scheduled(case)
    await pause(case, id="b")
    await unpause(case, id="b")
    await pause(case, type="Other")
    await unpause(case, type="Other")
    await pause(case)
    await unpause(case)
    await pause(case, id="")
    await unpause(case, id="")
    await pause(case, type="")
    await unpause(case, type="")
    await pause(case, id="a", execution={"run_id": "x", "workflow_id": case.id()})
    await pause(case, id="a", execution={})
    await pause(case, id="a", namespace="nowhere")
    await unpause(case, unpause_all=False)
    await case.terminate()
    await pause(case, id="a")
    await unpause(case, id="a")
    await pause(case, type="Activity")
    await unpause(case, unpause_all=True)


@script
async def of_a_type(case: Case) -> None:
    await case.start()
    await case.step(
        schedule_activity(case.queue_named("a"), "a"),
        schedule_activity(case.queue_named("b"), "b"),
        schedule_activity(case.queue_named("c"), "c", activity_type={"name": "Other"}),
    )
    await pause(case, id="a", reason="one")
    await pause(case, type="Activity", reason="all of them")
    await case.describe()
    await unpause(case, type="Activity")
    await case.describe()
    await pause(case, id="a")
    await pause(case, id="c")
    await unpause(case, unpause_all=True)
    await unpause(case, unpause_all=True)
    await case.describe()
    for name in "abc":
        await case.poll_activity(case.queue_named(name))


@script
async def that_is_canceled(case: Case) -> None:
    await scheduled(case)
    await pause(case, id="a")
    await case.signal()
    await case.step(cancel_activity(5))
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_is_canceled_while_it_runs(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    task = await case.poll_activity()
    await case.signal()
    await case.step(cancel_activity(5))
    await pause(case, id="a")
    await case.describe()
    await case.heartbeat(task)
    await case.call("RespondActivityTaskCanceled", task_token=task.task_token)
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_fails_after_its_cancellation(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    task = await case.poll_activity()
    await case.signal()
    await case.step(cancel_activity(5))
    await pause(case, id="a")
    await case.fail_activity(task, failure=application_failure("no"))
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_runs_out_of_time(case: Case) -> None:
    await scheduled(case, schedule_to_close_timeout=seconds(2))
    await pause(case, id="a")
    await asyncio.sleep(3)
    await case.describe()
    await unpause(case, id="a")
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_is_not_started_in_time(case: Case) -> None:
    await scheduled(case, schedule_to_start_timeout=seconds(1), retry_policy=no_retry())
    await pause(case, id="a")
    await asyncio.sleep(2)
    await case.describe()
    await unpause(case, id="a")
    await case.happened("ACTIVITY_TASK_TIMED_OUT")
    await case.step(complete_workflow())
    await case.closed()


@script
async def whose_attempt_runs_out_of_time(case: Case) -> None:
    await scheduled(case, start_to_close_timeout=seconds(1), retry_policy=retry())
    task = await case.poll_activity()
    await pause(case, id="a")
    await asyncio.sleep(2)
    await case.describe()
    await case.heartbeat(task)
    await unpause(case, id="a")
    await case.poll_activity()


@script
async def whose_heartbeats_stop(case: Case) -> None:
    await scheduled(case, heartbeat_timeout=seconds(1), retry_policy=retry())
    await case.poll_activity()
    await pause(case, id="a")
    await asyncio.sleep(2)
    await case.describe()
    await unpause(case, id="a")
    await case.poll_activity()


@script
async def completed_by_id(case: Case) -> None:
    await scheduled(case)
    await pause(case, id="a")
    await case.call(
        "RespondActivityTaskCompletedById",
        workflow_id=case.id(),
        activity_id="a",
        result=payloads("out"),
    )
    await case.step(complete_workflow())
    await case.closed()


@script
async def whose_progress_is_reset(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    task = await case.poll_activity()
    await case.heartbeat(task, details=payloads("half"))
    await pause(case, id="a")
    await case.fail_activity(task, failure=application_failure("no"))
    await case.describe()
    await unpause(case, id="a", reset_attempts=True, reset_heartbeat=True)
    task = await case.poll_activity()
    await case.describe()
    await case.complete_activity(task)


@script
async def whose_running_attempt_is_reset(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    task = await case.poll_activity()
    await case.heartbeat(task, details=payloads("half"))
    await pause(case, id="a")
    await unpause(case, id="a", reset_attempts=True, reset_heartbeat=True)
    await case.describe()
    await case.heartbeat(task)
    await case.complete_activity(task)


@script
async def by_the_later_name(case: Case) -> None:
    await scheduled(case)
    await case.call("PauseActivityExecution", workflow_id=case.id(), activity_id="a", reason="why")
    await case.describe()
    await case.call("UnpauseActivityExecution", workflow_id=case.id(), activity_id="a")
    await case.describe()
    later: dict[str, Any] = {"workflow_id": case.id(), "activity_id": "a"}
    await case.call("PauseActivityExecution", request_id="r", **later)
    await case.call("PauseActivityExecution", request_id="r", **later)
    await case.call("PauseActivityExecution", workflow_id=case.id())
    await case.call("PauseActivityExecution", activity_id="a")
    await case.call("PauseActivityExecution", run_id="x", **later)
    await case.call("PauseActivityExecution", workflow_id=case.id(), activity_id="b")
    await case.call("UnpauseActivityExecution", workflow_id=case.id(), activity_id="b")
    await case.call("UnpauseActivityExecution", jitter=seconds(-1), **later)
