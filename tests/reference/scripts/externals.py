"""Signals and cancel requests from one workflow to another."""

from __future__ import annotations

from typing import Any

from tests.reference.commands import Command, complete_workflow, fields, make, payloads
from tests.reference.play import Case, script

A_RUN = "8b1f2f2e-0a2b-4c3d-9e4f-5a6b7c8d9e0f"


def send_signal(case: Case, run_id: str = "", **options: Any) -> Command:
    return make(
        "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION",
        execution=case.execution("target", run_id),
        signal_name="signal",
        **options,
    )


def send_cancel(case: Case, run_id: str = "", **options: Any) -> Command:
    return make(
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION",
        workflow_id=case.id("target"),
        run_id=run_id,
        **options,
    )


async def target(case: Case) -> Any:
    """Start the other workflow on its own queue; return its run id."""
    started = await case.start("target", task_queue={"name": case.id("targets")})
    return started.run_id


@script
async def signal(case: Case) -> None:
    await target(case)
    await case.start()
    await case.step(send_signal(case, input=payloads("in"), header=fields(trace="t"), control="c"))
    await case.happened("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED")
    await case.happened("WORKFLOW_EXECUTION_SIGNALED", name="target")
    await case.step(complete_workflow())
    await case.closed()


@script
async def signal_to_a_run(case: Case) -> None:
    run_id = await target(case)
    await case.start()
    await case.step(send_signal(case, run_id))
    await case.happened("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED")


@script
async def signal_to_nobody(case: Case) -> None:
    await case.start()
    await case.step(send_signal(case, control="c"))
    await case.happened("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")
    await case.step(send_signal(case, A_RUN))
    await case.happened(*["SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED"] * 2)
    await case.step(complete_workflow())
    await case.closed()


@script
async def signal_to_a_closed_run(case: Case) -> None:
    await target(case)
    await case.terminate("target")
    await case.start()
    await case.step(send_signal(case))
    await case.happened("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")


@script
async def signal_to_a_child_only(case: Case) -> None:
    await target(case)
    await case.start()
    await case.step(send_signal(case, child_workflow_only=True))
    await case.happened("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")


@script
async def signal_to_itself(case: Case) -> None:
    await case.start()
    await case.step(
        make(
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION",
            execution=case.execution(),
            signal_name="signal",
        )
    )
    await case.happened("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")


@script
async def signal_to_another_namespace(case: Case) -> None:
    await case.start("target", namespace="second")
    await case.start()
    await case.step(send_signal(case, namespace="second"))
    await case.terminate()
    await case.closed()


@script
async def cancel(case: Case) -> None:
    await target(case)
    await case.start()
    await case.step(send_cancel(case, reason="enough", control="c"))
    await case.happened("EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    await case.happened("WORKFLOW_EXECUTION_CANCEL_REQUESTED", name="target")
    await case.step(complete_workflow())
    await case.closed()


@script
async def cancel_twice(case: Case) -> None:
    await target(case)
    await case.start()
    await case.step(send_cancel(case))
    await case.happened("EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    await case.step(send_cancel(case))
    await case.happened(*["EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED"] * 2)
    await case.history("target")


@script
async def cancel_nobody(case: Case) -> None:
    await case.start()
    await case.step(send_cancel(case, control="c"))
    await case.happened("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")


@script
async def cancel_a_closed_run(case: Case) -> None:
    await target(case)
    await case.terminate("target")
    await case.start()
    await case.step(send_cancel(case))
    await case.happened("EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED")


@script
async def during_a_task(case: Case) -> None:
    """The outcome is buffered until the workflow task ends."""
    await target(case)
    await case.start()
    await case.step(send_signal(case), force_create_new_workflow_task=True)
    task = await case.poll()
    await case.happened("WORKFLOW_EXECUTION_SIGNALED", name="target")
    await case.complete(task)
    await case.happened("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED")
