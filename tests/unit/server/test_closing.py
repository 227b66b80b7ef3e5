"""A node ends in bounded time: what cannot be finished is given up, said, and still there after the next start."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest

from perdure.core.units import MS_NS
from perdure.server.common import closing as module
from perdure.storage.port import NotWritten, ShardLease
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.wire import errors
from tests.unit.server.world import World, open_world, settle, start_timer


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_NS", 20 * MS_NS)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(connect_memory(4)) as connection:
        yield connection


async def opened(database: sqlite3.Connection) -> World:
    return await open_world(open_memory(connection=database))


async def no_shard(_: int) -> ShardLease:
    raise NotWritten("no disk (test)")


async def no_answer(_: int) -> ShardLease:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("the future never ends")


def lose_the_shards(
    world: World, acquire: Callable[[int], Awaitable[ShardLease]] = no_shard
) -> None:
    """As after a lost fence, with a disk from which they cannot be taken over again."""
    world.faults.inner.acquire = acquire
    for shard in world.engine.shards._shards.values():
        world.engine.shards.drop(shard, True)


def given_up(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == module.log.name]


async def test_a_commit_that_never_ends_is_given_up_and_its_caller_told(
    database: sqlite3.Connection, caplog: pytest.LogCaptureFixture
):
    world = await opened(database)
    key = await world.start()
    (signal,) = await world.holding(world.signal())
    with caplog.at_level(logging.WARNING):
        await world.node.close()
    with pytest.raises(errors.Unavailable, match="closed before the change was known"):
        await signal
    (said,) = given_up(caplog)
    assert "changes that nobody was told of" in said
    second = await opened(database)
    assert await second.engine.read(key, lambda state: state.signal_count) == 0
    assert (await second.poll()).workflow_execution.workflow_id == "w"
    await second.node.close()


async def test_who_waits_for_a_shard_that_can_not_be_taken_is_told(database: sqlite3.Connection):
    world = await opened(database)
    await world.start()
    lose_the_shards(world)
    signal = asyncio.ensure_future(world.signal())
    await settle()
    assert not signal.done()
    await world.node.close()
    with pytest.raises(errors.Unavailable, match="shutting down"):
        await signal
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "no shard is taken over any more"


async def test_a_node_that_is_closing_takes_no_more_calls_and_finishes_those_it_has(
    database: sqlite3.Connection,
):
    world = await opened(database)
    key = await world.start()
    (signal,) = await world.holding(world.signal())
    ending = asyncio.ensure_future(world.engine.close())
    await settle()
    with pytest.raises(errors.Unavailable, match="shutting down"):
        await world.engine.read(key, lambda state: state.signal_count)
    late = asyncio.ensure_future(world.signal())
    await settle()
    assert late.done()
    with pytest.raises(errors.Unavailable, match="shutting down"):
        await late
    world.go_on()
    await asyncio.gather(signal, ending)
    await world.node.close()


async def test_a_wake_up_without_its_shard_is_given_up_and_comes_after_the_next_start(
    database: sqlite3.Connection, caplog: pytest.LogCaptureFixture
):
    world = await opened(database)
    key = await world.start()
    task = await world.poll()
    await world.complete(task.task_token, start_timer("t", 100))
    lose_the_shards(world, no_answer)
    while not world.engine.wakes.is_firing:  # noqa: ASYNC110 -- nothing announces it
        await asyncio.sleep(0.01)
    # Until it waits for its shard: before, it would hear at once that the node is closing.
    await settle()
    with caplog.at_level(logging.WARNING):
        await world.node.close()
    assert "1 wake-ups" in given_up(caplog)[0]
    second = await opened(database)
    await second.poll()
    assert "TIMER_FIRED" in await second.event_types(key)
    await second.node.close()


async def test_a_start_of_a_task_without_its_shard_is_given_up_and_its_poll_answered_empty(
    database: sqlite3.Connection, caplog: pytest.LogCaptureFixture
):
    world = await opened(database)
    await world.start("earlier")
    assert (await world.poll()).task_token, "the queue has a worker, and keeps its tasks in memory"
    await world.start()
    lose_the_shards(world)
    poll = asyncio.ensure_future(world.poll())
    await settle()
    with caplog.at_level(logging.WARNING):
        await world.node.close()
    assert "1 starts of tasks" in given_up(caplog)[0]
    assert not (await poll).task_token
    await settle()
    assert [one for one in caplog.records if one.name == "asyncio"] == [], "no callback failed"
    second = await opened(database)
    assert (await second.poll()).workflow_execution.workflow_id == "w"
    await second.node.close()


async def test_an_orderly_end_gives_nothing_up(
    database: sqlite3.Connection, caplog: pytest.LogCaptureFixture
):
    world = await opened(database)
    key = await world.start()
    (signal,) = await world.holding(world.signal())
    ending = asyncio.ensure_future(world.node.close())
    world.go_on()
    await asyncio.gather(signal, ending)
    assert given_up(caplog) == []
    second = await opened(database)
    assert await second.engine.read(key, lambda state: state.signal_count) == 1
    await second.node.close()


async def test_a_poll_whose_task_is_being_committed_is_not_answered_before(
    database: sqlite3.Connection,
):
    world = await opened(database)
    poll = asyncio.ensure_future(world.poll())
    await settle()
    (starting,) = await world.holding(world.start())
    ending = asyncio.ensure_future(world.node.matching.close())
    await settle()
    assert ending.done()
    assert not poll.done()
    world.go_on()
    key = await starting
    assert (await poll).workflow_execution.run_id == key.run_id
    await world.node.close()
