"""The scenarios: when the workers of a recorded workflow run, and which messages it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any

from tests.replay.recorded import workflows as w
from tests.replay.recorded import workflows_more as more
from tests.replay.recorded.library import NAME, client, worker
from tests.replay.recorded.steps import ACTIVITIES, ELSEWHERE

QUEUE = "recorded"
SINGLE_BATCH = 2
WORKFLOWS: list[Any] = [
    *(w.Greets, w.DiffersOnReplay, w.Traces, w.CountsWhileDown, w.LateUpdate, w.Together),
    *(w.CancelledAsAnActivityEnds, w.Activities, w.Timers, more.Messages, more.Patches),
    *(more.ContinuesAsNew, more.CleansUp, more.SwallowsCancellation, more.LocalActivities),
    *(more.SideEffects, more.Attributes, more.Child, more.Parent, more.Fails, more.TaskFails),
]


class World:
    """A client of one server, and workers for it."""

    def __init__(self, connected: Any) -> None:
        self.client = connected

    def working(self) -> AbstractAsyncContextManager[Any]:
        """A worker without a cache: it replays at each task, and leaves no sticky queue behind."""
        return worker.Worker(
            self.client,
            task_queue=QUEUE,
            workflows=WORKFLOWS,
            activities=ACTIVITIES,
            max_cached_workflows=0,
        )

    def working_elsewhere(self) -> AbstractAsyncContextManager[Any]:
        return worker.Worker(self.client, task_queue=ELSEWHERE, activities=ACTIVITIES)

    async def start(self, workflow: Any, *args: Any, **options: Any) -> Any:
        options = {"id": workflow.__name__, "task_queue": QUEUE} | options
        return await self.client.start_workflow(workflow.run, args=list(args), **options)


async def until(handle: Any, event: str, count: int = 1) -> None:
    """Wait until the history has a number of events of a type."""
    while True:
        history = await handle.fetch_history()
        if history.to_json().count(f"EVENT_TYPE_{event}") >= count:
            return
        await asyncio.sleep(0.02)


Scenario = Callable[[World], Awaitable[Any]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(fn: Scenario) -> Scenario:
    SCENARIOS[fn.__name__] = fn
    return fn


def alone(workflow: Any, *args: Any, **options: Any) -> Scenario:
    async def play(world: World) -> Any:
        async with world.working():
            handle = await world.start(workflow, *args, **options)
            await ended(handle)
        return handle

    return play


async def ended(handle: Any) -> None:
    with suppress(client.WorkflowFailureError, client.WorkflowContinuedAsNewError):
        await handle.result(follow_runs=False)


SCENARIOS.update(
    {
        "greets": alone(w.Greets, "World"),
        "differs_on_replay": alone(w.DiffersOnReplay, "World"),
        "activities": alone(w.Activities),
        "timers": alone(w.Timers),
        "together": alone(w.Together),
        "patches": alone(more.Patches),
        "continues_as_new": alone(more.ContinuesAsNew, 1, memo={"round": 0}),
        "local_activities": alone(more.LocalActivities),
        "side_effects": alone(more.SideEffects),
        "attributes": alone(more.Attributes, memo={"kept": True}),
        "children": alone(more.Parent),
        "fails": alone(more.Fails),
    }
)


async def _trace(world: World, handle: Any) -> None:
    """Send signals and an update when both steps have ended, each in a workflow task of its own."""
    await until(handle, "TIMER_FIRED")
    await until(handle, "ACTIVITY_TASK_COMPLETED")
    await handle.signal(w.Traces.hear, "second")
    await handle.execute_update(w.Traces.change, "first")
    await handle.signal(w.Traces.hear, "last")
    await ended(handle)


@scenario
async def traces(world: World) -> Any:
    handle = await world.start(w.Traces, start_signal="hear", start_signal_args=["first"])
    async with world.working():
        await _trace(world, handle)
    return handle


@scenario
async def traces_two_signals_at_start(world: World) -> Any:
    handle = await world.start(w.Traces, start_signal="hear", start_signal_args=["first"])
    await handle.signal(w.Traces.hear, "with it")
    async with world.working():
        await _trace(world, handle)
    return handle


@contextmanager
def single_batch() -> Generator[None]:
    """Switch on language flag 2 of the official SDK, which is off by default."""
    from temporalio.worker import _workflow

    module: Any = _workflow
    usual = module._DEFAULT_ENABLED_WORKFLOW_LOGIC_FLAGS
    module._DEFAULT_ENABLED_WORKFLOW_LOGIC_FLAGS = frozenset({SINGLE_BATCH})
    try:
        yield
    finally:
        module._DEFAULT_ENABLED_WORKFLOW_LOGIC_FLAGS = usual


@scenario
async def traces_in_one_batch(world: World) -> Any:
    with single_batch():
        return await traces(world)


@scenario
async def traces_two_signals_at_start_in_one_batch(world: World) -> Any:
    with single_batch():
        return await traces_two_signals_at_start(world)


def available() -> list[str]:
    """The scenarios that the chosen library can play."""
    return [name for name in SCENARIOS if NAME == "temporalio" or "one_batch" not in name]


@scenario
async def counts_while_down(world: World) -> Any:
    handle = await world.start(w.CountsWhileDown)
    async with world.working():
        await until(handle, "ACTIVITY_TASK_SCHEDULED")
    async with world.working_elsewhere():
        await until(handle, "ACTIVITY_TASK_COMPLETED")
    for name in ("first", "second"):
        await handle.signal(w.CountsWhileDown.hear, name)
    async with world.working():
        await ended(handle)
    return handle


@scenario
async def late_update(world: World) -> Any:
    handle = await world.start(w.LateUpdate)
    update = asyncio.create_task(handle.execute_update(w.LateUpdate.change))
    await asyncio.sleep(1)  # until the server has the update; no call tells when
    async with world.working():
        await update
        await ended(handle)
    return handle


@scenario
async def cancelled_as_an_activity_ends(world: World) -> Any:
    handle = await world.start(w.CancelledAsAnActivityEnds)
    async with world.working():
        await until(handle, "ACTIVITY_TASK_SCHEDULED", 2)
    async with world.working_elsewhere():
        await until(handle, "ACTIVITY_TASK_COMPLETED", 2)
    await handle.cancel()
    async with world.working():
        await ended(handle)
    return handle


@scenario
async def messages(world: World) -> Any:
    handle = await world.start(more.Messages)
    await handle.signal("early", "one")
    await handle.signal("early", "two")
    async with world.working():
        await handle.signal(more.Messages.hear, "Ada")
        await until(handle, "ACTIVITY_TASK_COMPLETED")
        await handle.signal("unknown", args=[1, 2])
        await handle.execute_update(more.Messages.add, "good")
        for word in ("", "bad"):
            with suppress(client.WorkflowUpdateFailedError):
                await handle.execute_update(more.Messages.add, word)
        assert await handle.query(more.Messages.count) >= 3
        await asyncio.gather(
            handle.signal(more.Messages.hear, "Bo"),
            handle.execute_update(more.Messages.add, "together"),
            handle.signal(more.Messages.finish),
        )
        await ended(handle)
    return handle


@scenario
async def cleans_up(world: World) -> Any:
    return await _cancelled(world, more.CleansUp)


@scenario
async def swallows_cancellation(world: World) -> Any:
    return await _cancelled(world, more.SwallowsCancellation)


async def _cancelled(world: World, workflow: Any) -> Any:
    handle = await world.start(workflow)
    async with world.working():
        await until(handle, "TIMER_STARTED")
        await handle.cancel()
        await ended(handle)
    return handle


@scenario
async def task_fails(world: World) -> Any:
    more.TaskFails.broken = True
    return await alone(more.TaskFails)(world)


@scenario
async def terminated(world: World) -> Any:
    handle = await world.start(more.CleansUp, id="Terminated")
    async with world.working():
        await until(handle, "TIMER_STARTED")
        await handle.terminate("enough")
    return handle
