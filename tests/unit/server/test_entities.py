"""Entities on their way into memory and out of it: loads, namespaces' limits, waiting for events."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import msgspec
import pytest

from perdure.core.ids import KEY_BYTES, run_key, workflow_id_key
from perdure.core.limits import RETENTION_FOREVER_NS
from perdure.core.units import DAY_NS, SECOND_NS
from perdure.entity.env import Env
from perdure.history.state.run_state import RunState
from perdure.server.common.entity_types import BUILT_IN
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.runs import Runs
from perdure.server.shards.cache import EntityCache
from perdure.server.shards.loading import Loader
from perdure.server.shards.namespaces import Namespaces
from perdure.server.shards.shard import Shard
from perdure.server.shards.tail import EventTail
from perdure.storage.port import ShardLease, Store, StoredEntity, StoreError, VisibilityQuery
from perdure.wire import errors
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.server.virtual import on_virtual_time, virtual_clock, virtual_world
from tests.unit.server.world import World, settle


class Disk:
    """A store whose loads wait, fail and answer as the test says."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self.loads: list[str] = []
        self.found: StoredEntity | None = None
        self.cache = EntityCache(10**9)
        self.loader = Loader(cast("Store", self), self.cache, virtual_clock(), BUILT_IN)
        self.shard = Shard(0)
        self.take()

    def take(self) -> None:
        self.shard.install(ShardLease(0, 1, 0, 0, 0, 0))

    async def load(self, key: Any) -> StoredEntity | None:
        self.loads.append(key.name)
        found = self.found
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return found


KEY = workflow_id_key("n", "w")


@on_virtual_time
async def test_what_is_nowhere_is_known_to_be_nowhere():
    disk = Disk()
    await disk.loader.load(KEY, disk.shard)
    await disk.loader.load(KEY, disk.shard)
    assert disk.loads == ["w"]
    entry = disk.cache.get(KEY)
    assert entry is not None
    assert (entry.state, entry.number) == (None, 0)


@on_virtual_time
async def test_a_load_that_fails_fails_for_all_who_wait_and_is_begun_anew_by_the_next():
    disk = Disk()
    disk.errors = [StoreError("no answer (test)")]
    disk.gate.clear()
    loads = [asyncio.ensure_future(disk.loader.load(KEY, disk.shard)) for _ in range(3)]
    await settle()
    disk.gate.set()
    results = await asyncio.gather(*loads, return_exceptions=True)
    assert all(isinstance(each, errors.Unavailable) for each in results)
    assert disk.loads == ["w"]
    assert not disk.loader._loading
    await disk.loader.load(KEY, disk.shard)
    assert disk.loads == ["w", "w"]


@on_virtual_time
async def test_a_load_that_fails_or_ends_when_all_have_gone_is_no_trouble(
    caplog: pytest.LogCaptureFixture,
):
    disk = Disk()
    disk.errors = [StoreError("no answer (test)")]
    for is_cancelled in (False, True):
        disk.gate.clear()
        load = asyncio.ensure_future(disk.loader.load(KEY, disk.shard))
        await settle()
        if is_cancelled:
            for each in disk.loader._loading.values():
                each.cancel()
        load.cancel()
        disk.gate.set()
        await settle()
        assert load.cancelled()
        assert not disk.loader._loading
    del load
    gc.collect()
    assert [one.getMessage() for one in caplog.records if one.name == "asyncio"] == []


@pytest.mark.parametrize("is_back", [True, False])
@on_virtual_time
async def test_what_was_read_under_an_earlier_ownership_is_not_taken(*, is_back: bool):
    disk = Disk()
    disk.gate.clear()
    load = asyncio.ensure_future(disk.loader.load(KEY, disk.shard))
    await settle()
    disk.shard.drop()
    second: asyncio.Future[None] | None = None
    if is_back:
        disk.take()
        second = asyncio.ensure_future(disk.loader.load(KEY, disk.shard))
        await settle()
        assert disk.loads == ["w", "w"], "a load of the new epoch does not join the old one"
    disk.gate.set()
    await load
    assert (KEY in disk.cache) is is_back
    if second is not None:
        await second


@on_virtual_time
async def test_a_load_waits_for_its_shard_and_hears_of_the_end():
    disk = Disk()
    disk.shard.drop()
    load = asyncio.ensure_future(disk.loader.load(KEY, disk.shard))
    await settle()
    assert not disk.loads
    disk.shard.close()
    with pytest.raises(errors.Unavailable, match="shutting down"):
        await load
    assert not disk.loads


@on_virtual_time
async def test_what_can_not_be_read_back_says_so():
    disk = Disk()
    disk.found = StoredEntity(number=1, facts=(cast("Any", object()),), events=())
    with pytest.raises(errors.DataLoss, match="w cannot be read back"):
        await disk.loader.load(KEY, disk.shard)
    assert KEY not in disk.cache


class TooLarge:
    """A fact that does not fit into memory."""

    @property
    def kind(self) -> int:
        raise MemoryError


@on_virtual_time
async def test_a_lack_of_memory_is_no_damage():
    disk = Disk()
    disk.found = StoredEntity(number=1, facts=(cast("Any", TooLarge()),), events=())
    with pytest.raises(errors.Unavailable, match="no memory left"):
        await disk.loader.load(KEY, disk.shard)
    assert KEY not in disk.cache


async def test_a_run_comes_back_as_it_was(world: World):
    key = await world.start()
    task = await world.poll()
    await world.complete(task.task_token, schedule_activity())
    before = world.engine.cache.get(key)
    assert before is not None
    world.forget(key)
    assert await world.engine.read(key, lambda state: state.next_event_id) == 6
    after = world.engine.cache.get(key)
    assert after is not None
    assert after is not before
    for name in ("number", "wake_at_ns", "has_task_in_flight", "durable_event_id"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.durable_event_id == 5
    assert after.tail.range(1, 5) is not None
    await world.check_memory(key)


async def test_a_small_cache_brings_a_run_and_its_pointer_together(world: World):
    await world.start()
    for each in tuple(world.engine.cache._entries.values()):
        world.engine.cache.drop(each)
    world.engine.cache.bytes_max = 1
    await asyncio.wait_for(world.signal(), 10)
    assert not world.engine.cache._pins


async def test_the_history_of_a_run_is_read_from_where_it_lies(world: World):
    key = await world.start()
    for number in range(5):
        await world.signal(request_id=str(number))
    whole = b"".join(await world.engine.history(key, 1, 7))
    entry = world.engine.cache.get(key)
    assert entry is not None
    entry.tail = EventTail()
    assert b"".join(await world.engine.history(key, 1, 99)) == whole, "from the database"
    assert b"".join(await world.engine.history(key, 2, 3)) in whole
    assert await world.engine.history(key, 8, 9) == []
    assert await world.engine.history(run_key(key.namespace_id, "nobody", "r"), 1, 9) == []


# Waiting for events.


@on_virtual_time
async def test_who_waits_for_events_is_told_of_one_and_of_no_time_left():
    async with virtual_world() as world:
        key = await world.start()
        loop = asyncio.get_running_loop()
        wait = world.engine.wait_for_events
        assert await wait(key, 1, SECOND_NS), "there is one already"
        assert not await wait(key, 2, 5 * SECOND_NS)
        assert loop.time() == 5
        waits = [asyncio.ensure_future(wait(key, 2, 50 * SECOND_NS)) for _ in range(3)]
        await asyncio.sleep(1)
        waits[0].cancel()
        await settle()
        await world.signal()
        assert await asyncio.gather(*waits[1:]) == [True, True]
        assert loop.time() == 6
        assert not world.engine.release._waiters
        await world.terminate()
        assert await wait(key, 3, SECOND_NS)
        assert not await wait(key, 4, 60 * SECOND_NS), "none will come"
        assert loop.time() == 6


@on_virtual_time
async def test_a_wait_that_is_over_leaves_nothing_behind():
    async with virtual_world() as world:
        key = await world.start()
        await settle()
        loop: Any = asyncio.get_running_loop()
        timers = sum(not each.cancelled() for each in loop._scheduled)
        for until_end in (False, True):
            assert not await world.engine.wait_for_events(key, 2, SECOND_NS, until_end=until_end)
            cancelled = asyncio.ensure_future(
                world.engine.wait_for_events(key, 2, 60 * SECOND_NS, until_end=until_end)
            )
            await settle()
            cancelled.cancel()
            await settle()
        assert not world.engine.release._waiters
        assert not world.engine.release._end_waiters
        assert sum(not each.cancelled() for each in loop._scheduled) == timers


@on_virtual_time
async def test_an_event_that_is_not_durable_wakes_nobody():
    async with virtual_world() as world:
        key = await world.start()
        wait = asyncio.ensure_future(world.engine.wait_for_events(key, 2, 60 * SECOND_NS))
        (signal,) = await world.holding(world.signal())
        assert not wait.done()
        world.go_on()
        await signal
        assert await wait


@on_virtual_time
async def test_who_waits_looks_again_when_a_commit_failed():
    async with virtual_world() as world:
        key = await world.start()
        wait = asyncio.ensure_future(world.engine.wait_for_events(key, 2, 60 * SECOND_NS))
        (signal,) = await world.holding(world.signal())
        world.faults.is_full = True
        world.go_on()
        with pytest.raises(errors.ResourceExhausted):
            await signal
        assert await wait, "what it knew of the run may be wrong"
        assert await world.engine.read(key, lambda state: state.signal_count) == 0


# Namespaces.


async def limits_of(world: World, namespace_id: str) -> tuple[str, int]:
    seen: list[Env] = []

    def look(_: RunState, env: Env) -> None:
        seen.append(env)

    await Runs(world.engine).read_current(namespace_id, "w", "", look)
    return seen[0].namespace, seen[0].limits.retention_default_ns


async def test_a_change_of_a_namespace_holds_for_the_next_transition(world: World):
    await world.start()
    assert await limits_of(world, world.namespace_id) == ("default", RETENTION_FOREVER_NS)
    (fact,) = world.engine.namespaces.all()
    for days in (3, 5):
        await world.engine.namespaces.put(msgspec.structs.replace(fact, retention_ns=days * DAY_NS))
        assert await limits_of(world, world.namespace_id) == ("default", days * DAY_NS)


async def test_a_namespace_that_can_not_be_written_is_not_known(world: World):
    world.faults.is_full = True
    with pytest.raises(errors.ResourceExhausted):
        await world.engine.namespaces.put(NamespaceFact(namespace_id="id", name="other"))
    world.faults.is_full = False
    assert world.engine.namespaces.find("other") is None
    assert world.engine.namespaces.by_id("id") is None


async def test_a_namespace_that_is_renamed_is_found_by_its_new_name_alone():
    written: list[object] = []

    async def write(transition: object) -> None:
        written.append(transition)

    namespaces = Namespaces(write)
    fact = NamespaceFact(namespace_id="1", name="old")
    await namespaces.put(fact)
    await namespaces.put(NamespaceFact(namespace_id="2", name="other"))
    renamed = msgspec.structs.replace(fact, name="new")
    await namespaces.put(renamed)
    count = len(written)
    await namespaces.change("1", lambda fact: fact)
    assert len(written) == count, "nothing to write"
    assert namespaces.find("old") is None
    assert namespaces.find("new") is namespaces.by_id("1")
    stored = namespaces.by_id("1")
    assert stored is not None
    assert len(stored.token_key) == KEY_BYTES
    assert stored == msgspec.structs.replace(
        renamed, is_retention_known=True, token_key=stored.token_key
    )
    assert {each.name for each in namespaces.all()} == {"new", "other"}
    assert len(written) == 3


# Reads and changes by workflow id.


async def test_the_pointer_may_move_while_its_run_is_loaded(world: World):
    old = await world.start()
    task = await world.poll()
    await world.complete(task.task_token, complete_workflow())
    world.forget(old)
    world.faults.load_gate.clear()
    looking = asyncio.ensure_future(
        Runs(world.engine).read_current(world.namespace_id, "w", "", lambda state, _: state.key)
    )
    await settle()
    new = await world.start(request_id="new")
    world.faults.load_gate.set()
    assert await looking == new


async def test_the_run_may_be_deleted_while_it_is_loaded(world: World):
    key = await world.start()
    await world.terminate()
    world.forget(key)
    world.faults.load_gate.clear()
    deleting = asyncio.ensure_future(world.engine.delete(key))
    await settle()
    looking = asyncio.ensure_future(
        Runs(world.engine).read_current(world.namespace_id, "w", "", lambda state, _: state.key)
    )
    await settle()
    world.faults.load_gate.set()
    assert await deleting
    with pytest.raises(errors.NotFound):
        await looking


async def test_what_was_never_started_is_not_found(world: World):
    for look in (
        Runs(world.engine).read_current(world.namespace_id, "w", "", lambda state, _: state),
        world.engine.read(run_key(world.namespace_id, "w", "r"), lambda state: state),
        world.signal(),
    ):
        with pytest.raises(errors.NotFound, match="workflow not found for ID: w"):
            await look


async def test_each_caller_of_a_failed_batch_gets_an_error_of_his_own(world: World):
    await world.start()
    calls = await world.holding(world.signal(request_id="1"), world.signal(request_id="1"))
    world.faults.is_full = True
    world.go_on()
    first, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, errors.ResourceExhausted)
    assert isinstance(second, errors.ResourceExhausted)
    assert first is not second
    assert first.details == second.details != ()


async def test_a_database_that_can_not_be_read_is_unavailable(world: World):
    await world.start()

    async def silent(*_: object) -> Any:
        raise StoreError("no answer (test)")

    world.faults.inner.visibility = silent
    world.faults.inner.visibility_count = silent
    world.faults.inner.visibility_counts = silent
    query = VisibilityQuery(namespace_id=world.namespace_id)
    with pytest.raises(errors.Unavailable, match="could not be read"):
        await world.engine.visibility(query)
    with pytest.raises(errors.Unavailable, match="could not be read"):
        await world.engine.visibility_count(query)
    with pytest.raises(errors.Unavailable, match="could not be read"):
        await world.engine.visibility_counts(query)


async def test_an_engine_that_closes_takes_nothing_more(world: World):
    key = await world.start()
    world.engine.entities.is_closing = True
    for call in (
        world.signal(),
        world.engine.read(key, lambda state: state.signal_count),
        world.start("another"),
    ):
        with pytest.raises(errors.Unavailable, match="shutting down"):
            await call
    world.engine.entities.is_closing = False
