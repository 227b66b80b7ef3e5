"""The seed of a run's random numbers: SipHash-1-3 of its original run id.

Invariant: equal to what every official core computes (key zero, the UTF-8 bytes followed by 0xff,
as the hash of a string in the language the core is written in); changing it breaks every history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_V0: Final = 0x736F_6D65_7073_6575
_V1: Final = 0x646F_7261_6E64_6F6D
_V2: Final = 0x6C79_6765_6E65_7261
_V3: Final = 0x7465_6462_7974_6573


def randomness_seed(run_id: str) -> int:
    """Seed for `random.Random`: a 64-bit number that depends only on `run_id`.

    Example: `randomness_seed("")` is the seed of histories too old to carry an original run id.
    """
    return siphash13(run_id.encode() + b"\xff")


def siphash13(data: bytes) -> int:
    """SipHash with one compression and three finalisation rounds and an all-zero key."""
    if _compiled is not None:
        return int.from_bytes(_compiled(0, data), "little")
    return siphash13_in_python(data)


def siphash13_in_python(data: bytes) -> int:
    """The same, for interpreters without a compiled one."""
    words = [
        int.from_bytes(data[offset : offset + 8], "little") for offset in range(0, len(data) + 1, 8)
    ]
    words[-1] |= (len(data) & 0xFF) << 56
    v0, v1, v2, v3 = _V0, _V1, _V2, _V3
    for word in words:
        v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ word)
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    # The rotations are written out: every run is seeded, and calls are what costs.
    v0 = (v0 + v1) & _MASK
    v1 = ((v1 << 13 | v1 >> 51) & _MASK) ^ v0
    v0 = v0 << 32 & _MASK | v0 >> 32
    v2 = (v2 + v3) & _MASK
    v3 = ((v3 << 16 | v3 >> 48) & _MASK) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = ((v3 << 21 | v3 >> 43) & _MASK) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = ((v1 << 17 | v1 >> 47) & _MASK) ^ v2
    v2 = v2 << 32 & _MASK | v2 >> 32
    return v0, v1, v2, v3


def _find_compiled() -> Callable[[int, bytes], bytes] | None:
    """The interpreter's own SipHash-1-3, with which it names compiled source files, if this one has it.

    Every run is seeded, and in Python that takes about a thousand bytecodes. Which hash an interpreter has is its own
    business, so two texts of different lengths are compared.
    """
    try:
        from _imp import source_hash
    except ImportError:
        return None
    for text in (b"\xff", bytes(range(37))):
        if int.from_bytes(source_hash(0, text), "little") != siphash13_in_python(text):
            return None
    return source_hash


_compiled = _find_compiled()
