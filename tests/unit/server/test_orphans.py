"""Attempts that died with their process end when the next one opens the database; runs that sleep are not even read."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import cast

import pytest

from perdure.core.ids import EntityKey, EntityKind, run_key
from perdure.core.units import HOUR_NS, SECOND_NS
from perdure.server.timers.orphans import time_out_orphans
from perdure.storage.port import Store
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.wire import errors
from perdure.wire.api import command, enums, taskqueue, workflowservice
from perdure.wire.times import duration
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.server.world import World, open_world, settle, start_timer

HOUR_MS = 3_600_000
STICKY = taskqueue.TaskQueue(name="of-a-worker", kind=enums.TASK_QUEUE_KIND_STICKY, normal_name="q")


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(connect_memory(4)) as connection:
        yield connection


@pytest.fixture
async def world(database: sqlite3.Connection) -> AsyncIterator[World]:
    """The first process; tests close it where it is to die."""
    world = await open_world(open_memory(connection=database))
    yield world
    await world.node.close()


async def reopened(database: sqlite3.Connection) -> World:
    return await open_world(open_memory(connection=database), workers_died=True)


def an_hour_of_work() -> command.Command:
    scheduled = schedule_activity()
    timeout = scheduled.schedule_activity_task_command_attributes.start_to_close_timeout
    timeout.FromNanoseconds(HOUR_NS)
    return scheduled


def loaded_runs(world: World) -> set[str]:
    return {key.name for key in world.faults.loads if key.kind == EntityKind.RUN}


async def brought_to(world: World, name: str, *commands: command.Command) -> EntityKey:
    """A run whose first workflow task gave these commands."""
    key = await world.start(name)
    task = await world.poll()
    assert task.workflow_execution.workflow_id == name
    await world.complete(task.task_token, *commands)
    return key


async def sleep_with_sticky_queue(world: World, name: str) -> EntityKey:
    """A run that waits for a signal, in the cache of a worker that has a queue of its own."""
    key = await world.start(name)
    task = await world.poll()
    attributes = taskqueue.StickyExecutionAttributes(worker_task_queue=STICKY)
    attributes.schedule_to_start_timeout.seconds = 100
    request = workflowservice.RespondWorkflowTaskCompletedRequest(
        namespace="default", task_token=task.task_token, sticky_attributes=attributes
    )
    await world.call("RespondWorkflowTaskCompleted", request)
    return key


async def test_only_runs_of_which_a_worker_held_something_are_loaded(
    world: World, database: sqlite3.Connection
):
    for number in range(20):
        await brought_to(world, f"sleeps-{number}", start_timer("t", HOUR_MS))
    await sleep_with_sticky_queue(world, "listens")
    await brought_to(world, "ended", complete_workflow())
    await brought_to(world, "works", an_hour_of_work())
    assert (await world.poll_activity()).attempt == 1
    await brought_to(world, "queued", an_hour_of_work())
    called = await sleep_with_sticky_queue(world, "called")
    request = workflowservice.PollWorkflowTaskQueueRequest(
        namespace="default", task_queue=STICKY, identity="me"
    )
    polling = asyncio.ensure_future(world.call("PollWorkflowTaskQueue", request))
    await settle()
    polling.cancel()  # its worker was there a moment ago
    taken = await world.start("taken", workflow_task_timeout=duration(100 * SECOND_NS))
    assert (await world.poll()).workflow_execution.workflow_id == "taken"
    await world.start("new")
    await world.signal("called")
    entry = world.engine.cache.get(called)
    assert entry is not None
    assert entry.state.workflow_task.is_sticky
    await world.node.close()

    second = await reopened(database)
    assert loaded_runs(second) == {"works", "taken", "called"}
    assert (await second.event_types(taken))[-2:] == [
        "WORKFLOW_TASK_TIMED_OUT",
        "WORKFLOW_TASK_SCHEDULED",
    ]
    attempts = [(await second.poll_activity()) for _ in range(2)]
    assert {one.workflow_execution.workflow_id: one.attempt for one in attempts} == {
        "queued": 1,
        "works": 2,
    }
    tasks = {(await second.poll()).workflow_execution.workflow_id for _ in range(3)}
    assert tasks == {"taken", "called", "new"}
    await second.node.close()


async def test_every_attempt_ends_however_many_there_are(
    world: World, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("perdure.server.timers.orphans.TOGETHER_MAX", 3)
    many = 7
    for number in range(many):
        await brought_to(world, f"w{number}", an_hour_of_work())
        await world.poll_activity()
    await world.node.close()
    second = await reopened(database)
    assert len(loaded_runs(second)) == many
    assert await second.faults.with_tasks_in_flight(second.engine.owned_shards()) == []
    await second.node.close()
    third = await reopened(database)
    assert loaded_runs(third) == set(), "what was timed out is not looked at again"
    await third.node.close()


async def test_a_bug_while_attempts_are_timed_out_is_not_kept_silent_and_a_damaged_run_is_left():
    def found(*names: str) -> Store:
        class InFlight:
            async def with_tasks_in_flight(self, _: object) -> list[EntityKey]:
                return [run_key("n", name, "r") for name in names]

        return cast("Store", InFlight())

    async def time_out(key: EntityKey) -> None:
        if key.name == "damaged":
            raise errors.DataLoss("cannot be read back (test)")
        raise ZeroDivisionError("a bug (test)")

    await time_out_orphans(found("damaged"), (0,), time_out)
    with pytest.raises(ZeroDivisionError):
        await time_out_orphans(found("damaged", "fine"), (0,), time_out)


async def test_what_a_worker_holds_is_stored_with_every_change(world: World):
    key = await world.start("w")
    in_flight: list[bool] = []

    async def note() -> None:
        await world.check_memory(key)
        in_flight.append(bool(await world.faults.with_tasks_in_flight(world.engine.owned_shards())))

    await note()
    task = await world.poll()
    await note()
    await world.complete(task.task_token, schedule_activity("a"), schedule_activity("b"))
    await note()
    first, second = await world.poll_activity(), await world.poll_activity()
    await world.complete_activity(first.task_token)
    await note()
    await world.complete_activity(second.task_token)
    await note()
    task = await world.poll()
    await note()
    await world.terminate("w")
    await note()
    assert in_flight == [False, True, False, True, False, True, False]


async def test_a_run_that_falls_asleep_is_woken_when_it_asked_for_it(world: World):
    key = await brought_to(world, "sleeps", start_timer("t", HOUR_MS))
    listens = await brought_to(world, "listens")
    await world.check_memory(key)
    await world.check_memory(listens)
    (row,) = await world.faults.wakes(world.engine.owned_shards(), 2**62, 9)
    assert row.key == key, "nothing wakes a run that waits for others"
    entry = world.engine.cache.get(key)
    assert entry is not None
    fires_ns = entry.state.last_event_ns + HOUR_NS
    assert fires_ns - SECOND_NS <= row.at_ns <= fires_ns
