"""Large messages behave alike embedded and on a server: what is within the limits works, what is not is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.exceptions import TerminatedError
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker

PART_BYTES = 1_500_000


@activity.defn
async def measure(part: str) -> int:
    return len(part)


@workflow.defn
class SendsMuch:
    @workflow.run
    async def run(self, parts: int) -> int:
        started = [
            workflow.start_activity(
                measure, "x" * PART_BYTES, start_to_close_timeout=timedelta(minutes=5)
            )
            for _ in range(parts)
        ]
        return sum([await each for each in started])


@pytest.fixture(params=["embedded", "server"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    port = 0 if request.param == "server" else None
    async with await WorkflowEnvironment.start_local(port=port) as env:
        if port is None:
            yield env.client
        else:
            target = env.client.service_client.config.target_host
            assert not target.startswith(("memory:", "sqlite:"))
            async with await Client.connect(target) as found:
                yield found


async def test_one_task_may_send_several_large_commands(client: Client) -> None:
    async with Worker(client, task_queue="q", workflows=[SendsMuch], activities=[measure]):
        total = await client.execute_workflow(SendsMuch.run, 8, id="w", task_queue="q")
    assert total == 8 * PART_BYTES


async def test_a_task_over_the_limit_ends_its_run_with_the_reason(client: Client) -> None:
    async with Worker(client, task_queue="q", workflows=[SendsMuch], activities=[measure]):
        with pytest.raises(WorkflowFailureError) as failed:
            await client.execute_workflow(SendsMuch.run, 23, id="w", task_queue="q")
    assert isinstance(failed.value.cause, TerminatedError)
    assert str(failed.value.cause).startswith("GrpcMessageTooLarge: The workflow task's commands")
