"""Attacks on answers: repeated requests, unknown outcomes, errors in the middle of a change, stale state."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from perdure.core.ids import shard_of, workflow_id_key
from perdure.wire import errors
from perdure.wire.api import command, common
from tests.harness.builders import schedule_activity
from tests.simulation.stage import Stage, insist
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Sequence

USERS = 40
RUNS = 4


async def repeated_requests(stage: Stage) -> None:
    """A repeated request counts once: when the first is in the history, in the buffer, or being written."""
    await stage.start("w")
    for _ in range(2):
        await stage.signal("w", "in history")
    task = await stage.poll()
    for _ in range(2):
        await stage.signal("w", "in the buffer")
    await stage.answer(task.task_token)
    found = Counter(await stage.signals("w"))
    require(
        found == {"in history": 1, "in the buffer": 1}, Kind.TWICE, f"signals, each once: {found}"
    )
    assert stage.store is not None
    stage.store.gate.clear()
    calls = [asyncio.ensure_future(stage.signal("w", "of an impatient caller")) for _ in range(2)]
    await asyncio.sleep(0.1)
    calls[0].cancel()
    await asyncio.sleep(0.1)
    stage.store.gate.set()
    await calls[1]
    stage.store.gate.clear()
    calls = [asyncio.ensure_future(stage.signal("w", "not written yet")) for _ in range(2)]
    await asyncio.sleep(stage.random.random())
    told = [call for call in calls if call.done()]
    require(not told, Kind.LOST, f"{len(told)} calls were answered before they were written")
    stage.kill_node()
    await asyncio.gather(*calls, return_exceptions=True)
    await stage.start_node()


async def unknown_outcomes(stage: Stage) -> None:
    """The database does not say whether a commit was written: each signal counts once, however often it is repeated."""
    names = ["w0", "w1"]
    for name in names:
        await stage.start(name)
    stage.disk.delay_max_s = 0.2  # so that calls arrive while the node finds out what was written

    async def user(number: int) -> None:
        await asyncio.sleep(stage.random.random() * 5)
        await insist(lambda: stage.signal(names[number % 2], f"signal {number}"))

    async def trouble() -> None:
        assert stage.store is not None
        for _ in range(10):
            stage.store.unknown = stage.random.choice(["landed", "lost"])
            await asyncio.sleep(0.5)
        stage.store.unknown = ""

    with stage.outages.during("unknown outcome", 6.0):
        await asyncio.gather(trouble(), *(user(number) for number in range(USERS)))
    stage.disk.delay_max_s = 0.003
    for place, name in enumerate(names):
        found = Counter(await stage.signals(name))
        lost = {f"signal {number}" for number in range(place, USERS, 2)} - found.keys()
        require(not lost, Kind.LOST, f"{name}: {sorted(lost)}")
        require(max(found.values()) == 1, Kind.TWICE, f"{name}: {found}")


async def bad_commands(stage: Stage) -> None:
    """The last of several commands is refused: the others have no effect."""
    await stage.start("w")
    task = await stage.poll()
    with contextlib.suppress(errors.RpcError):
        await stage.answer(task.task_token, [*_activities("ab"), *_activities("a")])
    task = await stage.poll()
    await stage.answer(task.task_token, _activities("abc"))
    tasks = [(await stage.poll_activity()).activity_id for _ in range(3)]
    require(sorted(tasks) == ["a", "b", "c"], Kind.MEMORY, f"activities {tasks} were given out")


async def stale_memory(stage: Stage) -> None:
    """A node loses a shard, another changes a run that the first has in memory, and the first takes the shard back."""
    name, other = _neighbours(stage)
    await stage.start(name)
    await stage.start(other)
    await _lose_and_retake(stage, name, other)


async def stale_load(stage: Stage) -> None:
    """As `stale_memory`, while the first node is loading the run."""
    name, other = _neighbours(stage)
    await stage.start(name)
    await stage.start(other)
    stage.kill_node()  # the next node has neither in memory
    await stage.start_node()
    await stage.signal(other, "to load it")
    await _lose_and_retake(stage, name, other)


async def _lose_and_retake(stage: Stage, name: str, other: str) -> None:
    owner, first, store = stage.owner, stage.own_endpoint, stage.store
    assert store is not None
    store.run_gate.clear()
    late = asyncio.ensure_future(insist(lambda: stage.signal(name, "a", at=first)))
    await asyncio.sleep(0.2)
    await stage.start_node()
    rival = stage.node_process
    assert rival is not None
    await stage.signal(name, "b")
    rival.kill()
    with stage.outages.during("takeover", 8.0):
        try:
            await stage.signal(other, "find out", at=first)
        except errors.RpcError:
            await asyncio.sleep(1)
        store.run_gate.set()
        await late
        await insist(lambda: stage.signal(name, "c", at=first))
        found = sorted(await insist(lambda: stage.signals(name, at=first)))
    require(found == ["a", "b", "c"], Kind.LOST, f"{name} has the signals {found}")
    stage.owner, stage.endpoint = owner, first


async def evicted_while_pending(stage: Stage) -> None:
    """The cache has no room, but runs with unwritten changes must stay in it."""
    names = [f"w{number}" for number in range(RUNS)]
    for name in names:
        await stage.start(name)
    assert stage.store is not None
    stage.store.gate.clear()
    calls: list[asyncio.Future[None]] = []
    for number in range(3):
        for name in names:
            signal = f"signal {number}"
            calls.append(asyncio.ensure_future(stage.signal(name, signal)))
            calls.append(asyncio.ensure_future(_miss(stage, f"{name} {number}")))
        await asyncio.sleep(0.1 + 0.1 * stage.random.random())
    stage.store.gate.set()
    await asyncio.gather(*calls)
    for name in names:
        found = await stage.signals(name)
        expected = [f"signal {number}" for number in range(3)]
        require(found == expected, Kind.LOST, f"{name} has the signals {found}")


async def next_numbers(stage: Stage) -> None:
    """Task rows of two nodes, one after the other, have different numbers."""
    for number in range(2 * RUNS):
        if number == RUNS:
            stage.kill_node()
            await stage.start_node()
        await stage.start(f"w{number}")
    given = {(await stage.poll()).workflow_execution.workflow_id for _ in range(2 * RUNS)}
    require(len(given) == 2 * RUNS, Kind.LOST, f"only tasks of {sorted(given)} were given out")
    left = stage.rows("tasks")
    require(not left, Kind.LEFT_OVER, f"{left} rows of tasks that were given out are left")


async def dead_workers(stage: Stage) -> None:
    """Workers die with their engine while they hold tasks: the next engine times out these attempts at once."""
    await stage.start("w")
    task = await stage.poll()
    if stage.random.random() < 0.5:
        await stage.answer(task.task_token, _activities("ab"))
        await stage.poll_activity()
    stage.kill_node()
    await stage.start_node()  # checks that no task is in flight


async def _miss(stage: Stage, workflow_id: str) -> None:
    """Ask for a run that does not exist: loading it makes the cache evict another."""
    try:
        await stage.call(
            "DescribeWorkflowExecution",
            execution=common.WorkflowExecution(workflow_id=workflow_id),
        )
    except errors.NotFound:
        return


def _neighbours(stage: Stage) -> tuple[str, str]:
    """Two workflow ids of the same shard."""
    assert stage.node is not None
    namespace = stage.node.engine.namespaces.find("default")
    assert namespace is not None
    names = [
        name
        for name in (f"w{number}" for number in range(20))
        if not shard_of(workflow_id_key(namespace.namespace_id, name), stage.shards)
    ]
    return names[0], names[1]


def _activities(ids: str) -> Sequence[command.Command]:
    return [schedule_activity(each, TASK_QUEUE, timeout_s=60) for each in ids]
