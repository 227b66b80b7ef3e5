"""Timers of a workflow whose local activity runs: the server is told of them, and they fire, while it does."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Any, cast

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowHistory
from perdure.exceptions import ActivityError
from perdure.wire.api import enums
from perdure.worker import Replayer, Worker
from perdure.worker.workflow.run import OVERDUE_MAX, TIMER_SHARE, TIMER_WAIT_S, CachedRun, Timer

_LONG = timedelta(seconds=60)


@activity.defn
async def quick() -> str:
    return "done"


@activity.defn
async def endless() -> None:
    await asyncio.Event().wait()


@workflow.defn
class Limited:
    @workflow.run
    async def run(self, name: str, limit_s: float) -> str:
        try:
            async with asyncio.timeout(limit_s):
                return await workflow.execute_local_activity(name, start_to_close_timeout=_LONG)
        except (TimeoutError, ActivityError) as error:
            return type(error).__name__


def count(history: WorkflowHistory, kind: enums.EventType.ValueType) -> int:
    return sum(event.event_type == kind for event in history.events)


async def _run(name: str, limit_s: float) -> tuple[str, WorkflowHistory]:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Limited], activities=[quick, endless]),
    ):
        handle = await client.start_workflow(
            Limited.run, args=[name, limit_s], id="w", task_queue="q"
        )
        result = await handle.result()
        history = await handle.fetch_history()
    await Replayer(workflows=[Limited]).replay_workflow(history)
    return result, history


async def test_a_timeout_around_a_local_activity_ends_it():
    result, history = await _run("endless", 0.2)
    assert result == "ActivityError"
    assert count(history, enums.EVENT_TYPE_TIMER_FIRED) == 1
    assert count(history, enums.EVENT_TYPE_WORKFLOW_TASK_FAILED) == 0


async def test_a_local_activity_that_ends_soon_needs_no_second_task():
    result, history = await _run("quick", 3600)
    assert result == "done"
    assert count(history, enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) == 1


def _patience() -> Any:
    """A run of which only the rule about timers is asked."""
    nothing = cast("Any", None)
    return CachedRun("r", nothing, nothing, nothing, nothing, nothing, nothing)


@pytest.mark.parametrize(
    ("timers", "expected_s"),
    [
        ([], math.inf),
        ([(1, 60.0)], 60 * TIMER_SHARE),
        ([(1, 60.0), (2, 30.0)], 30 * TIMER_SHARE),
        ([(1, 0.001)], TIMER_WAIT_S),
    ],
)
def test_a_new_timer_is_told_to_the_server_early(timers: list[Timer], expected_s: float):
    assert _patience()._wait_for_timers_s(timers) == expected_s


def test_a_timer_that_the_server_knows_is_waited_for():
    run = _patience()
    run._answered_early([(1, 60.0), (2, 5.0)])
    assert run._wait_for_timers_s([(1, 54.0), (2, 4.0)]) == 4.0
    assert run._wait_for_timers_s([(1, 54.0), (3, 20.0)]) == 20 * TIMER_SHARE


def test_a_late_timer_is_asked_for_less_and_less_often():
    run = _patience()
    run._answered_early([(1, 5.0)])
    late: list[Timer] = [(1, -0.5)]
    waits: list[float] = []
    for _ in range(4):
        waits.append(run._wait_for_timers_s(late))
        run._answered_early(late)
    assert waits == [TIMER_WAIT_S * factor for factor in (1, 2, 4, 8)]
    for _ in range(OVERDUE_MAX):
        run._answered_early(late)
    assert run._wait_for_timers_s(late) == TIMER_WAIT_S * 2**OVERDUE_MAX
    # Another timer is not late.
    run._answered_early([(2, 9.0)])
    run._answered_early([(2, 8.0)])
    assert run._wait_for_timers_s([(2, -0.1)]) == TIMER_WAIT_S
