"""Workflow code that asks whether it is replaying: code that runs only when it is not, runs once in each step.

A step is repeated when its worker dies before the answer arrives. A step therefore counts with the workflow task whose
completion was recorded: every later execution of the step is a replay, and must be told so.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure import activity, workflow
from perdure.wire.api import enums
from tests.simulation.ledger import Current
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import Workload

if TYPE_CHECKING:
    from tests.simulation.archive import Histories

STEPS = 5


@activity.defn
async def errand(number: int) -> int:
    Current.ledger.note_attempt()
    return number


@workflow.defn
class Diary:
    """Notes each step in the ledger, unless it is replaying."""

    def __init__(self) -> None:
        self.notes = 0

    @workflow.signal
    def note(self) -> None:
        self.notes += 1
        self.write(f"note {self.notes}")

    def write(self, step: str) -> None:
        if not workflow.unsafe.is_replaying():
            info = workflow.info()
            place = info.run_id, step
            length = info.get_current_history_length()
            ledger = Current.ledger
            ledger.diary.setdefault(place, []).append((length, ledger.now_s()))

    @workflow.run
    async def run(self, name: str) -> int:
        for number in range(STEPS):
            self.write(f"before {number}")
            if number % 2:
                await workflow.sleep(1)
            else:
                await workflow.execute_activity(
                    errand, number, start_to_close_timeout=timedelta(seconds=20)
                )
            self.write(f"after {number}")
        return STEPS


class Diaries(Workload):
    workflows = (Diary,)
    activities = (errand,)

    async def play(self) -> None:
        await asyncio.gather(*(self._one(f"diary-{number}") for number in range(2)))

    async def _one(self, workflow_id: str) -> None:
        await asyncio.sleep(self.random.random() * 8)
        await self.start(Diary.run, workflow_id, workflow_id)
        self.expect(workflow_id, await self.result(workflow_id), STEPS)

    def check(self, histories: Histories) -> None:
        super().check(histories)
        completed = {
            (key.run_id, event.workflow_task_completed_event_attributes.started_event_id): event
            for key, events in histories.items()
            for event in events
            if event.event_type == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        }
        run_ids = {key.run_id for key in histories}
        for (run_id, step), taken in self.ledger.diary.items():
            if self.world.settings.is_embedded and run_id not in run_ids:
                continue  # an embedded engine runs the first task before the start is written, and it never was
            counting = {length for length, _ in taken if (run_id, length) in completed}
            words = f"step {step!r} of {run_id} was taken in the workflow tasks {taken}"
            require(len(counting) == 1, Kind.REPLAY, words)
            (length,) = counting
            at_ns = completed[run_id, length].event_time.ToNanoseconds()
            _, at_s = self.world.outages.span_of(at_ns, at_ns)
            for later, now_s in taken:
                # The times of events have nanoseconds, and a task may end at the moment of its last step.
                is_first = later <= length and now_s <= at_s + 1e-6
                require(is_first, Kind.REPLAY, f"{words}, that of {length} ended at {at_s:.3f}")
        for number in range(2):
            run_id = self.ledger.started[f"diary-{number}"]
            for step in range(STEPS):
                place = run_id, f"after {step}"
                require(place in self.ledger.diary, Kind.REPLAY, f"step {place} was never taken")
