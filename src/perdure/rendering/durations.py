"""Durations as people write and read them: `1h30m`, `10s`, `500ms`. Integer nanoseconds inside."""

from __future__ import annotations

import re
from fractions import Fraction

from perdure.core.units import DAY_NS, HOUR_NS, MINUTE_NS, MS_NS, SECOND_NS

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": MS_NS,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": HOUR_NS,
    "d": DAY_NS,
}
CHARACTERS_MAX = 1000
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")


def parse(text: str) -> int:
    """Nanoseconds of a duration such as `1h30m`, `1.5s` or `250ms`; `0` needs no unit.

    Raises:
        ValueError: The text is not a duration; the message shows the form.

    Example:
        >>> parse("1m30s")
        90000000000
    """
    stripped = text.strip()
    if len(stripped) > CHARACTERS_MAX:
        raise ValueError(f"a duration has at most {CHARACTERS_MAX} characters")
    if stripped == "0":
        return 0
    total, position = Fraction(0), 0
    while match := _PART.match(stripped, position):
        total += Fraction(match[1]) * _UNITS_NS[match[2]]
        position = match.end()
    if not stripped or position != len(stripped):
        raise ValueError(
            f"{text!r} is not a duration; write for instance 500ms, 10s, 5m, 1h30m or 2d"
        )
    return int(total)


def show(ns: int) -> str:
    """A duration in at most seven characters: `0.012s`, `12.41s`, `5m02s`, `3h07m`, `2d04h`."""
    if ns < 0:
        return "-" + show(-ns)
    if ns < 10 * SECOND_NS:
        return f"{ns / SECOND_NS:.3f}s"
    if ns < MINUTE_NS:
        return f"{ns / SECOND_NS:.2f}s"
    if ns < HOUR_NS:
        return f"{ns // MINUTE_NS}m{ns % MINUTE_NS // SECOND_NS:02d}s"
    if ns < DAY_NS:
        return f"{ns // HOUR_NS}h{ns % HOUR_NS // MINUTE_NS:02d}m"
    return f"{ns // DAY_NS}d{ns % DAY_NS // HOUR_NS:02d}h"


def show_exact(ns: int) -> str:
    """A configured duration without rounding: `10s`, `1h30m`, `1.5s`."""
    if ns == 0:
        return "0s"
    parts: list[str] = []
    for unit, size in (("d", DAY_NS), ("h", HOUR_NS), ("m", MINUTE_NS)):
        count, ns = divmod(ns, size)
        if count:
            parts.append(f"{count}{unit}")
    if ns:
        seconds = f"{ns // SECOND_NS}.{ns % SECOND_NS:09d}".rstrip("0").rstrip(".")
        parts.append(f"{seconds}s")
    return "".join(parts)
