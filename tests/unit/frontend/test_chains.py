"""Calls that name a chain of runs, or a run of it, reach the run that is meant."""

from __future__ import annotations

import pytest

from perdure.wire.errors import NotFound
from tests.harness.builders import continue_as_new
from tests.unit.frontend.conftest import Caller

CALLS = {
    "TerminateWorkflowExecution": "workflow_execution_terminated",
    "RequestCancelWorkflowExecution": "workflow_execution_cancel_requested",
}


async def two_runs(caller: Caller) -> tuple[str, str]:
    """The ids of a run that continued as new, and of the one that follows."""
    first = await caller.start()
    await caller.complete(await caller.poll(), continue_as_new())
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    info = described.workflow_execution_info
    assert info.first_run_id == first
    return first, info.execution.run_id


async def events_of(caller: Caller, run_id: str) -> list[str]:
    execution = {"workflow_id": "w", "run_id": run_id}
    found = (await caller.history(execution=execution)).history.events
    return [each.WhichOneof("attributes").removesuffix("_event_attributes") for each in found]


@pytest.mark.parametrize(("name", "leaves"), CALLS.items())
async def test_a_first_run_id_means_the_current_run_of_its_chain_whatever_the_run_id_says(
    caller: Caller, name: str, leaves: str
):
    first, current = await two_runs(caller)
    closed = {"workflow_id": "w", "run_id": first}
    with pytest.raises(NotFound):
        await caller.call(name, workflow_execution=closed, first_execution_run_id=current)
    assert leaves not in await events_of(caller, current)
    await caller.call(name, workflow_execution=closed, first_execution_run_id=first)
    assert leaves in await events_of(caller, current)


async def test_a_run_id_alone_means_that_run(caller: Caller):
    first, current = await two_runs(caller)
    closed = {"workflow_id": "w", "run_id": first}
    with pytest.raises(NotFound, match="already completed"):
        await caller.call("TerminateWorkflowExecution", workflow_execution=closed)
    await caller.call("RequestCancelWorkflowExecution", workflow_execution=closed)
    assert not set(CALLS.values()) & set(await events_of(caller, current))
