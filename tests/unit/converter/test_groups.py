"""Exception groups in failures: no member is lost, and what a member asks for holds for its group."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure.converter import DataConverter
from perdure.converter.groups import CAUSES_MAX, MEMBERS_MAX, leaves, text_of
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    RetryState,
    is_cancelled_exception,
)
from perdure.wire.api import failure as failures


def failure_of(error: BaseException) -> failures.Failure:
    made = failures.Failure()
    converter = DataConverter.default
    converter.failure_converter.to_failure(error, converter.payload_converter, made)
    return made


def activity_error(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=5,
        started_event_id=6,
        identity="i",
        activity_type="pay",
        activity_id="1",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    error.__cause__ = cause
    return error


async def test_a_task_group_tells_of_each_member():
    async def bad(number: int) -> None:
        raise ValueError(f"member {number} is broken")

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            group.create_task(bad(1))
            group.create_task(bad(2))
    made = failure_of(raised.value)
    assert made.message == (
        "unhandled errors in a TaskGroup (2 sub-exceptions):"
        " ValueError: member 1 is broken; ValueError: member 2 is broken"
    )
    assert made.application_failure_info.type == "ExceptionGroup"
    assert (made.cause.message, made.cause.application_failure_info.type) == (
        "member 1 is broken",
        "ValueError",
    )
    # As Python prints it: each member with the lines that led to it.
    assert made.stack_trace.count("in bad") == 2
    assert made.cause.stack_trace.count("in bad") == 1


def test_members_of_groups_in_groups_are_named_in_order():
    inner = ExceptionGroup("inner", [ValueError("b"), KeyError("c")])
    outer = BaseExceptionGroup("outer", [ValueError("a"), inner, SystemExit("d")])
    assert [str(each) for each in leaves(outer)] == ["a", "b", "'c'", "d"]
    made = failure_of(outer)
    assert made.message == (
        "outer (3 sub-exceptions): ValueError: a; ValueError: b; KeyError: 'c'; SystemExit: d"
    )
    assert made.application_failure_info.type == "BaseExceptionGroup"


def test_members_are_named_with_their_causes():
    paid = activity_error(ApplicationError("no money", type="Broke"))
    made = failure_of(ExceptionGroup("both", [paid, ValueError("x")]))
    assert made.message == (
        "both (2 sub-exceptions): ActivityError: Activity task failed, caused by Broke: no money; ValueError: x"
    )
    assert made.cause.activity_failure_info.activity_type.name == "pay"
    assert made.cause.cause.message == "no money"


def test_long_chains_and_large_groups_are_cut():
    error: BaseException = ValueError("0")
    for number in range(1, 10):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    assert failure_of(ExceptionGroup("g", [error])).message.count("caused by") == CAUSES_MAX
    many = failure_of(ExceptionGroup("g", [ValueError("x")] * (MEMBERS_MAX + 3))).message
    assert many.count("ValueError: x") == MEMBERS_MAX
    assert many.endswith("; and 3 more")
    assert "more" not in failure_of(ExceptionGroup("g", [ValueError("x")] * MEMBERS_MAX)).message


def test_deep_groups_do_not_exhaust_the_stack():
    group = ExceptionGroup("0", [ApplicationError("leaf")])
    for number in range(3000):
        group = ExceptionGroup(str(number), [group])
    assert [str(each) for each in leaves(group)] == ["leaf"]
    assert not is_cancelled_exception(group)


def test_the_cause_is_the_first_member_that_was_not_cancelled():
    cancelled = activity_error(CancelledError("Cancelled"))
    real = activity_error(ApplicationError("no money"))
    assert failure_of(ExceptionGroup("g", [cancelled, real])).cause.cause.message == "no money"
    assert (
        failure_of(ExceptionGroup("g", [cancelled, cancelled])).cause.cause.message == "Cancelled"
    )


def test_a_cause_that_was_given_stays():
    group = ExceptionGroup("g", [ValueError("member")])
    group.__cause__ = KeyError("given")
    made = failure_of(group)
    assert made.cause.message == "'given'"
    assert "member" in made.message


def test_a_group_as_a_cause_tells_of_its_members():
    error = ApplicationError("outer", type="T")
    error.__cause__ = ExceptionGroup("g", [ValueError("member")])
    made = failure_of(error)
    assert "ValueError: member" in made.cause.message
    assert made.cause.cause.message == "member"


def test_a_member_that_must_not_be_retried_holds_for_the_group():
    retryable, final = ApplicationError("a"), ApplicationError("b", non_retryable=True)
    for members, expected in (([retryable, ValueError()], False), ([retryable, final], True)):
        made = failure_of(ExceptionGroup("g", members)).application_failure_info
        assert made.non_retryable is expected


def test_the_longest_delay_of_a_member_holds_for_the_group():
    short = ApplicationError("a", next_retry_delay=timedelta(seconds=3))
    long = ApplicationError("b", next_retry_delay=timedelta(seconds=5))
    made = failure_of(ExceptionGroup("g", [short, long, ValueError()])).application_failure_info
    assert made.next_retry_delay.seconds == 5
    plain = failure_of(ExceptionGroup("g", [ValueError()])).application_failure_info
    assert not plain.HasField("next_retry_delay")


def test_a_group_is_benign_when_all_its_members_are():
    benign = ApplicationError("a", category=ApplicationErrorCategory.BENIGN)
    for members, expected in (
        ([benign, benign], ApplicationErrorCategory.BENIGN),
        ([benign, ValueError()], ApplicationErrorCategory.UNSPECIFIED),
    ):
        made = failure_of(ExceptionGroup("g", members)).application_failure_info
        assert made.category == expected


def test_a_group_is_cancelled_when_all_its_members_are():
    cancelled = activity_error(CancelledError("x"))
    inner = BaseExceptionGroup("i", [asyncio.CancelledError(), cancelled])
    assert is_cancelled_exception(BaseExceptionGroup("g", [inner, CancelledError("y")]))
    assert not is_cancelled_exception(BaseExceptionGroup("g", [inner, ValueError()]))


class Unprintable(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")


def test_an_error_without_a_text_says_so():
    assert text_of(Unprintable()) == "<str() of Unprintable raised KeyError>"
    made = failure_of(Unprintable())
    assert made.application_failure_info.type == "Unprintable"
    assert made.message == text_of(Unprintable())
    assert text_of(Unprintable()) in failure_of(ExceptionGroup("g", [Unprintable()])).message
