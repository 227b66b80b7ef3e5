"""Attacks on deadlines: they move, are set out of order, come in crowds, and are read from a failing disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.core.units import SECOND_NS
from perdure.wire.api import command, enums
from tests.harness.builders import schedule_activity, start_timer
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    from tests.simulation.stage import Stage

HEARTBEAT_S = 4
BEATS = 4
SLEEPERS = 12
CROWD = 25
HORIZON_S = 60.0

_TIMED_OUT = enums.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT
_FIRED = enums.EVENT_TYPE_TIMER_FIRED


async def moved_deadlines(stage: Stage) -> None:
    """Heartbeats move their deadline several times, then they stop."""
    await stage.start("beating")
    task = await stage.poll()
    await stage.answer(task.task_token, [_activity("1"), _activity("2"), _timer("t", 60)])
    tokens = [(await stage.poll_activity()).task_token for _ in range(2)]

    async def beat(token: bytes) -> None:
        for _ in range(BEATS):
            await asyncio.sleep(HEARTBEAT_S * (0.3 + 0.5 * stage.random.random()))
            await stage.call("RecordActivityTaskHeartbeat", task_token=token)

    await asyncio.gather(*(beat(token) for token in tokens))
    await asyncio.sleep(HEARTBEAT_S + 3)
    ends = [event for event in await stage.events("beating") if event.event_type == _TIMED_OUT]
    require(len(ends) == 2, Kind.LATE, f"{2 - len(ends)} silent activities have not timed out")


async def overtaken_deadlines(stage: Stage) -> None:
    """A short timer is set, then longer ones."""
    await stage.start("timers")
    delays_s = [stage.random.randint(3, 5), 40, 50]
    for number, delay_s in enumerate(delays_s):
        task = await stage.poll()
        await stage.answer(task.task_token, [_timer(str(number), delay_s)])
        await stage.signal("timers", f"signal {number}")
    await asyncio.sleep(1)
    task = (
        await stage.poll()
    )  # has a deadline too: it is answered only after the first timer is due
    await asyncio.sleep(delays_s[0] + 3.5)
    await stage.answer(task.task_token)
    fired = [event for event in await stage.events("timers") if event.event_type == _FIRED]
    require(len(fired) == 1, Kind.LATE, f"{len(fired)} timers have fired, and the short one is due")


async def failing_wakes(stage: Stage) -> None:
    """A timer becomes due while another fires, and a run cannot be written when its timer is due."""
    await stage.start("twice")
    await stage.answer((await stage.poll()).task_token, [_timer("a", 3)])
    await stage.signal("twice", "again")
    task = await stage.poll()
    await asyncio.sleep(0.05)
    await stage.answer(task.task_token, [_timer("b", 3)])
    await stage.start("once")
    await stage.answer((await stage.poll()).task_token, [_timer("c", 4)])
    assert stage.store is not None
    with stage.outages.during("poison", 6.0):
        stage.store.poisoned = {"once"}
        stage.disk.delay_max_s = 0.2
        await asyncio.sleep(5 + 2 * stage.random.random())
        stage.store.poisoned = set()
        stage.disk.delay_max_s = 0.003
    await asyncio.sleep(9)
    for name, count in (("twice", 2), ("once", 1)):
        fired = [event for event in await stage.events(name) if event.event_type == _FIRED]
        require(len(fired) == count, Kind.LATE, f"{len(fired)} timers of {name} have fired")


async def unread_wakes(stage: Stage) -> None:
    """The disk cannot be read when the node looks for the wake-ups of the next minute."""
    for number in range(SLEEPERS):
        await stage.start_later(f"sleeper-{number}", 64 + int(48 * stage.random.random()))
    assert stage.store is not None
    await asyncio.sleep(HORIZON_S - 4 - stage.loop.time())
    with stage.outages.during("disk unreadable", 2.0):
        stage.store.is_unreadable = True
        await asyncio.sleep(8)
        stage.store.is_unreadable = False
    await asyncio.sleep(64)
    await _all_awake(stage, SLEEPERS)


async def many_delays(stage: Stage) -> None:
    """The next node finds more wake-ups than it reads at once, some of them due at the same time."""
    for number in range(CROWD):
        await stage.start_later(f"sleeper-{number}", 5 + number // 3)
    stage.kill_node()
    await asyncio.sleep(stage.random.random())
    await stage.start_node()
    await asyncio.sleep(5 + CROWD // 3 + 3)
    await _all_awake(stage, CROWD)
    for _ in range(CROWD):
        reply = await stage.poll(timeout_s=5.0)
        require(reply.task_token, Kind.LATE, "a poller got no task, and there are some")


async def _all_awake(stage: Stage, count: int) -> None:
    asleep = [n for n in range(count) if len(await stage.events(f"sleeper-{n}")) < 2]
    require(not asleep, Kind.LATE, f"sleepers {asleep} were not woken")


def _activity(activity_id: str) -> command.Command:
    return schedule_activity(
        activity_id,
        TASK_QUEUE,
        timeout_s=300,
        heartbeat_timeout={"seconds": HEARTBEAT_S},
        retry_policy={"maximum_attempts": 1},
    )


def _timer(timer_id: str, delay_s: int) -> command.Command:
    return start_timer(timer_id, delay_s * SECOND_NS)
