"""Kept answers are bounded in time and number, and never those of a failed commit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from perdure.history.draft.replies import ActivityTaskReply, CompletionReply
from perdure.history.draft.tokens import ActivityTaskToken
from perdure.server.shards import reply_cache
from perdure.server.shards.group import Group
from perdure.server.shards.reply_cache import ReplyCache
from perdure.server.shards.step import Outcome
from perdure.wire.api import workflowservice
from perdure.wire.errors import RpcError, Unavailable
from tests.unit.server.world import World


def new_group() -> Group:
    return Group(cast("Any", SimpleNamespace()), cast("Any", None))


def outcome(reply: object, error: RpcError | None = None) -> Outcome:
    group = new_group()
    group.settle(error)
    return Outcome((group,), reply)


def reply_of(kept_outcome: Outcome | None) -> object:
    return None if kept_outcome is None else kept_outcome.reply


def test_an_answer_is_kept_for_a_minute_and_not_for_ever():
    replies = ReplyCache()
    replies.keep(b"t", outcome("a"), 100)
    assert reply_of(replies.get(b"t", 100 + reply_cache.REPLY_TTL_NS)) == "a"
    assert replies.get(b"t", 101 + 2 * reply_cache.REPLY_TTL_NS) is None
    assert replies.get(b"u", 100) is None


def test_an_answer_of_the_end_of_a_generation_is_kept_for_a_minute_too():
    replies = ReplyCache()
    replies.keep(b"first", outcome("1"), 100)
    replies.keep(b"last", outcome("2"), 99 + reply_cache.REPLY_TTL_NS)
    replies.keep(b"next", outcome("3"), 100 + reply_cache.REPLY_TTL_NS)
    assert reply_of(replies.get(b"last", 99 + 2 * reply_cache.REPLY_TTL_NS)) == "2"


def test_after_two_minutes_without_a_call_nothing_is_kept():
    replies = ReplyCache()
    replies.keep(b"t", outcome("a"), 100)
    assert replies.get(b"t", 100 + 2 * reply_cache.REPLY_TTL_NS) is None


def test_a_repetition_waits_for_the_same_commit():
    replies, group = ReplyCache(), new_group()
    replies.keep(b"t", Outcome((group,), "a"), 100)
    again = replies.get(b"t", 100)
    assert again is not None
    assert again.barrier == (group,)


def test_of_a_settled_commit_the_reply_alone_is_kept():
    replies, group = ReplyCache(), new_group()
    replies.keep(b"t", Outcome((group,), "a"), 100)
    group.settle(None)
    replies.keep(b"u", outcome("b"), 100)
    again = replies.get(b"t", 100)
    assert again == Outcome((), "a")


def test_of_a_commit_that_settles_a_generation_later_the_reply_alone_is_kept():
    replies, group = ReplyCache(), new_group()
    replies.keep(b"t", Outcome((group,), "a"), 100)
    later_ns = 100 + reply_cache.REPLY_TTL_NS
    replies.keep(b"u", outcome("b"), later_ns)
    group.settle(None)
    replies.keep(b"v", outcome("c"), later_ns)
    for token, reply in ((b"t", "a"), (b"u", "b"), (b"v", "c")):
        assert replies.get(token, later_ns) == Outcome((), reply)


def test_a_failed_commit_is_no_answer():
    replies = ReplyCache()
    replies.keep(b"t", outcome("a", Unavailable("x")), 100)
    assert replies.get(b"t", 100) is None
    group = new_group()
    replies.keep(b"u", Outcome((group,), "a"), 100)
    group.settle(Unavailable("x"))
    assert replies.get(b"u", 100) is None
    replies.keep(b"v", outcome("b"), 100)
    assert replies.get(b"u", 100) is None


def test_old_answers_make_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reply_cache, "REPLIES_MAX", 60)
    replies = ReplyCache()
    for n in range(3 * reply_cache.REPLIES_MAX):
        replies.keep(b"%d" % n, outcome("a"), 100)
    assert len(replies) <= reply_cache.REPLIES_MAX
    assert replies.get(b"9", 100) is None
    assert reply_of(replies.get(b"%d" % (3 * reply_cache.REPLIES_MAX - 1), 100)) == "a"


def eager(size_bytes: int, details_bytes: int = 0) -> CompletionReply:
    task = ActivityTaskReply(
        token=ActivityTaskToken("n", "w", "r", 5, 1, "a"),
        workflow_type="W",
        attributes=bytes(size_bytes),
        attempt=1,
        heartbeat_details=bytes(details_bytes),
        scheduled_ns=0,
        current_attempt_scheduled_ns=0,
        started_ns=0,
    )
    return CompletionReply(activities=(task,))


@pytest.mark.parametrize("details_share", [0.0, 0.5, 1.0])
def test_large_answers_make_room_sooner(details_share: float):
    replies, size_bytes = ReplyCache(), reply_cache.REPLY_BYTES_MAX // 16
    details_bytes = int(size_bytes * details_share)
    answer = eager(size_bytes - details_bytes, details_bytes)
    for n in range(64):
        replies.keep(b"%d" % n, outcome(answer), 100)
        assert len(replies) <= 16
    assert reply_of(replies.get(b"63", 100)) == answer
    assert reply_of(replies.get(b"56", 100)) == answer, "half of them in any case"
    assert replies.get(b"47", 100) is None


def test_an_empty_message_is_answered_as_it_was():
    replies = ReplyCache()
    empty = workflowservice.RespondActivityTaskCompletedResponse()
    told = workflowservice.RecordActivityTaskHeartbeatResponse(cancel_requested=True)
    replies.keep(b"empty", outcome(empty), 100)
    replies.keep(b"told", outcome(told), 100)
    replies.keep(b"next", outcome("a"), 100)
    assert reply_of(replies.get(b"empty", 100)) == empty
    assert reply_of(replies.get(b"told", 100)) == told


async def test_what_is_kept_of_a_change_does_not_hold_what_was_written(world: World):
    await world.start()
    task = await world.poll()
    await world.complete(task.task_token)
    (known,) = [each for each in world.engine._replies._young.values() if isinstance(each, Outcome)]
    for group in known.barrier:
        assert group.is_settled
        assert len(group.writes) == len(group.entries) == len(group.read) == 0
