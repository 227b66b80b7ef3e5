"""Integer nanoseconds to and from protobuf timestamps and durations.

Time inside Perdure is an integer in nanoseconds since the epoch; a duration is an integer in nanoseconds. The types of
`datetime` are for users. Messages come from others: a value that does not fit becomes the nearest one that does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.core.units import END_OF_TIME_NS

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000
_NS_PER_US = 1_000
_WHOLE_SECONDS_MAX = END_OF_TIME_NS // NS_PER_SECOND - 10
"""Fewer seconds are within the bounds whatever the nanoseconds are: those are an `int32`, at most 2.2 s."""
DURATION_MAX = timedelta(seconds=315_576_000_000)
"""The longest duration of protobuf: about ten thousand years."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


def timestamp(ns: int) -> Timestamp:
    seconds, nanos = divmod(ns, NS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def set_timestamp(field: Timestamp, ns: int) -> None:
    """Give a timestamp that belongs to a message its value."""
    field.seconds, field.nanos = divmod(ns, NS_PER_SECOND)


def timestamp_or_none(ns: int) -> Timestamp | None:
    """None for 0, which stands for "not set" in optional fields."""
    return timestamp(ns) if ns else None


def timestamp_ns(value: Timestamp) -> int:
    """0 for an unset timestamp; the end of time for one after it."""
    # Not bounded below: a zero time of Go, in the year 1, means "none" and is shown as it is.
    seconds = value.seconds
    # Nearly always. Comparing seconds costs less than comparing nanoseconds.
    if seconds < _WHOLE_SECONDS_MAX:
        return seconds * NS_PER_SECOND + value.nanos
    return min(seconds * NS_PER_SECOND + value.nanos, END_OF_TIME_NS)


@lru_cache(maxsize=1_024)
def duration(ns: int) -> Duration:
    """A message that may be shared: copy it (as every field of a message does), never change it."""
    seconds, nanos = divmod(abs(ns), NS_PER_SECOND)
    return (
        Duration(seconds=seconds, nanos=nanos)
        if ns >= 0
        else Duration(seconds=-seconds, nanos=-nanos)
    )


def duration_or_none(ns: int) -> Duration | None:
    return duration(ns) if ns else None


def duration_ns(value: Duration) -> int:
    """0 for an unset duration; the longest there is for a longer one."""
    seconds = value.seconds
    if not seconds:  # most durations of requests and events are not set
        return value.nanos
    if -_WHOLE_SECONDS_MAX < seconds < _WHOLE_SECONDS_MAX:
        return seconds * NS_PER_SECOND + value.nanos
    ns = seconds * NS_PER_SECOND + value.nanos
    if -END_OF_TIME_NS <= ns <= END_OF_TIME_NS:
        return ns
    return END_OF_TIME_NS if ns > 0 else -END_OF_TIME_NS


def datetime_of(value: Timestamp) -> datetime:
    """In UTC; the first or last moment that Python knows for one beyond them."""
    seconds, nanos = value.seconds, value.nanos
    if 0 <= seconds < _WHOLE_SECONDS_MAX and 0 <= nanos < NS_PER_SECOND:
        # Nearly always. The methods of messages are in Python and take four times as long.
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // _NS_PER_US)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _LAST_MOMENT if value.seconds > 0 else _FIRST_MOMENT


def timestamp_text(value: Timestamp) -> str:
    """The time as protobuf's JSON writes it, or in Python's ISO format if protobuf's JSON cannot represent it."""
    try:
        return value.ToJsonString()
    except ValueError:
        return datetime_of(value).isoformat()


def timedelta_of(value: Duration) -> timedelta:
    """The longest or shortest that Python knows for one beyond them."""
    seconds, nanos = value.seconds, value.nanos
    if 0 <= seconds < _WHOLE_SECONDS_MAX and nanos >= 0:
        return timedelta(seconds=seconds, microseconds=nanos // _NS_PER_US)
    try:
        return value.ToTimedelta()
    except OverflowError:
        return timedelta.max if value.seconds > 0 else timedelta.min


def set_duration(field: Duration, value: timedelta) -> None:
    """Give a duration that belongs to a message its value; the longest that protobuf knows for a longer one."""
    field.FromTimedelta(max(-DURATION_MAX, min(value, DURATION_MAX)))
