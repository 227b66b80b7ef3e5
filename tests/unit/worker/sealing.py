"""A codec that leaves nothing readable, and a connection that keeps the bytes of every request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.client import Client
from perdure.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)
from perdure.service import ConnectConfig, Connection, ServiceClient
from perdure.service.client import connect
from perdure.wire.api import common

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.seam import Method

MARK = "IN-CLEAR"
SEALED = b"test/sealed"


def mark(what: str) -> str:
    """A text that no request may contain, named after the path that it takes."""
    return f"{MARK} {what}."


class Sealing(PayloadCodec):
    """Inverts every bit. A payload is sealed once on its way out and opened once on its way in."""

    def __init__(self) -> None:
        self.plain: dict[bytes, bytes] = {}
        """What was sealed, by the sealed data; each is unique."""

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [self._seal(each) for each in payloads]

    def _seal(self, payload: common.Payload) -> common.Payload:
        assert payload.metadata["encoding"] != SEALED, "sealed twice"
        plain = payload.SerializeToString()
        data = f"<{len(self.plain)}>".encode() + bytes(byte ^ 0xFF for byte in plain)
        self.plain[data] = plain
        return common.Payload(metadata={"encoding": SEALED}, data=data)

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        for each in payloads:
            assert each.metadata["encoding"] == SEALED, "opened twice, or never sealed"
        return [common.Payload.FromString(self.plain[each.data]) for each in payloads]


class Recording:
    """Passes every call on and keeps its bytes."""

    def __init__(self, inner: Connection) -> None:
        self._inner = inner
        self.inline_workers = None
        self.requests: list[tuple[str, bytes]] = []
        self._came = asyncio.Event()

    async def until(self, name: str, number: int) -> None:
        """Wait until so many requests of this method have come."""
        while sum(called == name for called, _ in self.requests) < number:
            self._came.clear()
            await self._came.wait()

    @property
    def polls_are_free(self) -> bool:
        return self._inner.polls_are_free

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        self.requests.append((method.name, request.SerializeToString()))
        self._came.set()
        return await self._inner.call(method, request, metadata=metadata, timeout_ns=timeout_ns)

    async def close(self) -> None:
        await self._inner.close()


class Wire:
    """An engine in this process, a client of it, and what passed between them."""

    def __init__(
        self, connection: Connection, codec: Sealing | None = None, **options: Any
    ) -> None:
        self.codec = codec or Sealing()
        self._recording = Recording(connection)
        self.client = Client(
            ServiceClient(ConnectConfig("memory:", identity="me"), self._recording),
            data_converter=DataConverter(
                payload_codec=self.codec,
                failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
            ),
            **options,
        )

    @staticmethod
    async def open(**options: Any) -> Wire:
        return Wire(await connect("memory:"), **options)

    def in_clear(self) -> set[str]:
        """The methods of the requests that contain the marker."""
        return {name for name, data in self._recording.requests if MARK.encode() in data}

    def count(self, name: str) -> int:
        """How many requests of this method there were."""
        return sum(called == name for called, _ in self._recording.requests)

    def carried(self, name: str, what: str) -> bool:
        """Whether a request of this method had that text in a sealed payload."""
        sealed = [data for data, plain in self.codec.plain.items() if mark(what).encode() in plain]
        sent = [data for called, data in self._recording.requests if called == name]
        return any(each in request for each in sealed for request in sent)
