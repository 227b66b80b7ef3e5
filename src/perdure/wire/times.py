"""Integer nanoseconds to and from protobuf timestamps and durations.

Time inside Perdure is an integer in nanoseconds since the epoch; a duration is an integer in nanoseconds.
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.core.units import END_OF_TIME_NS

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000


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
    return min(value.seconds * NS_PER_SECOND + value.nanos, END_OF_TIME_NS)


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
    ns = value.seconds * NS_PER_SECOND + value.nanos
    if -END_OF_TIME_NS <= ns <= END_OF_TIME_NS:
        return ns
    return END_OF_TIME_NS if ns > 0 else -END_OF_TIME_NS
