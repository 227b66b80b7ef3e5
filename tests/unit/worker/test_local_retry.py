"""When a local activity is tried again: the rules, without a clock."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.wire.api import common, enums
from perdure.wire.api import failure as failures
from perdure.wire.times import duration
from perdure.worker.activity.local_retry import retry_delay_ns


def policy(**fields: Any) -> common.RetryPolicy:
    return common.RetryPolicy(**fields)


def application(**fields: Any) -> failures.Failure:
    return failures.Failure(application_failure_info=failures.ApplicationFailureInfo(**fields))


def timeout(kind: enums.TimeoutType.ValueType) -> failures.Failure:
    return failures.Failure(timeout_failure_info=failures.TimeoutFailureInfo(timeout_type=kind))


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (7, 64), (8, 100)])
def test_the_default_policy_doubles_up_to_a_hundred_times(attempt: int, seconds: int) -> None:
    assert retry_delay_ns(None, attempt, application()) == seconds * SECOND_NS


def test_a_policy_of_ones_own() -> None:
    own = policy(
        initial_interval=duration(3 * SECOND_NS),
        backoff_coefficient=1.0,
        maximum_interval=duration(1 * SECOND_NS),
        maximum_attempts=3,
    )
    # A maximum below the first interval counts as that interval.
    assert retry_delay_ns(own, 2, application()) == 3 * SECOND_NS
    assert retry_delay_ns(own, 3, application()) is None


def test_what_is_never_retried() -> None:
    assert retry_delay_ns(None, 1, application(non_retryable=True)) is None
    named = policy(non_retryable_error_types=["CardDeclined"])
    assert retry_delay_ns(named, 1, application(type="carddeclined")) is None
    assert retry_delay_ns(named, 1, application(type="Other")) == SECOND_NS
    assert (
        retry_delay_ns(None, 1, timeout(enums.TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)) is None
    )
    assert (
        retry_delay_ns(None, 1, timeout(enums.TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START)) is None
    )


def test_a_start_to_close_time_out_and_failures_of_other_kinds_are_retried() -> None:
    assert retry_delay_ns(None, 1, timeout(enums.TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE))
    assert retry_delay_ns(None, 1, failures.Failure(message="no kind at all")) == SECOND_NS


def test_the_activity_may_say_when() -> None:
    said = application(next_retry_delay=duration(7 * SECOND_NS))
    assert retry_delay_ns(None, 5, said) == 7 * SECOND_NS
    none = application(next_retry_delay=duration(0))
    assert retry_delay_ns(None, 5, none) == 0
