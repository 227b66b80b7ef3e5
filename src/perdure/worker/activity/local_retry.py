"""Whether a local activity is retried, and after how long: arithmetic, no clock.

The server decides this for normal activities; here the worker must, with the same defaults. Not here: waiting, and
whether the wait is a durable timer (`activity.local`).
"""

from __future__ import annotations

from perdure.core.backoff import exponential_ns
from perdure.core.units import SECOND_NS
from perdure.wire.api import common, enums
from perdure.wire.api import failure as failures
from perdure.wire.times import duration_ns

INITIAL_INTERVAL_NS = SECOND_NS
COEFFICIENT = 2.0
MAXIMUM_INTERVAL_FACTOR = 100


def retry_delay_ns(
    policy: common.RetryPolicy | None, attempt: int, failure: failures.Failure
) -> int | None:
    """The pause before the next attempt; None if there is no next attempt.

    Args:
        policy: None for the default one; fields that are not set have defaults too.
        attempt: The one that failed, from 1.
        failure: How. Only a start-to-close time-out is retried among time-outs.

    Example:
        >>> retry_delay_ns(None, 3, failures.Failure(message="no"))
        4000000000
    """
    policy = policy or common.RetryPolicy()
    if 0 < policy.maximum_attempts <= attempt or not _is_retryable(policy, failure):
        return None
    application = failure.application_failure_info
    if application.HasField("next_retry_delay"):
        return duration_ns(application.next_retry_delay)
    initial_ns = duration_ns(policy.initial_interval) or INITIAL_INTERVAL_NS
    coefficient = policy.backoff_coefficient
    maximum_ns = duration_ns(policy.maximum_interval) or initial_ns * MAXIMUM_INTERVAL_FACTOR
    return exponential_ns(
        initial_ns,
        coefficient if coefficient >= 1 else COEFFICIENT,
        max(maximum_ns, initial_ns),
        attempt,
    )


def _is_retryable(policy: common.RetryPolicy, failure: failures.Failure) -> bool:
    if failure.HasField("timeout_failure_info"):
        timeout_type = failure.timeout_failure_info.timeout_type
        return timeout_type == enums.TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    application = failure.application_failure_info
    # Case does not matter for local activities, though it does on the server.
    refused = {name.lower() for name in policy.non_retryable_error_types}
    return not application.non_retryable and application.type.lower() not in refused
