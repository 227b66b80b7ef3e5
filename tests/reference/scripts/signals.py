"""Signals, and signal-with-start."""

from __future__ import annotations

from perdure.wire.api import enums
from tests.reference.commands import complete_workflow, fields, payloads, start_timer
from tests.reference.play import Case, script


@script
async def before_the_first_task(case: Case) -> None:
    await case.start()
    await case.signal("one", input=payloads("1"), header=fields(trace="t"), identity="someone")
    await case.signal("two")
    await case.step(complete_workflow())
    await case.closed()


@script
async def between_tasks(case: Case) -> None:
    await case.start()
    await case.step(start_timer())
    await case.signal("one")
    await case.signal("two")
    await case.happened("WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_SIGNALED")
    await case.describe()
    await case.step(complete_workflow())
    await case.closed()


@script
async def during_a_task(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.signal("one")
    await case.signal("two")
    await case.describe()
    await case.history()
    await case.complete(task, start_timer())
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def the_same_request(case: Case) -> None:
    await case.start()
    for _ in range(2):
        await case.signal("once", request_id="the-same")
    await case.step()
    await case.signal("once", request_id="the-same")
    await case.signal("other", request_id="")
    await case.signal("other", request_id="")
    await case.step(complete_workflow())
    await case.closed()


@script
async def to_a_closed_run(case: Case) -> None:
    first = await case.start()
    await case.step(complete_workflow())
    await case.signal()
    await case.signal("s", workflow_execution=case.execution(run_id=first.run_id))
    await case.start()
    await case.signal("s", workflow_execution=case.execution(run_id=first.run_id))
    await case.signal()
    await case.history()


@script
async def starts_a_run(case: Case) -> None:
    await case.signal_with_start(
        input=payloads("in"),
        signal_input=payloads("signal"),
        header=fields(trace="t"),
        memo=fields(note="n"),
        workflow_run_timeout={"seconds": 3600},
    )
    await case.history()
    await case.step(complete_workflow())
    await case.closed()


@script
async def finds_a_run(case: Case) -> None:
    await case.start()
    await case.signal_with_start(signal_input=payloads("signal"), input=payloads("ignored"))
    await case.history()
    await case.step(complete_workflow())
    await case.signal_with_start()
    await case.history()


@script
async def start_or_signal_policies(case: Case) -> None:
    await case.signal_with_start(
        workflow_id_reuse_policy=enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    )
    await case.signal_with_start(
        workflow_id_reuse_policy=enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    )
    await case.step(complete_workflow())
    await case.signal_with_start(
        workflow_id_reuse_policy=enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    )
    await case.signal_with_start(
        workflow_id_reuse_policy=enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
    )
    await case.history()


@script
async def start_or_signal_request_ids(case: Case) -> None:
    for _ in range(2):
        await case.signal_with_start(request_id="the-same")
    await case.history()
    await case.step(complete_workflow())
    await case.signal_with_start(request_id="the-same")
    await case.history()


@script
async def start_or_signal_with_a_delay(case: Case) -> None:
    for _ in range(2):
        await case.signal_with_start(workflow_start_delay={"seconds": 3600})
    await case.history()
    await case.describe()


@script
async def start_or_signal_during_a_task(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.signal_with_start(signal_name="buffered")
    await case.complete(task)
    await case.step(complete_workflow())
    await case.closed()
