"""Opens engines in this process, shares them, and connects to them.

`open_embedded(url)` gives a `Connection` to an engine over a SQLite file or memory. There is one engine per file and
process. Its connections share it, and it is closed with the last of them.

Invariants: an engine belongs to the process and the event loop that opened it; an engine whose loop has ended without
closing it is released when its file is opened again, and never keeps the process alive; a forked child has none of its
parent's engines. Not here: what a call means (`server.frontend`), the lock and the checks of a file (`storage`).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from perdure.core.clock import SystemClock
from perdure.core.ids import new_id
from perdure.core.units import MS_NS, SECOND_NS
from perdure.core.user_code import interruptible_tasks
from perdure.embedded.calls import CLOSED, LATE, Call, TimeLimits
from perdure.embedded.place import place_of
from perdure.server.node.node import open_node
from perdure.storage.port import DamageError, InUse, OpenError, StoreError
from perdure.storage.sqlite import SqliteStore, open_memory, open_sqlite
from perdure.wire import errors
from perdure.wire.seam import Waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from perdure.server.node.node import Node
    from perdure.wire.seam import InlineWorkers, Method

IN_USE_WAIT_NS = 2 * SECOND_NS
"""How long to wait for a process that has the file and is shutting down: a reloader starts the new one quickly."""
IN_USE_RETRY_NS = 50 * MS_NS

_HEALTH_SERVICE = "grpc.health.v1.Health"


async def open_embedded(url: str, *, retention_ns: int | None = None) -> EmbeddedConnection:
    """Open the engine that a URL names, or join it if this process has already opened it.

    Args:
        url: `sqlite:orders.db` or `sqlite:///orders.db`, see `place`; `memory:` for a new engine that is not shared;
            `memory:name` for an engine that this process shares under that name.
        retention_ns: How long a new engine keeps closed runs of its default namespace, in nanoseconds, before it begins
            to work; see `EmbeddedConnection.keep_runs`. Default: what the database says.

    Returns:
        A connection to it.

    Raises:
        ValueError: The URL names no database.
        FailedPrecondition: The database is in use by another process or event loop, is damaged, has a newer format, or
            cannot be written.

    Example:
        ```python
        from perdure.embedded import open_embedded

        connection = await open_embedded("memory:")
        assert connection.polls_are_free
        await connection.close()
        ```
    """
    place = place_of(url)
    while True:
        engine = shared_engines.get(place)
        if engine is not None and engine.loop.is_closed():
            engine.abandon()
            engine = None
        if engine is None:
            engine = _Engine(place, retention_ns)
            if place:
                shared_engines[place] = engine
        connection = await engine.join()
        if connection is not None:
            return connection


class _Engine:
    """One engine of this process, and how many connections it has."""

    def __init__(self, place: Path | str, retention_ns: int | None = None) -> None:
        self.place = place
        self._retention_ns = retention_ns
        self.loop = asyncio.get_running_loop()
        self._store: SqliteStore | None = None
        self._connections = 0
        self._opening: asyncio.Task[Node] = self.loop.create_task(self._open())
        self._closing: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        all_engines.add(self)

    async def join(self) -> EmbeddedConnection | None:
        """A new connection; None if the engine has just been closed and a new one is needed."""
        if self.loop is not asyncio.get_running_loop():
            raise errors.FailedPrecondition(
                f"{self.place} is open on another event loop of this process: connect once and use that client "
                "on its own loop, or close it there first"
            )
        if self._closing is not None:
            await asyncio.wait((self._closing,))
            return None
        self._connections += 1
        try:
            node = await asyncio.shield(self._opening)
        except asyncio.CancelledError:
            leaving = self.loop.create_task(self._leave_when_open())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise
        return EmbeddedConnection(node, self, _shown(self.place))

    async def leave(self) -> None:
        """A connection was closed. The engine is closed with the last one."""
        self._connections -= 1
        if self._connections == 0:
            self._closing = self.loop.create_task(self._close())
            await asyncio.shield(self._closing)

    def abandon(self) -> None:
        """Release the file of an engine whose loop has ended. Nothing else of it still exists."""
        self._forget()
        if self._store is not None:
            self._store.abandon()

    def leave_to_parent(self) -> None:
        """In a forked child: forget the engine, which is the parent's."""
        if self._store is not None:
            self._store.leave_to_parent()

    async def _leave_when_open(self) -> None:
        """The caller that waited for the opening was cancelled: do not leave the engine open without a connection."""
        await asyncio.wait((self._opening,))
        if not self._opening.cancelled() and self._opening.exception() is None:
            await self.leave()

    async def _open(self) -> Node:
        try:
            self._store = store = await self._open_store()
            return await open_node(
                store,
                clock=SystemClock(),
                new_id=new_id,
                retention_ns=self._retention_ns,
                workers_died=True,
            )
        except InUse as error:
            self._forget()
            raise errors.FailedPrecondition(_in_use(self.place, error.holder)) from error
        except StoreError as error:
            self._forget()
            why = str(error)
            if isinstance(error, DamageError) and _shown(self.place) not in why:
                why = f"{_shown(self.place)} cannot be opened: {why}"
            elif not isinstance(error, OpenError):
                why = f"{_shown(self.place)} cannot be written: {why}. Free space, or choose another file"
            raise errors.FailedPrecondition(why) from error
        except BaseException:
            self._forget()
            if self._store is not None:
                await self._store.close()
            raise

    async def _open_store(self) -> SqliteStore:
        if not isinstance(self.place, Path):
            return open_memory()
        give_up_s = self.loop.time() + IN_USE_WAIT_NS / SECOND_NS
        while True:
            try:
                return await open_sqlite(self.place)
            except InUse as error:
                if self.loop.time() > give_up_s or error.holder == str(os.getpid()):
                    raise
            await asyncio.sleep(IN_USE_RETRY_NS / SECOND_NS)

    async def _close(self) -> None:
        try:
            await self._opening.result().close()
        finally:
            self._forget()

    def _forget(self) -> None:
        all_engines.discard(self)
        if shared_engines.get(self.place) is self:
            del shared_engines[self.place]


shared_engines: dict[Path | str, _Engine] = {}
"""The open engines by their place: later connections to the same place join them."""
all_engines: set[_Engine] = set()
"""All open engines, also those that are not shared."""
_of_parent: list[_Engine] = []
"""Kept forever in a forked child: SQLite forbids even closing what the parent opened."""


class _Process:
    """The generation of this process. Connections of an earlier generation belong to its parents."""

    generation = 0


def _after_fork() -> None:
    _Process.generation += 1
    for engine in all_engines:
        engine.leave_to_parent()
    _of_parent.extend(all_engines)
    all_engines.clear()
    shared_engines.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def _shown(place: Path | str) -> str:
    return str(place) if isinstance(place, Path) else f"memory:{place}"


def _in_use(place: Path | str, holder: str) -> str:
    if holder == str(os.getpid()):
        return (
            f"{place} is open in this process already, past its embedded engine (by a server?): close that first, or "
            "use one of the two"
        )
    return (
        f"{place} is in use by process {holder or 'unknown'}: an embedded engine is of one process. Run your server "
        "with one process (uvicorn --workers 1), or keep several and let them share a server: `perdure server "
        f"start-dev --db-filename {place}`, and connect to 'localhost:7233'"
    )


class Owner(Protocol):
    """The owner of a connection's node."""

    async def leave(self) -> None:
        """A connection was closed."""
        ...


class EmbeddedConnection:
    """A `perdure.wire.seam.Connection` to an engine in this process. `open_embedded` makes it.

    Args:
        node: The engine.
        owner: Told when the connection is closed.
        place: What the engine works on, for messages.
    """

    polls_are_free = True

    def __init__(self, node: Node, owner: Owner, place: str = "memory:") -> None:
        self._node = node
        self._owner = owner
        self._place = place
        self.inline_workers: InlineWorkers | None = node.inline_workers
        self._loop = asyncio.get_running_loop()
        self._generation = _Process.generation
        self._is_closed = False
        self._limits = TimeLimits(self._loop)
        self._waiting: set[Call] = set()
        """Calls that end with the connection even if others keep the engine alive: polls, and waits for results."""

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        """Call a method of the engine, as `perdure.wire.seam.Connection.call`.

        Args:
            method: The method.
            request: A message of its request type.
            metadata: Ignored: there is no transport that has headers.
            timeout_ns: How long the caller waits, in nanoseconds. None: no limit.

        Returns:
            A message of the method's response type.

        Raises:
            DeadlineExceeded: The limit passed. The change may have been made.
            FailedPrecondition: Called from another process or event loop.
            ConnectionClosed: The connection is closed, or was closed during the call.
        """
        self._check_caller()
        caller = asyncio.current_task(self._loop)
        assert caller is not None, "a coroutine runs in a task"
        if caller in interruptible_tasks:
            # A step of the engine runs in its caller's task, and must not be interrupted.
            again = self.call(method, request, metadata=metadata, timeout_ns=timeout_ns)
            return await self._loop.create_task(again)
        if self._is_closed:
            raise self._closed()
        if method.service == _HEALTH_SERVICE:
            from perdure.wire import health  # nothing else in a process without server needs it

            return health.check(cast("health.HealthCheckRequest", request), is_serving=True)
        call = Call(caller)
        if method.waits is not Waits.FOR_NOTHING:
            self._waiting.add(call)
        # A poll is answered in time, as its handler sees to.
        limit_ns = None if method.name.startswith("Poll") else timeout_ns
        if limit_ns is not None:
            self._limits.add(call, limit_ns / SECOND_NS)
        try:
            return await self._node.frontend.dispatch(method, request, metadata, timeout_ns)
        except asyncio.CancelledError:
            why = call.why_interrupted()
            if why is LATE:
                assert timeout_ns is not None
                raise errors.DeadlineExceeded(
                    f"{method.name} was not answered in {timeout_ns / SECOND_NS:g} s."
                ) from None
            if why is CLOSED:
                raise self._closed() from None
            raise
        finally:
            if limit_ns is not None:
                self._limits.discard(call)
            self._waiting.discard(call)

    async def keep_runs(self, namespace: str, retention_ns: int) -> None:
        """Set how long closed runs of a namespace are kept.

        Args:
            namespace: The namespace.
            retention_ns: The time from the close of a run to its deletion, in nanoseconds.

        Raises:
            NotFound: There is no such namespace.
        """
        await self._node.engine.namespaces.keep_runs(namespace, retention_ns)

    async def close(self) -> None:
        """End polls and waits for workflows. Further calls have no effect.

        The engine is closed with its last connection.

        Raises:
            FailedPrecondition: Called from another process or event loop.
        """
        if self._is_closed:
            return
        self._check_caller()
        self._is_closed = True
        waiting, self._waiting = self._waiting, set()
        for call in waiting:
            call.interrupt(CLOSED)
        self._limits.close()
        await self._owner.leave()

    def _check_caller(self) -> None:
        if self._generation != _Process.generation:
            raise errors.FailedPrecondition(
                f"this process was forked after its parent had connected to {self._place}: an embedded engine does not "
                "survive a fork. Connect after the fork (in the server's start-up hook, not at import and without "
                "--preload), or run `perdure server start-dev` and connect all processes to it"
            )
        if self._loop is not asyncio.get_running_loop():
            raise errors.FailedPrecondition(
                f"the client of {self._place} belongs to another event loop: use it on the loop in which it was "
                "connected; from a thread, with asyncio.run_coroutine_threadsafe(coroutine, loop)"
            )

    def _closed(self) -> errors.ConnectionClosed:
        return errors.ConnectionClosed(f"the client of {self._place} is closed: connect again")
