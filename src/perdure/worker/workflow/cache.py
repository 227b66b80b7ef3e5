"""Runs that a worker keeps in memory, so that a workflow task costs its new events and not a replay.

Least recently used, and only idle runs are evicted: a run in the middle of a task, or with one waiting, stays. A
cache of size 0 keeps a run for exactly one task. Not here: what a run is (`workflow.run`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.worker.workflow.run import CachedRun


class RunCache:
    """Run id -> run, bounded by `maximum` idle runs."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[CachedRun]:
        return iter(list(self._runs.values()))

    def get(self, run_id: str) -> CachedRun | None:
        run = self._runs.get(run_id)
        if run is not None:
            self._runs.move_to_end(run_id)
        return run

    def add(self, run: CachedRun) -> None:
        self._runs[run.run_id] = run

    def evict(self, run: CachedRun) -> None:
        """Forget the run and tear its coroutines down; safe to call twice."""
        if self._runs.get(run.run_id) is run:
            del self._runs[run.run_id]
        run.close()

    def trim(self) -> None:
        """Evict idle runs, the least recently used first, until the cache is within its bound."""
        excess = len(self._runs) - self.maximum
        if excess <= 0:
            return
        idle = [run for run in self._runs.values() if run.is_idle]
        for run in idle[:excess]:
            self.evict(run)
