"""Tasks that a parked poller was to have, and could not: they wait in their queue, and the poller waits on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from perdure.core.ids import EntityKey, QueueKey, QueueKind, TaskRowId, run_key
from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.entity.entity_type import Registry
from perdure.entity.env import Env
from perdure.entity.transition import Task, Transition
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history.entity_types import WORKFLOW_IDS, RunType
from perdure.history.state.run_state import RunState
from perdure.server.shards.task_starts import TaskStarts
from perdure.storage.port import StoreError
from perdure.wire import errors
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.server.test_sync_match import rows
from tests.unit.server.virtual import on_virtual_time, virtual_world
from tests.unit.server.world import World, settle

Start = Callable[[RunState, Task, TaskRowId | None, PollInfo, Env], Transition]


def start_once_with(world: World, first: Start) -> None:
    """The next start of a task is this one; all later ones are real."""
    calls = [0]

    class StartOnceWith(RunType):
        def start_task(
            self, state: RunState, task: Task, row: TaskRowId | None, poll: PollInfo, env: Env
        ) -> Transition:
            calls[0] += 1
            start = first if calls[0] == 1 else super().start_task
            return start(state, task, row, poll, env)

    entity_type = StartOnceWith()
    world.engine._steps._types = Registry(entity_type, WORKFLOW_IDS)
    for entry in world.engine.cache.of_kind(entity_type.number):
        entry.type = entity_type


def broken(*_: Any) -> Transition:
    raise ZeroDivisionError("a bug")


def stale(state: RunState, *_: Any) -> Transition:
    return Transition(key=state.key, reply=StaleTask())


@on_virtual_time
async def test_a_task_that_can_not_be_started_in_the_step_waits_as_a_row():
    async with virtual_world() as world:
        poll = asyncio.ensure_future(world.poll(timeout_s=60))
        await settle()
        start_once_with(world, broken)
        key = await world.start()
        task = await poll
        assert task.workflow_execution.run_id == key.run_id
        assert asyncio.get_running_loop().time() == 0
        assert await rows(world) == 0
        await world.check_memory(key)


@on_virtual_time
async def test_a_stale_task_costs_its_poller_nothing():
    async with virtual_world() as world:
        poll = asyncio.ensure_future(world.poll(timeout_s=60))
        await settle()
        start_once_with(world, stale)
        await world.start("stale")
        assert await rows(world) == 0, "nobody needs it any more"
        assert not poll.done()
        await world.start("fresh")
        assert (await poll).workflow_execution.workflow_id == "fresh"


@on_virtual_time
async def test_pollers_are_served_in_the_order_of_the_tasks():
    async with virtual_world() as world:
        await world.start()
        workflow_task = await world.poll()
        polls = [asyncio.ensure_future(world.poll_activity()) for _ in range(2)]
        await settle()
        names = ("a", "b", "c")
        await world.complete(workflow_task.task_token, *(schedule_activity(n) for n in names))
        found = [(await poll).activity_id for poll in polls]
        found.append((await world.poll_activity()).activity_id)
        assert found == ["a", "b", "c"]


# Starts of rows.


async def first_row(world: World) -> tuple[Task, TaskRowId]:
    queue = QueueKey(world.namespace_id, "q", QueueKind.WORKFLOW)
    for shard_id in world.engine.owned_shards():
        for row in await world.engine.task_rows(queue, shard_id, 0, 9):
            return row.task, TaskRowId(queue, shard_id, row.sequence)
    raise AssertionError("there is no row")


@on_virtual_time
async def test_a_start_removes_its_row_and_a_second_one_is_stale():
    async with virtual_world() as world:
        key = await world.start()
        task, row = await first_row(world)
        info = PollInfo(identity="i", request_id="r")
        started: Any = await world.engine.start_task(task, row, info)
        assert started.token.entity == key
        assert await rows(world) == 0
        again = await world.engine.start_task(
            task, row, PollInfo(identity="i", request_id="another")
        )
        assert isinstance(again, StaleTask)
        await world.check_memory(key)


@on_virtual_time
async def test_a_row_of_a_run_that_is_gone_is_removed_with_its_start():
    async with virtual_world() as world:
        key = await world.start()
        task, row = await first_row(world)
        await world.terminate()
        assert await world.engine.delete(key)
        assert await rows(world) == 1
        info = PollInfo(identity="i", request_id="r")
        assert isinstance(await world.engine.start_task(task, row, info), StaleTask)
        assert await rows(world) == 0


@on_virtual_time
async def test_a_started_task_is_delivered_again_as_long_as_it_is_the_pending_one():
    async with virtual_world() as world:
        key = await world.start()
        task, row = await first_row(world)
        info = PollInfo(identity="i", request_id="r")
        started: Any = await world.engine.start_task(task, row, info)
        again: Any = await world.engine.start_task(task, None, info)
        assert again.token == started.token
        assert again.first_event_id == 1, "who gets it may not know the run"
        response = await world.poll(timeout_s=2)
        assert not response.task_token, "nobody offered it"
        other = Task(task.queue, key, task.scheduled_event_id + 1, 1, 0)
        assert isinstance(await world.engine.start_task(other, None, info), StaleTask)
        await world.terminate()
        assert isinstance(await world.engine.start_task(task, None, info), StaleTask)
        nobody = Task(task.queue, run_key(key.namespace_id, "nobody", "r"), 2, 1, 0)
        with pytest.raises(errors.NotFound):
            await world.engine.start_task(nobody, None, info)


@on_virtual_time
async def test_a_task_that_is_given_back_goes_to_the_next_poller():
    async with virtual_world() as world:
        key = await world.start()
        task, row = await first_row(world)
        info = PollInfo(identity="i", request_id="r")
        started: Any = await world.engine.start_task(task, row, info)
        await world.engine.give_back(task, started)
        again = await world.poll()
        assert (again.workflow_execution.run_id, again.attempt) == (key.run_id, 1)
        await world.complete(again.task_token, complete_workflow())


@on_virtual_time
async def test_a_workflow_task_is_given_back_while_its_run_cannot_be_read():
    """The next poller gets the same start; nothing has to be read for that."""
    async with virtual_world() as world:
        key = await world.start()
        task, row = await first_row(world)
        started: Any = await world.engine.start_task(
            task, row, PollInfo(identity="i", request_id="r")
        )
        world.forget(key)
        with pytest.MonkeyPatch.context() as patch:

            async def broken(_: EntityKey) -> None:
                raise StoreError("no disk")

            patch.setattr(world.faults, "load", broken)
            await world.engine.give_back(task, started)
        again = await world.poll()
        assert (again.workflow_execution.run_id, again.attempt) == (key.run_id, 1)
        await world.complete(again.task_token, complete_workflow())


@on_virtual_time
async def test_an_activity_is_given_back_when_that_is_durable():
    async with virtual_world() as world:
        await world.start()
        await world.complete((await world.poll()).task_token, schedule_activity())
        queue = QueueKey(world.namespace_id, "q", QueueKind.ACTIVITY)
        (found,) = [
            (row.task, TaskRowId(queue, shard_id, row.sequence))
            for shard_id in world.engine.owned_shards()
            for row in await world.engine.task_rows(queue, shard_id, 0, 9)
        ]
        started: Any = await world.engine.start_task(*found, PollInfo(identity="i", request_id="r"))
        (giving_back,) = await world.holding(world.engine.give_back(found[0], started))
        assert not giving_back.done()
        world.go_on()
        await giving_back
        assert (await world.poll_activity()).attempt == 1


@on_virtual_time
async def test_a_start_that_could_not_be_taken_back_times_out_as_any_other(
    monkeypatch: pytest.MonkeyPatch,
):
    async with virtual_world() as world:
        key = await world.start()
        workflow_task = await world.poll()
        poll = asyncio.ensure_future(world.poll_activity())
        await settle()

        async def refused(*_: Any) -> None:
            raise errors.Unavailable("no disk (test)")

        with monkeypatch.context() as patch:
            patch.setattr(TaskStarts, "give_back", refused)
            (complete,) = await world.holding(
                world.complete(workflow_task.task_token, schedule_activity())
            )
            poll.cancel()
            await settle()
            world.go_on()
            await complete
            await settle()
        assert not world.engine._task_starts._tasks
        second = await world.poll_activity(timeout_s=30)
        assert second.attempt == 2
        assert asyncio.get_running_loop().time() == pytest.approx(11, abs=0.1)
        await world.check_memory(key)


@on_virtual_time
async def test_a_start_that_is_being_taken_back_ends_with_the_node(monkeypatch: pytest.MonkeyPatch):
    ended: list[str] = []

    async def waits(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    monkeypatch.setattr(TaskStarts, "give_back", waits)
    async with virtual_world() as world:
        await world.start()
        workflow_task = await world.poll()
        poll = asyncio.ensure_future(world.poll_activity())
        await settle()
        (complete,) = await world.holding(
            world.complete(workflow_task.task_token, schedule_activity())
        )
        poll.cancel()
        await settle()
        world.go_on()
        await complete
        await settle()
        assert ended == []
    await settle()
    assert ended == ["cancelled"]


@on_virtual_time
async def test_rows_of_runs_that_closed_are_swept_a_minute_later_and_young_ones_left():
    async with virtual_world() as world:
        await world.start("old")
        await world.terminate("old")
        await asyncio.sleep(MINUTE_NS / SECOND_NS - 5)
        await world.start("young")
        await world.terminate("young")
        assert await rows(world) == 2
        await asyncio.sleep(6)
        assert await rows(world) == 1, "it might be polled just now"
        await asyncio.sleep(MINUTE_NS / SECOND_NS)
        assert await rows(world) == 0
