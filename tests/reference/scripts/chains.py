"""Chains of runs: continue-as-new and retries of workflows."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import enums
from tests.reference.commands import (
    application_failure,
    attributes,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    fields,
    make,
    payloads,
    retry,
    schedule_activity,
    seconds,
    start_timer,
)
from tests.reference.play import Case, script


async def continued(case: Case, first: Any) -> None:
    """Wait until the second run has closed, and record both."""
    await case.step(complete_workflow("second"))
    await case.closed(run_id=first.run_id)
    await case.closed()


@script
async def continue_plainly(case: Case) -> None:
    first = await case.start(
        input=payloads("first"), header=fields(trace="t"), memo=fields(note="n")
    )
    await case.old_enough()
    await case.step(continue_as_new(case.queue, input=payloads("second")))
    await continued(case, first)


@script
async def continue_with_every_option(case: Case) -> None:
    first = await case.start(
        memo=fields(note="n"),
        search_attributes=attributes(CustomInt="1"),
        workflow_execution_timeout=seconds(7200),
        retry_policy={"maximum_attempts": 2},
        priority={"priority_key": 2},
    )
    await case.old_enough()
    await case.step(
        continue_as_new(
            case.queue_named("other"),
            workflow_type={"name": "Other"},
            input=payloads("in"),
            header=fields(trace="u"),
            memo=fields(note="m"),
            search_attributes=attributes(CustomInt="2"),
            workflow_run_timeout=seconds(600),
            workflow_task_timeout=seconds(30),
            retry_policy={"maximum_attempts": 5},
            last_completion_result=payloads("last"),
            failure=application_failure("before"),
            initiator=enums.CONTINUE_AS_NEW_INITIATOR_WORKFLOW,
        )
    )
    await case.complete(await case.poll(case.queue_named("other")), complete_workflow())
    await case.closed(run_id=first.run_id)
    await case.closed()


@script
async def continue_after_a_pause(case: Case) -> None:
    first = await case.start()
    await case.old_enough()
    await case.step(continue_as_new(case.queue, backoff_start_interval=seconds(1.5)))
    await case.describe()
    await continued(case, first)


@script
async def continue_with_work_pending(case: Case) -> None:
    first = await case.start()
    await case.old_enough()
    await case.step(start_timer(), schedule_activity(case.queue))
    await case.signal()
    await case.step(continue_as_new(case.queue))
    await continued(case, first)


@script
async def continue_when_a_signal_has_come(case: Case) -> None:
    first = await case.start()
    await case.old_enough()
    task = await case.poll()
    await case.signal()
    await case.complete(task, continue_as_new(case.queue))
    await case.step(continue_as_new(case.queue))
    await continued(case, first)


@script
async def follow_the_chain(case: Case) -> None:
    first = await case.start()
    await case.old_enough()
    await case.step(continue_as_new(case.queue))
    await case.signal("to the newest")
    await case.cancel(first_execution_run_id=first.run_id)
    await case.happened("WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    await case.terminate(first_execution_run_id=first.run_id)
    await case.closed()
    await case.start(workflow_id_reuse_policy=enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)


@script
async def retried_after_a_failure(case: Case) -> None:
    first = await case.start(
        retry_policy=retry(3), input=payloads("in"), memo=fields(note="n"), header=fields(trace="t")
    )
    await case.old_enough()
    await case.step(fail_workflow("one"))
    await continued(case, first)


@script
async def retries_of_the_run_are_exhausted(case: Case) -> None:
    first = await case.start(retry_policy=retry(2))
    await case.old_enough()
    await case.step(fail_workflow("one"))
    await case.old_enough()
    await case.step(fail_workflow("two"))
    await case.closed(run_id=first.run_id)
    await case.closed()


@script
async def a_failure_that_is_final(case: Case) -> None:
    await case.start("a", retry_policy=retry())
    await case.step(fail_workflow("no", non_retryable=True))
    await case.closed("a")
    await case.start("b", retry_policy=retry(non_retryable_error_types=["Oops"]))
    await case.step(fail_workflow("no"))
    await case.closed("b")


@script
async def the_failure_names_the_delay(case: Case) -> None:
    first = await case.start(retry_policy=retry())
    await case.step(fail_workflow("later", next_retry_delay=seconds(3600)))
    await case.closed(run_id=first.run_id)


@script
async def retried_after_a_time_out(case: Case) -> None:
    first = await case.start(retry_policy=retry(2, 3600, 3600), workflow_run_timeout=seconds(2))
    await case.closed(run_id=first.run_id)
    await case.history()


@script
async def no_time_for_a_retry(case: Case) -> None:
    policy = retry(0, 3600, 3600)
    await case.start(retry_policy=policy, workflow_execution_timeout=seconds(600))
    await case.step(fail_workflow("no"))
    await case.closed()


@script
async def not_retried_after_a_termination(case: Case) -> None:
    await case.start(retry_policy=retry())
    await case.terminate()
    await case.closed()


@script
async def not_retried_after_a_cancellation(case: Case) -> None:
    await case.start(retry_policy=retry())
    await case.cancel()
    await case.step(make("CANCEL_WORKFLOW_EXECUTION"))
    await case.closed()


@script
async def the_end_of_a_chain_by_its_history(case: Case) -> None:
    first = await case.start(retry_policy=retry(2))
    await case.old_enough()
    await case.step(fail_workflow("one"))
    close = enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
    await case.closed(run_id=first.run_id)
    await case.history(run_id=first.run_id, history_event_filter_type=close)
    await case.history(history_event_filter_type=close)
    await case.old_enough()
    await case.step(fail_workflow("two"))
    await case.closed()
    await case.history(history_event_filter_type=close)
