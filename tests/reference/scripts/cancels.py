"""Cancel requests and terminations."""

from __future__ import annotations

from tests.reference.commands import cancel_workflow, complete_workflow, payloads, start_timer
from tests.reference.play import Case, script


@script
async def accepted(case: Case) -> None:
    await case.start()
    await case.step(start_timer())
    await case.cancel(reason="enough", identity="someone")
    await case.describe()
    await case.step(cancel_workflow())
    await case.closed()


@script
async def ignored(case: Case) -> None:
    await case.start()
    await case.cancel()
    await case.step(complete_workflow())
    await case.closed()


@script
async def without_a_request(case: Case) -> None:
    await case.start()
    await case.step(cancel_workflow())
    await case.closed()


@script
async def requested_twice(case: Case) -> None:
    await case.start()
    await case.cancel(request_id="the-same", reason="first")
    await case.cancel(request_id="the-same", reason="second")
    await case.cancel(request_id="another", reason="third")
    await case.history()


@script
async def during_a_task(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.cancel()
    await case.describe()
    await case.cancel()
    await case.complete(task, complete_workflow())
    await case.history()
    await case.step(cancel_workflow())
    await case.closed()


@script
async def of_a_closed_run(case: Case) -> None:
    first = await case.start()
    await case.step(complete_workflow())
    await case.cancel()
    await case.cancel(workflow_execution=case.execution(run_id=first.run_id))
    await case.history()


@script
async def of_the_first_run(case: Case) -> None:
    first = await case.start()
    await case.cancel(first_execution_run_id=first.run_id)
    await case.history()


@script
async def of_an_old_run(case: Case) -> None:
    first = await case.start()
    await case.step(complete_workflow())
    await case.start()
    await case.cancel(first_execution_run_id=first.run_id)
    await case.cancel(workflow_execution=case.execution(run_id=first.run_id))
    await case.terminate(first_execution_run_id=first.run_id)
    await case.terminate(workflow_execution=case.execution(run_id=first.run_id))
    await case.history()


@script
async def terminated(case: Case) -> None:
    await case.start()
    await case.step(start_timer())
    await case.terminate(reason="enough", details=payloads("why"), identity="someone")
    await case.closed()
    await case.terminate()
    await case.cancel()
    await case.signal()


@script
async def terminated_before_the_first_task(case: Case) -> None:
    first = await case.start()
    await case.terminate(first_execution_run_id=first.run_id)
    await case.closed()


@script
async def terminated_with_events_waiting(case: Case) -> None:
    await case.start()
    task = await case.poll()
    await case.signal()
    await case.cancel()
    await case.terminate()
    await case.complete(task)
    await case.closed()
