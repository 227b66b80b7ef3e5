"""How many polls: what the user said; else a few, and more under load, most of all where they are free."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker
from perdure.worker.options import WorkerOptions
from perdure.worker.polling.poll_numbers import (
    NO_POLLS,
    PollNumbers,
    activity_polls,
    workflow_polls,
)
from tests.unit.worker.scripted import ScriptedConnection


@activity.defn
async def step() -> None: ...


@workflow.defn
class Nothing:
    @workflow.run
    async def run(self) -> str:
        return "done"


def options(**given: Any) -> WorkerOptions:
    plain: dict[str, Any] = {
        "task_queue": "q",
        "activities": [step],
        "workflows": [Nothing],
        "activity_executor": None,
        "build_id": "b",
        "identity": "i",
        "max_cached_workflows": 10,
        "max_concurrent_workflow_tasks": 100,
        "max_concurrent_activities": 100,
        "max_concurrent_local_activities": 100,
        "workflow_pollers": None,
        "activity_pollers": None,
        "nonsticky_to_sticky_poll_ratio": 0.2,
        "no_remote_activities": False,
        "sticky_timeout_ns": 0,
        "heartbeat_throttle_max_ns": 0,
        "heartbeat_throttle_default_ns": 0,
        "max_task_queue_activities_per_second": None,
        "graceful_shutdown_ns": 0,
        "workflow_failure_exception_types": (),
        "disable_eager_activity_execution": False,
        "workflow_execution": "event_loop",
        "deadlock_budget_ns": 0,
    }
    return WorkerOptions(**{**plain, **given})


ONE = PollNumbers(1, 1)


@pytest.mark.parametrize(
    ("given", "are_free", "normal", "sticky"),
    [
        ({}, False, PollNumbers(1, 20), PollNumbers(4, 20)),
        ({}, True, PollNumbers(1, 40), PollNumbers(4, 40)),
        ({"workflow_pollers": 10}, True, PollNumbers(2, 2), PollNumbers(8, 8)),
        ({"workflow_pollers": 3}, False, ONE, PollNumbers(2, 2)),
        (
            {"nonsticky_to_sticky_poll_ratio": 1.0},
            False,
            PollNumbers(4, 20),
            PollNumbers(1, 20),
        ),
        (
            {"nonsticky_to_sticky_poll_ratio": 0.0},
            False,
            PollNumbers(1, 20),
            PollNumbers(4, 20),
        ),
        ({"max_cached_workflows": 0}, False, PollNumbers(5, 20), NO_POLLS),
        # Over a network too, the polls of both queues leave slots free.
        (
            {"max_concurrent_workflow_tasks": 30},
            False,
            PollNumbers(1, 12),
            PollNumbers(4, 12),
        ),
        ({"max_concurrent_workflow_tasks": 2}, False, ONE, ONE),
        ({"max_cached_workflows": 0}, True, PollNumbers(5, 40), NO_POLLS),
        # The polls of one queue must leave a slot to the other's.
        (
            {"workflow_pollers": 100, "max_concurrent_workflow_tasks": 5},
            True,
            ONE,
            PollNumbers(4, 4),
        ),
        ({"max_concurrent_workflow_tasks": 2}, True, ONE, ONE),
        ({"max_concurrent_workflow_tasks": 1}, True, ONE, NO_POLLS),
        ({"workflows": []}, True, NO_POLLS, NO_POLLS),
    ],
)
def test_workflow_polls(
    given: dict[str, Any], are_free: bool, normal: PollNumbers, sticky: PollNumbers
) -> None:
    assert workflow_polls(options(**given), are_free=are_free) == (normal, sticky)


@pytest.mark.parametrize(
    ("given", "are_free", "expected"),
    [
        ({}, False, PollNumbers(5, 20)),
        ({"activity_pollers": 7}, False, PollNumbers(7, 7)),
        ({"max_concurrent_activities": 30}, False, PollNumbers(5, 15)),
        ({"max_concurrent_activities": 6}, False, PollNumbers(5, 5)),
        ({}, True, PollNumbers(5, 50)),
        ({"activity_pollers": 7}, True, PollNumbers(7, 7)),
        ({"max_concurrent_activities": 2}, True, PollNumbers(5, 5)),
        ({"activities": []}, True, NO_POLLS),
        ({"no_remote_activities": True}, True, NO_POLLS),
    ],
)
def test_activity_polls(given: dict[str, Any], are_free: bool, expected: PollNumbers) -> None:
    assert activity_polls(options(**given), are_free=are_free) == expected


async def test_the_engine_of_this_process_says_that_polls_are_free() -> None:
    async with await Client.connect("memory:") as client:
        assert client.connection.polls_are_free
    assert not ScriptedConnection().polls_are_free


async def test_one_slot_is_enough_for_both_kinds_of_task() -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(
            client,
            task_queue="q",
            workflows=[Nothing],
            max_concurrent_workflow_tasks=1,
        ),
    ):
        results = [
            await client.execute_workflow(Nothing.run, id=f"w-{number}", task_queue="q")
            for number in range(3)
        ]
        assert results == ["done"] * 3
