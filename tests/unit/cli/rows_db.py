"""Rows of `db backup` and `db check`."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.unit.cli.engine import QUEUE, perdure
from tests.unit.cli.table import Bench, row


@lru_cache(1)
def database() -> bytes:
    """A database in which one workflow was started."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        words = (
            "workflow",
            "start",
            "--type",
            "Open",
            "-t",
            QUEUE,
            "-w",
            "kept",
            "--address",
            f"sqlite:{path}",
        )
        assert perdure(*words).code == 0
        return path.read_bytes()


@row("db backup", "file", "to", "")
def _backup(bench: Bench) -> None:
    with TemporaryDirectory() as folder:
        path, copy = Path(folder, "x.db"), Path(folder, "copy.db")
        path.write_bytes(database())
        ran = perdure("db", "backup", str(path), str(copy))
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == f"{path} → {copy} ({copy.stat().st_size} bytes)\n"
        assert "kept" in perdure("workflow", "list", "--address", f"sqlite:{copy}").out
        again = perdure("db", "backup", str(path), str(copy))
        assert again.code == 1
        assert f"{copy} exists already" in again.err
        assert perdure("db", "backup", folder, str(copy)).code == 2
        assert perdure("db", "backup", str(path)).code == 2
        missing = perdure("db", "backup", f"{path}x", f"{copy}x")
        assert (missing.code, missing.err) == (1, f"perdure: there is no database {path}x\n")


@row("db check", "file", "--output", "")
def _check(bench: Bench) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        path.write_bytes(database())
        ran = perdure("db", "check", str(path))
        assert ran.code == 0
        assert ran.lines[0].split() == ["CHECK", "LOOKED", "AT", "WRONG"]
        assert ["histories", "1", "–"] in [line.split() for line in ran.lines]
        assert ran.lines[-1] == "sound"
        answer = perdure("db", "check", str(path), "-o", "json").json
        assert (answer["isSound"], answer["findings"], answer["staleTasks"]) == (True, [], 0)
        assert answer["lookedAt"]["tasks"] == 1
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("DELETE FROM tasks")
        connection.execute("UPDATE visibility SET status = 2, task_queue = 'other'")
        connection.close()
        broken = perdure("db", "check", str(path))
        assert broken.code == 1
        assert (
            broken.err
            == f"perdure: {path}: 3 things are wrong; keep a copy, and restore it from a backup\n"
        )
        assert ["lists", "1", "2"] in [line.split() for line in broken.lines]
        assert len([line for line in broken.lines if line.startswith("✗ ")]) == 3
        assert "sound" not in broken.out
        answer = perdure("db", "check", str(path), "--output", "json")
        assert answer.code == 1
        assert answer.json["isSound"] is False
        assert {one["check"] for one in answer.json["findings"]} == {"tasks", "lists"}
        assert perdure("db", "check", f"{path}x").code == 1
        assert perdure("db", "check", str(path), "-o", "jsonl").code == 2
