"""Server and worker as processes of their own, which a test may kill at any moment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent.parent
PERDURE = [sys.executable, "-m", "perdure"]
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """A server on a database file and a worker, with logs in `folder`. Leaving the block kills what still runs."""

    def __init__(self, folder: Path, worker: str, **environment: str) -> None:
        self.folder = folder
        self.database = folder / "perdure.db"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._worker = worker
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "PERDURE_ADDRESS": self.address,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            **environment,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def start_server(self) -> None:
        self._start(
            "server",
            *("server", "start-dev", "--headless", "--port", str(self.port)),
            *("--db-filename", str(self.database)),
        )

    def start_worker(self) -> None:
        self._start("worker", "worker", "run", self._worker)

    def start(self, name: str) -> None:
        """Start "server" or "worker"."""
        if name == "server":
            self.start_server()
        else:
            self.start_worker()

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*PERDURE, *arguments], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    async def kill(self, name: str) -> None:
        """SIGKILL; returns when the process is gone."""
        process = self._running.pop(name)
        assert process.poll() is None, f"the {name} had ended by itself:\n{self.log(name)}"
        process.kill()
        code = await asyncio.to_thread(process.wait)
        assert code == -signal.SIGKILL

    async def stop(self, name: str) -> int:
        """SIGTERM; the exit code."""
        process = self._running.pop(name)
        process.terminate()
        return await asyncio.to_thread(process.wait, PATIENCE_S)

    async def wait_for_server(self) -> None:
        """Until the server accepts connections; fails when it ended instead."""
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            assert self._running["server"].poll() is None, (
                f"the server ended:\n{self.log('server')}"
            )
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
        raise AssertionError(f"no server after {PATIENCE_S} s:\n{self.log('server')}")

    def log(self, name: str, characters: int = 6_000) -> str:
        """The end of a process's log."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-characters:] if path.exists() else "(no log)"
