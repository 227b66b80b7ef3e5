"""S-29, S-30 and S-33 as tables."""

from __future__ import annotations

import math

import pytest
from google.protobuf.duration_pb2 import Duration

from perdure.core.limits import DURATION_MAX_NS
from perdure.history.activity.command import Timeouts, normalised
from perdure.history.activity.retry import decide_retry, is_retryable, next_retry_delay_ns
from perdure.history.commands.checks import complete_retry_policy, duration_in_range
from perdure.history.state.run_state import Activity, RetryPolicy
from perdure.wire.api import common, enums, failure
from perdure.wire.times import duration, duration_ns

SECOND = 10**9
POLICY = RetryPolicy(
    initial_interval_ns=SECOND,
    backoff_coefficient=2.0,
    maximum_interval_ns=10 * SECOND,
    maximum_attempts=20,
    non_retryable_error_types=("Fatal", "TemporalTimeout:Heartbeat"),
)
PLAIN = failure.Failure(
    message="x", application_failure_info=failure.ApplicationFailureInfo(type="Soft")
)


def activity(
    *, policy: RetryPolicy | None = POLICY, schedule_to_close: int = 0, cancel_requested: int = 0
) -> Activity:
    return Activity(
        scheduled_event_id=5,
        activity_id="a",
        activity_type="Work",
        queue_name="q",
        scheduled_ns=100 * SECOND,
        schedule_to_close_ns=schedule_to_close * SECOND,
        schedule_to_start_ns=0,
        start_to_close_ns=SECOND,
        heartbeat_ns=0,
        retry_policy=policy,
        attributes=b"",
        cancel_requested_event_id=cancel_requested,
    )


def timeout(kind: enums.TimeoutType.ValueType) -> failure.Failure:
    return failure.Failure(timeout_failure_info=failure.TimeoutFailureInfo(timeout_type=kind))


def application(**fields: object) -> failure.Failure:
    info = failure.ApplicationFailureInfo(**fields)  # pyright: ignore[reportArgumentType]  -- fields of the test's table
    return failure.Failure(application_failure_info=info)


@pytest.mark.parametrize(
    ("item", "attempt", "cause", "state"),
    [
        (activity(policy=None), 1, PLAIN, "RETRY_POLICY_NOT_SET"),
        (activity(cancel_requested=7), 1, PLAIN, "CANCEL_REQUESTED"),
        (activity(), 1, application(type="Fatal"), "NON_RETRYABLE_FAILURE"),
        (activity(), 1, timeout(enums.TIMEOUT_TYPE_HEARTBEAT), "NON_RETRYABLE_FAILURE"),
        (activity(), 1, timeout(enums.TIMEOUT_TYPE_START_TO_CLOSE), "IN_PROGRESS"),
        (activity(), 1, timeout(enums.TIMEOUT_TYPE_SCHEDULE_TO_START), "TIMEOUT"),
        (activity(), 1, timeout(enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE), "TIMEOUT"),
        (activity(), 19, PLAIN, "IN_PROGRESS"),
        (activity(), 20, PLAIN, "MAXIMUM_ATTEMPTS_REACHED"),
        (activity(), 1, None, "IN_PROGRESS"),
        # A second has passed; the next attempt would start a second later, exactly at the end or just after it.
        (activity(schedule_to_close=2), 1, PLAIN, "IN_PROGRESS"),
        (activity(schedule_to_close=1), 1, PLAIN, "TIMEOUT"),
    ],
)
def test_why_an_activity_is_retried_or_not(
    item: Activity, attempt: int, cause: failure.Failure | None, state: str
):
    decision = decide_retry(item, attempt, cause, 101 * SECOND)
    assert enums.RetryState.Name(decision.state) == f"RETRY_STATE_{state}"
    assert decision.again == (state == "IN_PROGRESS")


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (4, 8), (5, 10), (19, 10)])
def test_pauses_grow_to_the_maximum(attempt: int, seconds: int):
    assert decide_retry(activity(), attempt, PLAIN, 0).interval_ns == seconds * SECOND


def test_the_workers_own_delay_overrides_interval_and_maximum():
    cause = application(next_retry_delay=duration(60 * SECOND))
    assert decide_retry(activity(), 1, cause, 0).interval_ns == 60 * SECOND
    assert next_retry_delay_ns(PLAIN) == next_retry_delay_ns(None) == 0


@pytest.mark.parametrize(
    ("cause", "retryable"),
    [
        (failure.Failure(canceled_failure_info=failure.CanceledFailureInfo()), False),
        (failure.Failure(terminated_failure_info=failure.TerminatedFailureInfo()), False),
        (failure.Failure(server_failure_info=failure.ServerFailureInfo()), True),
        (
            failure.Failure(server_failure_info=failure.ServerFailureInfo(non_retryable=True)),
            False,
        ),
        (application(non_retryable=True), False),
        (application(type="Fatal"), False),
        (application(type="Other"), True),
        (failure.Failure(message="nothing known"), True),
    ],
)
def test_what_the_failure_says(cause: failure.Failure, retryable: bool):
    assert is_retryable(cause, POLICY.non_retryable_error_types) is retryable


@pytest.mark.parametrize(
    ("asked", "run", "meant"),
    [
        # (schedule-to-close, schedule-to-start, start-to-close, heartbeat)
        ((10, 0, 0, 0), 0, (10, 10, 10, 0)),
        ((10, 20, 30, 40), 0, (10, 10, 10, 10)),
        ((10, 3, 4, 0), 0, (10, 3, 4, 0)),
        ((0, 0, 10, 0), 0, (0, 0, 10, 0)),
        ((0, 0, 10, 0), 60, (60, 60, 10, 0)),
        ((0, 5, 10, 20), 60, (60, 5, 10, 10)),
        ((100, 100, 100, 100), 60, (60, 60, 60, 60)),
        ((0, 90, 90, 0), 60, (60, 60, 60, 0)),
    ],
)
def test_time_outs_mean_together(asked: tuple[int, ...], run: int, meant: tuple[int, ...]):
    assert normalised(Timeouts(*asked), run) == Timeouts(*meant)


def test_an_activity_needs_a_time_out_of_its_run():
    with pytest.raises(ValueError, match="start-to-close or the schedule-to-close"):
        normalised(Timeouts(0, 10, 0, 10), 60)


def policy(**fields: object) -> common.RetryPolicy:
    return common.RetryPolicy(**fields)  # pyright: ignore[reportArgumentType]  -- fields of the test's table


def test_a_retry_policy_gets_its_defaults():
    done = complete_retry_policy(policy(), 10**18)
    assert duration_ns(done.initial_interval) == SECOND
    assert done.backoff_coefficient == 2.0
    assert duration_ns(done.maximum_interval) == 100 * SECOND
    assert done.maximum_attempts == 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (policy(backoff_coefficient=0.5), "backoff coefficient"),
        (policy(backoff_coefficient=math.nan), "not a finite number"),
        (policy(backoff_coefficient=math.inf), "not a finite number"),
        (policy(backoff_coefficient=-math.inf), "not a finite number"),
        (policy(backoff_coefficient=math.nan, maximum_attempts=1), "not a finite number"),
        (policy(maximum_attempts=-1), "attempts is negative"),
        (policy(initial_interval=duration(-1)), "initial interval is negative"),
        (policy(maximum_interval=duration(-1)), "maximum interval is negative"),
        (
            policy(initial_interval=duration(5), maximum_interval=duration(4)),
            "shorter than the initial",
        ),
        (policy(non_retryable_error_types=["TemporalTimeout:Soon"]), "names no kind"),
    ],
)
def test_a_retry_policy_that_makes_no_sense_is_refused(bad: common.RetryPolicy, message: str):
    with pytest.raises(ValueError, match=message):
        complete_retry_policy(bad, 10**18)


def test_one_attempt_needs_no_sensible_pauses():
    assert complete_retry_policy(policy(maximum_attempts=1, backoff_coefficient=0.5), 10**18)


def test_durations_are_capped_and_well_formed():
    assert duration_in_range(duration(7 * SECOND), 5 * SECOND) == 5 * SECOND
    with pytest.raises(ValueError, match="malformed"):
        duration_in_range(type(duration(0))(seconds=1, nanos=-1), 5 * SECOND)


@pytest.mark.parametrize("seconds", [100 * 365 * 86_400 + 1, 10**10, 10**12])
def test_a_delay_that_was_asked_for_is_at_most_a_hundred_years(seconds: int):
    cause = application(next_retry_delay=Duration(seconds=seconds))
    assert next_retry_delay_ns(cause) == DURATION_MAX_NS
    assert decide_retry(activity(), 1, cause, 0).interval_ns == DURATION_MAX_NS
