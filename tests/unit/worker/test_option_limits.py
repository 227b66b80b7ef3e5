"""What a worker's options must not be, and how a duration becomes nanoseconds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.worker.options import to_ns
from tests.unit.worker.test_poll_numbers import options

COUNTS = (
    "max_concurrent_workflow_tasks", "max_concurrent_activities", "max_concurrent_local_activities",
    "workflow_pollers", "activity_pollers",
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task_queue": ""}, "needs a task_queue"),
        ({"activities": [], "workflows": []}, "At least one activity, Nexus service, or workflow"),
        ({"max_cached_workflows": -1}, "cannot be negative"),
        ({"workflow_pollers": 1}, "must be at least 2 with a workflow cache"),
        ({"nonsticky_to_sticky_poll_ratio": 1.1}, "between 0 and 1"),
        ({"nonsticky_to_sticky_poll_ratio": -0.1}, "between 0 and 1"),
        *(({name: 0}, f"{name} must be at least 1, not 0") for name in COUNTS),
    ],
)
def test_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        options(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"activities": []},
        {"workflows": []},
        {"max_cached_workflows": 0},
        {"max_cached_workflows": 0, "workflow_pollers": 1},
        {"workflow_pollers": 2},
        {"nonsticky_to_sticky_poll_ratio": 0},
        {"nonsticky_to_sticky_poll_ratio": 1},
        *({name: 1, "max_cached_workflows": 0} for name in COUNTS),
    ],
)
def test_allowed(given: dict[str, Any]) -> None:
    made = options(**given)
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize(
    ("cached", "tasks", "expected"), [(0, 2, False), (1, 1, False), (1, 2, True)]
)
def test_a_sticky_queue_needs_a_cache_and_two_slots(
    cached: int, tasks: int, expected: bool
) -> None:
    made = options(max_cached_workflows=cached, max_concurrent_workflow_tasks=tasks)
    assert made.uses_sticky_queue is expected


def test_durations_are_exact() -> None:
    assert to_ns(timedelta(days=1, seconds=2, microseconds=3)) == 86_402_000_003_000
    assert to_ns(timedelta(days=36_500, microseconds=1)) == 36_500 * 86_400 * 10**9 + 1_000
