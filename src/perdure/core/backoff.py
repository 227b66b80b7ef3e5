"""Exponential back-off, as arithmetic on integers: the caller owns clock and randomness."""

from __future__ import annotations


def exponential_ns(initial_ns: int, coefficient: float, maximum_ns: int, attempt: int) -> int:
    """The pause before attempt `attempt + 1`, that is after `attempt` (counted from 1) failed.

    It has a value for every input: policies that were stored may have a coefficient that is no number.

    Args:
        initial_ns: Pause after the first attempt.
        coefficient: Factor from one pause to the next, at least 1.
        maximum_ns: Upper bound; 0 means none.
        attempt: The attempt that failed, from 1.

    Example:
        >>> exponential_ns(1_000_000_000, 2.0, 0, 3)
        4000000000
    """
    bound_ns = min(maximum_ns or 2**62, 2**62)
    if initial_ns <= 0:
        return 0
    # A power of floats overflows after about a thousand attempts; the bound is reached long before.
    try:
        interval = initial_ns * coefficient ** max(attempt - 1, 0)
    except OverflowError:
        return bound_ns
    # A comparison with NaN is false, so the pause is then the longest one.
    return int(max(0, interval)) if interval < bound_ns else bound_ns
