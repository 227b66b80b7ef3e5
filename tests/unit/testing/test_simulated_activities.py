"""Every form that an activity may have, inside a simulation: it is called, and what comes of it is on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError
from perdure.testing import ActivityEnvironment, Outcome, simulate
from perdure.testing.simulation.activities import timeout_ns

HOUR = timedelta(hours=1)


def half(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


@activity.defn(name="halves")
async def async_function(number: int) -> int:
    return half(number)


@activity.defn(name="halves")
def sync_function(number: int) -> int:
    return half(number)


class Methods:
    @activity.defn(name="halves")
    async def a(self, number: int) -> int:
        return half(number)

    @activity.defn(name="halves")
    def b(self, number: int) -> int:
        return half(number)


@activity.defn(name="halves")
class AsyncObject:
    async def __call__(self, number: int) -> int:
        return half(number)


@activity.defn(name="halves")
class SyncObject:
    def __call__(self, number: int) -> int:
        return half(number)


SECOND = timedelta(seconds=1)
FORMS: Sequence[Callable[..., Any]] = (
    async_function,
    sync_function,
    Methods().a,
    Methods().b,
    AsyncObject(),
    SyncObject(),
)


@workflow.defn
class Halves:
    @workflow.run
    async def run(self, number: int) -> str:
        try:
            result: int = await workflow.execute_activity(
                "halves",
                number,
                start_to_close_timeout=HOUR,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except ActivityError as error:
            return f"failed: {error.cause}"
        return f"returned {result}"


@pytest.mark.parametrize("form", FORMS)
def test_an_activity_of_any_form_is_called(form: Callable[..., Any]) -> None:
    seen: list[Outcome] = []
    for number in (8, 7):
        simulate(
            Halves.run,
            number,
            activities=[form],
            schedule=[],
            seeds=1,
            invariants=[seen.append],
        )
    returned, failed = seen
    assert returned.result == "returned 4"
    assert [each.result for each in returned.executions] == [4]
    assert "7 is odd" in failed.result
    assert [str(each.error) for each in failed.executions] == ["7 is odd"]
    assert [each.is_known for each in (*returned.executions, *failed.executions)] == [True, True]


@pytest.mark.parametrize(
    ("start_to_close", "schedule_to_close", "expected_ns"),
    [
        (None, None, 0),
        (SECOND, None, 10**9),
        (None, SECOND, 10**9),
        (SECOND, 2 * SECOND, 10**9),
        (2 * SECOND, SECOND, 10**9),
        (SECOND / 2, HOUR, 5 * 10**8),
    ],
)
def test_an_attempt_may_take_as_long_as_the_shorter_time_out(
    start_to_close: timedelta | None, schedule_to_close: timedelta | None, expected_ns: int
) -> None:
    info = dataclasses.replace(
        ActivityEnvironment.default_info(),
        start_to_close_timeout=start_to_close,
        schedule_to_close_timeout=schedule_to_close,
    )
    assert timeout_ns(info) == expected_ns
