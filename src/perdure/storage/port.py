"""The port between the server and a database: one batch in, rows out.

Role: the values of a commit, the rows of a load, and the few errors that report the outcome of a batch. Every store
passes the compliance suite in `tests/stores`.

Invariants: `commit` is atomic over the whole batch; for every shard in it the fence (range id, commit sequence) is
compared and set in the same transaction. Facts, effects and events are bytes that the store never reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from perdure.core.ids import EntityKey, QueueKey, TaskRowId
from perdure.entity.transition import Effect, EventRow, Task, VisibilityRow

# ── what is written ───────────────────────────────────────────────────────────────────────────────


class FactRow(NamedTuple):
    """One fact of an entity. A `value` of None removes it."""

    kind: int
    key: str
    value: bytes | None


class TaskRow(NamedTuple):
    sequence: int
    task: Task


class OutboxRow(NamedTuple):
    sequence: int
    effect: Effect


class EntityWrite(msgspec.Struct, kw_only=True):
    """All changes of one entity in a batch, already merged: each row occurs once."""

    number: int
    key: EntityKey
    shard_id: int
    is_new: bool = False
    events: Sequence[EventRow] = ()
    facts: Sequence[FactRow] = ()
    tasks: Sequence[TaskRow] = ()
    finished_tasks: Sequence[TaskRowId] = ()
    outbox: Sequence[OutboxRow] = ()
    finished_outbox: Sequence[int] = ()
    """Sequences of delivered effects."""
    wake_at_ns: int | None = None
    """None: unchanged; 0: remove the wake-up."""
    has_task_in_flight: bool | None = None
    """Whether a task of the run is in flight, so that `Store.with_tasks_in_flight` lists it; None: unchanged."""
    visibility: VisibilityRow | None = None
    delete_at_ns: int | None = None
    is_deleted: bool = False
    """Retention: remove every row of the entity. Of the other fields only `finished_*` are applied."""


class ShardWrite(msgspec.Struct, frozen=True):
    """The fence of one shard, and the other values of its row."""

    shard_id: int
    range_id: int
    sequence: int
    """The expected commit sequence of the row. The commit sets it to `sequence + 1`."""
    clock_ns: int
    last_entity: int


class CommitBatch(msgspec.Struct, frozen=True):
    shards: tuple[ShardWrite, ...]
    writes: tuple[EntityWrite, ...]


# ── what is read ──────────────────────────────────────────────────────────────────────────────────


class ShardLease(msgspec.Struct, frozen=True):
    """A shard as acquired. The previous values tell the new owner whether its own last batch was written."""

    shard_id: int
    range_id: int
    sequence: int
    clock_ns: int
    last_entity: int
    previous_range_id: int


class StoredEntity(msgspec.Struct, frozen=True):
    number: int
    facts: tuple[FactRow, ...]
    events: tuple[EventRow, ...]
    """Events of branch 0, in order."""
    wake_at_ns: int = 0
    """0: none."""
    has_task_in_flight: bool = False
    shown_events: int = 0
    """How many events lists say that it has: never more than it really has."""


class DoubtfulTasks(NamedTuple):
    """One page of the task table, read in the order of its key."""

    tasks: list[tuple[Task, TaskRowId]]
    """Tasks whose run is not open, and workflow tasks outside their run's own queue."""
    last: TaskRowId | None
    """The last row read, after which the next page begins; None at the end of the table."""


class WakeRow(NamedTuple):
    at_ns: int
    key: EntityKey


class StoredEffect(NamedTuple):
    source: EntityKey
    source_number: int
    sequence: int
    effect: Effect


class Span(NamedTuple):
    """A half-open range of times in ns; 0 as `until_ns` means no end."""

    from_ns: int = 0
    until_ns: int = 0


class VisibilityQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A list of runs, newest first: open runs before closed ones, then by close time, start time and run id.

    Empty fields do not filter. `after` is the last row of the previous page.
    """

    namespace_id: str
    workflow_id: str = ""
    run_id: str = ""
    workflow_type: str = ""
    task_queue: str = ""
    statuses: tuple[int, ...] = ()
    started: Span = Span()
    closed: Span | None = None
    where: str = ""
    """A further condition from a list filter, over the column names, with `?` for each of `arguments`."""
    arguments: tuple[str | int | float, ...] = ()
    after: VisibilityRow | None = None
    limit: int = 1_000
    bytes_max: int = 0
    """Memos and search attributes end the list when they exceed it, but not before its second row. 0: no limit."""


# ── errors ────────────────────────────────────────────────────────────────────────────────────────


class StoreError(Exception):
    """Base class of the errors of a store."""


class DamageError(StoreError):
    """Pages or rows of the database are damaged. The same call fails again: it must not be repeated."""


class NotWritten(StoreError):
    """The batch was definitely not written."""


class GuiltyWrite(NotWritten):
    """Not written because rows of these entities were refused. The rest of the batch can be written without them."""

    def __init__(self, numbers: frozenset[int], message: str) -> None:
        super().__init__(message)
        self.numbers = numbers


class DamagedRows(DamageError, GuiltyWrite):
    """As `GuiltyWrite`, because the pages that hold the rows of these entities are damaged."""


class FenceLost(NotWritten):
    """Not written: these shards have another owner, or another batch was written first."""

    def __init__(self, shard_ids: frozenset[int]) -> None:
        super().__init__(f"lost the fence of shards {sorted(shard_ids)}")
        self.shard_ids = shard_ids


class StoreFull(NotWritten):
    """Not written: no space left."""


class DamagedWrite(DamageError, NotWritten):
    """Not written, because the pages that would change are damaged."""


class FileGone(NotWritten):
    """Not written: the file of the open database is no longer at its place."""


class UnknownOutcome(StoreError):
    """The batch may or may not have been written. The fences of its shards tell which."""


class OpenError(StoreError):
    """The database cannot be used. `str()` is one line that says what to do."""


class InUse(OpenError):
    """Another live process has the database open. `holder` is its process id, if known."""

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class LostCommits(OpenError):
    """Commits that were acknowledged are not in the database any more. `commits` is how many at least."""

    def __init__(self, message: str, commits: int = 0) -> None:
        super().__init__(message)
        self.commits = commits


class NewerSchema(OpenError):
    """A newer version of Perdure wrote the database."""


class Damaged(DamageError, OpenError):
    """The file is damaged or is not a Perdure database."""


class Store(Protocol):
    """A database. Calls may run concurrently, except that only one `commit` runs at a time.

    A read sees everything that was committed before it began. Reads that are described as *slow* may go through many
    rows. The others are short: they find their rows by key, and starts and tasks wait for them. In a database file, a
    short read never waits for a slow one. In memory, they take turns.
    """

    @property
    def shard_count(self) -> int:
        """The number of shards, fixed when the database was created."""
        ...

    async def acquire(self, shard_id: int) -> ShardLease:
        """Take over a shard. Its range id grows, which fences off the previous owner."""
        ...

    async def commit(self, batch: CommitBatch) -> None:
        """Write the batch durably, or raise `NotWritten` (or a subclass) or `UnknownOutcome`."""
        ...

    async def load(self, key: EntityKey) -> StoredEntity | None: ...

    async def events(
        self, number: int, branch: int, first_event_id: int, last_event_id: int
    ) -> list[EventRow]:
        """The rows that hold these events, in order. The first and last row may hold further events."""
        ...

    async def tasks(
        self, queue: QueueKey, shard_id: int, after_sequence: int, limit: int
    ) -> list[TaskRow]:
        """Task rows in commit order, from the first after `after_sequence`."""
        ...

    async def doubtful_tasks(
        self, shard_ids: Sequence[int], before_ns: int, after: TaskRowId | None, limit: int
    ) -> DoubtfulTasks:
        """Of the `limit` rows after `after`, those created before `before_ns` that may never be polled. Slow."""
        ...

    async def wakes(self, shard_ids: Sequence[int], until_ns: int, limit: int) -> list[WakeRow]:
        """The earliest wake-ups before `until_ns`, in order of time."""
        ...

    async def expired(self, shard_ids: Sequence[int], until_ns: int, limit: int) -> list[EntityKey]:
        """Closed runs whose retention ended before `until_ns`."""
        ...

    async def outbox(self, shard_ids: Sequence[int]) -> list[StoredEffect]:
        """Every undelivered effect, in order of sequence per shard."""
        ...

    async def with_tasks_in_flight(self, shard_ids: Sequence[int]) -> list[EntityKey]:
        """Runs with a task in flight: a started one, or one that waits in the worker's sticky queue."""
        ...

    async def entities(self, kind: int, fact_kind: int | None = None) -> list[EntityKey]:
        """Entities of `kind` (with a fact of `fact_kind`). Meant for kinds with few entities, such as namespaces."""
        ...

    async def visibility(self, query: VisibilityQuery) -> list[VisibilityRow]:
        """A page of a list. Slow: it reads and filters rows until the page is full."""
        ...

    async def visibility_count(self, query: VisibilityQuery) -> int:
        """The number of matching rows, ignoring `after` and `limit`. Slow."""
        ...

    async def visibility_counts(self, query: VisibilityQuery) -> dict[int, int]:
        """The number of matching rows of each status that occurs, ignoring `after` and `limit`. Slow."""
        ...

    async def close(self) -> None: ...
