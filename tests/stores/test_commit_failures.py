"""What a store says became of a batch, for each error and each statement at which it may come.

The errors are injected between the store and SQLite: a disk cannot be made to fail its sync on demand.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.core.ids import run_key
from perdure.entity.transition import EventRow
from perdure.storage.port import (
    CommitBatch,
    DamagedWrite,
    DamageError,
    EntityWrite,
    FactRow,
    FenceLost,
    GuiltyWrite,
    NotWritten,
    ShardWrite,
    StoreError,
    StoreFull,
    UnknownOutcome,
    VisibilityQuery,
)
from perdure.storage.sqlite import SqliteStore, open_memory
from tests.stores.conftest import A, B, Writer, open_inline

ENVIRONMENT = [
    "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_NOMEM", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_IOERR_FSYNC",
    "SQLITE_IOERR_WRITE", "SQLITE_CORRUPT", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL",
]  # fmt: skip
FULL_EXTENDED = sqlite3.SQLITE_FULL | 1 << 8


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    return error


class Failing:
    """A connection of which statements that begin so fail: once, or as long as they are listed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.fails: dict[str, BaseException] = {}
        self.performed_first = False
        self.only_once = True
        self.failed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, statement: str, *arguments: Any) -> Any:
        return self._run(self.connection.execute, statement, arguments)

    def executemany(self, statement: str, *arguments: Any) -> Any:
        return self._run(self.connection.executemany, statement, arguments)

    def _run(self, how: Any, statement: str, arguments: Any) -> Any:
        for beginning, error in list(self.fails.items()):
            if statement.startswith(beginning):
                if self.performed_first:
                    how(statement, *arguments)
                if self.only_once:
                    del self.fails[beginning]
                self.failed.append(statement)
                raise error
        return how(statement, *arguments)


class Bench:
    """A store whose writing connection fails on demand."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.connection = store.writing
        self.faults = Failing(store.writing)
        store.writing = cast("sqlite3.Connection", self.faults)

    async def write(self, writer: Writer, **fields: Any) -> None:
        await writer.entity(1, A, facts=(FactRow(1, "", b"x"),), **fields)

    async def is_written(self) -> bool:
        return await self.store.load(A) is not None


@pytest.fixture(params=["memory", "file"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        store = open_memory()
    else:
        store = await open_inline(tmp_path / "x.db")
    made = Bench(store)
    yield made
    made.faults.fails.clear()
    await store.close()


@pytest.mark.parametrize("code", ENVIRONMENT)
@pytest.mark.parametrize("landed", [True, False], ids=["landed", "lost"])
async def test_a_commit_that_failed_is_an_unknown_outcome(bench: Bench, code: str, landed: bool):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails["COMMIT"] = failure(getattr(sqlite3, code))
    bench.faults.performed_first = landed
    with pytest.raises(UnknownOutcome, match="the commit failed"):
        await bench.write(writer)
    assert not bench.connection.in_transaction
    assert await bench.is_written() is landed
    # The commit sequence of the shard tells which it was.
    lease = await bench.store.acquire(0)
    assert (lease.previous_range_id, lease.sequence) == (1, int(landed))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, FULL_EXTENDED])
async def test_a_full_disk_at_the_commit_is_no_doubt(bench: Bench, code: int):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails["COMMIT"] = failure(code)
    with pytest.raises(StoreFull, match="no space left"):
        await bench.write(writer)
    assert not bench.connection.in_transaction
    assert not await bench.is_written()
    await bench.write(writer)
    assert await bench.is_written()


@pytest.mark.parametrize("code", ENVIRONMENT)
@pytest.mark.parametrize("statement", ["BEGIN", "UPDATE shards", "INSERT INTO facts"])
async def test_an_error_before_the_commit_means_that_nothing_was_written(
    bench: Bench, code: str, statement: str
):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails[statement] = failure(getattr(sqlite3, code))
    with pytest.raises(NotWritten, match="could not be written") as caught:
        await bench.write(writer)
    assert type(caught.value) is (DamagedWrite if code == "SQLITE_CORRUPT" else NotWritten)
    assert bench.faults.failed[0].startswith(statement)
    assert not bench.connection.in_transaction
    assert not await bench.is_written()
    await bench.write(writer)
    assert await bench.is_written(), "with the same fence"


@pytest.mark.parametrize("statement", ["BEGIN", "UPDATE shards", "INSERT INTO facts"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, FULL_EXTENDED])
async def test_a_full_disk_is_said_wherever_it_shows(bench: Bench, statement: str, code: int):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails[statement] = failure(code)
    with pytest.raises(StoreFull):
        await bench.write(writer)
    assert not bench.connection.in_transaction
    await bench.write(writer)


@pytest.mark.parametrize(
    ("first", "error"),
    [
        ("COMMIT", failure(sqlite3.SQLITE_FULL)),
        ("COMMIT", failure(sqlite3.SQLITE_IOERR)),
        ("INSERT INTO facts", failure(sqlite3.SQLITE_IOERR)),
        ("INSERT INTO facts", sqlite3.IntegrityError("refused")),
    ],
)
async def test_what_cannot_be_rolled_back_is_an_unknown_outcome(
    bench: Bench, first: str, error: sqlite3.Error
):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails |= {first: error, "ROLLBACK": failure(sqlite3.SQLITE_IOERR)}
    with pytest.raises(UnknownOutcome, match="the rollback failed"):
        await bench.write(writer)
    assert bench.connection.in_transaction
    # The next batch ends the transaction that is still open before it begins its own.
    await bench.write(writer)
    assert await bench.is_written()
    assert not bench.connection.in_transaction


async def test_a_lost_fence_that_cannot_be_rolled_back_is_an_unknown_outcome(bench: Bench):
    writer = await Writer(bench.store).acquire()
    await bench.store.acquire(0)
    bench.faults.fails["ROLLBACK"] = failure(sqlite3.SQLITE_IOERR)
    with pytest.raises(UnknownOutcome):
        await bench.write(writer)
    with pytest.raises(FenceLost):
        await bench.write(writer)
    assert not bench.connection.in_transaction


async def test_a_transaction_left_open_does_not_enter_the_next_batch(bench: Bench):
    writer = await Writer(bench.store).acquire()
    bench.connection.execute("BEGIN")
    bench.connection.execute("INSERT INTO wakes VALUES (77, 0, 1)")
    await bench.write(writer)
    assert bench.connection.execute("SELECT count(*) FROM wakes").fetchone() == (0,)


async def test_an_error_of_no_known_kind_is_not_swallowed(bench: Bench):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails["INSERT INTO facts"] = MemoryError()
    with pytest.raises(MemoryError):
        await bench.write(writer)
    await bench.write(writer)
    assert await bench.is_written()


# ── rows that are refused ────────────────────────────────────────────────────────────────────────────


def poisoned(kind: str) -> EntityWrite:
    write = EntityWrite(number=7, key=B, shard_id=0, is_new=True)
    bad: Any = object()
    match kind:
        case "type":
            write.facts = (FactRow(1, "", bad),)
        case "number":
            write.facts = (FactRow(2**63, "", b""),)
        case "text":
            write.facts = (FactRow(1, "secret\ud800", b""),)
        case "size":
            write.facts = (FactRow(1, "", b"x" * 2_000),)
        case "constraint":
            write.events = (EventRow(0, 1, 1, b""), EventRow(0, 1, 1, b""))
        case "fields":
            write.key = cast("Any", (*B, "one too many"))
        case "shape":
            write.key = cast("Any", None)
        case _:
            raise AssertionError(kind)
    return write


@pytest.mark.parametrize(
    "kind", ["type", "number", "text", "size", "constraint", "fields", "shape"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_refused_row_is_found_whatever_is_wrong_with_it(
    bench: Bench, kind: str, place: int
):
    bench.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000)
    writer = await Writer(bench.store).acquire()
    good = [
        EntityWrite(number=n, key=run_key("n", f"w{n}", "r"), shard_id=0, is_new=True)
        for n in (1, 2)
    ]
    batch = [*good[:place], poisoned(kind), *good[place:]]
    with pytest.raises(GuiltyWrite, match="the database refused a row: ") as guilty:
        await writer.write(*batch)
    assert guilty.value.numbers == {7}
    assert str(guilty.value).startswith("the database refused a row: ")
    assert "secret" not in str(guilty.value)
    assert ("text that is not valid UTF-8" in str(guilty.value)) is (kind == "text")
    assert not bench.connection.in_transaction
    assert bench.connection.execute("SELECT count(*) FROM entities").fetchone() == (0,)
    await writer.write(*good)
    assert [await bench.store.load(one.key) is not None for one in good] == [True, True]


async def test_what_is_refused_only_in_the_whole_batch_names_nobody(bench: Bench):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails["INSERT INTO facts"] = sqlite3.IntegrityError("once")
    with pytest.raises(NotWritten, match=r"the batch was refused \(IntegrityError: once\)") as said:
        await bench.write(writer)
    assert type(said.value) is NotWritten
    assert not bench.connection.in_transaction
    await bench.write(writer)


@pytest.mark.parametrize("statement", ["SAVEPOINT", "RELEASE", "ROLLBACK TO"])
@pytest.mark.parametrize(
    ("code", "kind"), [(sqlite3.SQLITE_FULL, StoreFull), (sqlite3.SQLITE_IOERR, NotWritten)]
)
async def test_an_error_while_the_guilty_are_looked_for(
    bench: Bench, statement: str, code: int, kind: type[NotWritten]
):
    writer = await Writer(bench.store).acquire()
    bench.faults.fails[statement] = failure(code)
    with pytest.raises(kind) as caught:
        await writer.write(poisoned("type"))
    assert type(caught.value) is kind
    assert not bench.connection.in_transaction
    await bench.write(writer)
    assert await bench.is_written()


# ── taking over and reading ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("statement", ["BEGIN", "SELECT range_id", "UPDATE shards", "COMMIT"])
async def test_a_take_over_that_failed_can_be_tried_again(bench: Bench, statement: str):
    bench.faults.fails[statement] = failure(sqlite3.SQLITE_IOERR)
    with pytest.raises(NotWritten, match="shard 2 could not be taken over"):
        await bench.store.acquire(2)
    lease = await bench.store.acquire(2)
    assert (lease.shard_id, lease.previous_range_id, lease.range_id) == (2, 0, 1)
    rows = bench.connection.execute("SELECT range_id FROM shards ORDER BY shard_id").fetchall()
    assert rows == [(0,), (0,), (1,), (0,)], "no other shard has moved"


async def test_a_read_that_failed_is_an_error_of_the_port(bench: Bench):
    store = bench.store
    await bench.write(await Writer(store).acquire())
    queue: Any = ("n", "q", 1)
    query = VisibilityQuery(namespace_id="n")
    store.reading.close()
    reads = [
        store.load(A), store.events(1, 0, 1, 9), store.tasks(queue, 0, 0, 9), store.with_tasks_in_flight((0,)),
        store.doubtful_tasks((0,), 9, None, 9), store.wakes((0,), 9, 9), store.expired((0,), 9, 9),
        store.outbox((0,)), store.entities(A.kind, 1), store.visibility(query), store.visibility_count(query),
        store.visibility_counts(query),
    ]  # fmt: skip
    for read in reads:
        with pytest.raises(StoreError, match="the database could not be read"):
            await read


async def test_a_load_that_failed_leaves_no_transaction_open(bench: Bench):
    await bench.write(await Writer(bench.store).acquire())
    reading = Failing(bench.store.reading)
    bench.store.reading = cast("sqlite3.Connection", reading)
    for statement in ("SELECT kind, key", "SELECT branch", "SELECT coalesce"):
        reading.fails[statement] = failure(sqlite3.SQLITE_IOERR)
        with pytest.raises(StoreError):
            await bench.store.load(A)
        assert not reading.connection.in_transaction
        assert await bench.store.load(A) is not None
        assert not reading.connection.in_transaction


async def test_several_shards_stand_or_fall_together(bench: Bench):
    store = bench.store
    leases = [await store.acquire(number) for number in range(3)]
    writes = [
        EntityWrite(number=n + 1, key=run_key("n", f"w{n}", "r"), shard_id=n, is_new=True)
        for n in range(3)
    ]

    def batch(*shards: tuple[int, int]) -> CommitBatch:
        return CommitBatch(
            tuple(
                ShardWrite(n, leases[n].range_id, sequence, 100 + n, 10 + n)
                for n, sequence in shards
            ),
            tuple(writes[n] for n, _ in shards),
        )

    with pytest.raises(FenceLost) as lost:
        await store.commit(batch((0, 0), (1, 5), (2, 6)))
    assert lost.value.shard_ids == {1, 2}
    assert [await store.load(one.key) for one in writes] == [None, None, None]
    await store.commit(batch((0, 0), (2, 0)))
    assert [await store.load(one.key) is not None for one in writes] == [True, False, True]
    after = [await store.acquire(number) for number in range(3)]
    assert [(one.sequence, one.clock_ns, one.last_entity) for one in after] == [
        (1, 100, 10), (0, 0, 0), (1, 102, 12),
    ]  # fmt: skip


class LosesItsTransaction(Failing):
    """As SQLite does after an I/O error, it ends the transaction together with the statement."""

    def execute(self, statement: str, *arguments: Any) -> Any:
        try:
            return super().execute(statement, *arguments)
        except sqlite3.OperationalError:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise


async def test_an_io_error_within_a_load_is_not_taken_for_damage(bench: Bench):
    await bench.write(await Writer(bench.store).acquire())
    reading = LosesItsTransaction(bench.store.reading)
    bench.store.reading = cast("sqlite3.Connection", reading)
    reading.fails["SELECT branch"] = failure(sqlite3.SQLITE_IOERR)
    with pytest.raises(StoreError, match="could not be read") as caught:
        await bench.store.load(A)
    assert not isinstance(caught.value, DamageError)
    assert await bench.store.load(A) is not None
