"""Nanoseconds in the usual units of time."""

from __future__ import annotations

MS_NS = 1_000_000
SECOND_NS = 1_000 * MS_NS
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

END_OF_TIME_NS = 2**63 - 1
"""The latest time, in the year 2262, and the longest duration: what a store's 64-bit integers can hold."""


def later_ns(at_ns: int, delay_ns: int) -> int:
    """`delay_ns` after `at_ns`, but no later than the end of time."""
    return min(at_ns + delay_ns, END_OF_TIME_NS)
