"""Nothing is seen before it is durable, whatever fails (D-5): a real node, a store that fails when told to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.entity.env import Env
from perdure.entity.transition import Transition
from perdure.history.draft.draft import Draft
from perdure.history.state.facts import CreateFact, FactKind
from perdure.history.state.run_state import RunState
from perdure.storage.sqlite import open_memory
from perdure.wire import errors
from tests.harness.builders import complete_workflow, schedule_activity
from tests.unit.server.world import World, open_world, settle, start_timer


async def test_no_answer_before_the_commit(world: World):
    (start,) = await world.holding(world.start())
    assert not start.done()
    world.go_on()
    key = await start
    assert await world.event_types(key) == ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED"]


async def test_a_duplicate_waits_for_the_batch_of_the_first_and_fails_with_it(world: World):
    first, second = await world.holding(world.start(), world.start())
    assert not second.done(), "its answer rests on a run that is not durable"
    world.faults.is_full = True
    world.go_on()
    for call in (first, second):
        with pytest.raises(errors.ResourceExhausted):
            await call
    world.faults.is_full = False
    await asyncio.sleep(0.3)
    key = await world.start()
    await world.check_memory(key)
    assert await world.start() == key


async def test_an_error_waits_too(world: World):
    first, second = await world.holding(world.start(), world.start(request_id="other"))
    assert not second.done()
    world.go_on()
    await first
    with pytest.raises(errors.AlreadyExists):
        await second


async def test_a_read_waits_for_the_last_batch(world: World):
    key = await world.start()
    (signal,) = await world.holding(world.signal())
    read = asyncio.ensure_future(world.engine.read(key, lambda state: state.signal_count))
    await settle()
    assert not read.done()
    world.faults.is_full = True
    world.go_on()
    with pytest.raises(errors.ResourceExhausted):
        await signal
    with pytest.raises(errors.ResourceExhausted):
        await read
    world.faults.is_full = False
    assert await world.engine.read(key, lambda state: state.signal_count) == 0


async def test_history_shows_durable_events_only(world: World):
    key = await world.start()
    (signal,) = await world.holding(world.signal())
    assert len(await world.engine.history(key, 1, 99)) == 1
    world.go_on()
    await signal
    assert b"".join(await world.engine.history(key, 3, 99)) != b""


async def test_a_cancelled_caller_changes_nothing(world: World):
    key = await world.start()
    (signal,) = await world.holding(world.signal(request_id="one"))
    signal.cancel()
    await asyncio.gather(signal, return_exceptions=True)
    world.go_on()
    await world.check_memory(key)
    assert await world.engine.read(key, lambda state: state.signal_count) == 1
    await world.signal(request_id="one")
    assert await world.engine.read(key, lambda state: state.signal_count) == 1


async def test_a_stampede_on_a_cold_run_costs_one_load(world: World):
    key = await world.start()
    world.forget(key)
    world.faults.loads.clear()
    world.faults.load_gate.clear()
    signals = [asyncio.ensure_future(world.signal(request_id=str(n))) for n in range(50)]
    await settle()
    world.faults.load_gate.set()
    await asyncio.gather(*signals)
    assert world.faults.loads.count(key) == 1
    assert await world.engine.read(key, lambda state: state.signal_count) == 50
    await world.check_memory(key)


async def test_the_first_of_a_stampede_may_leave(world: World):
    key = await world.start()
    world.forget(key)
    world.faults.load_gate.clear()
    first, second = (asyncio.ensure_future(world.signal(request_id=str(n))) for n in range(2))
    await settle()
    first.cancel()
    world.faults.load_gate.set()
    await second
    assert await world.engine.read(key, lambda state: state.signal_count) == 1


async def test_one_poison_row_among_hundreds_harms_only_its_run(world: World):
    await world.start("bad")
    keys = await asyncio.gather(*(world.start(f"w{n}") for n in range(200)))
    world.faults.poisoned.add("bad")
    calls = [world.signal("bad" if n == 77 else f"w{n}") for n in range(200)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    failed = [n for n, result in enumerate(results) if isinstance(result, BaseException)]
    assert failed == [77]
    assert isinstance(results[77], errors.Internal)
    for key in keys[:5]:
        await world.check_memory(key)
    world.faults.poisoned.clear()
    await world.signal("bad")


async def test_what_rests_on_a_poison_row_fails_too_and_is_told(world: World):
    await world.start("bad")
    other = await world.start("good")
    world.faults.poisoned.add("bad")
    first, bystander = await world.holding(world.signal("bad"), world.signal("good"))
    later = asyncio.ensure_future(world.signal("bad"))
    await settle()
    world.go_on()
    await bystander
    with pytest.raises(errors.Internal):
        await first
    with pytest.raises((errors.Internal, errors.Unavailable)):
        await later
    await world.check_memory(other)


async def test_a_change_without_encoding_harms_only_its_run(world: World):
    key, other = await world.start(), await world.start("other")
    parked = asyncio.ensure_future(world.poll(timeout_s=4))

    def change(state: RunState, env: Env) -> Transition:
        bad: Any = object()
        with Draft(state, env) as draft:
            draft.fact(FactKind.CREATE, "", CreateFact(bad))
            return draft.done()

    before, broken, after = await world.holding(
        world.signal("other"), world.engine.update(key, change), world.signal()
    )
    world.go_on()
    await before
    with pytest.raises(errors.Internal):
        await broken
    with pytest.raises((errors.Internal, errors.Unavailable)):
        await after
    await parked
    await world.signal()
    await world.check_memory(key)
    await world.check_memory(other)


async def test_the_seventh_command_of_ten_is_bad(world: World):
    key = await world.start()
    task = await world.poll()
    bad = schedule_activity("", activity_type=None)
    commands = [schedule_activity(str(n)) for n in range(10)]
    commands[6] = bad
    with pytest.raises(errors.InvalidArgument):
        await world.complete(task.task_token, *commands)
    types = await world.event_types(key)
    assert "WORKFLOW_TASK_FAILED" in types
    assert "ACTIVITY_TASK_SCHEDULED" not in types
    await world.check_memory(key)


async def test_a_full_disk_refuses_and_then_service_resumes(world: World):
    key = await world.start()
    world.faults.is_full = True
    for _ in range(3):
        with pytest.raises(errors.ResourceExhausted, match="no space left"):
            await world.signal()
    assert await world.event_types(key) == ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED"]
    world.faults.is_full = False
    await asyncio.sleep(1.1)  # the longest pause after three refusals
    await world.signal()
    await world.check_memory(key)


async def test_a_lost_fence_drops_the_shard_and_it_comes_back(world: World):
    keys = await asyncio.gather(*(world.start(f"w{n}") for n in range(20)))
    calls = await world.holding(*(world.signal(f"w{n}") for n in range(20)))
    await world.faults.acquire(2)  # a zombie's view of it: somebody else took shard 2 over
    world.go_on()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(result, errors.Unavailable) for result in results)
    assert any(result is None for result in results), "other shards go on"
    for key, result in zip(keys, results, strict=True):
        signals = await world.engine.read(key, lambda state: state.signal_count)
        assert signals == (result is None)
        await world.signal(key.name)
        await world.check_memory(key)


@pytest.mark.parametrize("outcome", ["landed", "lost"])
async def test_an_unknown_outcome_is_settled_by_the_fence(world: World, outcome: str):
    key = await world.start()
    (signal,) = await world.holding(world.signal(request_id="one"))
    later = asyncio.ensure_future(world.signal(request_id="two"))
    await settle()
    world.faults.unknown = outcome
    world.go_on()
    if outcome == "landed":
        await signal
    else:
        with pytest.raises(errors.Unavailable):
            await signal
    with pytest.raises(errors.Unavailable):
        await later
    count = await world.engine.read(key, lambda state: state.signal_count)
    assert count == (outcome == "landed")
    await world.signal(request_id="one")
    assert await world.engine.read(key, lambda state: state.signal_count) == 1
    await world.check_memory(key)


async def test_a_load_from_before_a_drop_never_installs(world: World):
    key = await world.start()
    world.forget(key)
    world.faults.load_gate.clear()
    signal = asyncio.ensure_future(world.signal())
    await settle()
    shards = world.engine.shards
    shards.drop(shards.of(key), True)
    world.faults.load_gate.set()
    await signal
    assert await world.engine.read(key, lambda state: state.signal_count) == 1
    await world.check_memory(key)


async def test_nothing_undurable_is_evicted():
    world = await open_world(open_memory(), cache_bytes_max=1)
    keys = await asyncio.gather(*(world.start(f"w{n}") for n in range(40)))
    signals = [world.signal(f"w{n % 40}", request_id=str(n)) for n in range(200)]
    await asyncio.gather(*signals)
    assert len(world.engine.cache) < 60
    for key in keys:
        assert await world.engine.read(key, lambda state: state.signal_count) == 5
    await world.node.close()


async def test_a_repeated_response_gets_the_same_answer(world: World):
    await world.start()
    task = await world.poll()
    first = await world.complete(task.task_token, schedule_activity())
    assert await world.complete(task.task_token, schedule_activity()) == first
    activity = await world.poll_activity()
    await world.complete_activity(activity.task_token)
    await world.complete_activity(activity.task_token)
    with pytest.raises(errors.InvalidArgument):
        await world.complete(b"" + task.task_token[:-1] + b"\x01")


async def test_a_timer_fires_after_a_restart():
    store = open_memory()
    world = await open_world(store)
    key = await world.start()
    task = await world.poll()
    await world.complete(task.task_token, start_timer("t", 200))
    for loop in world.engine._loops:
        loop.cancel()  # the process ends here
    second = await open_world(store)
    task = await second.poll()
    assert len(await second.event_types(key)) == len(task.history.events)
    await second.complete(task.task_token, complete_workflow())
    assert "TIMER_FIRED" in await second.event_types(key)
    await second.check_memory(key)
    await second.node.close()


async def test_a_failing_wake_up_is_tried_again(world: World):
    key = await world.start()
    task = await world.poll()
    await world.complete(task.task_token, start_timer("t", 50))
    world.faults.poisoned.add(key.name)
    while not world.engine.wakes._failures:  # noqa: ASYNC110 -- nothing announces a failure
        await asyncio.sleep(0.01)
    world.faults.poisoned.clear()
    await world.poll()
    assert "TIMER_FIRED" in await world.event_types(key)
    await world.check_memory(key)


async def test_folding_a_long_history_lets_others_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.server.shards import loading

    key = await world.start()
    for number in range(200):
        await world.signal(request_id=f"s{number}")
    await world.engine.committer.flush()
    world.forget(key)
    monkeypatch.setattr(loading, "SLICE_NS", -1)  # every step is a slice of its own
    turns = 0
    reading = asyncio.ensure_future(world.event_types(key))
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(await reading) == 202
    assert turns > 6, "200 events are several steps"
    await world.check_memory(key)
