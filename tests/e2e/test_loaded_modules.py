"""What starting does not load: a module that is not needed for the first answer costs every process its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RARE = "ctypes.util difflib google.protobuf.json_format importlib.metadata multiprocessing tempfile unittest"
"""Standard modules, and one of protobuf's, that only rare cases need."""
OTHERS = (
    "grpc pydantic pytest setuptools temporalio.bridge temporalio.client temporalio.worker uvloop"
)
"""Of other distributions. The first one is needed for the network, the others by their users."""
ENGINE = "_sqlite3 click perdure.embedded perdure.history perdure.server perdure.storage"
WORKER = "perdure.replay perdure.worker"
TOOLS = "perdure.cli perdure.rendering perdure.testing"

NOTHING = "asyncio google.protobuf inspect logging msgspec re temporalio typing_extensions"
HELP = "import runpy, sys; sys.argv = ['perdure', '--help']; runpy.run_module('perdure', run_name='__main__')"
SERVER = "import perdure.cli.server, perdure.server.node.main"
EMBEDDED = """
import asyncio, sys
from perdure import workflow
from perdure.client import Client
from perdure.worker import Worker

@workflow.defn
class Nothing:
    @workflow.run
    async def run(self) -> str:
        return "done"

async def main():
    async with await Client.connect("sqlite:" + sys.argv[1]) as client:
        async with Worker(client, task_queue="q", workflows=[Nothing]):
            assert await client.execute_workflow(Nothing.run, id="w", task_queue="q") == "done"

if __name__ == "__main__":
    asyncio.run(main())
"""
REPORT = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sorted(sys.modules), flush=True))
"""


def loaded_by(program: str, folder: Path) -> set[str]:
    """The modules of a new process at its end."""
    path = folder / "program.py"
    path.write_text(REPORT + program)
    done = subprocess.run(
        [sys.executable, str(path), str(folder / "state.db")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize(
    ("program", "not_needed"),
    [
        pytest.param(
            "import perdure",
            (RARE, OTHERS, ENGINE, WORKER, TOOLS, NOTHING, "perdure.core perdure.wire"),
            id="package",
        ),
        pytest.param(
            "import perdure.client",
            ("difflib importlib.metadata tempfile", OTHERS, ENGINE, WORKER, TOOLS),
            id="client",
        ),
        pytest.param(
            HELP,
            (RARE, OTHERS, WORKER, "asyncio google.protobuf msgspec perdure.client perdure.wire"),
            id="help",
        ),
        pytest.param(
            SERVER, (RARE, WORKER, "perdure.client perdure.testing pydantic"), id="server"
        ),
        pytest.param(
            EMBEDDED,
            (
                "difflib importlib.metadata multiprocessing click",
                OTHERS,
                TOOLS,
                "perdure.server.transport",
            ),
            id="embedded",
        ),
    ],
)
def test_what_is_not_needed_is_not_loaded(
    program: str, not_needed: tuple[str, ...], tmp_path: Path
) -> None:
    loaded = loaded_by(program, tmp_path)
    assert "perdure" in loaded
    assert sorted(loaded.intersection(" ".join(not_needed).split())) == []


@pytest.mark.parametrize(
    ("program", "needed"), [(HELP, "click"), (SERVER, "grpc"), (EMBEDDED, "_sqlite3")]
)
def test_what_is_needed_is_seen(program: str, needed: str, tmp_path: Path) -> None:
    assert needed in loaded_by(program, tmp_path)
