"""Environments on real time: in this process, over a port, over somebody else's client."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from perdure import workflow
from perdure.client import Client
from perdure.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from perdure.server.common.options import ServerStartError
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker

CITY = SearchAttributeKey.for_keyword("City")
TAGS = SearchAttributeKey.for_keyword_list("Tags")


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"Hello, {name}"


async def greet(client: Client, workflow_id: str = "w") -> str:
    async with Worker(client, task_queue="local", workflows=[Hello]):
        return await client.execute_workflow(Hello.run, "Ada", id=workflow_id, task_queue="local")


async def test_a_workflow_in_this_process() -> None:
    async with await WorkflowEnvironment.start_local(
        namespace="mine", search_attributes=[CITY, TAGS], dev_server_log_level="warn"
    ) as env:
        assert await greet(env.client) == "Hello, Ada"
        assert not env.supports_time_skipping
        assert abs((await env.get_current_time() - datetime.now(UTC)).total_seconds()) < 60
        await env.sleep(0)
        with env.auto_time_skipping_disabled():
            await env.client.start_workflow(
                Hello.run,
                "Bo",
                id="tagged",
                task_queue="local",
                search_attributes=TypedSearchAttributes(
                    [SearchAttributePair(CITY, "Rome"), SearchAttributePair(TAGS, ["a"])]
                ),
            )
        other = await env.connect_client()
        found = await other.get_workflow_handle("tagged").describe()
        assert found.typed_search_attributes[CITY] == "Rome"


async def test_a_port_and_a_file_for_others(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    async with await WorkflowEnvironment.start_local(
        port=0, dev_server_database_filename=str(path)
    ) as env:
        target = env.client.service_client.config.target_host
        async with await Client.connect(target) as client:
            assert await greet(client) == "Hello, Ada"
        with pytest.raises(ServerStartError, match="already in use"):
            await WorkflowEnvironment.start_local(port=int(target.rpartition(":")[2]))
    async with await Client.connect(f"sqlite:{path}") as client:
        assert await client.get_workflow_handle("w").result() == "Hello, Ada"


async def test_from_a_client_that_stays_open() -> None:
    async with await Client.connect("memory:") as client:
        async with WorkflowEnvironment.from_client(client) as env:
            assert await greet(env.client, "one") == "Hello, Ada"
        assert await greet(client, "two") == "Hello, Ada"
