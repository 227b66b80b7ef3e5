"""Answers kept for a while: a Respond* call repeated after a lost response gets the same answer (DESIGN §10.7)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from perdure.core.units import MINUTE_NS

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.server.step import Outcome

KEPT_MAX = 20_000
KEPT_NS = MINUTE_NS


class _Kept(NamedTuple):
    outcome: Outcome
    until_ns: int


class KeptReplies:
    """The last outcome per (entity, token), bounded in number and in time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[EntityKey, bytes], _Kept] = OrderedDict()

    def get(self, key: EntityKey, token: bytes, now_ns: int) -> Outcome | None:
        kept = self._kept.get((key, token))
        if kept is None or kept.until_ns < now_ns or _failed(kept.outcome):
            return None
        return kept.outcome

    def keep(self, key: EntityKey, token: bytes, outcome: Outcome, now_ns: int) -> None:
        self._kept[key, token] = _Kept(outcome, now_ns + KEPT_NS)
        self._kept.move_to_end((key, token))
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if len(self._kept) <= KEPT_MAX and oldest.until_ns >= now_ns:
                return
            self._kept.popitem(last=False)


def _failed(outcome: Outcome) -> bool:
    return any(group.outcome.done() and group.outcome.result() for group in outcome.barrier)
