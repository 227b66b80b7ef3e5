"""What goes on by itself after something went wrong: loops, deliveries, deletions, answers that were overtaken."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import cast

import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import EntityKey, run_key
from perdure.server.engine import Engine, _for_ever
from perdure.server.node.node import open_node
from perdure.server.timers.retention import Retention
from perdure.storage.port import Store, StoredEffect, StoreError
from perdure.storage.sqlite import open_memory
from perdure.wire.api import common, taskqueue, workflowservice
from perdure.wire.errors import DataLoss, ResourceExhausted
from tests.harness.builders import schedule_activity
from tests.stores.faults import FaultyStore
from tests.unit.server.test_outbox import TO_A, Post, delivered, send
from tests.unit.server.world import World, settle


def ignore(_: StoredEffect) -> None:
    """Takes no notice."""


async def test_effects_of_a_batch_that_nobody_told_of_are_delivered_when_the_shard_comes_back(
    monkeypatch: pytest.MonkeyPatch,
):
    store, post = open_memory(), Post()
    engine = Engine(store, SystemClock(), lambda: "id", deliver=post.deliver)
    await engine.open()
    with monkeypatch.context() as patch:
        # The outcome was unknown: nothing followed the commit.
        patch.setattr(engine.outbox, "push", ignore)
        await send(engine, TO_A)
    shards = engine.shards
    shards.drop(shards.of(run_key("n", "source", "r")), True)
    await delivered(store)
    assert post.received == [("a", "e0")]
    await engine.close()


async def test_a_node_that_cannot_be_opened_lets_go_of_its_store_and_stops():
    store = open_memory()
    faults = FaultyStore(store)
    faults.is_full = True
    tasks = asyncio.all_tasks()
    with pytest.raises(ResourceExhausted):
        await open_node(cast("Store", faults), clock=SystemClock(), new_id=lambda: "id")
    assert asyncio.all_tasks() == tasks
    with pytest.raises(sqlite3.ProgrammingError):
        store.writing.execute("SELECT 1")


async def test_recovery_of_the_outbox_waits_for_the_database():
    store, post = open_memory(), Post()
    engine = Engine(store, SystemClock(), lambda: "id", deliver=post.deliver)
    await engine.open()
    failures = [StoreError("no answer (test)")]

    class Silent:
        async def outbox(self, shard_ids: list[int]) -> list[object]:
            if failures:
                raise failures.pop()
            return list(await store.outbox(shard_ids))

    engine.outbox._store = cast("Store", Silent())
    await engine.outbox.recover([0])
    assert not failures
    await engine.close()


async def test_one_run_that_cannot_be_deleted_does_not_keep_the_others():
    keys = [run_key("n", name, "r") for name in ("damaged", "fine")]
    deleted: list[EntityKey] = []

    class Expired:
        async def expired(self, *_: object) -> list[EntityKey]:
            return keys

    async def delete(key: EntityKey) -> bool:
        if key.name == "damaged":
            raise DataLoss("cannot be read back")
        deleted.append(key)
        return True

    retention = Retention(cast("Store", Expired()), SystemClock(), lambda: (0,), delete)
    assert not await retention.sweep()
    assert deleted == keys[1:]


async def test_a_loop_that_fails_begins_again():
    begun = 0
    again = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise AssertionError("a bug")
        again.set()
        await asyncio.Event().wait()

    loop = asyncio.ensure_future(_for_ever(work))
    await asyncio.wait((loop, asyncio.ensure_future(again.wait())), return_when="FIRST_COMPLETED")
    assert begun == 2
    assert not loop.done()
    loop.cancel()


async def test_a_workflow_id_that_means_another_run_by_the_time_the_old_one_is_loaded(world: World):
    closed = await world.start()
    await world.terminate()
    world.forget(closed)
    world.faults.load_gate.clear()
    signal = workflowservice.SignalWithStartWorkflowExecutionRequest(
        namespace="default",
        workflow_id="w",
        workflow_type=common.WorkflowType(name="T"),
        task_queue=taskqueue.TaskQueue(name="q"),
        signal_name="s",
        request_id="signal",
    )
    signalled = asyncio.ensure_future(world.call("SignalWithStartWorkflowExecution", signal))
    await settle()
    assert not signalled.done()
    opened = await world.start(request_id="another")
    world.faults.load_gate.set()
    reply = await signalled
    assert (reply.run_id, reply.started) == (opened.run_id, False)
    assert "WORKFLOW_EXECUTION_SIGNALED" in await world.event_types(opened)


async def test_a_repetition_that_waits_for_the_same_load_gets_the_same_answer(world: World):
    key = await world.start()
    task = await world.poll()
    world.forget(key)
    world.faults.load_gate.clear()
    both = [
        asyncio.ensure_future(world.complete(task.task_token, schedule_activity()))
        for _ in range(2)
    ]
    await settle()
    world.faults.load_gate.set()
    first, second = await asyncio.gather(*both)
    assert first == second
    await world.check_memory(key)
