"""Workflow tasks: failures, time-outs, stale tokens, sticky queues, heartbeats of tasks, buffered events."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import enums
from tests.reference.commands import (
    application_failure,
    complete_workflow,
    fail_workflow,
    payloads,
    seconds,
    start_timer,
)
from tests.reference.play import Case, script

STICKY = enums.TASK_QUEUE_KIND_STICKY


def sticky(case: Case, timeout: float = 600) -> dict[str, Any]:
    queue = {"name": case.id("sticky"), "kind": STICKY, "normal_name": case.queue["name"]}
    return {"worker_task_queue": queue, "schedule_to_start_timeout": seconds(timeout)}


def sticky_queue(case: Case) -> dict[str, Any]:
    queue: dict[str, Any] = sticky(case)["worker_task_queue"]
    return queue


async def a_worker_polls(case: Case) -> None:
    """Poll without result, to tell the server that the sticky queue has a worker."""
    await case.ask("PollWorkflowTaskQueue", task_queue=sticky_queue(case), seconds=2.5)


@script
async def a_task_fails(case: Case) -> None:
    await case.start()
    await case.fail(
        await case.poll(),
        cause=enums.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
        failure=application_failure("mismatch"),
        binary_checksum="sum",
    )
    await case.happened("WORKFLOW_TASK_FAILED")
    await case.describe()
    task = await case.poll()
    await case.history()
    await case.complete(task, complete_workflow())
    await case.closed()


@script
async def a_task_fails_again_and_again(case: Case) -> None:
    await case.start()
    for _ in range(2):
        await case.fail(await case.poll(), failure=application_failure("again"))
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def a_signal_between_failed_attempts(case: Case) -> None:
    await case.start()
    for _ in range(2):
        await case.fail(await case.poll(), failure=application_failure("again"))
    await case.signal()
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def a_signal_during_a_later_attempt(case: Case) -> None:
    await case.start()
    await case.fail(await case.poll(), failure=application_failure("again"))
    task = await case.poll()
    await case.signal()
    await case.history()
    await case.complete(task)
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def a_task_times_out(case: Case) -> None:
    await case.start(workflow_task_timeout=seconds(1))
    late = await case.poll()
    await case.happened("WORKFLOW_TASK_TIMED_OUT")
    task = await case.poll()
    await case.complete(late, complete_workflow())
    await case.fail(late)
    await case.complete(task, complete_workflow())
    await case.closed()


@script
async def a_token_is_used_twice(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.complete(task, start_timer())
    await case.complete(task, start_timer("u"))
    await case.fail(task)
    await case.happened("TIMER_STARTED")


@script
async def the_run_closes_during_a_task(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.terminate(reason="enough")
    await case.complete(task, complete_workflow())
    await case.fail(task)
    await case.closed()


@script
async def completions_after_the_first(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow("first"), complete_workflow("second"), start_timer())
    await case.history()


@script
async def commands_before_and_after_a_failure(case: Case) -> None:
    await case.start()
    await case.step(start_timer(), fail_workflow(), start_timer("u"))
    await case.history()


@script
async def a_completion_meets_a_signal(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.signal()
    await case.history()
    await case.complete(task, start_timer(), complete_workflow())
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def a_failed_task_meets_a_signal(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.signal()
    await case.fail(task, failure=application_failure("failed"))
    await case.happened("WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_TASK_FAILED")
    await case.step(complete_workflow())
    await case.closed()


@script
async def a_task_asks_for_another(case: Case) -> None:
    await case.start()
    answer = await case.complete(
        await case.poll(), force_create_new_workflow_task=True, return_new_workflow_task=True
    )
    await case.history()
    await case.complete(answer.workflow_task, complete_workflow())
    await case.closed()


@script
async def another_task_is_created_for_a_poller(case: Case) -> None:
    await case.start()
    await case.step(force_create_new_workflow_task=True)
    await case.history()
    await case.step(complete_workflow())


@script
async def the_next_task_comes_with_the_answer(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.signal()
    answer = await case.complete(task, return_new_workflow_task=True)
    await case.history()
    await case.complete(answer.workflow_task, complete_workflow())
    await case.closed()


@script
async def nothing_to_return(case: Case) -> None:
    await case.start()
    await case.step(start_timer(), return_new_workflow_task=True)
    await case.describe()


@script
async def on_a_sticky_queue(case: Case) -> None:
    await case.start()
    await case.step(sticky_attributes=sticky(case))
    await a_worker_polls(case)
    await case.signal()
    task = await case.poll(sticky_queue(case))
    await case.complete(task, start_timer(), sticky_attributes=sticky(case))
    await case.signal()
    await case.complete(await case.poll(sticky_queue(case)), complete_workflow())
    await case.closed()


@script
async def a_sticky_queue_times_out(case: Case) -> None:
    await case.start()
    await case.step(sticky_attributes=sticky(case, 1))
    await a_worker_polls(case)
    await case.signal()
    await case.happened("WORKFLOW_TASK_TIMED_OUT")
    await case.step(complete_workflow())
    await case.closed()


@script
async def a_sticky_queue_is_reset(case: Case) -> None:
    await case.start()
    await case.step(sticky_attributes=sticky(case))
    await case.call("ResetStickyTaskQueue", execution=case.execution())
    await case.signal()
    await case.step(complete_workflow())
    await case.closed()


@script
async def a_sticky_queue_is_given_up(case: Case) -> None:
    await case.start()
    await case.step(sticky_attributes=sticky(case))
    await a_worker_polls(case)
    await case.signal()
    await case.complete(await case.poll(sticky_queue(case)))
    await case.signal()
    await case.step(complete_workflow())
    await case.closed()


@script
async def nothing_to_poll(case: Case) -> None:
    for method in ("PollWorkflowTaskQueue", "PollActivityTaskQueue"):
        await case.call(method, task_queue=case.queue, seconds=2.5)


@script
async def what_a_worker_says_of_itself(case: Case) -> None:
    await case.start()
    task = await case.poll(worker_version_capabilities={"build_id": "build"})
    await case.complete(
        task,
        start_timer(),
        sdk_metadata={
            "core_used_flags": [1, 2],
            "lang_used_flags": [3],
            "sdk_name": "s",
            "sdk_version": "1",
        },
        metering_metadata={"nonfirst_local_activity_execution_attempts": 2},
        worker_version_stamp={"build_id": "build"},
        binary_checksum="sum",
    )
    await case.happened("TIMER_STARTED")
    await case.describe()


@script
async def another_namespace(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.complete(task, complete_workflow(), namespace="second")
    await case.complete(task, complete_workflow(), namespace="no-such-namespace")
    await case.history()


@script
async def a_large_result(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow("x" * (2 * 1024 * 1024)))
    await case.ask("GetWorkflowExecutionHistory", execution=case.execution(), wait_new_event=True)
    await case.describe()


@script
async def fail_without_words(case: Case) -> None:
    await case.start()
    await case.fail(await case.poll())
    await case.happened("WORKFLOW_TASK_FAILED")
    await case.step(fail_workflow(details=payloads("why")))
    await case.closed()
