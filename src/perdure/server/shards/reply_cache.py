"""Deduplicates Respond* calls: one that is repeated after its response was lost gets the same answer (D-47).

The cache remembers an answer for at least a minute, unless later answers exceed its limits of number or size. While the
commit is in progress, the entry is the outcome, and a repeated call waits for it. Afterwards the entry is only the
reply, or only the class of an empty message: there are thousands of entries, and the garbage collector visits every
live object.

Invariant: a failed commit leaves no answer.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from google.protobuf.message import Message

from perdure.core.units import MINUTE_NS
from perdure.history.draft.replies import CompletionReply
from perdure.server.shards.step import Outcome

REPLIES_MAX = 20_000
REPLY_BYTES_MAX = 64 * 1024 * 1024
"""Limit for the parts of replies that may be large: messages, and the inputs of activities that start eagerly."""
REPLY_TTL_NS = MINUTE_NS


class ReplyCache:
    """The last answer per token, in two generations; the older one is discarded as a whole."""

    def __init__(self) -> None:
        self._young: dict[bytes, Any] = {}
        self._old: dict[bytes, Any] = {}
        self._young_bytes = 0
        self._turn_ns = 0
        """When the young generation becomes the old one."""
        self._unsettled: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, token: bytes, now_ns: int) -> Outcome | None:
        """The outcome of the same call; None if the call is new or its commit failed."""
        if now_ns >= self._turn_ns:
            self._turn(now_ns)
        found = self._young.get(token) or self._old.get(token)
        if found is None:
            return None
        if not isinstance(found, Outcome):
            return Outcome((), found() if isinstance(found, type) else found)
        return None if _failed(found) else found

    def keep(self, token: bytes, outcome: Outcome, now_ns: int) -> None:
        self._turn(now_ns)
        self._young[token] = outcome
        self._young_bytes += _size_bytes(outcome.reply)
        self._unsettled.append(token)
        self._condense()

    def _turn(self, now_ns: int) -> None:
        if (
            now_ns < self._turn_ns
            and len(self._young) < REPLIES_MAX // 2
            and self._young_bytes < REPLY_BYTES_MAX // 2
        ):
            return
        # After a long pause, both generations have expired.
        self._old = self._young if now_ns < self._turn_ns + REPLY_TTL_NS else {}
        self._young = {}
        self._young_bytes = 0
        self._turn_ns = now_ns + REPLY_TTL_NS

    def _condense(self) -> None:
        """Replace settled outcomes by their replies. Groups are settled in the order in which they were appended."""
        unsettled = self._unsettled
        while unsettled:
            token = unsettled[0]
            table = self._young if token in self._young else self._old
            found = table.get(token)
            if isinstance(found, Outcome):
                has_failed = False
                for group in found.barrier:
                    if not group.is_settled:
                        return
                    has_failed = has_failed or group.error is not None
                reply = found.reply
                if has_failed or reply is None:
                    del table[token]
                else:
                    table[token] = _compact(reply)
            unsettled.popleft()


def _failed(outcome: Outcome) -> bool:
    # Without a generator: this is asked about every answer of a worker.
    for group in outcome.barrier:  # noqa: SIM110
        if group.error is not None:
            return True
    return False


def _compact(reply: Any) -> Any:
    return type(reply) if isinstance(reply, Message) and not reply.ByteSize() else reply


def _size_bytes(reply: Any) -> int:
    if isinstance(reply, CompletionReply):
        if not reply.activities and not reply.rejected_updates:
            return 0
        size = sum(len(task.attributes) + len(task.heartbeat_details) for task in reply.activities)
        return size + sum(refused.failure.ByteSize() for refused in reply.rejected_updates)
    return reply.ByteSize() if isinstance(reply, Message) else 0
