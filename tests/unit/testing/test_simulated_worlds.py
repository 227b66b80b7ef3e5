"""When time passes in a simulated world: what holds it up, what does not, and whom a fault strikes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import Outcome, Signal, simulate
from perdure.testing.simulation.loop import DeadlockError, SimLoop
from perdure.testing.simulator import (
    ActivityFails,
    DiesAfterExecuting,
    Fault,
    ServerDies,
    WorkerDies,
)

HOUR = timedelta(hours=1)
DAY_S = 86_400.0


class Site:
    """A fake of the outside world that remembers when it was asked, in the loop's time."""

    def __init__(self) -> None:
        self.asked_at_s: list[float] = []

    @activity.defn
    async def first(self) -> None:
        self.asked_at_s.append(asyncio.get_running_loop().time())

    @activity.defn
    async def second(self) -> None:
        await self.first()

    @activity.defn
    async def slow(self) -> None:
        await self.first()
        if len(self.asked_at_s) == 1:
            await asyncio.sleep(1_200)

    @activity.defn
    async def fails_at_first(self) -> None:
        await self.first()
        if len(self.asked_at_s) == 1:
            raise ValueError("not yet")

    @property
    def activities(self) -> list[Callable[..., Any]]:
        return [self.first, self.second, self.slow, self.fails_at_first]


@workflow.defn
class Visits:
    """Executes activities, an hour apart."""

    @workflow.signal
    def hear(self) -> None: ...

    @workflow.run
    async def run(self, *names: str) -> None:
        for name in names:
            await workflow.execute_activity(name, start_to_close_timeout=HOUR)
            await workflow.sleep(HOUR)


def outcome_of(*names: str, schedule: tuple[Fault, ...] = (), signal_after: Any = None) -> Outcome:
    seen: list[Outcome] = []
    simulate(
        Visits.run,
        *names,
        world=Site,
        activities=lambda site: site.activities,
        signals=() if signal_after is None else [Signal(Visits.hear, after=signal_after)],
        schedule=schedule,
        seeds=[1],
        invariants=[seen.append],
    )
    return seen[0]


def test_a_fault_strikes_the_execution_of_its_own_activity() -> None:
    outcome = outcome_of("first", "second", schedule=(ActivityFails(activity="second"),))
    assert [(each.activity, each.attempt) for each in outcome.executions] == [
        ("first", 1),
        ("second", 1),
        ("second", 2),
    ]


def test_a_worker_dies_after_an_execution_that_failed() -> None:
    fault = DiesAfterExecuting(activity="fails_at_first")
    outcome = outcome_of("fails_at_first", schedule=(fault,))
    assert [note.split(" s  ")[1] for note in outcome.notes] == [
        fault.words(),
        "another worker is up",
    ]
    before, after = outcome.executions
    assert (before.is_known, after.is_known) == (False, True)
    assert isinstance(before.error, ValueError)


def test_time_is_not_skipped_while_a_function_runs() -> None:
    outcome = outcome_of("slow")
    assert [each.attempt for each in outcome.executions] == [1]


def test_time_is_skipped_once_a_function_has_ended() -> None:
    before_s, after_s = outcome_of("slow", "first").world.asked_at_s
    assert 1_200 <= after_s - before_s < 1_300


def test_a_function_on_a_dead_worker_does_not_hold_time_up() -> None:
    # The history has five events when the activity runs; the signal is the sixth.
    outcome = outcome_of(
        "slow", schedule=(WorkerDies(after_event=6),), signal_after=timedelta(seconds=60)
    )
    assert [each.attempt for each in outcome.executions] == [1, 2]
    before_s, after_s = outcome.world.asked_at_s
    assert 60 <= after_s - before_s < 120


@pytest.mark.parametrize("down_s", [1, 5])
def test_a_server_stays_down_for_its_time(down_s: int) -> None:
    fault = ServerDies(after_event=3, down_ns=down_s * 10**9)
    notes = outcome_of("first", schedule=(fault,)).notes
    died_s, back_s = (float(note.split()[0]) for note in notes)
    assert back_s - died_s == pytest.approx(down_s, abs=0.5)


def test_without_seeds_the_faults_are_tried_with_the_seed_0() -> None:
    seen: list[int] = []
    report = simulate(
        Visits.run,
        "first",
        world=Site,
        activities=lambda site: site.activities,
        faults=[ActivityFails],
        seeds=0,
        invariants=[lambda outcome: seen.append(outcome.seed)],
    )
    assert report.tried == {"ActivityFails": 1}
    assert seen == [0, 0, 0]


def test_timers_are_exact_whatever_the_clock_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def coarse(_name: str) -> SimpleNamespace:
        return SimpleNamespace(resolution=0.015)

    monkeypatch.setattr(time, "get_clock_info", coarse)
    loop = SimLoop()
    rang_at_s: list[float] = []

    async def main() -> None:
        for delay_s in (0.001, 0.002, 0.003):
            loop.call_later(delay_s, lambda: rang_at_s.append(loop.time()))
        await asyncio.sleep(1)

    loop.run(main())
    assert rang_at_s == pytest.approx([0.001, 0.002, 0.003], abs=1e-6)


def test_a_wait_of_more_than_30_days_is_held_to_be_endless() -> None:
    SimLoop().run(asyncio.sleep(29 * DAY_S))
    with pytest.raises(DeadlockError, match="virtual time ran away"):
        SimLoop().run(asyncio.sleep(31 * DAY_S))
