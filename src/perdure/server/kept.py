"""Answers kept for a while: a Respond* call repeated after a lost response gets the same answer (DESIGN §10.7).

An answer is kept for a minute at least, unless too many newer ones came. While its commit is under way that is the
outcome, which a repetition waits for; afterwards it is the reply alone.

Invariant: the answer of a commit that failed is none.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from perdure.core.units import MINUTE_NS
from perdure.server.step import Outcome

KEPT_MAX = 20_000
KEPT_NS = MINUTE_NS


class KeptReplies:
    """The last answer per token, in two generations: the older one is let go of as a whole."""

    def __init__(self) -> None:
        self._young: dict[bytes, Any] = {}
        self._old: dict[bytes, Any] = {}
        self._turn_ns = 0
        """When the young ones become the old ones."""
        self._unsettled: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, token: bytes, now_ns: int) -> Outcome | None:
        """The outcome to answer a repetition with; None for a call that is new, or whose commit failed."""
        self._turn(now_ns)
        kept = self._young.get(token) or self._old.get(token)
        if kept is None:
            return None
        if not isinstance(kept, Outcome):
            return Outcome((), kept)
        return None if _failed(kept) else kept

    def keep(self, token: bytes, outcome: Outcome, now_ns: int) -> None:
        self._turn(now_ns)
        self._young[token] = outcome
        self._unsettled.append(token)
        self._condense()

    def _turn(self, now_ns: int) -> None:
        if now_ns < self._turn_ns and len(self._young) < KEPT_MAX // 2:
            return
        # After a long pause both generations are too old.
        self._old = self._young if now_ns < self._turn_ns + KEPT_NS else {}
        self._young = {}
        self._turn_ns = now_ns + KEPT_NS

    def _condense(self) -> None:
        """Keep the reply alone of what is settled: groups are settled in the order in which they came."""
        while self._unsettled:
            token = self._unsettled[0]
            table = self._young if token in self._young else self._old
            kept = table.get(token)
            if isinstance(kept, Outcome):
                if not all(group.is_settled for group in kept.barrier):
                    return
                if _failed(kept) or kept.reply is None:
                    del table[token]
                else:
                    table[token] = kept.reply
            self._unsettled.popleft()


def _failed(outcome: Outcome) -> bool:
    return any(group.error is not None for group in outcome.barrier)
