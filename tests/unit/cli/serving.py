"""Commands that serve until they are told to end, run in this process and visited from another thread."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from perdure.cli import app
from perdure.service import ConnectConfig, RetryConfig, ServiceClient
from perdure.wire.api import workflowservice
from tests.e2e.stack import free_port
from tests.unit.cli.engine import PATIENCE_S, Ran, eventually, perdure


class Serving(NamedTuple):
    """A command that serves, as another thread sees it."""

    out: io.StringIO
    err: io.StringIO


def serve(*words: str, until: Callable[[Serving], Any]) -> Ran:
    """Run a command on this thread; when `until` has returned on another one, ask it to end as Ctrl-C does."""
    seen = Serving(io.StringIO(), io.StringIO())
    problems: list[BaseException] = []
    is_over = threading.Event()

    def watch() -> None:
        try:
            until(seen)
        except BaseException as error:  # noqa: BLE001 -- it is raised on the test's own thread
            problems.append(error)
        if not is_over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def ignore(_number: int, _frame: object) -> None: ...

    # A signal that comes too early or too late must not end the tests.
    before = signal.signal(signal.SIGTERM, ignore)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with contextlib.redirect_stdout(seen.out), contextlib.redirect_stderr(seen.err):
            code = app.run_for_exit_code(list(words))
    finally:
        is_over.set()
        signal.signal(signal.SIGTERM, ignore)
        watcher.join(PATIENCE_S)
        signal.signal(signal.SIGTERM, before)
    if problems:
        raise AssertionError(f"{seen.out.getvalue()}\n{seen.err.getvalue()}") from problems[0]
    return Ran(code, seen.out.getvalue(), seen.err.getvalue())


class Visitor:
    """Calls of a server from another thread."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, *words: str) -> Ran:
        """Runs in a process of its own kind: on a thread, which has a loop of its own."""
        return perdure(*words, "--address", self.address)

    def call(self, service: str, method: str, request: Any) -> Any:
        async def ask() -> Any:
            patience = RetryConfig(max_retries=0, max_elapsed_time_millis=int(PATIENCE_S * 1_000))
            client = await ServiceClient.connect(ConnectConfig(self.address, retry_config=patience))
            try:
                part = getattr(client, service)
                return await getattr(part, method)(request, timeout=timedelta(seconds=PATIENCE_S))
            finally:
                await client.close()

        return asyncio.run(ask())


def served(*words: str, ip: str = "127.0.0.1", visit: Callable[[Visitor], Any]) -> tuple[Ran, Any]:
    """Run a development server until it was visited."""
    port = free_port()
    found: list[Any] = []

    def until(seen: Serving) -> None:
        eventually(lambda: "address" in seen.out.getvalue())
        found.append(visit(Visitor(f"{ip}:{port}")))

    ran = serve("server", "start-dev", "--port", str(port), *words, until=until)
    assert ran.code == 0
    assert f"  address    {ip}:{port}" in ran.out
    return ran, found[0]


def info(visitor: Visitor) -> Any:
    request = workflowservice.GetSystemInfoRequest()
    return visitor.call("workflow_service", "get_system_info", request)
