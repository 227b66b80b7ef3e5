"""A disk that answers nothing but errors for a while: calls fail, and service resumes when it is back (D-36)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.server.common import closing
from perdure.server.shards import node_shards
from perdure.storage.port import NotWritten
from perdure.storage.sqlite import open_memory, open_sqlite
from perdure.wire import errors
from perdure.wire.api import common, workflowservice
from tests.unit.server.world import World, open_world


class Disk:
    """The connection that writes, of which every statement fails while the disk is gone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.failures_left = 0
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, *arguments: Any) -> Any:
        if self.failures_left:
            self.failures_left -= 1
            self.failures += 1
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(*arguments)


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[tuple[World, Disk]]:
    store = await open_sqlite(tmp_path / "perdure.db")
    disk = Disk(store.writing)
    store.writing = cast("sqlite3.Connection", disk)
    world = await open_world(store)
    yield world, disk
    await world.node.close()


async def test_shards_are_taken_over_again_however_often_that_fails(file: tuple[World, Disk]):
    world, disk = file
    key = await world.start()
    (signal,) = await world.holding(world.signal(request_id="one"))
    world.faults.unknown = "lost"
    disk.failures_left = 3
    world.go_on()
    with pytest.raises(errors.Unavailable):
        await signal
    assert disk.failures == 3
    await world.signal(request_id="one")
    await world.check_memory(key)
    assert await world.engine.read(key, lambda state: state.signal_count) == 1


async def test_a_failed_take_over_is_an_error_of_the_port(tmp_path: Path):
    store = await open_sqlite(tmp_path / "perdure.db")
    disk = Disk(store.writing)
    store.writing = cast("sqlite3.Connection", disk)
    disk.failures_left = 1
    with pytest.raises(NotWritten, match="disk I/O error"):
        await store.acquire(0)
    disk.connection.execute("BEGIN")  # left open by something that went wrong
    assert (await store.acquire(0)).range_id == 1
    await store.close()
    await store.close()


async def test_a_bug_in_the_committer_does_not_end_it(
    file: tuple[World, Disk], monkeypatch: pytest.MonkeyPatch
):
    world, _ = file
    key = await world.start()

    async def broken(*_: object) -> bool:
        raise AssertionError("a bug")

    (signal,) = await world.holding(world.signal(request_id="one"))
    world.faults.unknown = "lost"
    monkeypatch.setattr(world.engine.committer, "_settle", broken)
    world.go_on()
    with pytest.raises(errors.Unavailable):
        await signal
    shards = world.engine.shards
    shards.drop(shards.of(key), True)  # what `_settle` would have done
    await world.signal(request_id="one")
    await world.check_memory(key)


@pytest.mark.parametrize("fate", ["landed", "lost"])
async def test_while_nothing_can_be_written_reads_go_on_and_changes_are_refused(fate: str):
    world = await open_world(open_memory())
    faults = world.faults
    await world.start("polled")
    polled = await world.poll()
    in_doubt, other = await world.start("w"), await world.start("other")
    (signal,) = await world.holding(world.signal("w", request_id="in doubt"))
    faults.unknown, faults.is_unwritable = fate, True
    world.go_on()
    await suspended(world)
    for key in (in_doubt, other):
        assert "WORKFLOW_EXECUTION_STARTED" in await world.event_types(key)
        await described(world, key.name)
    listed = await world.call(
        "ListWorkflowExecutions",
        workflowservice.ListWorkflowExecutionsRequest(namespace="default"),
    )
    assert len(listed.executions) == 3
    changes: list[Coroutine[Any, Any, Any]] = [
        world.signal("w", request_id="new"),
        world.signal("other", request_id="new"),
        world.terminate("other"),
        world.start("another"),
        world.complete(polled.task_token),
        world.call("RegisterNamespace", workflowservice.RegisterNamespaceRequest(namespace="n")),
    ]
    for change in changes:
        with pytest.raises(errors.Unavailable, match="cannot be written"):
            await change
    assert not signal.done(), "only the batch in doubt waits"
    assert await world.engine.read(other, lambda state: state.signal_count) == 0
    # What was read in doubt is in memory now, and may miss what the batch has changed.
    await world.engine.read(in_doubt, lambda state: state.signal_count)
    faults.is_unwritable = False
    if fate == "landed":
        await signal
    else:
        with pytest.raises(errors.Unavailable):
            await signal
    await world.signal("other", request_id="new")
    for key, signals in ((in_doubt, int(fate == "landed")), (other, 1)):
        assert await world.engine.read(key, lambda state: state.signal_count) == signals
        await world.check_memory(key)
    assert len(world.engine.owned_shards()) == 4
    await world.node.close()


async def suspended(world: World) -> None:
    """Wait until the first attempt to take the shard of the batch over has failed."""
    async with asyncio.timeout(60):
        while not world.engine.committer._is_suspended:  # noqa: ASYNC110 -- nothing announces it
            await asyncio.sleep(0.01)


async def described(world: World, workflow_id: str) -> None:
    request = workflowservice.DescribeWorkflowExecutionRequest(
        namespace="default", execution=common.WorkflowExecution(workflow_id=workflow_id)
    )
    reply = await world.call("DescribeWorkflowExecution", request)
    assert reply.workflow_execution_info.execution.workflow_id == workflow_id


async def test_a_lost_shard_that_cannot_be_taken_over_is_refused_at_once_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(node_shards, "RETRY_NS", 1)
    world = await open_world(open_memory())
    key = await world.start("w")
    world.faults.is_unwritable = True
    shard = world.engine.shards.of(key)
    world.engine.shards.drop(shard, True)
    await shard.answers.wait()
    for call in (world.signal("w"), world.event_types(key)):
        with pytest.raises(errors.Unavailable, match="another node may own this"):
            await call
    world.faults.is_unwritable = False
    await shard.ready.wait()
    await world.signal("w")
    await world.check_memory(key)
    await world.node.close()


async def test_a_node_ends_although_the_fate_of_a_batch_is_unknown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(closing, "CLOSE_NS", 1)
    world = await open_world(open_memory())
    await world.start("w")
    (signal,) = await world.holding(world.signal("w"))
    world.faults.is_unwritable = True
    world.go_on()
    await suspended(world)
    async with asyncio.timeout(60):
        await world.node.close()
        with pytest.raises(errors.Unavailable):
            await signal


@pytest.mark.parametrize("after", ["a lost fence", "an unknown outcome"])
async def test_a_shard_whose_row_is_damaged_is_refused_and_not_taken_over_again(
    after: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(node_shards, "RETRY_NS", 1)
    world = await open_world(open_memory())
    key = await world.start("w")
    shard = world.engine.shards.of(key)
    others = [await world.start(f"other-{n}") for n in range(20)]
    other = next(one for one in others if world.engine.shards.of(one) is not shard)
    world.faults.damaged_shards = {shard.shard_id}
    before = world.faults.takeovers
    if after == "a lost fence":
        world.engine.shards.drop(shard, True)
    else:
        world.faults.unknown = "landed"
        with pytest.raises(
            errors.DataLoss, match="unknown whether the change was written: the row"
        ):
            await world.signal("w", request_id="in doubt")
    async with asyncio.timeout(60):
        await shard.answers.wait()
    for _ in range(3):
        for call in (world.signal("w"), world.event_types(key)):
            with pytest.raises(errors.DataLoss, match="row of shard"):
                await call
    assert world.faults.takeovers == before + 1
    assert [r.message.count("are refused from now on") for r in caplog.records].count(1) == 1
    await world.signal(other.name)
    await world.check_memory(other)
    async with asyncio.timeout(60):
        await world.node.close()


async def test_of_several_shards_the_sound_ones_tell_whether_a_batch_was_written():
    world = await open_world(open_memory())
    keys = [await world.start(f"w{n}") for n in range(20)]
    shards = {world.engine.shards.of(key): key for key in keys}
    (damaged, lost), (_, kept) = list(shards.items())[:2]
    signals = await world.holding(world.signal(lost.name), world.signal(kept.name))
    world.faults.unknown = "landed"
    world.faults.damaged_shards = {damaged.shard_id}
    world.go_on()
    async with asyncio.timeout(60):
        await asyncio.gather(*signals)
    assert await world.engine.read(kept, lambda state: state.signal_count) == 1
    with pytest.raises(errors.DataLoss):
        await world.event_types(lost)
    await world.node.close()
