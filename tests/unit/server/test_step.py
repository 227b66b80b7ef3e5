"""A step's rows: bounds of wake-ups, the pointer of a workflow id, sequences, and what a step rests on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from perdure.core.ids import EntityKey, EntityKind, run_key, workflow_id_key
from perdure.core.units import HOUR_NS, SECOND_NS
from perdure.entity.env import Env
from perdure.entity.transition import Effect, FactChange, Transition
from perdure.history.draft.draft import Draft
from perdure.history.draft.transition import RunTransition
from perdure.history.entity_types import RUNS
from perdure.history.state.facts import CreateFact, FactKind
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import RunState
from perdure.server.runs import Runs
from perdure.server.shards.group import Entry, Group
from perdure.server.shards.step import barrier_of
from perdure.storage.port import CommitBatch, EntityWrite
from perdure.wire import errors
from perdure.wire.api import common, enums
from tests.harness.builders import complete_workflow, schedule_activity, start_child
from tests.unit.server.virtual import on_virtual_time, virtual_world
from tests.unit.server.world import World, settle, start_timer

HOUR_MS = 3_600_000


async def wake_at_s(world: World, key: EntityKey) -> float | None:
    """The stored bound, in seconds from the run's start; None without one."""
    await world.engine.committer.flush()
    start_ns = await world.engine.read(key, lambda state: state.info.start_ns)
    stored = await world.faults.load(key)
    assert stored is not None
    return (stored.wake_at_ns - start_ns) / SECOND_NS if stored.wake_at_ns else None


@on_virtual_time
async def test_a_later_deadline_leaves_the_bound_and_an_earlier_one_lowers_it():
    async with virtual_world() as world:
        key = await world.start()
        task = await world.poll()
        await world.complete(task.task_token, start_timer("ten", 10_000))
        assert await wake_at_s(world, key) == 10
        await world.signal()
        task = await world.poll()
        # The activity keeps the run awake, so that its bound is not simply computed anew.
        await world.complete(task.task_token, start_timer("hour", HOUR_MS), schedule_activity("a"))
        assert await wake_at_s(world, key) == 10
        await world.signal()
        task = await world.poll()
        await world.complete(task.task_token, start_timer("five", 5_000))
        assert await wake_at_s(world, key) == 5
        for at_s in (5, 10):
            await asyncio.sleep(at_s - asyncio.get_running_loop().time())
            await settle()
            events = await world.event_types(key)
            assert events.count("TIMER_FIRED") == at_s // 5
            await world.check_memory(key)


@on_virtual_time
async def test_a_wake_up_that_is_used_up_is_replaced():
    async with virtual_world() as world:
        key = await world.start()
        task = await world.poll()
        await world.complete(
            task.task_token, start_timer("one", 1_000), start_timer("hour", HOUR_MS)
        )
        assert await wake_at_s(world, key) == 1
        await asyncio.sleep(1.5)
        task = await world.poll()
        await world.complete(task.task_token)
        assert await wake_at_s(world, key) == 3_600
        await world.check_memory(key)
        await asyncio.sleep(3_600)
        task = await world.poll()
        await world.complete(task.task_token)
        assert await wake_at_s(world, key) is None, "nothing is left to wait for"
        assert await world.faults.wakes(world.engine.owned_shards(), 2**62, 9) == []


@on_virtual_time
async def test_a_closed_run_has_no_wake_up_and_no_other_is_concerned():
    async with virtual_world() as world:
        keys = [await world.start(name) for name in ("a", "b")]
        for _ in keys:
            task = await world.poll()
            await world.complete(task.task_token, start_timer("t", HOUR_MS))
        await world.terminate("a")
        rows = await world.faults.wakes(world.engine.owned_shards(), 2**62, 9)
        assert [row.key for row in rows] == [keys[1]]
        entry = world.engine.cache.get(keys[0])
        assert entry is not None
        assert entry.wake_at_ns == 0


# Pointers.


async def pointer_of(world: World, workflow_id: str) -> CurrentRun:
    key = workflow_id_key(world.namespace_id, workflow_id)
    (entry,) = await world.engine.entities.ready(key)
    return entry.state


async def test_the_end_of_an_old_run_does_not_concern_the_pointer_of_a_newer_one(world: World):
    old = await world.start()
    task = await world.poll()
    # Between the old run's last look and its end another run has taken the id: as a late wake-up would find it.
    await world.terminate()
    new = await world.start(request_id="new")
    pointer = await pointer_of(world, "w")
    assert pointer.run_id == new.run_id

    def end(state: RunState, _: Env) -> RunTransition:
        past = CurrentRun(old.run_id, old.run_id, "x", status=2, start_ns=1)
        return RunTransition(key=old, state=state, current=past)

    await world.engine.update(old, end)
    assert await pointer_of(world, "w") is pointer
    with pytest.raises(errors.NotFound):
        await world.complete(task.task_token)
    await world.signal()


async def test_a_pointer_follows_its_run_to_its_end(world: World):
    key = await world.start()
    running = await pointer_of(world, "w")
    await world.terminate()
    closed = await pointer_of(world, "w")
    assert running.run_id == closed.run_id == key.run_id
    assert running != closed
    world.forget(workflow_id_key(world.namespace_id, "w"))
    assert await pointer_of(world, "w") == closed


# Rows.


def writes_of(world: World, batches: list[CommitBatch]) -> list[EntityWrite]:
    return [write for batch in batches for write in batch.writes]


async def test_effects_and_tasks_are_numbered_in_their_order(world: World):
    await world.start("p")
    task = await world.poll()
    before = len(world.faults.batches)
    await world.complete(
        task.task_token, *(start_child(f"c{n}") for n in range(3)), schedule_activity()
    )
    rows = [
        row for write in writes_of(world, world.faults.batches[before:]) for row in write.outbox
    ]
    assert [row.effect.destination.name for row in rows] == ["c0", "c1", "c2"]
    sequences = [row.sequence for row in rows]
    assert sequences == sorted(set(sequences))


async def test_a_change_of_nothing_writes_nothing_and_waits_for_what_it_saw(world: World):
    key = await world.start()
    before = len(world.faults.batches)

    def nothing(state: RunState, _: Env) -> Transition:
        return Transition(key=state.key, reply="nothing")

    assert await world.engine.update(key, nothing) == "nothing"
    assert len(world.faults.batches) == before
    (signal,) = await world.holding(world.signal())
    idle = asyncio.ensure_future(world.engine.update(key, nothing))
    await settle()
    assert not idle.done(), "it rests on a signal that is not durable"
    world.go_on()
    await signal
    assert await idle == "nothing"


async def test_a_failed_change_leaves_nothing_open_in_memory(world: World):
    key = await world.start()

    def fails(state: RunState, env: Env) -> Transition:
        draft = Draft(state, env)
        draft.fact(FactKind.CREATE, "", CreateFact("changed"))
        raise errors.InvalidArgument("no")

    with pytest.raises(errors.InvalidArgument):
        await world.engine.update(key, fails)
    assert await world.engine.read(key, lambda state: state.journal.undo is None)
    await world.signal()
    await world.check_memory(key)


async def test_an_unforeseen_error_of_a_change_leaves_nothing_open_either(world: World):
    key = await world.start()

    def fails(state: RunState, env: Env) -> Transition:
        Draft(state, env).fact(FactKind.CREATE, "", CreateFact("changed"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await world.engine.update(key, fails)
    await world.check_memory(key)


def test_what_a_step_rests_on_is_named_once():
    entries = [Entry(run_key("n", name, "r"), cast("Any", None), RUNS) for name in "abcd"]
    groups = [Group(cast("Any", None), cast("Any", None)) for _ in range(2)]
    entries[0].pending = entries[2].pending = groups[0]
    entries[3].pending = groups[1]
    assert barrier_of(entries) == (groups[0], groups[1])
    assert barrier_of(entries[1:2]) == ()


async def test_every_step_is_told_in_the_step_itself(world: World):
    key = await world.start()
    seen: list[list[int]] = []
    world.engine.clock_control.watch(lambda group: seen.append([e.key.kind for e in group.entries]))
    (signal,) = await world.holding(world.signal())
    assert seen == [[EntityKind.RUN]]
    world.go_on()
    await signal
    task = await world.poll()
    seen.clear()
    await world.complete(task.task_token, complete_workflow())
    assert seen == [[EntityKind.RUN, EntityKind.WORKFLOW_ID]]
    await world.engine.delete(key)
    assert seen[1] == [EntityKind.RUN, EntityKind.WORKFLOW_ID]


async def test_a_repeated_effect_row_of_a_new_entity_is_written_with_it(world: World):
    """A transition of a run that is new and empty writes nothing at all."""
    key = run_key(world.namespace_id, "empty", "r")
    assert await world.faults.load(key) is None

    def nothing(*_: object) -> tuple[RunTransition, ...]:
        return (RunTransition(key=key, reply="r"),)

    reply = await Runs(world.engine).start_with(
        world.namespace_id, "empty", lambda _: False, nothing
    )
    assert reply == "r"
    assert await world.faults.load(key) is None
    other = await world.start()

    def beside(mine: RunState, _: Env) -> tuple[Transition, ...]:
        fact = FactChange(FactKind.CREATE, "", CreateFact("x"))
        return Transition(key=other, state=mine, facts=(fact,)), Transition(key=key)

    await world.engine.update(other, beside)
    assert await world.faults.load(key) is None, "nor beside one that is not empty"


def effect_to(name: str) -> Effect:
    return Effect(run_key("n", name, "r"), "k", "id", b"")


def test_the_parts_of_a_transition_that_make_it_one():
    empty = Transition(key=run_key("n", "a", "r"))
    assert empty.is_empty
    change = FactChange(FactKind.CREATE, "", CreateFact("x"))
    for changes in (
        {"facts": (change,)},
        {"effects": (effect_to("b"),)},
        {"wake_at_ns": 0},
        {"delete_at_ns": HOUR_NS},
        {"also": (empty,)},
    ):
        assert not Transition(key=empty.key, **cast("Any", changes)).is_empty, changes


async def test_the_reply_of_several_transitions_is_the_last_one_that_has_one(world: World):
    key = await world.start()

    def several(state: RunState, _: Env) -> tuple[Transition, ...]:
        return tuple(Transition(key=state.key, reply=reply) for reply in ("a", "b", None))

    assert await world.engine.update(key, several) == "b"


async def test_a_start_that_terminates_another_run_is_one_step(world: World):
    old = await world.start()
    before = world.engine.committer.batches
    new = await world.start(
        request_id="new",
        workflow_id_conflict_policy=enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
        input=common.Payloads(payloads=[common.Payload(data=b"x")]),
    )
    assert world.engine.committer.batches == before + 1
    assert (await pointer_of(world, "w")).run_id == new.run_id
    assert (await world.event_types(old))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
    await world.check_memory(old)
    await world.check_memory(new)
    world.forget(workflow_id_key(world.namespace_id, "w"))
    assert (await pointer_of(world, "w")).run_id == new.run_id


async def test_a_step_that_can_not_be_written_is_forgotten_with_all_its_entities(world: World):
    key = await world.start()
    names = (f"n{number}" for number in range(100))
    shard = world.engine.shards.of(key)
    other_name = next(
        name
        for name in names
        if world.engine.shards.of(run_key(key.namespace_id, name, "")) is shard
    )
    other = await world.start(other_name)
    state = await world.engine.read(other, lambda state: state)
    bad: Any = object()

    def several(mine: RunState, _: Env) -> tuple[Transition, ...]:
        facts = [FactChange(FactKind.CREATE, "", CreateFact(each)) for each in (bad, "x")]
        return (
            Transition(key=key, state=mine, facts=(facts[0],)),
            Transition(key=other, state=state, facts=(facts[1],)),
        )

    with pytest.raises(errors.Internal):
        await world.engine.update(key, several)
    assert key not in world.engine.cache
    assert other not in world.engine.cache, "its change in memory was not written either"
    await world.signal(other_name)
    await world.check_memory(other)
