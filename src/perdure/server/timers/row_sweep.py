"""Removes obsolete task rows that no poller will ever read.

Role: a worker that dies leaves rows in its sticky queue, and a run that closes may leave rows in queues without a
worker. Once a minute the table is read in pages. The store selects suspicious rows (no open run, or a workflow task
outside the run's own queue), and the run's state decides.

Invariants: a row is removed only if the state says that its task cannot be started; running early, late or partly is
harmless. Not here: rows read for a poller, which the transition that finds them stale removes; rows of open runs in
queues without a worker, which are removed when they are polled or after the run has closed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.storage.port import StoreError
from perdure.wire.errors import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.core.clock import Clock
    from perdure.core.ids import TaskRowId
    from perdure.entity.transition import Task
    from perdure.server.shards.entities import Entities
    from perdure.server.shards.step import Outcome, Steps
    from perdure.storage.port import Store

log = logging.getLogger(__name__)

PAUSE_NS = MINUTE_NS
GRACE_NS = 10 * SECOND_NS
"""Younger rows are skipped, because most of them are about to be polled."""
PAGE_ROWS = 1_000


class RowSweep:
    """Pages through the task table and removes rows whose task can no longer be started.

    Args:
        store: Reads the rows.
        clock: Source of the current time.
        owned: The shards of this node that are ready.
        entities: The cached entities.
        steps: Writes the removals.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        owned: Callable[[], Sequence[int]],
        entities: Entities,
        steps: Steps,
    ) -> None:
        self._store = store
        self._clock = clock
        self._owned = owned
        self._entities = entities
        self._steps = steps

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_NS / SECOND_NS)
            try:
                await self.sweep()
            except (StoreError, RpcError) as error:
                log.warning("stale task rows could not be removed (%s); again in a minute", error)

    async def sweep(self) -> int:
        """Read the table once. Returns how many rows were removed.

        Raises:
            StoreError: The rows could not be read.
            RpcError: A removal could not be written.
        """
        removed = 0
        after: TaskRowId | None = None
        before_ns = self._clock.now_ns() - GRACE_NS
        while True:
            page = await self._store.doubtful_tasks(self._owned(), before_ns, after, PAGE_ROWS)
            if page.tasks:
                removed += await self._remove(page.tasks)
            after = page.last
            if after is None:
                return removed

    async def _remove(self, rows: Sequence[tuple[Task, TaskRowId]]) -> int:
        outcomes: list[Outcome] = []
        for task, row in rows:
            try:
                (entry,) = await self._entities.ready(task.entity)
            except RpcError as error:
                # A damaged run keeps its rows, but it must not block the others.
                log.debug("a task of %s is left: %s", task.entity, error.message)
                continue
            if entry.state is None or entry.type.is_stale(entry.state, task):
                outcomes.append(self._steps.finish_rows(entry, tasks=(row,)))
        for outcome in outcomes:
            await self._entities.durable_reply(outcome)
        return len(outcomes)
