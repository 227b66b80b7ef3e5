"""How worlds differ apart from their faults: cache, sweeps, retention, codec, page sizes.

Page sizes are the constants of the server that limit how much is read or written at once. When they are small, a world
of ten runs takes every code path that a node with thousands of runs takes.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import ModuleType

from perdure.core.units import DAY_NS, SECOND_NS
from perdure.server.matching import host as matching_host
from perdure.server.shards import committer, wakes
from perdure.server.timers import retention, row_sweep

RETENTIONS_S = (3, 8, 20)

_SMALL: tuple[tuple[ModuleType, str, int], ...] = (
    (wakes, "SCAN_ROWS", 4),
    (wakes, "FIRING_MAX", 2),
    (wakes, "_STALE_MAX", 2),
    (retention, "CHUNK_RUNS", 2),
    (row_sweep, "PAGE_ROWS", 2),
    (matching_host, "SCAN_ROWS", 2),
    (committer, "BATCH_BYTES_MAX", 2_000),
)
_HASTY: tuple[tuple[ModuleType, str, int], ...] = ((retention, "PAUSE_NS", SECOND_NS),)


@dataclass(frozen=True)
class Settings:
    """The settings of one world."""

    has_small_cache: bool
    has_row_sweep: bool
    """Without the sweep, transitions and pollers alone must keep the polled queue clean."""
    has_codec: bool
    has_small_pages: bool
    has_slow_deliveries: bool
    """Effects take seconds to arrive, so that the destination can change in the meantime."""
    retention_ns: int
    is_embedded: bool
    """Workers die with their engine, and the next engine times out what they had."""

    @property
    def deletes_soon(self) -> bool:
        """Closed runs are deleted while the world runs."""
        return self.retention_ns < DAY_NS

    @staticmethod
    def draw(random: Random) -> Settings:
        return Settings(
            has_small_cache=random.random() < 0.5,
            has_row_sweep=random.random() < 0.5,
            has_codec=random.random() < 0.5,
            has_small_pages=random.random() < 0.5,
            has_slow_deliveries=random.random() < 0.5,
            retention_ns=random.choice(RETENTIONS_S) * SECOND_NS
            if random.random() < 0.5
            else DAY_NS,
            is_embedded=random.random() < 0.4,
        )

    @contextmanager
    def in_force(self) -> Generator[None]:
        """Set the server's constants for the length of the block."""
        wanted = [*(_SMALL if self.has_small_pages else ()), *(_HASTY if self.deletes_soon else ())]
        before = [(module, name, getattr(module, name)) for module, name, _ in wanted]
        try:
            for module, name, value in wanted:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)
