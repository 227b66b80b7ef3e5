"""What the benches share: driving a measured program, a server beside it, costs per process, results as JSON.

Method of them all: CPU time of each process (user and system, all its threads), because what else runs on the machine
disturbs it far less than wall time. Nothing is asserted. Not here: what is measured (`bench_*.py`).
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".bench"
PATIENCE_S = 60.0
ROUND_S = 900.0
"""After this time a round that gives no answer is ended, and reported as failed."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


_started: list[subprocess.Popen[Any]] = []


@atexit.register
def stop_all() -> None:
    """End what a part that failed has left running: it would disturb the others, and outlive the bench."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


class MeasurementFailed(Exception):
    """A measured program gave no answer. What it said about it is on standard error."""


class Parts:
    """The parts of a bench: one that fails is reported and does not hide the others."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        try:
            yield
        except (MeasurementFailed, OSError, subprocess.SubprocessError) as error:
            self.failed.append(name)
            print(f"{name}: FAILED ({error})", flush=True)
            stop_all()

    def end(self) -> None:
        """Raises SystemExit when a part has failed."""
        if self.failed:
            sys.exit(f"failed: {', '.join(self.failed)}")


class Driven:
    """A measured program that plays rounds on request."""

    def __init__(
        self, module: str, *arguments: str, python: str = sys.executable, folder: Path = ROOT
    ) -> None:
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, cwd=folder, text=True,
        )  # fmt: skip
        _started.append(self._process)
        self._answer()

    def round(self, workflows: int, *, profile: bool = False) -> dict[str, Any]:
        return self.ask(workflows=workflows, profile=profile)

    def ask(self, **request: Any) -> dict[str, Any]:
        """A line of JSON there, a line of JSON back."""
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        # A process that is killed closes its output, which ends the wait.
        watch = threading.Timer(ROUND_S, self._process.kill)
        watch.start()
        try:
            while line := self._process.stdout.readline():
                if line.startswith("{"):
                    answer: dict[str, Any] = json.loads(line)
                    return answer
                # The official SDK's core logs to standard output.
                print(line, end="", file=sys.stderr)
        finally:
            watch.cancel()
        code = self._process.wait()
        why = (
            f"no answer within {ROUND_S:.0f} s" if code == -signal.SIGKILL else f"exit code {code}"
        )
        raise MeasurementFailed(f"the measured program ended: {why}")

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        end(self._process)


def end(process: subprocess.Popen[Any]) -> None:
    """Wait for a process that was told to end; kill it when it does not."""
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """Our server on a file in `folder`; `profiler` is where a profiled server writes its shares."""

    def __init__(self, folder: Path, profiler: Path | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        program = (
            ["-m", "perdure", "server", "start-dev"]
            if profiler is None
            else ["-m", "benchmarks.one_activity.server", str(profiler)]
        )
        flags = ["--headless", "--port", str(self.port), "--db-filename", str(folder / "bench.db")]
        self._profiler = profiler
        self._process = subprocess.Popen(
            [sys.executable, *program, *flags, "--log-level", "warn"],
            env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _started.append(self._process)
        self.pid = self._process.pid
        self.address = f"127.0.0.1:{self.port}"
        self._wait()

    def _wait(self) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise MeasurementFailed("the server did not start")

    def cpu_s(self) -> tuple[float, float] | None:
        """CPU time so far, of the process and of its main thread; None where the system does not tell (no /proc)."""
        process = Path(f"/proc/{self._process.pid}")
        if not process.exists():
            return None
        main = process / "task" / str(self._process.pid) / "stat"
        return ticks_s(process / "stat"), ticks_s(main)

    def peak_bytes(self) -> int | None:
        """The largest resident memory so far."""
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            return None
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def toggle_profiler(self) -> None:
        self._process.send_signal(signal.SIGUSR1)

    def shares(self) -> list[Any]:
        """Stop the profile and read it."""
        assert self._profiler is not None
        self.toggle_profiler()
        give_up = time.monotonic() + PATIENCE_S
        while not self._profiler.exists():
            if time.monotonic() > give_up:
                raise MeasurementFailed("the server wrote no profile")
            time.sleep(0.05)
        found: list[Any] = json.loads(self._profiler.read_text())
        return found

    def close(self) -> None:
        self._process.terminate()
        end(self._process)


def ticks_s(stat: Path) -> float:
    # The second field is the program's name in brackets and may contain blanks.
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Costs:
    """CPU ms per workflow of one process, a value per round."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.all_ms: list[float] = []
        self.main_ms: list[float] = []

    def add(self, cpu_s: float, main_s: float, workflows: int) -> None:
        self.all_ms.append(1_000 * cpu_s / workflows)
        self.main_ms.append(1_000 * main_s / workflows)

    def line(self) -> str:
        low, middle, high = min(self.all_ms), statistics.median(self.all_ms), max(self.all_ms)
        main = statistics.median(self.main_ms)
        return (
            f"{self.name:<36}{middle:8.2f}{low:8.2f} –{high:6.2f}{main:12.2f}{middle - main:12.2f}"
        )

    def json(self) -> dict[str, Any]:
        return {
            "median_ms": statistics.median(self.all_ms),
            "rounds_ms": self.all_ms,
            "main_thread_rounds_ms": self.main_ms,
        }


def machine() -> dict[str, Any]:
    """What every result says about where it comes from."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def write_json(name: str, result: dict[str, Any]) -> None:
    """`.bench/NAME.json`, with the machine."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(machine() | result, indent=2))
    print(f"\n{path.relative_to(ROOT)} has every round")
