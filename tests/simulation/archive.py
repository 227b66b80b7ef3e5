"""All runs of a world: those in the database, and those that the retention deleted, as they were before.

The archive copies an entity when the store is asked to delete it. At the end it looks whether the deletion was written.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from perdure.core.ids import EntityKey, EntityKind
from perdure.history.entity_types import WORKFLOW_IDS
from perdure.history.state.facts import FactKind
from perdure.history.state.pointer import CurrentRun
from perdure.server.common.codec import decode_fact
from perdure.storage import sqlite_read
from perdure.storage.port import StoredEntity, StoreError
from perdure.wire.events import parse_rows
from tests.simulation.violations import Kind, require
from tests.stores.faults import FaultyStore

if TYPE_CHECKING:
    from typing import Any

    from perdure.storage.port import CommitBatch, Store
    from perdure.testing.simulation.loop import SimClock
    from perdure.wire.api import history

_OWNED = ("events", "facts", "wakes", "held", "retention", "outbox", "visibility")


Histories = Mapping[EntityKey, Sequence["history.HistoryEvent"]]
"""The histories of all runs, deleted ones included."""


class Deletion(NamedTuple):
    """One entity, as it was before its deletion."""

    stored: StoredEntity
    outbox_rows: int
    asked_ns: int
    """When the store was asked to delete it, by the node's clock."""
    together: frozenset[EntityKey]
    """All entities to delete in the same batch, this one included."""


class Archive:
    """Remembers the entities that were deleted, for later checks."""

    def __init__(self, database: sqlite3.Connection, clock: SimClock) -> None:
        self._database = database
        self._clock = clock
        self._asked: dict[EntityKey, Deletion] = {}

    def note(self, keys: Iterable[EntityKey]) -> None:
        """Copy entities that the next batch deletes, if it is written."""
        together = frozenset(keys)
        for key in together:
            stored = sqlite_read.load(self._database, key)
            if stored is not None:
                rows = self._count("outbox", stored.number)
                self._asked[key] = Deletion(stored, rows, self._clock.now_ns(), together)

    def deleted(self) -> dict[EntityKey, Deletion]:
        """The entities whose deletion was written."""
        return {
            key: deletion
            for key, deletion in self._asked.items()
            if sqlite_read.load(self._database, key) is None
        }

    def history_of(self, workflow_id: str, run_id: str) -> list[history.HistoryEvent]:
        """The history of a run, deleted or not; empty when there was no such run."""
        for key, events in self.histories().items():
            if key.name == workflow_id and key.run_id == run_id:
                return events
        return []

    def histories(self) -> dict[EntityKey, list[history.HistoryEvent]]:
        """The histories of all runs, deleted ones included."""
        found = {
            key: _events(deletion.stored)
            for key, deletion in self.deleted().items()
            if key.kind == EntityKind.RUN
        }
        for key in sqlite_read.entities(self._database, EntityKind.RUN, FactKind.CREATE):
            stored = sqlite_read.load(self._database, key)
            assert stored is not None, key
            found[key] = _events(stored)
        return found

    def check(self, retention_ns: int, clock_jumps_ns: int = 0) -> None:
        """Each deletion was allowed and complete.

        Raises:
            Violation: A run was deleted too early or left rows behind, or the pointer to another run was deleted.
        """
        for key, deletion in self.deleted().items():
            name = f"{key.name} (run {key.run_id})"
            require(
                not deletion.outbox_rows,
                Kind.RETENTION,
                f"{name} was deleted with {deletion.outbox_rows} undelivered effects",
            )
            for table in _OWNED:
                left = self._count(table, deletion.stored.number)
                require(not left, Kind.RETENTION, f"{name} is deleted and has {left} rows: {table}")
            if key.kind == EntityKind.RUN:
                kept_ns = (
                    deletion.asked_ns - _events(deletion.stored)[-1].event_time.ToNanoseconds()
                )
                require(
                    kept_ns >= retention_ns - clock_jumps_ns,
                    Kind.RETENTION,
                    f"{name} was kept for {kept_ns} ns",
                )
            elif key.kind == EntityKind.WORKFLOW_ID:
                self._check_pointer(key, deletion)

    def _check_pointer(self, key: EntityKey, deletion: Deletion) -> None:
        pointer = decode_fact(WORKFLOW_IDS, deletion.stored.facts[0]).value
        assert isinstance(pointer, CurrentRun)
        run = EntityKey(EntityKind.RUN, key.namespace_id, key.name, pointer.run_id)
        require(
            run in deletion.together,
            Kind.RETENTION,
            f"the pointer of {key.name} was deleted without its run {run.run_id}",
        )

    def _count(self, table: str, number: int) -> int:
        return self._database.execute(
            f"SELECT count(*) FROM {table} WHERE entity = ?", (number,)
        ).fetchone()[0]


class SimStore(FaultyStore):
    """The store of a world: it reports deletions to the archive, and can be made to fail reads."""

    def __init__(self, store: Store, archive: Archive) -> None:
        super().__init__(store)
        self._archive = archive
        self.is_unreadable = False
        self.tasks_gate = asyncio.Event()
        """While it is clear, reads of task rows do not return."""
        self.tasks_gate.set()
        self.run_gate = asyncio.Event()
        """While it is clear, loads of runs do not return."""
        self.run_gate.set()

    def heal(self) -> None:
        """End every fault."""
        self.is_unreadable = self.is_full = self.is_unwritable = False
        self.unknown = ""

    async def commit(self, batch: CommitBatch) -> None:
        self._archive.note(write.key for write in batch.writes if write.is_deleted)
        await super().commit(batch)

    def _readable(self) -> None:
        if self.is_unreadable:
            raise StoreError("the disk cannot be read (test)")

    async def load(self, key: EntityKey) -> StoredEntity | None:
        self._readable()
        found = await super().load(key)
        if key.kind == EntityKind.RUN:
            await self.run_gate.wait()
        return found

    async def wakes(self, *arguments: Any) -> Any:
        self._readable()
        return await self.inner.wakes(*arguments)

    async def tasks(self, *arguments: Any) -> Any:
        self._readable()
        found = await self.inner.tasks(*arguments)
        await self.tasks_gate.wait()
        return found

    async def outbox(self, *arguments: Any) -> Any:
        self._readable()
        return await self.inner.outbox(*arguments)

    async def expired(self, *arguments: Any) -> Any:
        self._readable()
        return await self.inner.expired(*arguments)

    async def doubtful_tasks(self, *arguments: Any) -> Any:
        self._readable()
        return await self.inner.doubtful_tasks(*arguments)

    async def events(self, *arguments: Any) -> Any:
        self._readable()
        return await self.inner.events(*arguments)


def _events(stored: StoredEntity) -> list[history.HistoryEvent]:
    rows: Sequence[bytes] = [row.data for row in stored.events]
    return list(parse_rows(rows).events)
