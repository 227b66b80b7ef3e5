"""Attacks on commits: two owners of a shard, and groups that depend on each other."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from perdure.core.ids import run_key, shard_of, workflow_id_key
from perdure.history import transitions
from perdure.wire import errors
from perdure.wire.api import workflowservice
from tests.simulation.stage import Stage, insist
from tests.simulation.violations import Kind, require

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.entity.transition import Transition

RUNS = 2
USERS = 10
LINKS = 5


async def two_owners(stage: Stage) -> None:
    """Two nodes believe that they own the shards, and both have callers: whatever either acknowledges counts once."""
    names = [f"w{number}" for number in range(RUNS)]
    tasks: list[Any] = []
    for name in names:
        await stage.start(name)
        tasks.append(await stage.poll())
    zombie, doors = stage.node_process, [stage.own_endpoint]
    assert zombie is not None
    await stage.start_node()
    doors.append(stage.own_endpoint)
    acknowledged: defaultdict[str, list[str]] = defaultdict(list)

    async def user(number: int) -> None:
        await asyncio.sleep(stage.random.random())
        name, signal = stage.random.choice(names), f"signal {number}"

        async def once() -> None:
            await stage.signal(name, signal, at=stage.random.choice(doors))

        await insist(once)
        acknowledged[name].append(signal)

    await asyncio.gather(*(user(number) for number in range(USERS)))
    zombie.kill()
    stage.kill_node()
    await stage.start_node()
    for task in tasks:
        try:
            await insist(lambda task=task: stage.answer(task.task_token))
        except errors.NotFound:
            continue  # the task has timed out
    for name in names:
        found = Counter(await stage.signals(name))
        lost = sorted(set(acknowledged[name]) - found.keys())
        require(not lost, Kind.LOST, f"{name}: {lost}")
        require(max(found.values(), default=1) == 1, Kind.TWICE, f"{name}: {found}")


async def chained_groups(stage: Stage) -> None:
    """A chain of groups, each sharing a run with the one before: when the first cannot be written, none is."""
    node = stage.node
    assert node is not None
    namespace = node.engine.namespaces.find("default")
    assert namespace is not None
    candidates = [f"link {number}" for number in range(200)]
    names = [
        name
        for name in candidates
        if shard_of(workflow_id_key(namespace.namespace_id, name), stage.shards) == 0
    ]
    forwards = [(0,), *((number, number + 1) for number in range(LINKS - 1))]
    taken = stage.random.randrange(1, len(forwards))
    # All in one batch; in reverse order; and with those from `taken` on waiting while the others are in flight.
    rounds = [(forwards, 0), (forwards[::-1], 0), (forwards, taken)]
    for number, (pairs, split) in enumerate(rounds):
        chain = names[number * LINKS : (number + 1) * LINKS]
        await _fail_chain(stage, namespace.namespace_id, chain, pairs, split)
        for name in chain:
            await insist(lambda name=name: stage.signal(name, "after"))
            found = await stage.signals(name)
            require(found == ["after"], Kind.DATABASE, f"{name} has {found} after its chain failed")


async def _fail_chain(
    stage: Stage, namespace_id: str, names: list[str], pairs: list[tuple[int, ...]], split: int
) -> None:
    node, store = stage.node, stage.store
    assert node is not None
    assert store is not None
    keys = [run_key(namespace_id, name, (await stage.start(name)).run_id) for name in names]
    entities = node.engine.entities
    store.poisoned = {names[0]}
    store.gate.clear()
    told: list[asyncio.Future[Any]] = []
    for number, pair in enumerate(pairs):
        if number == split > 0:
            await store.waiting.wait()
        entries = await entities.ready(*(keys[each] for each in pair))
        signal = f"chain {number}"

        def change(env: Env, entries: Any = entries, signal: str = signal) -> Any:
            return tuple(_signal(entry.state, signal, env) for entry in entries)

        outcome = entities.perform(entries, None, change)
        told.append(asyncio.ensure_future(entities.durable_reply(outcome)))
        await asyncio.sleep(0)
    store.gate.set()
    answers = await asyncio.gather(*told, return_exceptions=True)
    store.poisoned = set()
    kept = [n for n, answer in enumerate(answers) if not isinstance(answer, errors.RpcError)]
    require(not kept, Kind.DATABASE, f"groups {kept} depend on a change that was never written")


def _signal(state: Any, name: str, env: Env) -> Transition:
    request = workflowservice.SignalWorkflowExecutionRequest(
        signal_name=name, request_id=f"{name} {state.key.name}"
    )
    return transitions.signal(state, request, env)
