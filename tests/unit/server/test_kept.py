"""Kept answers are bounded in time and number, and never those of a failed commit."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from perdure.core.ids import run_key
from perdure.server import kept
from perdure.server.group import Group
from perdure.server.kept import KeptReplies
from perdure.server.step import Outcome
from perdure.wire.errors import RpcError, Unavailable

KEY = run_key("n", "w", "r")


async def outcome(reply: str, error: RpcError | None = None) -> Outcome:
    group = Group(cast("Any", SimpleNamespace()), cast("Any", None))
    group.outcome.set_result(error)
    await asyncio.sleep(0)
    return Outcome((group,), reply)


async def test_an_answer_is_kept_for_a_minute():
    replies, answer = KeptReplies(), await outcome("a")
    replies.keep(KEY, b"t", answer, 100)
    assert replies.get(KEY, b"t", 100 + kept.KEPT_NS) is answer
    assert replies.get(KEY, b"t", 101 + kept.KEPT_NS) is None
    assert replies.get(KEY, b"u", 100) is None


async def test_a_failed_commit_is_no_answer():
    replies = KeptReplies()
    replies.keep(KEY, b"t", await outcome("a", Unavailable("x")), 100)
    assert replies.get(KEY, b"t", 100) is None


async def test_old_answers_make_room():
    replies, answer = KeptReplies(), await outcome("a")
    for n in range(kept.KEPT_MAX + 10):
        replies.keep(KEY, b"%d" % n, answer, 100)
    assert replies.get(KEY, b"9", 100) is None
    assert replies.get(KEY, b"10", 100) is answer
    replies.keep(KEY, b"new", answer, 101 + kept.KEPT_NS)
    assert len(replies._kept) == 1
