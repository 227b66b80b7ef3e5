"""A server of ours in a process of its own, and the official SDK in another."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "official" / "program.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """`perdure server start-dev` as a user starts it."""

    def __init__(self, *flags: str, log: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.flags = flags
        self.address = f"127.0.0.1:{self.port}"
        self.log = log
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        command = (sys.executable, "-m", "perdure", "server", "start-dev", "--headless")
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def wait_until_ready(self, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the server did not start: {self.log.read_text()}")

    def again(self) -> ServerProcess:
        """Another server at the same address, on the same database."""
        return ServerProcess(*self.flags, log=self.log, port=self.port)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@pytest.fixture(scope="session", params=["memory", "file"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    flags = () if request.param == "memory" else ("--db-filename", str(folder / "perdure.db"))
    process = ServerProcess(*flags, log=folder / "log")
    process.wait_until_ready()
    yield process
    code = process.stop()
    assert code == 0, process.log.read_text()
    assert "Traceback" not in process.log.read_text()


Official = Callable[[str], dict[str, Any]]


def run_official(address: str, scenario: str) -> dict[str, Any]:
    """Run a scenario of the official program; what it saw."""
    # The wheel's core may abort at interpreter exit, so the answer counts, not the exit code.
    done = subprocess.run(
        [sys.executable, PROGRAM, address, scenario],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=PROGRAM.parent,
    )
    lines = done.stdout.strip().splitlines()
    assert lines, f"{scenario} said nothing:\n{done.stderr}"
    return json.loads(lines[-1])


@pytest.fixture
def official(server: ServerProcess) -> Official:
    return lambda scenario: run_official(server.address, scenario)
