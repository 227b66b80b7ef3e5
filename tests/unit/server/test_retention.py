"""Closed runs go when their time is over, with all they own and with nothing that is not theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import EntityKey, EntityKind, run_key, workflow_id_key
from perdure.core.limits import RETENTION_FOREVER_NS, Limits
from perdure.core.units import DAY_NS, HOUR_NS, SECOND_NS
from perdure.entity.transition import Effect
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.timers import retention as module
from perdure.server.timers.retention import Retention
from perdure.storage.port import Store, StoreError
from perdure.wire.api import common, enums, workflowservice
from perdure.wire.errors import AlreadyExists, DataLoss, NotFound
from tests.harness.builders import complete_workflow, signal_external
from tests.unit.server.test_children import delivered
from tests.unit.server.virtual import on_virtual_time, virtual_world
from tests.unit.server.world import World, settle, start_timer

REJECT = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE


async def close(world: World, workflow_id: str = "w") -> EntityKey:
    key = await world.start(workflow_id, request_id=f"{workflow_id} {len(world.faults.loads)}")
    await world.terminate(workflow_id)
    return key


async def described_run(world: World, workflow_id: str = "w") -> str:
    request = workflowservice.DescribeWorkflowExecutionRequest(
        namespace="default", execution=common.WorkflowExecution(workflow_id=workflow_id)
    )
    reply = await world.call("DescribeWorkflowExecution", request)
    return reply.workflow_execution_info.execution.run_id


def forget_all(world: World, key: EntityKey) -> None:
    """Evict the workflow id and its runs, so that what is stored speaks."""
    for each in (
        *[e.key for e in world.engine.cache.of_kind(EntityKind.RUN)],
        workflow_id_key(*key[1:3]),
    ):
        if each.name == key.name and each in world.engine.cache:
            world.forget(each)


async def test_an_old_run_goes_and_the_current_one_keeps_its_workflow_id(world: World):
    old = await close(world)
    current = await world.start(request_id="current")
    assert await world.engine.delete(old)
    forget_all(world, old)
    assert await world.faults.load(old) is None
    assert await described_run(world) == current.run_id
    await world.signal()
    await world.terminate()
    assert await described_run(world) == current.run_id
    with pytest.raises(AlreadyExists):
        await world.start(request_id="x", workflow_id_reuse_policy=REJECT)
    await world.check_memory(current)


async def test_a_current_run_goes_with_its_workflow_id(world: World):
    key = await close(world)
    assert await world.engine.delete(key)
    forget_all(world, key)
    assert await world.faults.load(workflow_id_key(world.namespace_id, "w")) is None
    with pytest.raises(NotFound):
        await described_run(world)
    again = await world.start(request_id="x", workflow_id_reuse_policy=REJECT)
    assert await described_run(world) == again.run_id
    forget_all(world, key)
    await world.check_memory(again)


async def test_what_is_open_or_unknown_or_not_durably_closed_is_not_deleted(world: World):
    key = await world.start()
    assert not await world.engine.delete(key)
    assert not await world.engine.delete(run_key(world.namespace_id, "w", "other"))
    assert not await world.engine.delete(run_key(world.namespace_id, "nobody", "r"))
    (ending,) = await world.holding(world.terminate())
    assert not await world.engine.delete(key), "its end may fail yet"
    world.go_on()
    await ending
    assert await world.engine.delete(key)
    assert not await world.engine.delete(key)


async def test_a_run_whose_effects_are_not_delivered_stays_until_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    other = await world.start("other")
    await world.complete((await world.poll()).task_token)
    gate = asyncio.Event()
    deliver = world.engine.outbox.deliver

    async def slowly(source: EntityKey, effect: Effect) -> None:
        await gate.wait()
        await deliver(source, effect)

    monkeypatch.setattr(world.engine.outbox, "deliver", slowly)
    key = await world.start("sender")
    task = await world.poll()
    await world.complete(task.task_token, signal_external("other"), complete_workflow())
    assert not await world.engine.delete(key)
    world.forget(key)
    assert not await world.engine.delete(key)
    gate.set()
    await delivered(world)
    assert await world.engine.read(other, lambda state: state.signal_count) == 1
    assert await world.engine.delete(key)
    assert await world.faults.outbox(world.engine.owned_shards()) == []


async def test_nothing_of_a_deleted_run_is_left(world: World):
    key = await close(world)
    assert await world.engine.delete(key)
    store = world.faults.inner.writing
    known = {row[0] for row in store.execute("SELECT number FROM entities")}
    for table in ("events", "facts", "wakes", "retention", "outbox"):
        numbers = {row[0] for row in store.execute(f"SELECT entity FROM {table}")}
        assert numbers <= known, table
    assert await world.faults.expired(world.engine.owned_shards(), 2**62, 9) == []
    listed = await world.call(
        "ListWorkflowExecutions",
        workflowservice.ListWorkflowExecutionsRequest(namespace="default"),
    )
    assert not listed.executions
    entry = world.engine.cache.get(key)
    assert entry is None or entry.state is None


async def test_who_waits_for_events_of_a_run_that_is_deleted_is_told(world: World):
    key = await close(world)
    entry = world.engine.cache.get(key)
    assert entry is not None
    waits = [
        asyncio.ensure_future(
            world.engine.release.next_event(entry, 600 * SECOND_NS, until_end=until_end)
        )
        for until_end in (False, True)
    ]
    await settle()
    assert await world.engine.delete(key)
    assert await asyncio.gather(*waits) == [True, True]


async def exists(world: World, key: EntityKey) -> bool:
    return await world.faults.load(key) is not None


@on_virtual_time
async def test_a_run_stays_for_exactly_as_long_as_was_promised():
    retention_ns = 3 * HOUR_NS
    async with virtual_world(limits=Limits(retention_default_ns=retention_ns)) as world:
        await world.start("open")
        await asyncio.sleep(100)
        key = await close(world)
        await asyncio.sleep(retention_ns / SECOND_NS - 1)
        assert await exists(world, key)
        await asyncio.sleep(1 + module.PAUSE_NS / SECOND_NS)
        assert not await exists(world, key)
        assert await described_run(world, "open")


@on_virtual_time
async def test_closed_runs_stay_and_their_ids_are_taken_unless_somebody_says_otherwise():
    async with virtual_world() as world:
        key = await close(world)
        for days in (1, 2):
            await asyncio.sleep(days * DAY_NS / SECOND_NS + 2 * module.PAUSE_NS / SECOND_NS)
            with pytest.raises(AlreadyExists):
                await world.start(request_id=f"{days}", workflow_id_reuse_policy=REJECT)
        assert await described_run(world) == key.run_id


async def keep_runs(world: World, hours: float) -> None:
    await world.engine.namespaces.keep_runs("default", int(hours * HOUR_NS))


HOUR_S = HOUR_NS / SECOND_NS
SOON_S = 2 * module.PAUSE_NS / SECOND_NS


@on_virtual_time
async def test_a_longer_retention_holds_for_runs_that_are_closed_already():
    async with virtual_world(limits=Limits(retention_default_ns=HOUR_NS)) as world:
        key = await close(world)
        await keep_runs(world, 5)
        await asyncio.sleep(4.9 * HOUR_S)
        assert await exists(world, key)
        assert await world.faults.expired(world.engine.owned_shards(), 2**62, 9) == [key]
        await keep_runs(world, 6)
        await asyncio.sleep(1 * HOUR_S)
        assert await exists(world, key)
        await asyncio.sleep(0.1 * HOUR_S + SOON_S)
        assert not await exists(world, key)


@on_virtual_time
async def test_a_shorter_retention_holds_for_runs_that_close_later():
    async with virtual_world(limits=Limits(retention_default_ns=5 * HOUR_NS)) as world:
        before = await close(world, "before")
        await keep_runs(world, 1)
        after = await close(world, "after")
        await asyncio.sleep(HOUR_S + SOON_S)
        assert (await exists(world, before), await exists(world, after)) == (True, False)
        await asyncio.sleep(4 * HOUR_S)
        assert not await exists(world, before)


@on_virtual_time
async def test_only_the_namespace_of_a_run_decides_how_long_it_is_kept():
    async with virtual_world(limits=Limits(retention_default_ns=HOUR_NS)) as world:
        key = await close(world)
        request = workflowservice.RegisterNamespaceRequest(namespace="other")
        await world.call("RegisterNamespace", request)
        await world.engine.namespaces.keep_runs("other", 9 * HOUR_NS)
        await asyncio.sleep(HOUR_S + SOON_S)
        assert not await exists(world, key)


@pytest.mark.parametrize(
    ("stored", "known", "understood"),
    [
        (DAY_NS, False, RETENTION_FOREVER_NS),
        (DAY_NS, True, DAY_NS),
        (2 * DAY_NS, False, 2 * DAY_NS),
    ],
    ids=["nobody asked", "a day was asked for", "earlier, other than the default"],
)
async def test_the_24_hours_that_earlier_versions_stored_unasked_are_forever(
    world: World, stored: int, understood: int, *, known: bool
):
    fact = NamespaceFact(
        namespace_id="old", name="old", retention_ns=stored, is_retention_known=known
    )
    world.engine.namespaces.install(fact)
    found = world.engine.namespaces.find("old")
    assert found is not None
    assert found.retention_ns == understood
    await world.engine.namespaces.put(msgspec.structs.replace(fact, retention_ns=DAY_NS))
    asked = world.engine.namespaces.find("old")
    assert asked is not None
    assert asked.retention_ns == DAY_NS
    assert asked.is_retention_known


@on_virtual_time
async def test_however_many_expire_together_they_go_together():
    async with virtual_world(limits=Limits(retention_default_ns=SECOND_NS)) as world:
        for number in range(3 * module.CHUNK_RUNS + 7):
            await close(world, f"w{number}")
        # At the first look, the sweep of task rows still has its hands on them.
        await asyncio.sleep(1 + 2 * module.PAUSE_NS / SECOND_NS)
        assert await world.faults.expired(world.engine.owned_shards(), 2**62, 999) == []


@on_virtual_time
async def test_a_timer_of_a_closed_run_keeps_nothing_and_wakes_nobody():
    async with virtual_world(limits=Limits(retention_default_ns=SECOND_NS)) as world:
        key = await world.start()
        task = await world.poll()
        await world.complete(task.task_token, start_timer("t", 3_600_000))
        assert len(await world.faults.wakes(world.engine.owned_shards(), 2**62, 9)) == 1
        await world.terminate()
        assert await world.faults.wakes(world.engine.owned_shards(), 2**62, 9) == []
        await asyncio.sleep(120)
        assert not await exists(world, key)


class Expired:
    """A store of which only the expired runs count."""

    def __init__(self, count: int) -> None:
        self.keys = [run_key("n", str(number), "r") for number in range(count)]
        self.errors: list[Exception] = []
        self.asked: list[tuple[Sequence[int], int]] = []
        self.stay: set[EntityKey] = set()
        self.damaged: set[EntityKey] = set()

    async def expired(self, shards: Sequence[int], until_ns: int, limit: int) -> list[EntityKey]:
        self.asked.append((shards, limit))
        assert until_ns <= SystemClock().now_ns(), "runs whose time is yet to come are left alone"
        if self.errors:
            raise self.errors.pop(0)
        return self.keys[:limit]

    async def delete(self, key: EntityKey) -> bool:
        if key in self.damaged:
            raise DataLoss("cannot be read back (test)")
        if key in self.stay:
            return False
        self.keys.remove(key)
        return True

    def sweep(self) -> Any:
        subject = Retention(cast("Store", self), SystemClock(), lambda: (1, 2), self.delete)
        return subject.sweep()


@pytest.mark.parametrize(
    ("count", "kept", "has_more", "left"),
    [(3, 0, False, 0), (50, 0, True, 0), (70, 0, True, 20), (70, 1, False, 21), (49, 0, False, 0)],
)
async def test_a_full_chunk_is_followed_at_once_unless_some_had_to_stay(
    count: int, kept: int, *, has_more: bool, left: int
):
    store = Expired(count)
    store.stay = set(store.keys[:kept])
    assert await store.sweep() is has_more
    assert len(store.keys) == left
    assert store.asked == [((1, 2), module.CHUNK_RUNS)]


async def test_a_damaged_run_and_a_silent_database_are_tried_again_later():
    store = Expired(3)
    store.damaged = {store.keys[1]}
    assert not await store.sweep()
    assert [key.name for key in store.keys] == ["1"]
    store.errors = [StoreError("no answer (test)")]
    assert not await store.sweep()
