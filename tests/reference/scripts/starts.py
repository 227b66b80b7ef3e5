"""Starting: ids, policies, request ids, options."""

from __future__ import annotations

from perdure.wire.api import enums
from tests.reference.commands import (
    application_failure,
    attributes,
    complete_workflow,
    fail_workflow,
    fields,
    payload,
    payloads,
    retry,
    seconds,
)
from tests.reference.play import Case, script

FAIL = enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL
USE_EXISTING = enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
TERMINATE_EXISTING = enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
REJECT_DUPLICATE = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
FAILED_ONLY = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
TERMINATE_IF_RUNNING = enums.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING


@script
async def plain(case: Case) -> None:
    await case.start(input=payloads("hello"), workflow_task_timeout=None)
    await case.describe()
    await case.step(complete_workflow())
    await case.closed()


@script
async def conflict_fail(case: Case) -> None:
    await case.start()
    await case.start()
    await case.start(workflow_id_conflict_policy=FAIL)
    await case.start(workflow_id_reuse_policy=REJECT_DUPLICATE)


@script
async def conflict_use_existing(case: Case) -> None:
    await case.start()
    await case.start(workflow_id_conflict_policy=USE_EXISTING, input=payloads("ignored"))
    await case.step(complete_workflow())
    await case.start(workflow_id_conflict_policy=USE_EXISTING)
    await case.describe()


@script
async def conflict_terminate_existing(case: Case) -> None:
    first = await case.start()
    await case.old_enough()
    await case.start(workflow_id_conflict_policy=TERMINATE_EXISTING)
    await case.closed(run_id=first.run_id)
    await case.describe()


@script
async def terminate_if_running(case: Case) -> None:
    first = await case.start()
    task = await case.poll()
    await case.old_enough()
    await case.start(workflow_id_reuse_policy=TERMINATE_IF_RUNNING)
    await case.closed(run_id=first.run_id)
    await case.complete(task, complete_workflow())
    await case.step(complete_workflow())
    await case.start(workflow_id_reuse_policy=TERMINATE_IF_RUNNING)


@script
async def policies_that_exclude_each_other(case: Case) -> None:
    for policy in (FAIL, USE_EXISTING, TERMINATE_EXISTING):
        await case.start(
            workflow_id_reuse_policy=TERMINATE_IF_RUNNING, workflow_id_conflict_policy=policy
        )
    await case.start(
        workflow_id_reuse_policy=REJECT_DUPLICATE, workflow_id_conflict_policy=TERMINATE_EXISTING
    )


@script
async def reuse_reject_duplicate(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow())
    await case.start(workflow_id_reuse_policy=REJECT_DUPLICATE)
    await case.start(
        workflow_id_reuse_policy=REJECT_DUPLICATE, workflow_id_conflict_policy=USE_EXISTING
    )


@script
async def reuse_after_success(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow())
    await case.start(workflow_id_reuse_policy=FAILED_ONLY)
    await case.start()
    await case.describe()


@script
async def reuse_after_failure(case: Case) -> None:
    await case.start()
    await case.step(fail_workflow())
    await case.closed()
    await case.start(workflow_id_reuse_policy=FAILED_ONLY)
    await case.terminate()
    await case.start(workflow_id_reuse_policy=FAILED_ONLY)
    await case.describe()


@script
async def request_ids(case: Case) -> None:
    await case.start(request_id="the-same")
    await case.start(request_id="the-same")
    await case.start(request_id="the-same", workflow_id_conflict_policy=USE_EXISTING)
    await case.step(complete_workflow())
    await case.start(request_id="the-same")
    await case.start(request_id="the-same", workflow_id_reuse_policy=REJECT_DUPLICATE)
    await case.start(request_id="another")
    await case.describe()


@script
async def every_option(case: Case) -> None:
    await case.start(
        input=payloads("one", "two"),
        workflow_execution_timeout=seconds(7200),
        workflow_run_timeout=seconds(3600),
        workflow_task_timeout=seconds(20),
        memo=fields(note="text"),
        header=fields(trace="id"),
        search_attributes=attributes(
            CustomKeyword='"k"',
            CustomInt="7",
            CustomBool="true",
            CustomDouble="1.5",
            CustomText='"some words"',
            CustomKeywordList='["a", "b"]',
            CustomDatetime='"2026-01-02T03:04:05Z"',
        ),
        user_metadata={"summary": payload("summary"), "details": payload("details")},
        retry_policy={"maximum_attempts": 3},
        priority={"priority_key": 2, "fairness_key": "f", "fairness_weight": 2.0},
    )
    await case.describe()
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def time_outs_are_capped(case: Case) -> None:
    await case.start(
        "a",
        workflow_run_timeout=seconds(7200),
        workflow_execution_timeout=seconds(3600),
        workflow_task_timeout=None,
    )
    await case.start("b", workflow_task_timeout=seconds(1000))
    await case.start("c", workflow_run_timeout=seconds(5), workflow_task_timeout=seconds(60))
    for name in "abc":
        await case.history(name)


@script
async def the_run_times_out(case: Case) -> None:
    await case.start(workflow_run_timeout=seconds(3))
    await case.step()
    await case.closed()


@script
async def the_run_times_out_before_its_first_task(case: Case) -> None:
    await case.start(workflow_execution_timeout=seconds(1))
    await case.closed()


@script
async def start_delay(case: Case) -> None:
    await case.start(workflow_start_delay=seconds(1))
    await case.describe()
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def signal_during_the_start_delay(case: Case) -> None:
    await case.start(workflow_start_delay=seconds(3600))
    await case.signal()
    await case.happened("WORKFLOW_EXECUTION_SIGNALED")
    await case.describe()


@script
async def cancel_during_the_start_delay(case: Case) -> None:
    await case.start(workflow_start_delay=seconds(3600))
    await case.cancel()
    await case.happened("WORKFLOW_EXECUTION_CANCEL_REQUESTED", "WORKFLOW_TASK_SCHEDULED")
    await case.describe()


@script
async def eager_start(case: Case) -> None:
    started = await case.start(request_eager_execution=True)
    await case.history()
    await case.describe()
    await case.complete(started.eager_workflow_task, complete_workflow())
    await case.closed()


@script
async def eager_start_with_a_delay(case: Case) -> None:
    await case.start(request_eager_execution=True, workflow_start_delay=seconds(3600))
    await case.history()


@script
async def last_result_and_failure(case: Case) -> None:
    await case.start(
        last_completion_result=payloads("before"), continued_failure=application_failure()
    )
    await case.history()


@script
async def retry_policy_is_completed(case: Case) -> None:
    await case.start("a", retry_policy={"maximum_attempts": 5})
    await case.start("b", retry_policy=retry(2, non_retryable_error_types=["Fatal"]))
    await case.start("c", retry_policy={"initial_interval": seconds(7)})
    for name in "abc":
        await case.history(name)


@script
async def cron(case: Case) -> None:
    await case.start(cron_schedule="0 0 1 1 *")
    await case.terminate()
