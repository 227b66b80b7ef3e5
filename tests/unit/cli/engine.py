"""A server with a worker on a thread of its own, and the command line run in this process against it.

Every request is recorded with its headers, so that a test sees what a flag sent. The commands run as they do in a
shell: through the tree of commands, on an event loop of their own, over gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import grpc

from perdure.cli import app
from perdure.client import Client
from perdure.server.common.options import DevServerOptions
from perdure.server.node.main import open_dev_node
from perdure.server.transport.grpc import GrpcServer
from perdure.worker import Worker
from tests.unit.cli import workflows

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.server.frontend.dispatch import Frontend
    from perdure.wire.seam import Method

T = TypeVar("T")
CERTIFICATES = Path(__file__).parent / "certificates"
PATIENCE_S = 60.0
QUEUE = "q"
KNOWN = {
    "Color": "Keyword", "Number": "Int", "Rate": "Double", "Good": "Bool", "Tags": "KeywordList",
}  # fmt: skip


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def perdure(*words: str, stdin: str = "") -> Ran:
    """Run one command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n") for _ in range(2))
    before, sys.stdin = sys.stdin, io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = app.run_for_exit_code(list(words))
    finally:
        sys.stdin = before
    texts: list[str] = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Ran(code, *texts)


class Request(NamedTuple):
    method: str
    message: Any
    headers: Mapping[str, str | bytes]
    timeout_ns: int | None


class Recorder:
    """Passes every request on to the frontend, and keeps it."""

    def __init__(self, frontend: Frontend) -> None:
        self.frontend = frontend
        self.requests: list[Request] = []

    async def dispatch_encoded(
        self,
        method: Method,
        request: bytes,
        metadata: Mapping[str, str | bytes],
        timeout_ns: int | None,
    ) -> bytes:
        message: Message = method.request_type.FromString(request)
        self.requests.append(Request(method.name, message, metadata, timeout_ns))
        return await self.frontend.dispatch_encoded(method, request, metadata, timeout_ns)


class TlsServer(GrpcServer):
    """Serves only clients that have a certificate, under the name `perdure.test`."""

    def _bind(self, ip: str, port: int) -> int:
        key, certificate, authority = (
            (CERTIFICATES / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem")
        )
        credentials = grpc.ssl_server_credentials(
            [(key, certificate)], root_certificates=authority, require_client_auth=True
        )
        return self._server.add_secure_port(f"{ip}:{port}", credentials)


class Engine:
    """The server and the worker; `run` gets a coroutine done on their loop."""

    def __init__(self) -> None:
        self.address = ""
        self.tls_address = ""
        self.client: Client
        self.recorder: Recorder
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._work, name="engine")

    def start(self) -> None:
        self._thread.start()
        assert self._is_ready.wait(PATIENCE_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def requests(self, method: str = "") -> list[Request]:
        """What came, of one method or of all; the worker's own requests are left out."""
        return [
            one
            for one in list(self.recorder.requests)
            if one.headers.get("from") != "the worker" and (not method or one.method == method)
        ]

    def last(self, method: str) -> Any:
        """The message of the last request of a method."""
        return self.requests(method)[-1].message

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        options = DevServerOptions(namespaces=("default", "other"), search_attributes=KNOWN)
        node = await open_dev_node(options)
        self.recorder = Recorder(node.frontend)
        frontend = cast("Frontend", self.recorder)
        servers = [kind(frontend, "127.0.0.1", 0) for kind in (GrpcServer, TlsServer)]
        for server in servers:
            await server.start()
        self.address, self.tls_address = (f"127.0.0.1:{server.port}" for server in servers)
        self.client = await Client.connect(self.address, rpc_metadata={"from": "the worker"})
        worker = Worker(
            self.client,
            task_queue=QUEUE,
            workflows=workflows.WORKFLOWS,
            activities=workflows.ACTIVITIES,
        )
        async with self.client, worker:
            self._is_ready.set()
            await self._stop.wait()
        await node.stop_polls()
        for server in servers:
            await server.stop(0)
        await node.close()


@contextlib.contextmanager
def environment(**values: str) -> Generator[None]:
    """The environment without a setting of ours, and with these."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("PERDURE_", "TEMPORAL_")):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S * 100)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("waited in vain")
