"""What a call was acknowledged is in the answer of every query and describe that begins after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure import workflow
from perdure.client import Client, WorkflowExecutionStatus, WorkflowHandle
from perdure.worker import Worker

STEPS = 8


@workflow.defn
class Ledger:
    def __init__(self) -> None:
        self.entries: list[str] = []
        self.is_over = False

    @workflow.run
    async def run(self, first: str) -> list[str]:
        self.entries.append(first)
        await workflow.wait_condition(lambda: self.is_over)
        return self.entries

    @workflow.signal
    def note(self, text: str) -> None:
        self.entries.append(text)

    @workflow.signal
    async def note_later(self, text: str) -> None:
        await workflow.sleep(0)
        self.entries.append(text)

    @workflow.update
    async def add(self, text: str) -> int:
        await workflow.sleep(0)
        self.entries.append(text)
        return len(self.entries)

    @workflow.update
    def remember(self, text: str) -> None:
        workflow.upsert_memo({"last": text})
        self.entries.append(text)

    @workflow.signal
    def end(self) -> None:
        self.is_over = True

    @workflow.query
    def all(self) -> list[str]:
        return self.entries


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect("memory:") as connected:
        yield connected


async def begin(client: Client, name: str = "ledger") -> WorkflowHandle[Ledger, list[str]]:
    return await client.start_workflow(Ledger.run, "first", id=name, task_queue="q")


@pytest.mark.parametrize("cached", [100, 0])
async def test_queries_see_what_was_acknowledged(client: Client, cached: int) -> None:
    async with Worker(client, task_queue="q", workflows=[Ledger], max_cached_workflows=cached):
        handle = await begin(client)
        assert await handle.query(Ledger.all) == ["first"]
        written = ["first"]
        for number in range(STEPS):
            if number % 2:
                await handle.signal(Ledger.note, f"signal {number}")
                written.append(f"signal {number}")
            else:
                assert await handle.execute_update(Ledger.add, f"update {number}") == (
                    len(written) + 1
                )
                written.append(f"update {number}")
            assert await handle.query(Ledger.all) == written
        await handle.signal(Ledger.end)
        assert await handle.query(Ledger.all) == written
        assert await handle.result() == written
        assert await handle.query(Ledger.all) == written


async def test_queries_of_many_writers_see_each_one_s_own(client: Client) -> None:
    async with Worker(client, task_queue="q", workflows=[Ledger]):
        handle = await begin(client)

        async def write(name: str) -> None:
            for number in range(STEPS):
                text = f"{name} {number}"
                await handle.signal(Ledger.note, text)
                assert text in await handle.query(Ledger.all)

        await asyncio.gather(*(write(name) for name in ("a", "b", "c")))
        entries = await handle.query(Ledger.all)
        for name in ("a", "b", "c"):
            assert [each for each in entries if each.startswith(name)] == [
                f"{name} {number}" for number in range(STEPS)
            ]


async def test_a_signal_before_the_first_worker_is_in_the_first_answer(client: Client) -> None:
    handle = await begin(client)
    await handle.signal(Ledger.note, "early")
    asking = asyncio.ensure_future(handle.query(Ledger.all))
    async with Worker(client, task_queue="q", workflows=[Ledger]):
        assert sorted(await asking) == ["early", "first"]


async def test_describe_and_history_see_what_was_acknowledged(client: Client) -> None:
    handle = await begin(client)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    lengths = [(await handle.describe()).history_length]
    for _ in range(3):
        await handle.signal(Ledger.note, "more")
        lengths.append((await handle.describe()).history_length)
        assert len((await handle.fetch_history()).events) == lengths[-1]
    assert lengths == sorted(set(lengths))
    async with Worker(client, task_queue="q", workflows=[Ledger]):
        for text in ("one", "two"):
            await handle.execute_update(Ledger.remember, text)
            assert await (await handle.describe()).memo() == {"last": text}
        await handle.signal(Ledger.end)
        await handle.result()
        described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED
    assert described.close_time is not None


async def test_the_end_of_a_workflow_is_seen_at_once(client: Client) -> None:
    for name, status in (
        ("terminated", WorkflowExecutionStatus.TERMINATED),
        ("again", WorkflowExecutionStatus.RUNNING),
    ):
        handle = await begin(client, "w")
        if name == "terminated":
            await handle.terminate()
        assert (await handle.describe()).status is status
    cancelled = await begin(client, "c")
    async with Worker(client, task_queue="q", workflows=[Ledger]):
        await cancelled.query(Ledger.all)
        await cancelled.cancel(reason="enough")
        events = (await cancelled.fetch_history()).events
    assert any(
        event.workflow_execution_cancel_requested_event_attributes.cause == "enough"
        for event in events
    )
