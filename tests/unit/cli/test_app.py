from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.cli import app, logs, worker
from perdure.cli.exits import CommandError, Exit
from perdure.client import Client

LEAVES = [
    [group.name or "", name]
    for group in (app.server, app.worker, app.workflow)
    for name in group._table
]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_each_command_loads_and_explains_itself(
    words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert app.run_for_exit_code([*words, "--help"]) == Exit.OK
    assert "Usage: perdure " + " ".join(words) in capsys.readouterr().out


def test_help_loads_no_command():
    code = (
        "import sys\n"
        "from perdure.cli import app\n"
        "app.run_for_exit_code(['--help'])\n"
        "loaded = {'temporalio', 'grpc', 'google.protobuf', 'perdure.cli.options'} & set(sys.modules)\n"
        "sys.exit(repr(loaded) if loaded else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["workflow", "start"], "Missing option '--type'"),
        (["workflow", "frobnicate"], "No such command"),
        (
            ["workflow", "start", "--type", "T", "-t", "q", "-i", "World"],
            "is not JSON; a text needs its own quotes",
        ),
        (["workflow", "start", "--type", "T", "-t", "q", "-i", "@no/such"], "cannot read no/such"),
        (
            ["workflow", "start", "--type", "T", "-t", "q", "--run-timeout", "10"],
            "is not a duration",
        ),
        (["worker", "run", "nocolon"], "is not MODULE:ATTRIBUTE"),
        (["server", "start-dev", "--port", "99999"], "a port is between 0 and 65535"),
    ],
)
def test_wrong_usage_is_code_2_and_says_what_is_right(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert app.run_for_exit_code(words) == Exit.USAGE
    assert message in capsys.readouterr().err


def test_a_worker_is_loaded_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "some_worker_module.py").write_text("worker = {'task_queue': 'q'}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert worker.load("some_worker_module:worker") == {"task_queue": "q"}
    with pytest.raises(CommandError, match="has no attribute 'other'; expected an async function"):
        worker.load("some_worker_module:other")
    with pytest.raises(CommandError, match="there is no module 'no_such_module'"):
        worker.load("no_such_module:worker")
    with pytest.raises(CommandError, match="; write no_such_module:worker"):
        worker.load("no_such_module.py:worker")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"taskqueue": "q"}, "got an unexpected keyword argument 'taskqueue'"),
        ({"task_queue": "q"}, "At least one activity"),
        ({"task_queue": "q", "workflows": [object]}, "was it decorated with @workflow.defn"),
    ],
)
async def test_wrong_arguments_of_the_worker_are_one_line(
    arguments: dict[str, object], message: str
):
    client = await Client.connect("memory:")
    async with client:
        with pytest.raises(CommandError, match=f"app:w does not make a worker: .*{message}"):
            await worker.make_worker("app:w", arguments, client)


def test_a_missing_import_inside_the_module_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "worker_with_missing_import.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        worker.load("worker_with_missing_import:worker")


def test_json_logs_are_one_object_per_line():
    record = logging.LogRecord(
        "perdure.x", logging.WARNING, __file__, 1, "hello %s", ("you",), None
    )
    record.workflow_id = "w1"
    entry = json.loads(logs.JsonFormatter().format(record))
    assert entry["message"] == "hello you"
    assert entry["level"] == "warning"
    assert entry["workflow_id"] == "w1"
