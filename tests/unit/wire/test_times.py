"""Nanoseconds to and from the API's times, and back without loss."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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


def test_times_for_users_are_exact_to_the_microsecond():
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    assert times.datetime_of(stamp) == moment
    for span in (timedelta(0), timedelta(microseconds=1), timedelta(days=-3, seconds=5)):
        field = Duration()
        times.set_duration(field, span)
        assert times.timedelta_of(field) == span


@pytest.mark.parametrize("seconds", [2**62, 400_000_000_000, 86_400 * 10**9, 2**63 - 1])
def test_times_beyond_what_python_knows_are_its_last_or_first(seconds: int):
    last, first = (limit.replace(tzinfo=UTC) for limit in (datetime.max, datetime.min))  # noqa: DTZ901
    assert times.datetime_of(Timestamp(seconds=seconds)) == last
    assert times.datetime_of(Timestamp(seconds=-seconds)) == first


@pytest.mark.parametrize("seconds", [2**62, 86_400 * 10**9, 2**63 - 1])
def test_spans_beyond_what_python_knows_are_its_longest(seconds: int):
    assert times.timedelta_of(Duration(seconds=seconds)) == timedelta.max
    assert times.timedelta_of(Duration(seconds=-seconds)) == timedelta.min


def test_spans_beyond_what_messages_hold_are_the_longest_that_they_hold():
    field = Duration()
    times.set_duration(field, timedelta.max)
    assert (field.seconds, field.nanos) == (315_576_000_000, 0)
    times.set_duration(field, timedelta.min)
    assert (field.seconds, field.nanos) == (-315_576_000_000, 0)


@pytest.mark.parametrize(
    ("seconds", "nanos", "span"),
    [
        (0, 1_999, timedelta(microseconds=1)),
        (3, 999_999_999, timedelta(seconds=3, microseconds=999_999)),
        (0, -1_999, timedelta(microseconds=-1)),
        (-3, -999_999_999, -timedelta(seconds=3, microseconds=999_999)),
        (3, -500_000_000, timedelta(seconds=2.5)),
    ],
)
def test_parts_of_a_microsecond_are_left_out_of_durations(
    seconds: int, nanos: int, span: timedelta
) -> None:
    assert times.timedelta_of(Duration(seconds=seconds, nanos=nanos)) == span


@pytest.mark.parametrize(
    ("seconds", "nanos", "moment"),
    [
        (0, 1_999, datetime(1970, 1, 1, microsecond=1, tzinfo=UTC)),
        (-1, 999_999_999, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        (5, -1, datetime.max.replace(tzinfo=UTC)),
        (5, 10**9, datetime.max.replace(tzinfo=UTC)),
        (-5, -1, datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_parts_of_a_microsecond_are_left_out_of_moments_and_what_is_none_is_the_nearest(
    seconds: int, nanos: int, moment: datetime
) -> None:
    assert times.datetime_of(Timestamp(seconds=seconds, nanos=nanos)) == moment
