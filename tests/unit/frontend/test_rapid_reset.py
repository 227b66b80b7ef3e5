"""Calls that a client opens and resets at once: a connection has no more of them under way than its limit."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import grpc.aio
import pytest

from perdure.server.transport import grpc as transport
from perdure.server.transport.grpc import GrpcServer
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.unit.frontend.conftest import Caller

LIMIT = 20
CALLS = 1_000
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
END_HEADERS, ACK = 4, 1
END_STREAM = 1
REFUSED_STREAM, CANCEL = (code.to_bytes(4, "big") for code in (7, 8))
METHOD = WORKFLOW_SERVICE["GetSystemInfo"]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def headers(path: str) -> bytes:
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "x",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    return b"".join(
        # Literals that are not indexed, and not compressed.
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


class Peer:
    """A client made of frames."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))
        self._received = b""

    def next(self) -> tuple[int, int, bytes]:
        """The type, the flags and the payload of the next frame."""
        head = self._take(9)
        return head[3], head[4], self._take(int.from_bytes(head[:3], "big"))

    def until(self, kind: int, flags: int) -> list[tuple[int, int, bytes]]:
        found = [self.next()]
        while found[-1][:2] != (kind, flags):
            found.append(self.next())
        return found

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            more = self.socket.recv(65_536)
            assert more, "the server has closed the connection"
            self._received += more
        taken, self._received = self._received[:count], self._received[count:]
        return taken


@pytest.fixture
async def server(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GrpcServer]:
    options = dict(transport._OPTIONS) | {"grpc.max_concurrent_streams": LIMIT}
    monkeypatch.setattr(transport, "_OPTIONS", list(options.items()))
    server = GrpcServer(caller.node.frontend, "127.0.0.1", 0)
    await server.start()
    yield server
    await server.stop(0)


@pytest.fixture
def peer(server: GrpcServer) -> Iterator[Peer]:
    peer = Peer(server.port)
    peer.until(SETTINGS, 0)
    peer.socket.sendall(frame(SETTINGS, ACK, 0, b"") + frame(PING, 0, 0, b"set up.."))
    peer.until(PING, ACK)  # from now on, its limit holds
    yield peer
    peer.socket.close()


def opened(*streams: int, is_reset: bool = False) -> bytes:
    path = headers(METHOD.path)
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, path) + frame(RST_STREAM, 0, stream, CANCEL) * is_reset
        for stream in streams
    )


def refused(peer: Peer) -> int:
    """How many of the calls so far the transport has refused."""
    peer.socket.sendall(frame(PING, 0, 0, b"the last"))
    # This thread is the server's as well: Python takes no call up before the transport has read the last frame.
    frames = peer.until(PING, ACK)
    return sum(kind == RST_STREAM and payload == REFUSED_STREAM for kind, _, payload in frames)


async def answer(server: GrpcServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD.path)
        encoded = await ask(METHOD.request_type().SerializeToString(), timeout=60)
    assert METHOD.response_type.FromString(encoded)


async def test_calls_beyond_the_limit_of_a_connection_are_refused(server: GrpcServer, peer: Peer):
    streams = range(1, 2 * (LIMIT + 10), 2)
    peer.socket.sendall(opened(*streams))
    assert refused(peer) == 10
    await answer(server)
    # They have been taken up, and count until they end.
    peer.socket.sendall(opened(2 * LIMIT + 21))
    assert refused(peer) == 1


async def test_calls_that_are_opened_and_reset_do_not_end_others(server: GrpcServer, peer: Peer):
    peer.socket.sendall(opened(*range(1, 2 * CALLS, 2), is_reset=True))
    refused(
        peer
    )  # as many as the limit says, or fewer: resets may end calls sooner than they are taken up
    await answer(server)
    last = 2 * CALLS + 1
    peer.socket.sendall(opened(last) + frame(DATA, END_STREAM, last, bytes(5)))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        data = await loop.run_in_executor(None, peer.until, DATA, 0)
    assert METHOD.response_type.FromString(data[-1][2][5:])
