"""A server and workers as processes of their own, driven with the `perdure` command as anybody would.

Every process is started and ended here, by its id. Waiting is for conditions, with one generous limit: how long
something takes is never asserted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PERDURE = [sys.executable, "-m", "perdure"]
PATIENCE_SECONDS = 90.0


class Finished(subprocess.CompletedProcess[str]):
    """What a command did, with the JSON it printed."""

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Stack:
    """One server on one SQLite file, its workers, and a command line that talks to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "perdure.db"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PERDURE_", "TEMPORAL_"))},
            "PERDURE_ADDRESS": self.address,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
        }

    # ── processes ────────────────────────────────────────────────────────────────────────────────────

    def start(self, name: str, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [*PERDURE, *arguments], cwd=cwd, env=self.environment, stdout=log, stderr=log
            )
        self.processes[name] = process
        return process

    def start_server(self, *arguments: str) -> None:
        self.start(
            "server", "server", "start-dev", "--headless",
            "--port", str(self.port), "--db-filename", str(self.database), *arguments,
        )  # fmt: skip
        self.wait("the server to listen", self.listens)

    def start_worker(self, target: str, *, name: str = "worker", cwd: Path = ROOT) -> None:
        self.start(name, "worker", "run", target, cwd=cwd)

    def listens(self) -> bool:
        self.check_alive("server")
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=1),
        ):
            return True
        return False

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask a process to end; its exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(PATIENCE_SECONDS)

    def check_alive(self, name: str) -> None:
        if self.processes[name].poll() is not None:
            pytest.fail(f"the {name} ended by itself:\n{self.log_text(name)}")

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log_text(self, name: str) -> str:
        return self.log(name).read_text(encoding="utf-8", errors="replace")

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────

    def try_cli(self, *arguments: str, **environment: str) -> Finished:
        """Run one command, whatever its exit code."""
        done = subprocess.run(
            [*PERDURE, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Finished(done.args, done.returncode, done.stdout, done.stderr)

    def cli(self, *arguments: str, **environment: str) -> Finished:
        """Run one command that must succeed."""
        done = self.try_cli(*arguments, **environment)
        if done.returncode:
            logs = "\n".join(f"── {name} ──\n{self.log_text(name)}" for name in self.processes)
            pytest.fail(f"{arguments} ended with {done.returncode}: {done.stderr}\n{logs}")
        return done

    def events(self, workflow_id: str) -> list[dict[str, Any]]:
        shown: dict[str, list[dict[str, Any]]] = self.cli(
            "workflow", "show", "--workflow-id", workflow_id, "-o", "json"
        ).json
        return shown["events"]

    def event_types(self, workflow_id: str) -> list[str]:
        return [
            event["eventType"].removeprefix("EVENT_TYPE_") for event in self.events(workflow_id)
        ]

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"── {name} ──\n{self.log_text(name)}" for name in self.processes)
                pytest.fail(f"waited in vain for {what}\n{logs}")
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(folder: Path, *workers: str) -> Generator[Stack]:
    """A started server with workers `module:attribute`, for the length of a block."""
    stack = Stack(folder)
    try:
        stack.start_server()
        for number, target in enumerate(workers):
            stack.start_worker(target, name=f"worker-{number}")
        yield stack
    finally:
        stack.close()
