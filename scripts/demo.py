"""`make demo`: a workflow survives `kill -9` of its worker and of its server.

The server (SQLite file, gRPC) and the worker are separate processes, controlled with the `perdure` command. The
workflow charges a card (activity), sleeps durably, and sends a parcel (activity). During the sleep the worker and then
the server are killed with SIGKILL; both are started again, and the workflow finishes. Each activity writes a line to a
file when it runs: that file shows that the card was charged once.

The exit code is 0 only if all of that was observed. Files are in `.demo/`, which the next run empties. A run takes
about 30 s.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, Any, NoReturn, cast

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".demo"
DATABASE = STATE / "perdure.db"
EFFECTS = STATE / "effects.log"
WORKFLOW_ID = "purchase-1"
SLEEP_SECONDS = 12
# Generous, because a busy machine is not a failure. Usually a tenth of it is needed.
PATIENCE_SECONDS = 60.0
PERDURE = [sys.executable, "-m", "perdure"]


class DemoError(Exception):
    """Something that the demo promises was not observed."""


class Demo:
    """The processes, their logs, and the output with its times."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.address = f"127.0.0.1:{free_port()}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.logs: dict[str, IO[bytes]] = {}
        self.environment = {
            **os.environ,
            "PERDURE_ADDRESS": self.address,
            "PERDURE_NAMESPACE": "default",
            "PERDURE_DEMO_EFFECTS": str(EFFECTS),
            "PYTHONUNBUFFERED": "1",
            "PYTHONUTF8": "1",
        }

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.begin:5.1f} s] {text}", flush=True)

    def start(self, name: str, *arguments: str) -> None:
        if name not in self.logs:
            self.logs[name] = (STATE / f"{name}.log").open("ab")
        log = self.logs[name]
        self.processes[name] = subprocess.Popen(
            [*PERDURE, *arguments], cwd=ROOT, env=self.environment, stdout=log, stderr=log
        )
        self.say(f"{name} started, process {self.processes[name].pid}")

    def start_server(self) -> None:
        port = self.address.rpartition(":")[2]
        self.start(
            "server",
            "server",
            "start-dev",
            "--port",
            port,
            "--db-filename",
            str(DATABASE),
            "--headless",
        )
        self.wait("the server to answer", self.server_answers)

    def start_worker(self) -> None:
        self.start("worker", "worker", "run", "examples.crash.worker:worker")

    def server_answers(self) -> bool:
        self.check_alive("server")
        with (
            contextlib.suppress(OSError),
            socket.create_connection(self.split_address(), timeout=1),
        ):
            return True
        return False

    def split_address(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def check_alive(self, name: str) -> None:
        if self.processes[name].poll() is not None:
            fail(f"the {name} exited unexpectedly; its log is {shown(STATE / f'{name}.log')}")

    def kill(self, name: str) -> int:
        """Kill a process with SIGKILL: no handler runs, and nothing is flushed."""
        process = self.processes.pop(name)
        process.kill()
        code = process.wait(timeout=PATIENCE_SECONDS)
        if code != -signal.SIGKILL:
            fail(f"the {name} should have died of SIGKILL but exited with {code}")
        self.say(f"{name} killed with SIGKILL")
        return process.pid

    def command(self, *arguments: str) -> str:
        """Run one `perdure` command and return its output."""
        done = subprocess.run(
            [*PERDURE, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode:
            fail(
                f"`perdure {' '.join(arguments)}` failed with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def history(self) -> list[dict[str, Any]]:
        shown_history: dict[str, list[dict[str, Any]]] = json.loads(
            self.command("workflow", "show", "--workflow-id", WORKFLOW_ID, "-o", "json")
        )
        return shown_history["events"]

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                fail(
                    f"timed out after {PATIENCE_SECONDS:.0f} s waiting for {what}; the logs are in {shown(STATE)}"
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the worker, then the server; kill them if they do not stop."""
        for name in ("worker", "server"):
            if process := self.processes.pop(name, None):
                process.terminate()
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for log in self.logs.values():
            log.close()


def run(demo: Demo) -> None:
    demo.say("a workflow will charge a card, sleep durably, and send a parcel")
    demo.start_server()
    demo.start_worker()
    demo.command(
        "workflow", "start", "--type", "Purchase", "--task-queue", "purchases", "--workflow-id", WORKFLOW_ID,
        "--input", '"Ada"', "--input", str(SLEEP_SECONDS),
    )  # fmt: skip
    demo.say(f"workflow {WORKFLOW_ID} started")
    demo.wait("the first activity and the sleep", lambda: has(demo, "EVENT_TYPE_TIMER_STARTED"))
    before = demo.history()
    demo.say(f"the card was charged and the workflow sleeps for {SLEEP_SECONDS} s; now the crash")

    first_worker = demo.kill("worker")
    time.sleep(1)
    demo.kill("server")
    if traces("send_parcel"):
        fail("the second activity ran before the kill: the machine is too slow for this demo")
    demo.say("no process is running any more; 3 s of silence")
    time.sleep(3)

    demo.start_server()
    demo.start_worker()
    demo.say("both are back; the workflow continues where it was")
    result = json.loads(
        demo.command("workflow", "result", "--workflow-id", WORKFLOW_ID, "-o", "json")
    )
    demo.say(f"workflow finished: {result['result']!r}")
    print()
    print(demo.command("workflow", "show", "--workflow-id", WORKFLOW_ID))
    check(before, demo.history(), first_worker, result)
    print(f"\nThe database is {shown(DATABASE)}. To look at it:")
    print(f"  .venv/bin/perdure server start-dev --db-filename {shown(DATABASE)}")
    print(f"  .venv/bin/perdure workflow show --workflow-id {WORKFLOW_ID}")


def has(demo: Demo, kind: str) -> bool:
    demo.check_alive("server")
    demo.check_alive("worker")
    return any(event["eventType"] == kind for event in demo.history())


def check(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    first_worker: int,
    result: dict[str, Any],
) -> None:
    charges, parcels = traces("charge_card"), traces("send_parcel")
    kinds = [event["eventType"] for event in after]
    observed = [
        (
            "the workflow completed with its result",
            result["result"] == "parcel sent, receipt for Ada",
        ),
        (
            "the first activity ran once, in the worker that was killed",
            pids(charges) == [first_worker],
        ),
        (
            "the second activity ran once, in the new worker",
            len(parcels) == 1 and pids(parcels) != [first_worker],
        ),
        ("the history from before the crash is unchanged", after[: len(before)] == before),
        (
            "each activity has one close event",
            kinds.count("EVENT_TYPE_ACTIVITY_TASK_COMPLETED") == 2,
        ),
        ("the timer fired once", kinds.count("EVENT_TYPE_TIMER_FIRED") == 1),
        (
            "the history ends with completion",
            kinds[-1] == "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED",
        ),
    ]
    for what, is_so in observed:
        print(f"  {'✓' if is_so else '✗'} {what}")
    if missing := [what for what, is_so in observed if not is_so]:
        fail("not observed: " + "; ".join(missing))


def traces(step: str) -> list[str]:
    if not EFFECTS.exists():
        return []
    return [line for line in EFFECTS.read_text().splitlines() if line.startswith(step + " ")]


def pids(lines: list[str]) -> list[int]:
    return [int(line.split("pid=")[1].split()[0]) for line in lines]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def shown(path: Path) -> Path:
    return path.relative_to(ROOT)


def fail(message: str) -> NoReturn:
    raise DemoError(message)


def terminated(_number: int, _frame: object) -> NoReturn:
    sys.exit(143)


@contextlib.contextmanager
def fresh_state() -> Generator[None]:
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir()
    # A terminated demo must stop its processes, as on Ctrl-C.
    signal.signal(signal.SIGTERM, terminated)
    yield


def main() -> int:
    # A terminal without UTF-8 shows question marks instead of causing an error.
    cast("io.TextIOWrapper[Any]", sys.stdout).reconfigure(errors="replace")
    with fresh_state():
        demo = Demo()
        try:
            run(demo)
        except (DemoError, subprocess.SubprocessError) as error:
            demo.say(f"FAILED: {error}")
            return 1
        finally:
            demo.stop()
        demo.say("done: everything above was observed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
