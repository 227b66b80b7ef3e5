"""A kind of entity that only these tests have: what a registration is enough for.

The counter is created, added to, woken, reloaded, audited, skipped to its end in a time-skipping node, and deleted.
No line of `src` knows it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Generator, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.core.clock import Clock, SystemClock
from perdure.core.ids import EntityKey, QueueKey, QueueKind, TaskRowId
from perdure.core.units import HOUR_NS, SECOND_NS
from perdure.entity.entity_type import EntityType, Registry
from perdure.entity.env import Env
from perdure.entity.transition import FactChange, Task, Transition, WantedTask
from perdure.entity.workers import PollInfo, StaleTask, Work
from perdure.server.admin.audit import audit
from perdure.server.common.entity_types import BUILT_IN
from perdure.server.node.node import Node, open_node
from perdure.server.time_skipping.node import open_time_skipping_node
from perdure.storage.port import Store
from perdure.storage.sqlite import open_memory, open_sqlite
from perdure.wire import errors
from tests.unit.server.virtual import on_virtual_time, virtual_clock

VALUE = 1
"""The kind of its one fact."""
LIFE_NS = HOUR_NS
KEPT_NS = 24 * HOUR_NS
KEY = EntityKey(201, "n", "visits")
QUEUE = QueueKey("n", "counters", QueueKind.ACTIVITY)
POLL = PollInfo(identity="me", request_id="poll")


class Counter(msgspec.Struct, frozen=True):
    """A number that grows until its time is over. Every tenth visit wants a worker to look at it."""

    value: int
    expires_ns: int
    is_expired: bool = False
    wants_look_at: int = 0
    """The value that a worker is to see; 0: none."""


class State(msgspec.Struct, frozen=True):
    key: EntityKey
    counter: Counter

    def become(self, reply: Any = None, **changes: Any) -> Transition:
        counter = msgspec.structs.replace(self.counter, **changes)
        facts = (FactChange(VALUE, "", counter),)
        return Transition(key=self.key, state=State(self.key, counter), facts=facts, reply=reply)


FACT_TYPES = {VALUE: Counter}


class CounterType(EntityType[State]):
    number = KEY.kind
    name = "counter"
    check = "counters"
    fact_types = FACT_TYPES

    def fold(
        self, key: EntityKey, events: Iterable[bytes], facts: Iterable[FactChange], now_ns: int
    ) -> Generator[None, None, State]:
        (fact,) = facts
        yield
        assert isinstance(fact.value, Counter)
        return State(key, fact.value)

    def wake(self, state: State, env: Env) -> Transition:
        if env.now_ns < state.counter.expires_ns:
            return Transition(key=state.key)
        expired = state.become(is_expired=True, wants_look_at=0)
        expired.delete_at_ns = env.now_ns + KEPT_NS
        return expired

    def next_wake_ns(self, state: State) -> int:
        return 0 if state.counter.is_expired else state.counter.expires_ns

    def is_closed(self, state: State) -> bool:
        return state.counter.is_expired

    def wanted_tasks(self, state: State) -> Iterable[WantedTask]:
        if state.counter.wants_look_at:
            at = state.counter.wants_look_at
            yield WantedTask(queue=QUEUE, scheduled_event_id=at, stamp=0, visible_ns=0)

    def work(self, state: State) -> Work:
        return Work(queues=tuple(task.queue for task in self.wanted_tasks(state)))

    def start_task(
        self, state: State, task: Task, row: TaskRowId | None, poll: PollInfo, env: Env
    ) -> Transition:
        if self.is_stale(state, task):
            return Transition(
                key=state.key, reply=StaleTask(), finished_tasks=(row,) if row else ()
            )
        seen = state.become(wants_look_at=0, reply=f"{poll.identity} saw {state.counter.value}")
        seen.finished_tasks = (row,) if row else ()
        return seen


TYPES = Registry(*BUILT_IN.types, CounterType())


def created(now_ns: int, key: EntityKey = KEY) -> Transition:
    return State(key, Counter(0, now_ns + LIFE_NS)).become(reply="created")


def add(state: State, env: Env) -> Transition:
    value = state.counter.value + 1
    if value % 10:
        return state.become(value=value, reply=value)
    added = state.become(value=value, wants_look_at=value, reply=value)
    added.tasks = tuple(
        task.row(state.key, env.now_ns) for task in TYPES.of(KEY).wanted_tasks(added.state)
    )
    return added


async def opened(store: Store, clock: Clock | None = None, types: Registry = TYPES) -> Node:
    ids = count(1)
    return await open_node(
        store, clock=clock or virtual_clock(), new_id=lambda: f"id-{next(ids)}", types=types
    )


def is_expired(state: State) -> bool:
    return state.counter.is_expired


def value(state: State) -> int:
    return state.counter.value


@on_virtual_time
async def test_it_is_created_changed_and_read_and_one_that_is_not_there_is_named():
    node = await opened(open_memory())
    engine = node.engine
    assert await engine.write(created(virtual_clock().now_ns())) == "created"
    assert [await engine.update(KEY, add) for _ in range(3)] == [1, 2, 3]
    assert await engine.read(KEY, value) == 3
    with pytest.raises(errors.NotFound, match="counter not found: others"):
        await engine.update(KEY._replace(name="others"), add)
    await node.close()


async def test_it_is_reloaded_after_the_death_of_its_node(tmp_path: Path):
    clock = SystemClock()
    node = await opened(await open_sqlite(tmp_path / "x.db"), clock)
    await node.engine.write(created(clock.now_ns()))
    for _ in range(12):
        await node.engine.update(KEY, add)
    before = await node.engine.read(KEY, lambda state: state)
    await node.close()
    node = await opened(await open_sqlite(tmp_path / "x.db"), clock)
    assert await node.engine.read(KEY, lambda state: state) == before
    assert await node.engine.update(KEY, add) == 13
    await node.close()


@on_virtual_time
async def test_a_change_that_fails_or_cannot_be_written_leaves_it_as_it_was():
    node = await opened(open_memory())
    await node.engine.write(created(virtual_clock().now_ns()))

    def refuse(state: State, env: Env) -> Transition:
        raise errors.InvalidArgument(f"not at {state.counter.value}")

    with pytest.raises(errors.InvalidArgument, match="not at 0"):
        await node.engine.update(KEY, refuse)
    assert await node.engine.update(KEY, add) == 1
    await node.close()


@on_virtual_time
async def test_it_is_woken_when_its_time_is_over_and_deleted_when_it_was_kept_long_enough():
    store = open_memory()
    node = await opened(store)
    await node.engine.write(created(virtual_clock().now_ns()))
    await node.engine.update(KEY, add)
    await asyncio.sleep(LIFE_NS / SECOND_NS - 1)
    assert not await node.engine.read(KEY, is_expired)
    assert not await node.engine.delete(KEY), "it is open"
    await asyncio.sleep(2)
    assert await node.engine.read(KEY, is_expired)
    await asyncio.sleep(KEPT_NS / SECOND_NS - 10)
    assert await store.load(KEY) is not None
    await asyncio.sleep(200)
    assert await store.load(KEY) is None
    with pytest.raises(errors.NotFound):
        await node.engine.read(KEY, value)
    await node.close()


@on_virtual_time
async def test_its_tasks_wait_as_rows_are_started_once_and_are_stale_afterwards():
    store = open_memory()
    node = await opened(store)
    engine = node.engine
    await engine.write(created(virtual_clock().now_ns()))
    for _ in range(10):
        await engine.update(KEY, add)
    rows = [
        (row.task, TaskRowId(QUEUE, shard, row.sequence))
        for shard in range(store.shard_count)
        for row in await store.tasks(QUEUE, shard, 0, 10)
    ]
    ((task, row_id),) = rows
    assert task.entity == KEY
    assert await engine.start_task(task, row_id, POLL) == "me saw 10"
    assert await engine.start_task(task, row_id, POLL) == StaleTask()
    await node.close()


async def test_the_audit_looks_at_it_and_finds_what_is_wrong(tmp_path: Path):
    path, clock = tmp_path / "x.db", SystemClock()
    node = await opened(await open_sqlite(path), clock)
    for name in ("open", "expired", "tenth"):
        await node.engine.write(created(clock.now_ns(), KEY._replace(name=name)))
    for _ in range(10):
        await node.engine.update(KEY._replace(name="tenth"), add)

    def expire(state: State, _: Env) -> Transition:
        return TYPES.of(KEY).wake(state, Env(state.counter.expires_ns, str))

    await node.engine.update(KEY._replace(name="expired"), expire)
    await node.close()
    report = audit(path, TYPES)
    assert report.findings == []
    assert report.looked_at["counters"] == 3
    assert (report.looked_at["wake-ups"], report.looked_at["retention"]) == (2, 1)
    assert report.looked_at["tasks"] == 1
    assert {finding.check for finding in audit(path).findings} == {"kinds"}
    for table, check in (
        ("tasks", "tasks"),
        ("wakes", "wake-ups"),
        ("retention", "retention"),
        ("facts", "counters"),
    ):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(f"DELETE FROM {table}")
        connection.close()
        found = [finding.what for finding in audit(path, TYPES).findings if finding.check == check]
        assert found, check
        assert all("counter '" in what for what in found)


async def test_time_is_skipped_to_its_wake_up_but_not_while_a_worker_could_take_its_task():
    world = await open_time_skipping_node(types=TYPES)
    engine, time = world.node.engine, world.time
    began_ns = time.clock.now_ns()
    await engine.write(created(began_ns))
    for _ in range(10):
        await engine.update(KEY, add)
    assert time.work[KEY].queues == (QUEUE,)
    for shard in engine.owned_shards():
        for row in await engine.task_rows(QUEUE, shard, 0, 10):
            await engine.start_task(row.task, TaskRowId(QUEUE, shard, row.sequence), POLL)
    assert KEY not in time.work
    time.unlock()
    async with asyncio.timeout(20):
        while not await engine.read(KEY, is_expired):  # noqa: ASYNC110 -- the node moves time by itself
            await asyncio.sleep(0.01)
    assert time.clock.now_ns() - began_ns >= LIFE_NS
    await world.close()


def test_two_kinds_cannot_have_one_number():
    with pytest.raises(ValueError, match="counter and counter both have the number 201"):
        Registry(*TYPES.types, CounterType())


async def test_a_node_without_the_registration_names_what_it_does_not_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    clock = SystemClock()
    node = await opened(await open_sqlite(tmp_path / "x.db"), clock)
    await node.engine.write(created(clock.now_ns() - LIFE_NS + SECOND_NS // 2))
    await node.close()
    node = await opened(await open_sqlite(tmp_path / "x.db"), clock, BUILT_IN)
    with pytest.raises(errors.FailedPrecondition, match="kind 201 are unknown here"):
        await node.engine.read(KEY, value)
    async with asyncio.timeout(20):
        while "the wake-up of" not in caplog.text:  # noqa: ASYNC110 -- logged by the node, in its own time
            await asyncio.sleep(0.05)
    await node.close()
