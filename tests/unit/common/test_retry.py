from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.common import RetryPolicy
from perdure.wire.api import common as common_pb


def to_proto(policy: RetryPolicy) -> common_pb.RetryPolicy:
    proto = common_pb.RetryPolicy()
    policy.apply_to_proto(proto)
    return proto


def test_a_missing_maximum_is_written_out() -> None:
    proto = to_proto(RetryPolicy(initial_interval=timedelta(seconds=2)))
    assert proto.maximum_interval.seconds == 200
    assert proto.backoff_coefficient == 2.0


def test_round_trip() -> None:
    policy = RetryPolicy(timedelta(seconds=1), 1.5, timedelta(minutes=1), 7, ["A", "B"])
    assert RetryPolicy.from_proto(to_proto(policy)) == policy


def test_an_empty_message_has_no_maximum_and_no_types() -> None:
    policy = RetryPolicy.from_proto(common_pb.RetryPolicy())
    assert (policy.maximum_interval, policy.non_retryable_error_types) == (None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_interval": timedelta(seconds=-1)}, "Initial interval cannot be negative"),
        ({"backoff_coefficient": 0.9}, "less than 1"),
        ({"maximum_interval": timedelta(seconds=-1)}, "Maximum interval cannot be negative"),
        ({"maximum_interval": timedelta(milliseconds=1)}, "less than initial"),
        ({"maximum_attempts": -1}, "Maximum attempts cannot be negative"),
    ],
)
def test_ranges(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_proto(RetryPolicy(**options))


def test_one_attempt_needs_no_sensible_intervals() -> None:
    assert to_proto(RetryPolicy(backoff_coefficient=0, maximum_attempts=1)).maximum_attempts == 1


ZERO = timedelta()
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("options", "is_valid"),
    [
        ({"initial_interval": ZERO}, True),
        ({"initial_interval": -TICK}, False),
        ({"backoff_coefficient": 1.0}, True),
        ({"backoff_coefficient": 0.999}, False),
        ({"maximum_interval": SECOND}, True),
        ({"maximum_interval": SECOND - TICK}, False),
        ({"maximum_interval": ZERO}, True),
        ({"maximum_interval": -TICK}, False),
        ({"initial_interval": ZERO, "maximum_interval": TICK}, True),
        ({"initial_interval": ZERO, "maximum_interval": -TICK}, False),
        ({"maximum_attempts": 0}, True),
        ({"maximum_attempts": -1}, False),
        ({"maximum_attempts": 1, "initial_interval": -TICK, "maximum_interval": -TICK}, True),
        ({"maximum_attempts": 2, "initial_interval": -TICK}, False),
    ],
)
def test_where_the_ranges_end(options: dict[str, Any], is_valid: bool) -> None:
    policy = RetryPolicy(**options)
    if is_valid:
        policy.validate()
        assert to_proto(policy).maximum_attempts == policy.maximum_attempts
    else:
        with pytest.raises(ValueError, match="cannot be"):
            policy.validate()


def test_every_field_is_written_and_nothing_else() -> None:
    proto = to_proto(RetryPolicy(SECOND, 3.0, 2 * SECOND, 4, ["A"]))
    assert (proto.initial_interval.seconds, proto.maximum_interval.seconds) == (1, 2)
    assert (proto.backoff_coefficient, proto.maximum_attempts) == (3.0, 4)
    assert list(proto.non_retryable_error_types) == ["A"]
    assert list(to_proto(RetryPolicy()).non_retryable_error_types) == []
