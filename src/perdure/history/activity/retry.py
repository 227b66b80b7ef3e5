"""Whether and when a failed activity attempt is retried: S-28 to S-30, as arithmetic.

Not here: what happens then (`activity.close`).
"""

from __future__ import annotations

from typing import NamedTuple

from perdure.core.backoff import exponential_ns
from perdure.core.limits import DURATION_MAX_NS
from perdure.history.state.run_state import Activity, RetryPolicy
from perdure.wire.api import enums, failure
from perdure.wire.times import duration_ns

Failure = failure.Failure
RetryState = enums.RetryState

TIMEOUT_NAMES: dict[int, str] = {
    enums.TIMEOUT_TYPE_START_TO_CLOSE: "StartToClose",
    enums.TIMEOUT_TYPE_SCHEDULE_TO_START: "ScheduleToStart",
    enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE: "ScheduleToClose",
    enums.TIMEOUT_TYPE_HEARTBEAT: "Heartbeat",
}
TIMEOUT_ERROR_PREFIX = "TemporalTimeout:"
"""How a time-out is named in `non_retryable_error_types` (S-30)."""

_NO_ATTEMPT = frozenset(
    {enums.TIMEOUT_TYPE_SCHEDULE_TO_START, enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE}
)
"""Time-outs that are deadlines of the activity and not failures of an attempt."""


class RetryDecision(NamedTuple):
    """`state` is RETRY_STATE_IN_PROGRESS when there is a next attempt, after `interval_ns`; else why there is none."""

    state: RetryState.ValueType
    interval_ns: int = 0

    @property
    def again(self) -> bool:
        return self.state == enums.RETRY_STATE_IN_PROGRESS


def decide_retry(
    activity: Activity, attempt: int, cause: Failure | None, now_ns: int
) -> RetryDecision:
    """What follows the failure of an attempt (S-29).

    Args:
        activity: The activity.
        attempt: The attempt that failed, from 1.
        cause: Its failure; None when the worker gave none, which is retried.
        now_ns: The time of the failure.
    """
    if activity.retry_policy is not None and activity.cancel_requested_event_id:
        return RetryDecision(enums.RETRY_STATE_CANCEL_REQUESTED)
    return decide(activity.retry_policy, attempt, cause, expiration_ns(activity), now_ns)


def decide(
    policy: RetryPolicy | None, attempt: int, cause: Failure | None, expires_ns: int, now_ns: int
) -> RetryDecision:
    """What a policy says, for an activity or for a run, all of whose attempts must end by `expires_ns` (0: never)."""
    if policy is None:
        return RetryDecision(enums.RETRY_STATE_RETRY_POLICY_NOT_SET)
    if cause is not None:
        if cause.timeout_failure_info.timeout_type in _NO_ATTEMPT:
            return RetryDecision(enums.RETRY_STATE_TIMEOUT)
        if not is_retryable(cause, policy.non_retryable_error_types):
            return RetryDecision(enums.RETRY_STATE_NON_RETRYABLE_FAILURE)
    if policy.maximum_attempts and attempt >= policy.maximum_attempts:
        return RetryDecision(enums.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
    # S-30: the worker's own delay overrides the interval and its maximum.
    interval_ns = next_retry_delay_ns(cause) or exponential_ns(
        policy.initial_interval_ns, policy.backoff_coefficient, policy.maximum_interval_ns, attempt
    )
    if expires_ns and now_ns + interval_ns > expires_ns:
        return RetryDecision(enums.RETRY_STATE_TIMEOUT)
    return RetryDecision(enums.RETRY_STATE_IN_PROGRESS, interval_ns)


def is_retryable(cause: Failure, non_retryable_error_types: tuple[str, ...]) -> bool:
    """S-30: by the failure's own word, and by the types that the policy excludes."""
    match cause.WhichOneof("failure_info"):
        case "canceled_failure_info" | "terminated_failure_info":
            return False
        case "timeout_failure_info":
            kind = cause.timeout_failure_info.timeout_type
            name = TIMEOUT_ERROR_PREFIX + TIMEOUT_NAMES.get(kind, "")
            return kind not in _NO_ATTEMPT and name not in non_retryable_error_types
        case "server_failure_info":
            return not cause.server_failure_info.non_retryable
        case "application_failure_info":
            info = cause.application_failure_info
            return not info.non_retryable and info.type not in non_retryable_error_types
        case _:
            return True


def next_retry_delay_ns(cause: Failure | None) -> int:
    """The pause that the worker asked for, at most a hundred years; 0 for none."""
    if cause is None or not cause.HasField("application_failure_info"):
        return 0
    delay_ns = duration_ns(cause.application_failure_info.next_retry_delay)
    return min(max(0, delay_ns), DURATION_MAX_NS)


def expiration_ns(activity: Activity) -> int:
    """When schedule-to-close ends the activity, whatever its attempts; 0 for never."""
    if not activity.schedule_to_close_ns:
        return 0
    return activity.scheduled_ns + activity.schedule_to_close_ns
