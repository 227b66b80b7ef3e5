"""Sleeps beside a loop that is busy, a time that was never opened, and the end of an environment."""

from __future__ import annotations

import asyncio

import pytest

from perdure.server.time_skipping.skipping import SkippingClock, TimeSkipping
from perdure.testing import WorkflowEnvironment
from perdure.testing.simulation.loop import SimClock, SimLoop
from perdure.wire.errors import Unavailable
from tests.unit.testing.hosted import backend_of, environment, hosted
from tests.unit.testing.stage import Stage, staged, timer

DAY_S = 86_400.0


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@staged
async def test_a_sleep_of_no_length_ends_although_a_look_takes_long(stage: Stage) -> None:
    """While the loop waits for the store, a new sleeper wakes itself and all others whose time has come."""
    await stage.started_run("w", timer(DAY_S))
    early = [asyncio.ensure_future(stage.sleep(seconds)) for seconds in (5, 6, 60)]
    stage.store.wakes_gate.clear()
    stage.time.unlock()
    await asyncio.sleep(10)
    assert stage.store.looks == 1
    assert [each.done() for each in early] == [False, False, False]
    late = asyncio.ensure_future(stage.sleep_until(1))
    await settle()
    assert late.done()
    assert [each.done() for each in early] == [True, True, False]
    early[2].cancel()


def test_a_time_that_was_never_opened_wakes_its_sleepers_at_its_end() -> None:
    loop = SimLoop()
    time = TimeSkipping(SkippingClock(SimClock(loop)))

    async def main() -> None:
        until_ns = time.clock.now_ns() + 10**12
        given_up, *sleeping = [
            asyncio.ensure_future(time.sleep_until(until_ns + each)) for each in range(3)
        ]
        await settle()
        given_up.cancel()
        await settle()
        assert not any(each.done() for each in sleeping)
        await time.close()
        await asyncio.wait_for(asyncio.gather(*sleeping), 1)
        await time.close()

    loop.run(main())


@staged
async def test_no_skip_while_a_call_waits_for_its_run_to_be_read(stage: Stage) -> None:
    """It has taken no step yet, and may take one that changes what is due."""
    key = await stage.started_run("w", timer(DAY_S))
    stage.forget(key)
    stage.store.load_gate.clear()
    ending = asyncio.ensure_future(stage.terminate("w"))
    sleeping = asyncio.ensure_future(stage.sleep(3_600))
    await asyncio.sleep(1)
    stage.time.unlock()
    await asyncio.sleep(3)
    assert not ending.done()
    assert stage.time.skips == 0
    stage.store.load_gate.set()
    await asyncio.gather(ending, sleeping)
    assert stage.time.skips == 1


@staged
async def test_the_end_comes_twice_without_harm(stage: Stage) -> None:
    for _ in range(2):
        await stage.time.close()
    await stage.opened.close()
    assert stage.time.skips == 0


@staged
async def test_the_end_waits_for_a_look_that_is_under_way(stage: Stage) -> None:
    """When the store is closed next, no call is inside it."""
    await stage.started_run("w", timer(DAY_S))
    stage.store.wakes_gate.clear()
    stage.time.unlock()
    await asyncio.sleep(2)
    assert (stage.store.looks, stage.store.looking) == (1, 1)
    await stage.time.close()
    assert stage.store.looking == 0


@hosted
async def test_the_end_of_an_environment_answers_polls_empty_before_it_closes_connections(
    stage: Stage, env: WorkflowEnvironment
) -> None:
    polling = asyncio.ensure_future(stage.poll(60))
    sleeping = asyncio.ensure_future(stage.sleep(DAY_S))
    await asyncio.sleep(1)
    await backend_of(env)._stop()
    await settle()
    assert polling.done()
    assert not polling.result().task_token
    await sleeping
    assert stage.real_s < 2
    await stage.start("a call still works")
    await env.shutdown()


@staged
async def test_the_end_of_an_environment_ends_its_node(stage: Stage) -> None:
    env = environment(stage)
    await stage.start("in time")
    await env.shutdown()
    with pytest.raises(Unavailable):
        await stage.start("late")
    assert stage.time._loop is not None
    assert stage.time._loop.done()
