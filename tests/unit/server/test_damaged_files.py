"""Damaged files of each kind of `tests.stores.damage`: all that opens one ends with a typed error or with findings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.server.admin.audit import audit
from perdure.server.common.options import DevServerOptions, ServerStartError
from perdure.server.node.main import open_dev_node
from perdure.server.node.prune import prunable
from perdure.service import RPCError, RPCStatusCode
from perdure.storage import sqlite_open
from perdure.storage.port import DamageError
from perdure.storage.sqlite_backup import back_up
from tests.stores.damage import DAMAGES, enlarged
from tests.unit.server.damage_campaign import LATER_NS, WAYS, campaign, fill, outcome
from tests.unit.server.test_audit import change, read

OF_SENDER = "entity = (SELECT number FROM entities WHERE kind = 1 AND name = 'sender')"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("damage") / "x.db"
    asyncio.run(fill(path))
    return path.read_bytes()


@pytest.fixture
def database(sound: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    path.write_bytes(sound)
    return path


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("seed", range(len(DAMAGES)), ids=sorted(DAMAGES))
@pytest.mark.timeout(400)
async def test_each_way_into_a_damaged_file_ends_well(
    sound: bytes, tmp_path: Path, seed: int, is_large: bool, monkeypatch: pytest.MonkeyPatch
):
    if is_large:  # as if the file were too large for the check of all pages
        monkeypatch.setattr(sqlite_open, "CHECKED_BYTES_MAX", 0)
        seed += len(DAMAGES)
    found = await campaign(sound, seed, tmp_path)
    assert [one for one in found if not one[-1]] == []


async def test_a_sound_file_is_used_by_each_way(sound: bytes, tmp_path: Path):
    texts: list[tuple[str, bool]] = []
    for number, way in enumerate(WAYS):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "x.db").write_bytes(sound)
        texts.append(await outcome(way, place / "x.db"))
    assert [text for text, _ in texts] == ["sound", "copied", "pruned", "used, 6 listed", "served"]


async def test_a_file_above_32_mib_with_a_damaged_outbox_is_refused(sound: bytes, tmp_path: Path):
    path = tmp_path / "x.db"
    path.write_bytes(enlarged(sound, sqlite_open.CHECKED_BYTES_MAX))
    ((page,),) = read(path, "SELECT rootpage FROM sqlite_master WHERE name = 'outbox'")
    ((size,),) = read(path, "PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    for _ in range(2):  # an earlier refusal leaves nothing behind
        with pytest.raises(RuntimeError, match=r"x\.db is damaged .*: restore it from a backup"):
            await Client.connect(f"sqlite:{path}")
    with pytest.raises(ServerStartError, match="is damaged"):
        await open_dev_node(DevServerOptions(db_filename=path))


async def test_only_the_damaged_run_is_refused_and_at_once(database: Path):
    change(database, f"UPDATE events SET data = x'ffffffff' WHERE {OF_SENDER}")
    async with await Client.connect(f"sqlite:{database}") as client:
        sender = client.get_workflow_handle("sender")
        for call in (sender.result(), sender.describe(), sender.fetch_history()):
            with pytest.raises(RPCError, match="sender cannot be read back") as caught:
                await call
            assert caught.value.status is RPCStatusCode.DATA_LOSS
        await client.get_workflow_handle("closed").result()
        assert len([run async for run in client.list_workflows()]) == 6


async def test_a_run_that_lost_its_latest_events_is_refused(database: Path):
    change(
        database,
        f"DELETE FROM events WHERE {OF_SENDER} AND first_event_id = "
        f"(SELECT max(first_event_id) FROM events WHERE {OF_SENDER})",
    )
    async with await Client.connect(f"sqlite:{database}") as client:
        with pytest.raises(RPCError) as caught:
            await client.get_workflow_handle("sender").result()
        assert caught.value.status is RPCStatusCode.DATA_LOSS


@pytest.mark.parametrize(
    "statement", ["UPDATE facts SET value = x'01ff' WHERE {}", "DELETE FROM facts WHERE {}"]
)
async def test_a_namespace_that_cannot_be_read_is_not_made_again(database: Path, statement: str):
    """A new namespace of that name would hide all workflows of the old one."""
    namespace = "entity = (SELECT number FROM entities WHERE kind = 3)"
    change(database, statement.format(namespace))
    with pytest.raises(
        RuntimeError, match=r"namespace .* damaged: restore the database from a backup"
    ):
        await Client.connect(f"sqlite:{database}")
    with pytest.raises(ServerStartError, match=r"x\.db cannot be opened: .*damaged"):
        await open_dev_node(DevServerOptions(db_filename=database))


async def test_a_list_with_a_damaged_row_is_refused(database: Path):
    change(database, f"UPDATE visibility SET start_ns = 'x' WHERE {OF_SENDER}")
    async with await Client.connect(f"sqlite:{database}") as client:
        with pytest.raises(RPCError, match="a value of another type") as caught:
            [run async for run in client.list_workflows()]
        assert caught.value.status is RPCStatusCode.DATA_LOSS
        await client.get_workflow_handle("sleeps").describe()
    with pytest.raises(DamageError):
        prunable(database, "default", LATER_NS, "")


NUMBER = "(SELECT max(number) FROM entities WHERE kind = 1)"
FINDINGS = {
    "text that is no UTF-8": (
        f"UPDATE entities SET name = CAST(x'ff' AS TEXT) WHERE number = {NUMBER}",
        "histories",
        r"workflow '\\xff' (run ",
    ),
    "a key that is no text": (
        f"UPDATE entities SET name = x'ff' WHERE number = {NUMBER}",
        "histories",
        "its key is not text",
    ),
    "an unknown kind": (
        f"UPDATE entities SET kind = 99 WHERE number = {NUMBER}",
        "kinds",
        "is of kind 99",
    ),
    "an event row of another type": (
        f"UPDATE events SET data = 1.5 WHERE {OF_SENDER}",
        "histories",
        "cannot be read: TypeError",
    ),
    "a fact that is cut": (
        f"UPDATE facts SET value = x'01ff' WHERE {OF_SENDER}",
        "histories",
        "cannot be decoded",
    ),
    "a task of another type": (
        "UPDATE tasks SET sequence = 'x'",
        "tasks",
        "a task of workflow",
    ),
    "an effect of another type": ("UPDATE outbox SET sequence = 'x'", "outbox", "an effect cannot"),
    "a missing table": ("DROP TABLE held", "pages", "table held is missing"),
    "a missing index": ("DROP INDEX events_place", "pages", "index events_place is missing"),
    "a column too many": (
        "ALTER TABLE held ADD COLUMN other",
        "pages",
        "table held is not as it was made",
    ),
    "a missing shard": ("DELETE FROM shards WHERE shard_id = 1", "shards", "the row of shard 1 is"),
    "the last shard": ("DELETE FROM shards WHERE shard_id = 3", "shards", "the row of shard 3 is"),
    "no shards": ("DELETE FROM shards", "shards", "there are no shards"),
    "a shard of another type": (
        "UPDATE shards SET range_id = 'x' WHERE shard_id = 2",
        "shards",
        "the row of shard 2 holds",
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_what_is_wrong_is_a_finding(database: Path, name: str):
    statement, check, words = FINDINGS[name]
    change(database, statement)
    found = audit(database).findings
    assert any(one.check == check and words in one.what for one in found), found


@pytest.mark.parametrize(
    "name", [name for name, (_, check, _) in FINDINGS.items() if check in {"pages", "shards"}]
)
async def test_a_file_without_its_schema_or_shards_is_not_opened(database: Path, name: str):
    statement, _, words = FINDINGS[name]
    change(database, statement)
    with pytest.raises(RuntimeError, match=rf"x\.db is damaged \({words}"):
        await Client.connect(f"sqlite:{database}")


def test_a_damaged_entity_does_not_end_the_audit_of_others(database: Path):
    before = audit(database)
    change(database, f"UPDATE events SET data = 1.5 WHERE {OF_SENDER}")
    after = audit(database)
    assert after.looked_at["histories"] == before.looked_at["histories"]
    assert {one.what.split(" (")[0] for one in after.findings} <= {
        "workflow 'sender'",
        "workflow id 'sender' points to a run that is not there",
    }


async def test_a_check_leaves_nothing_beside_a_backup(database: Path):
    to = database.with_name("copy.db")
    back_up(database, to)
    before = sorted(path.name for path in database.parent.iterdir())
    assert audit(to).is_sound
    assert sorted(path.name for path in database.parent.iterdir()) == before
    assert "copy.db-wal" not in before
    async with await Client.connect(f"sqlite:{to}") as client:
        assert len([run async for run in client.list_workflows()]) == 6
