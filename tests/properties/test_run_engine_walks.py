"""Long seeded walks through the run engine: deeper than the state machine's short stories, and the same every time.

They take the same steps with the same checks; Hypothesis finds and shrinks, these reach what takes hundreds of steps.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import TypeVar

import pytest

from perdure.core.ids import QueueKind
from perdure.wire.api import enums
from tests.properties.test_run_engine import RunEngine

T = TypeVar("T")
STEPS = 250
SEEDS = range(12)


class Walk:
    """A run engine and someone who does random things to it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.machine = RunEngine()
        self.events = Counter[str]()
        self.machine.begin(self._pick(None, None, 60), self._pick(None, None, 3), [])

    def _pick(self, *items: T) -> T:
        return self.random.choice(items)

    def _useful(self) -> str:
        pick = self._pick
        options = pick("start_to_close=5s", "schedule_to_close=9s start_to_close=4s")
        more = pick("", "schedule_to_start=3s", "attempts=1", "attempts=2 never_retry=Bad")
        schedule = f"schedule {pick(*'abcdefgh')} {options} {pick('', 'heartbeat=2s')} {more}"
        return pick(
            f"{schedule} {pick('', '', '+eager')}",
            schedule,
            f"timer {pick(*'abcdefgh')} {self.random.randrange(10)}s",
            f"cancel the activity {self.random.randrange(4)}",
            f"cancel the timer {self.random.randrange(4)}",
            pick("marker m x=y", "upsert City=Bern", "upsert City=null", "memo k=v"),
        )

    def step(self) -> None:
        machine, pick = self.machine, self._pick
        choices = [self._work, self._work, self._report, self._report, self._time, self._time]
        choices += [self._signal, self._rarely]
        if not machine.world.state.is_running:
            self._count()
            machine._start(f"start-{self.random.random()}", pick(None, None, 30), None)
        else:
            pick(*choices)()
        machine.nobody_waits_for_ever()
        machine.the_clock_goes_on()

    def _count(self) -> None:
        for event in self.machine.world.history.events:
            self.events[enums.EventType.Name(event.event_type)] += 1

    def _work(self) -> None:
        machine, pick = self.machine, self._pick
        if machine.world.state.workflow_task is None:
            return
        if not machine.world.state.workflow_task_is_started:
            machine.poll_workflow_task(0)
            if pick(True, False):
                return  # The task runs for a while.
        if not machine.task_tokens:
            return
        machine.complete_workflow_task(
            [self._useful() for _ in range(self.random.randrange(4))],
            pick(*[""] * 30, "marker", "cancel-activity 3", "timer a -1s"),
            pick(*[""] * 30, "finish", "fail", "canceled"),
            sticky=pick(True, False),
            inline=pick(True, False),
            force=self.random.random() < 0.1,
            latest=self.random.random() < 0.95,
        )

    def _report(self) -> None:
        machine, pick = self.machine, self._pick
        if machine.activity_tokens or machine.world.queue(QueueKind.ACTIVITY):
            how = pick("done", "done", "failed", "bad", "canceled", "heartbeat", "undo")
            size = pick(0, 1, 1, 1, 500)
            machine.report_on_activity(
                how, self.random.randrange(1, 4), size, first_poll=pick(True, False)
            )

    def _time(self) -> None:
        self.machine.time_passes(self.random.randrange(4), self._pick("wake", "wake", "nothing"))

    def _signal(self) -> None:
        self.machine.signal("go", self._pick("", "", f"r{self.random.randrange(40)}"), 1)

    def _rarely(self) -> None:
        machine = self.machine
        pick = self._pick
        what = pick(
            "kill",
            "kill",
            "embedded",
            "fail",
            "reset",
            "cancel",
            "by id",
            "poll",
            "end",
            "pause",
            "begin again",
            "go on",
        )
        match what:
            case "kill" | "embedded":
                machine.kill(embedded=what == "embedded")
            case "fail" if machine.world.state.workflow_task_is_started and machine.task_tokens:
                machine.fail_workflow_task()
            case "reset":
                machine.reset_sticky()
            case "cancel":
                machine.cancel()
            case "pause" | "begin again" | "go on":
                chosen, resets = pick(None, "a", "b"), pick(True, False)
                machine.pause_reset_or_go_on(chosen, pick(0, 3), how=what, resets=resets)
            case "by id":
                machine.complete_activity_by_id(pick(*"abcdefgh"))
            case "poll" if machine.world.queue(QueueKind.ACTIVITY):
                machine.poll_activity_task(self.random.randrange(5))
            case "end" if self.random.random() < 0.1:
                machine.terminate()
            case _:
                pass


@cache
def walk(seed: int) -> Counter[str]:
    """The events of all closed runs of a walk."""
    result = Walk(seed)
    for _ in range(STEPS):
        result.step()
    result._count()
    return result.events


@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_walk_keeps_all_promises(seed: int):
    events = walk(seed)
    assert events["EVENT_TYPE_WORKFLOW_TASK_COMPLETED"] > 5


def test_the_walks_get_everywhere():
    events = Counter[str]()
    for seed in SEEDS:
        events += walk(seed)
    expected = {
        *(f"ACTIVITY_TASK_{what}" for what in ("SCHEDULED", "STARTED", "COMPLETED", "FAILED")),
        *(f"ACTIVITY_TASK_{what}" for what in ("TIMED_OUT", "CANCEL_REQUESTED", "CANCELED")),
        *(f"TIMER_{what}" for what in ("STARTED", "FIRED", "CANCELED")),
        *(f"WORKFLOW_TASK_{what}" for what in ("SCHEDULED", "STARTED", "COMPLETED", "FAILED")),
        "WORKFLOW_TASK_TIMED_OUT",
        *(f"WORKFLOW_EXECUTION_{what}" for what in ("SIGNALED", "CANCEL_REQUESTED", "COMPLETED")),
        *(f"WORKFLOW_EXECUTION_{what}" for what in ("FAILED", "CANCELED", "TIMED_OUT")),
    }
    missing = {name for name in expected if not events[f"EVENT_TYPE_{name}"]}
    assert missing == set()
