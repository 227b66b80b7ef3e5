"""The engine in the calling process, behind the same seam as a server: no server, no network.

Role: `open_embedded(url)` gives a `Connection` to an engine over a SQLite file or memory. There is one engine per file
and process, shared by its connections and closed with the last of them.

Invariants: an engine belongs to the event loop that opened it; one whose loop has ended without closing it is let go of
when its file is opened again, and never keeps the process alive. Not here: what a call means (`server.frontend`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perdure.core.clock import SystemClock
from perdure.core.ids import new_id
from perdure.core.units import SECOND_NS
from perdure.server.node import open_node
from perdure.storage.port import OpenError
from perdure.storage.sqlite import SqliteStore, open_memory, open_sqlite
from perdure.wire import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from perdure.server.node import Node
    from perdure.wire.seam import Method


async def open_embedded(url: str) -> EmbeddedConnection:
    """Open the engine that `url` names, or join it when this process has it open already.

    Args:
        url: `sqlite:orders.db` or `sqlite:///absolute/orders.db`; `memory:` for a new engine of one's own,
            `memory:name` for one that is shared by this name.

    Raises:
        ValueError: The URL names no database.
        FailedPrecondition: The database is in use by another process or event loop, damaged, or of a newer version.

    Example:
        connection = await open_embedded("sqlite:orders.db")
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        place: Path | str = rest.removeprefix("//")
    elif scheme == "sqlite" and rest.removeprefix("//"):
        place = Path(rest.removeprefix("//")).resolve()  # noqa: ASYNC240 -- once, before anything runs
    else:
        raise ValueError(f"{url!r} names no database: give 'sqlite:<file>' or 'memory:'")
    shared = _shared.get(place) if place else None
    if shared is not None and shared.loop.is_closed():
        shared.abandon()
        shared = None
    if shared is None:
        shared = _Shared(place)
        if place:
            _shared[place] = shared
    return await shared.join()


class _Shared:
    """One engine of this process, and how many connections it has."""

    def __init__(self, place: Path | str) -> None:
        self.place = place
        self.loop = asyncio.get_running_loop()
        self._store: SqliteStore | None = None
        self._connections = 0
        self._opening: asyncio.Task[Node] = self.loop.create_task(self._open())
        self._closing: asyncio.Task[None] | None = None

    async def join(self) -> EmbeddedConnection:
        if self.loop is not asyncio.get_running_loop():
            raise errors.FailedPrecondition(
                f"{self.place} is open on another event loop of this process: connect from that loop, or close "
                "its clients first"
            )
        if self._closing is not None:
            await asyncio.shield(self._closing)
            again = _shared.setdefault(self.place, _Shared(self.place))
            return await again.join()
        self._connections += 1
        try:
            node = await asyncio.shield(self._opening)
        except BaseException:
            self._connections -= 1
            raise
        return EmbeddedConnection(node, self)

    async def leave(self) -> None:
        self._connections -= 1
        if self._connections == 0:
            self._closing = self.loop.create_task(self._close())
            await asyncio.shield(self._closing)

    def abandon(self) -> None:
        """The loop has ended: nothing of the engine runs any more, only the file is still held."""
        self._forget()
        if self._store is not None:
            self._store.abandon()

    async def _open(self) -> Node:
        try:
            if isinstance(self.place, Path):
                self._store = await open_sqlite(self.place)
            else:
                self._store = open_memory()
            return await open_node(
                self._store, clock=SystemClock(), new_id=new_id, void_activities=True
            )
        except OpenError as error:
            self._forget()
            raise errors.FailedPrecondition(str(error)) from error
        except BaseException:
            self._forget()
            if self._store is not None:
                await self._store.close()
            raise

    async def _close(self) -> None:
        try:
            await self._opening.result().close()
        finally:
            self._forget()

    def _forget(self) -> None:
        if _shared.get(self.place) is self:
            del _shared[self.place]


_shared: dict[Path | str, _Shared] = {}


class Owner(Protocol):
    """Who keeps the node of a connection."""

    async def leave(self) -> None:
        """A connection was closed."""
        ...


class EmbeddedConnection:
    """A `perdure.wire.seam.Connection` to an engine in this process."""

    def __init__(self, node: Node, owner: Owner) -> None:
        self._node = node
        self._owner = owner
        self._is_closed = False
        self._polls: set[asyncio.Task[Message]] = set()

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        """Call `method`; see `perdure.wire.seam.Connection.call`."""
        if self._is_closed:
            raise errors.Unavailable("The connection is closed.")
        dispatched = self._node.frontend.dispatch(method, request, metadata, timeout_ns)
        if method.name.startswith("Poll"):
            return await self._poll(asyncio.ensure_future(dispatched))
        if timeout_ns is None:
            return await dispatched
        try:
            async with asyncio.timeout(timeout_ns / SECOND_NS):
                return await dispatched
        except TimeoutError:
            raise errors.DeadlineExceeded(
                f"{method.name} was not answered in {timeout_ns / SECOND_NS:g} s."
            ) from None

    async def close(self) -> None:
        """Withdraw the polls under way; with the last connection the engine is closed too. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        for poll in tuple(self._polls):
            poll.cancel()
        await self._owner.leave()

    async def _poll(self, poll: asyncio.Task[Message]) -> Message:
        """Polls end with the connection, though others keep the engine alive."""
        self._polls.add(poll)
        try:
            return await poll
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._is_closed and poll.cancelled() and not (caller and caller.cancelling()):
                raise errors.Unavailable("The connection is closed.") from None
            poll.cancel()
            raise
        finally:
            self._polls.discard(poll)
