"""Retry policies of workflows and activities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.wire.api import common as common_pb

# Without a maximum the server would apply the same factor; it is written out so that every SDK reads one value.
_MAXIMUM_INTERVAL_FACTOR = 100


@dataclass
class RetryPolicy:
    """When and how often to try again.

    Attributes:
        initial_interval: Delay before the second attempt.
        backoff_coefficient: Each further delay is the last one times this; at least 1.
        maximum_interval: Cap of the delay; None means 100 times the initial interval.
        maximum_attempts: Number of attempts in all; 0 means no limit, 1 means no retry.
        non_retryable_error_types: `ApplicationError.type` values that end the retries.

    Example:
        >>> RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=5)
    """

    initial_interval: timedelta = timedelta(seconds=1)
    backoff_coefficient: float = 2.0
    maximum_interval: timedelta | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: Sequence[str] | None = None

    @staticmethod
    def from_proto(proto: common_pb.RetryPolicy) -> RetryPolicy:
        """The policy that `proto` states."""
        has_maximum = proto.HasField("maximum_interval")
        return RetryPolicy(
            initial_interval=proto.initial_interval.ToTimedelta(),
            backoff_coefficient=proto.backoff_coefficient,
            maximum_interval=proto.maximum_interval.ToTimedelta() if has_maximum else None,
            maximum_attempts=proto.maximum_attempts,
            non_retryable_error_types=list(proto.non_retryable_error_types) or None,
        )

    def apply_to_proto(self, proto: common_pb.RetryPolicy) -> None:
        """Write this policy into `proto`.

        Raises:
            ValueError: A value is out of range.
        """
        self.validate()
        proto.initial_interval.FromTimedelta(self.initial_interval)
        proto.backoff_coefficient = self.backoff_coefficient
        proto.maximum_interval.FromTimedelta(
            self.maximum_interval or self.initial_interval * _MAXIMUM_INTERVAL_FACTOR
        )
        proto.maximum_attempts = self.maximum_attempts
        proto.non_retryable_error_types.extend(self.non_retryable_error_types or ())

    def validate(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A value is out of range. With one attempt only nothing else matters, so nothing is checked.
        """
        if self.maximum_attempts == 1:
            return
        zero = timedelta()
        if self.initial_interval < zero:
            raise ValueError("Initial interval cannot be negative")
        if self.backoff_coefficient < 1:
            raise ValueError("Backoff coefficient cannot be less than 1")
        if self.maximum_interval:
            if self.maximum_interval < zero:
                raise ValueError("Maximum interval cannot be negative")
            if self.maximum_interval < self.initial_interval:
                raise ValueError("Maximum interval cannot be less than initial interval")
        if self.maximum_attempts < 0:
            raise ValueError("Maximum attempts cannot be negative")
