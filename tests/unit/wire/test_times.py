"""Nanoseconds to and from the API's times, and back without loss."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.wire import times

AMOUNTS = [0, 1, 999_999_999, 10**9, 10**9 + 1, 1_700_000_000_123_456_789]


@pytest.mark.parametrize("ns", AMOUNTS)
def test_times_survive_the_way_there_and_back(ns: int) -> None:
    stamp, span = times.timestamp(ns), times.duration(ns)
    assert (stamp.seconds, stamp.nanos) == (span.seconds, span.nanos) == divmod(ns, 10**9)
    assert times.timestamp_ns(stamp) == times.duration_ns(span) == ns
    field = Timestamp(seconds=7, nanos=7)
    times.set_timestamp(field, ns)
    assert field == stamp


@pytest.mark.parametrize(
    ("ns", "seconds", "nanos"), [(-1, 0, -1), (-(10**9), -1, 0), (-1_500_000_000, -1, -500_000_000)]
)
def test_both_parts_of_a_negative_duration_are_negative(ns: int, seconds: int, nanos: int) -> None:
    assert times.duration(ns) == Duration(seconds=seconds, nanos=nanos)
    assert times.duration_ns(times.duration(ns)) == ns


@pytest.mark.parametrize(
    ("seconds", "ns"),
    [
        (9_223_372_036, 9_223_372_036 * 10**9),
        (9_223_372_037, 2**63 - 1),
        (10**12, 2**63 - 1),
        (-9_223_372_037, -(2**63 - 1)),
        (-(10**12), -(2**63 - 1)),
    ],
)
def test_times_and_durations_end_where_64_bits_do(seconds: int, ns: int) -> None:
    assert times.duration_ns(Duration(seconds=seconds)) == ns
    at_ns = times.timestamp_ns(Timestamp(seconds=seconds))
    assert at_ns == (ns if seconds > 0 else seconds * 10**9), "times are not bounded below"


def test_nothing_stands_for_what_is_not_set() -> None:
    assert times.timestamp_or_none(0) is None
    assert times.duration_or_none(0) is None
    assert times.timestamp_or_none(5) == Timestamp(nanos=5)
    assert times.duration_or_none(5) == Duration(nanos=5)
    assert times.timestamp_ns(Timestamp()) == times.duration_ns(Duration()) == 0


def test_the_units() -> None:
    assert (times.NS_PER_SECOND, times.NS_PER_MS) == (10**9, 10**6)
