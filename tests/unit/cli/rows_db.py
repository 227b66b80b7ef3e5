"""Rows of `db backup`, `db check` and `db prune`."""

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


@row("db prune", "file", "--older-than", "--query", "--namespace", "--apply", "--output", "")
def _prune(bench: Bench) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        where = ("--address", f"sqlite:{path}")
        for name in ("open", "old"):
            words = ("--type", "Open", "-t", QUEUE, "-w", name, *where)
            assert perdure("workflow", "start", *words).code == 0
        assert perdure("workflow", "terminate", "-w", "old", *where).code == 0
        prune = ("db", "prune", str(path))

        shown = perdure(*prune, "--older-than", "0")
        assert (shown.code, shown.err) == (0, "")
        assert shown.lines[0].split() == ["CLOSED", "STATUS", "TYPE", "WORKFLOW", "ID", "RUN", "ID"]
        assert shown.lines[1].split()[1:4] == ["TERMINATED", "Open", "old"]
        assert shown.lines[2:] == ["1 run would be deleted; --apply does it"]
        none = perdure(*prune, "--older-than", "1h")
        assert (none.code, none.lines) == (0, ["0 runs would be deleted; --apply does it"])
        answer = perdure(*prune, "-q", "WorkflowId = 'old'", "-o", "json").json
        (run,) = answer["runs"]
        assert (answer["isApplied"], answer["waiting"]) == (False, 0)
        assert (run["workflowId"], run["type"], run["status"]) == ("old", "Open", "TERMINATED")
        assert len(run["runId"]) == 36
        assert run["closeTime"][4] + run["closeTime"][-1] == "-Z"
        assert not perdure(*prune, "--query", "WorkflowId = 'open'", "--output", "json").json[
            "runs"
        ]

        for wrong in ([], ["--query", " "], ["--older-than", "old"], ["-q", "Colour = 1"]):
            assert perdure(*prune, *wrong).code == 2, wrong
        unknown = perdure(*prune, "--older-than", "0", "--namespace", "nowhere")
        assert (unknown.code, unknown.err) == (4, "perdure: Namespace nowhere is not found.\n")
        assert perdure(*prune, "-q", "WorkflowId = 'old'", "-n", "default").code == 0
        missing = perdure("db", "prune", f"{path}x", "--older-than", "0")
        assert (missing.code, missing.err) == (1, f"perdure: there is no database {path}x\n")

        assert "old" in perdure("workflow", "list", *where).out
        done = perdure(*prune, "--older-than", "0", "--yes", "-o", "json")
        assert done.json == {"isApplied": True, "deleted": 1, "waiting": 0, "damaged": []}
        again = perdure(*prune, "--older-than", "0", "--apply")
        assert (again.code, again.out) == (0, "0 runs deleted\n")
        left = perdure("workflow", "list", *where).out
        assert "open" in left
        assert "old" not in left


@row("db prune", "--apply")
def _prune_in_doubt(bench: Bench) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        where = ("--address", f"sqlite:{path}")
        for name in ("damaged", "sender"):
            words = ("--type", "Open", "-t", QUEUE, "-w", name, *where)
            assert perdure("workflow", "start", *words).code == 0
            assert perdure("workflow", "terminate", "-w", name, *where).code == 0
        connection = sqlite3.connect(path, isolation_level=None)
        entity = "(SELECT entity FROM visibility WHERE workflow_id = '{}')"
        connection.execute(
            f"UPDATE events SET data = x'00' WHERE entity = {entity.format('damaged')}"
        )
        connection.execute(
            f"INSERT INTO outbox VALUES (0, 1, {entity.format('sender')}, 1, '', '', '', '', '', x'')"
        )
        connection.close()
        words = ("db", "prune", str(path), "--older-than", "0")
        waiting = "1 run must stay: messages to other runs are still to be delivered"
        shown = perdure(*words)
        assert (shown.code, shown.lines[-1]) == (0, waiting)
        done = perdure(*words, "--apply")
        assert done.code == 1
        assert done.lines[0].startswith("✗ damaged (")
        assert done.lines[1:] == ["0 runs deleted", waiting]
        # What is wrong with the run is logged before.
        assert (
            done.err.splitlines()[-1] == f"perdure: 1 run cannot be read: perdure db check {path}"
        )
