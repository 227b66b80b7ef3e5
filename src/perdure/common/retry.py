"""Retry policies of workflows and activities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure.wire.times import DURATION_MAX, set_duration, timedelta_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.wire.api import common as common_pb

# Without a maximum the server would apply the same factor; it is written out so that every SDK reads one value.
_MAXIMUM_INTERVAL_FACTOR = 100


@dataclass
class RetryPolicy:
    """When and how often to retry.

    Attributes:
        initial_interval: Delay before the second attempt.
        backoff_coefficient: Each further delay is the previous one times this number, which is at least 1.
        maximum_interval: Upper limit of the delay. None: 100 times the initial interval.
        maximum_attempts: Number of attempts in all. 0: no limit. 1: no retries.
        non_retryable_error_types: Values of `ApplicationError.type` that end the retries.

    Example:
        ```python
        from perdure.common import RetryPolicy


        @activity.defn
        async def charge() -> int:
            if activity.info().attempt < 3:
                raise RuntimeError("the bank does not answer")
            return activity.info().attempt


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> int:
                return await workflow.execute_activity(
                    charge,
                    start_to_close_timeout=timedelta(seconds=30),
                    retry_policy=RetryPolicy(
                        initial_interval=timedelta(hours=1), maximum_attempts=5
                    ),
                )


        async with Worker(client, task_queue="orders", workflows=[Order], activities=[charge]):
            assert await client.execute_workflow(Order.run, id="order-7", task_queue="orders") == 3
        ```
    """

    initial_interval: timedelta = timedelta(seconds=1)
    backoff_coefficient: float = 2.0
    maximum_interval: timedelta | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: Sequence[str] | None = None

    @staticmethod
    def from_proto(proto: common_pb.RetryPolicy) -> RetryPolicy:
        """Read a policy from an API message.

        Args:
            proto: The message.
        """
        has_maximum = proto.HasField("maximum_interval")
        return RetryPolicy(
            initial_interval=timedelta_of(proto.initial_interval),
            backoff_coefficient=proto.backoff_coefficient,
            maximum_interval=timedelta_of(proto.maximum_interval) if has_maximum else None,
            maximum_attempts=proto.maximum_attempts,
            non_retryable_error_types=list(proto.non_retryable_error_types) or None,
        )

    def apply_to_proto(self, proto: common_pb.RetryPolicy) -> None:
        """Write the policy into an API message.

        Args:
            proto: The message to change.

        Raises:
            ValueError: A value is out of range.
        """
        self.validate()
        set_duration(proto.initial_interval, self.initial_interval)
        proto.backoff_coefficient = self.backoff_coefficient
        first = min(self.initial_interval, DURATION_MAX)  # so that the product is no overflow
        set_duration(
            proto.maximum_interval, self.maximum_interval or first * _MAXIMUM_INTERVAL_FACTOR
        )
        proto.maximum_attempts = self.maximum_attempts
        proto.non_retryable_error_types.extend(self.non_retryable_error_types or ())

    def validate(self) -> None:
        """Check the ranges of all values. With `maximum_attempts=1` the other values are not used and not checked.

        Raises:
            ValueError: A value is out of range.
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
