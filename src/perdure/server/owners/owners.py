"""Finds the owner of a shard and asks it: by a call in this node, or by a message to another node.

Role: the parts of the node that answer for an owner register the messages that they serve (`serve`). Callers need not
know where the owner is. A single node owns everything, so every request is a call.

Invariants: the node that receives a message answers it and never forwards it, so that two nodes that disagree about an
owner cannot forward it in circles. A node that is not the owner answers Unavailable, and the caller tries again. Only
bytes travel to another node.
Not here: which nodes exist and what they own (`Peers`); what a message means (the part that serves it).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from perdure.core.backoff import exponential_ns
from perdure.core.ids import EntityKey, shard_of
from perdure.core.units import MS_NS, SECOND_NS
from perdure.server.owners.codec import (
    decode_answer,
    decode_message,
    encode_answer,
    encode_error,
    encode_message,
)
from perdure.wire.errors import Internal, RpcError, Unavailable

if TYPE_CHECKING:
    from perdure.server.owners.messages import Message, Place

log = logging.getLogger(__name__)

TRIES = 5
"""How often a message to a node is sent before it is lost."""
RETRY_NS = 100 * MS_NS
RETRY_MAX_NS = 5 * SECOND_NS


class Peers(Protocol):
    """The other nodes of a cluster: which exist, what they own, and how to reach them.

    Example:
        class Two:
            def owner_of(self, shard_id: int) -> str:
                return "" if shard_id % 2 else "other"

            def others(self) -> Iterable[str]:
                return ("other",)

            async def ask(self, node: str, message: bytes) -> bytes:
                return await transport.call(node, message)     # there: owners.receive(message)
    """

    def owner_of(self, shard_id: int) -> str:
        """The node that owns a shard; empty for this node."""
        ...

    def others(self) -> Iterable[str]:
        """All other nodes."""
        ...

    async def ask(self, node: str, message: bytes) -> bytes:
        """What `Owners.receive` of that node answers. If the caller is cancelled, so is the answering.

        Raises:
            Unavailable: The node does not answer.
        """
        ...


class Owners:
    """The owners of all shards, as one node sees them.

    Args:
        shard_count: How many shards there are.
        peers: The other nodes; None: this node owns everything.

    Example:
        owners.serve({IsServed: lambda message: matching.serves(message.queue)})
        served = await owners.ask(queue, IsServed(queue))
    """

    def __init__(self, shard_count: int, peers: Peers | None = None) -> None:
        self.shard_count = shard_count
        self.peers = peers
        self._answers: dict[type[Message], Callable[[Any], Awaitable[Any]]] = {}
        self._told: set[asyncio.Task[None]] = set()

    def serve(self, answers: Mapping[type[Any], Callable[[Any], Awaitable[Any]]]) -> None:
        """Answer messages of these types in this node."""
        self._answers.update(answers)

    # Ownership.

    @property
    def shards_here(self) -> tuple[int, ...]:
        """The shards that this node owns."""
        return tuple(n for n in range(self.shard_count) if not self._owner_of(n))

    @property
    def shards_elsewhere(self) -> tuple[int, ...]:
        return tuple(n for n in range(self.shard_count) if self._owner_of(n))

    def shard_of(self, place: Place) -> int:
        """The shard that determines the owner. A task queue belongs to the shard of its name."""
        return shard_of(EntityKey(0, place.namespace_id, place.name), self.shard_count)

    def is_here(self, place: Place) -> bool:
        """Whether this node is the owner."""
        return self.peers is None or not self._owner_of(self.shard_of(place))

    def _owner_of(self, shard_id: int) -> str:
        return "" if self.peers is None else self.peers.owner_of(shard_id)

    # Asking.

    def ask(self, place: Place, message: Message) -> Awaitable[Any]:
        """The answer of the owner of `place`.

        Raises:
            RpcError: The owner's, or Unavailable if it cannot be reached.
        """
        if self.peers is None:
            return self._answers[type(message)](message)
        return self._ask_at(self._owner_of(self.shard_of(place)), message)

    def _ask_at(self, node: str, message: Message) -> Awaitable[Any]:
        return self._ask_there(node, message) if node else self._answers[type(message)](message)

    async def _ask_there(self, node: str, message: Message) -> Any:
        assert self.peers is not None, "there is no other node"
        return decode_answer(message, await self.peers.ask(node, encode_message(message)))

    async def ask_others(self, message: Message) -> None:
        """Ask all other nodes. One that does not answer now is told later."""
        if self.peers is not None:
            calls = [self._ask_quietly(node, message) for node in self.peers.others()]
            await asyncio.gather(*calls)

    def tell(self, place: Place, message: Message) -> None:
        """Ask the owner of `place`, in the background. If it does not answer for some seconds, the message is lost."""
        self._later(self._ask_quietly(self._owner_of(self.shard_of(place)), message))

    def tell_others(self, message: Message) -> None:
        """Ask all other nodes, in the background."""
        if self.peers is not None:
            self._later(self.ask_others(message))

    async def _ask_quietly(self, node: str, message: Message) -> None:
        try:
            await self._ask_at(node, message)
        except Unavailable:
            self._later(self._ask_again(node, message))
        except RpcError as error:
            _lost(node, message, error)

    async def _ask_again(self, node: str, message: Message) -> None:
        for failures in range(1, TRIES):
            await asyncio.sleep(exponential_ns(RETRY_NS, 4.0, RETRY_MAX_NS, failures) / SECOND_NS)
            try:
                await self._ask_at(node, message)
            except Unavailable as error:
                if failures == TRIES - 1:
                    _lost(node, message, error)
            except RpcError as error:
                _lost(node, message, error)
                return
            else:
                return

    def _later(self, asking: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(asking)
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    # Answering.

    async def receive(self, data: bytes) -> bytes:
        """Answer a message of another node. Never raises."""
        try:
            message = decode_message(data)
            answer = self._answers.get(type(message), _not_yet)
            return encode_answer(await answer(message))
        except RpcError as error:
            return encode_error(error)
        except Exception as error:
            log.exception("a message of another node could not be answered")
            return encode_error(Internal(f"the owner failed ({type(error).__name__}); see its log"))

    def close(self) -> None:
        """Stop sending messages in the background."""
        for task in self._told:
            task.cancel()


def _lost(node: str, message: Message, error: RpcError) -> None:
    log.warning("%s did not reach node %r: %s", type(message).__name__, node, error)


def elsewhere() -> Unavailable:
    """The error for a request whose owner is another node."""
    return Unavailable("Another node owns this; try again.")


async def _not_yet(message: Message) -> None:
    raise Unavailable(f"The node is starting and cannot answer {type(message).__name__} yet.")
