"""A run that follows another is written in the same commit, and the workflow id means it at once (S-36)."""

from __future__ import annotations

from perdure.core.ids import run_key
from tests.harness.builders import complete_workflow, continue_as_new
from tests.unit.server.world import World


async def test_continue_as_new_hands_the_workflow_id_over(world: World):
    first = await world.start()
    task = await world.poll()
    before = world.engine.committer.batches
    await world.complete(task.task_token, continue_as_new())
    assert world.engine.committer.batches == before + 1
    following = await world.poll()
    second = run_key(first.namespace_id, first.name, following.workflow_execution.run_id)
    assert second != first
    assert following.workflow_execution.workflow_id == first.name
    await world.signal()  # without a run id: the current run
    assert (await world.event_types(first))[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
    await world.check_memory(first)
    await world.check_memory(second)
    await world.complete(following.task_token)
    last = await world.poll()
    await world.complete(last.task_token, complete_workflow())
    types = await world.event_types(second)
    assert "WORKFLOW_EXECUTION_SIGNALED" in types
    assert types[-1] == "WORKFLOW_EXECUTION_COMPLETED"
