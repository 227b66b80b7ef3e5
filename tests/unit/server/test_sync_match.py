"""A task meets a parked poller in the batch that schedules it, or loses it (D-46)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.ids import QueueKey, QueueKind
from perdure.wire import errors
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.server.world import World, settle


async def rows(world: World) -> int:
    found = 0
    for kind in QueueKind:
        for shard in world.engine.owned_shards():
            queue = QueueKey(world.namespace_id, "q", kind)
            found += len(await world.engine.task_rows(queue, shard, 0, 99))
    return found


async def test_a_parked_poller_costs_no_row_and_no_second_commit(world: World):
    poll = asyncio.ensure_future(world.poll())
    await settle()
    before = world.engine.committer.batches
    key = await world.start()
    task = await poll
    assert task.workflow_execution.run_id == key.run_id
    assert world.engine.committer.batches == before + 1
    assert not any(write.tasks for batch in world.faults.batches for write in batch.writes)
    await world.check_memory(key)


async def test_without_a_poller_the_task_is_a_row_until_it_is_started(world: World):
    key = await world.start()
    assert await rows(world) == 1
    await world.poll()
    assert await rows(world) == 0
    await world.check_memory(key)


async def test_rows_of_many_runs_reach_the_pollers_that_come_later(world: World):
    keys = await asyncio.gather(*(world.start(f"w{n}") for n in range(60)))
    tasks = await asyncio.gather(*(world.poll() for _ in range(60)))
    assert {t.workflow_execution.run_id for t in tasks} == {key.run_id for key in keys}
    assert await rows(world) == 0


async def test_a_workflow_poll_cancelled_in_mid_fsync_leaves_its_task_to_the_next(world: World):
    poll = asyncio.ensure_future(world.poll())
    await settle()
    (start,) = await world.holding(world.start())
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    world.go_on()
    key = await start
    task = await world.poll()
    assert task.workflow_execution.run_id == key.run_id
    assert len(task.history.events) == 3
    await world.complete(task.task_token, complete_workflow())
    await world.check_memory(key)


async def test_an_activity_poll_cancelled_in_mid_fsync_gives_the_same_attempt_back(world: World):
    key = await world.start()
    workflow_task = await world.poll()
    poll = asyncio.ensure_future(world.poll_activity())
    await settle()
    (complete,) = await world.holding(world.complete(workflow_task.task_token, schedule_activity()))
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    world.go_on()
    await complete
    activity = await world.poll_activity()
    assert activity.attempt == 1
    await world.complete_activity(activity.task_token)
    await world.check_memory(key)


async def test_an_activity_poll_cancelled_as_its_task_arrives_gives_it_back(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    key = await world.start()
    workflow_task = await world.poll()
    poll = asyncio.ensure_future(world.poll_activity())
    await settle()
    deliver = world.node.matching.deliver

    def deliver_and_hang_up(*handover: Any) -> bool:
        is_taken = deliver(*handover)
        poll.cancel()
        return is_taken

    with monkeypatch.context() as patch:
        patch.setattr(world.node.matching, "deliver", deliver_and_hang_up)
        await world.complete(workflow_task.task_token, schedule_activity())
        with pytest.raises(asyncio.CancelledError):
            await poll
    activity = await world.poll_activity()
    assert activity.attempt == 1
    await world.complete_activity(activity.task_token)
    await world.check_memory(key)


async def test_a_workflow_poll_cancelled_while_its_history_is_read_leaves_its_task_to_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    key = await world.start()
    is_reading = asyncio.Event()

    async def never(*_: object) -> list[bytes]:
        is_reading.set()
        await asyncio.Event().wait()
        return []

    with monkeypatch.context() as patch:
        patch.setattr(world.engine, "history", never)
        poll = asyncio.ensure_future(world.poll())
        await is_reading.wait()
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
    task = await world.poll()
    assert (task.workflow_execution.run_id, task.attempt) == (key.run_id, 1)
    await world.complete(task.task_token, complete_workflow())
    await world.check_memory(key)


async def test_a_failed_batch_parks_its_pollers_again(world: World):
    poll = asyncio.ensure_future(world.poll())
    await settle()
    (start,) = await world.holding(world.start())
    world.faults.is_full = True
    world.go_on()
    with pytest.raises(errors.ResourceExhausted):
        await start
    assert not poll.done()
    world.faults.is_full = False
    await asyncio.sleep(0.3)
    key = await world.start()
    assert (await poll).workflow_execution.run_id == key.run_id


async def test_a_task_of_a_deleted_run_is_removed(world: World):
    key = await world.start()
    await world.terminate()
    await world.engine.delete(key)
    poll = asyncio.ensure_future(world.poll(timeout_s=2))
    second = await world.start("second")
    assert (await poll).workflow_execution.run_id == second.run_id
    await world.engine.committer.flush()
    while await rows(world):  # noqa: ASYNC110 -- the removal is nobody's answer
        await asyncio.sleep(0.01)
