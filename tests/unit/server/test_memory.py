"""What waits in the memory of a node, bounded and let go of: updates before acceptance, queries, kept answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from perdure.core.ids import EntityKey, run_key
from perdure.history.draft.replies import CompletionReply, WorkflowTaskReply
from perdure.history.draft.tokens import WorkflowTaskToken
from perdure.history.draft.update_values import UpdateRejection
from perdure.history.state.run_state import RunState, RunStatus
from perdure.server.pending import updates
from perdure.server.pending.queries import PendingQuery, Queries, TaskAttempt
from perdure.server.pending.updates import Updates
from perdure.server.shards import reply_cache
from perdure.server.shards.group import Group
from perdure.server.shards.reply_cache import ReplyCache
from perdure.server.shards.step import Outcome
from perdure.wire.api import common, enums, failure, query, update, workflowservice
from perdure.wire.errors import ResourceExhausted

RUN, OTHER = run_key("n", "w", "r"), run_key("n", "other", "r")
REQUEST = update.Request(input=update.Input(name="add"))


def reply(
    entity: EntityKey = RUN,
    *,
    started: int = 7,
    previous: int = 3,
    is_sticky: bool = False,
    attempt: int = 1,
) -> WorkflowTaskReply:
    return WorkflowTaskReply(
        token=WorkflowTaskToken("n", entity.name, "r", started - 1, started, attempt, 0),
        workflow_type="T",
        previous_started_event_id=previous,
        started_event_id=started,
        attempt=attempt,
        first_event_id=1,
        last_event_id=started,
        is_sticky=is_sticky,
        queue_name="q",
        scheduled_ns=0,
        started_ns=0,
    )


def state(last_started: int = 3, entity: EntityKey = RUN) -> RunState:
    made = RunState(entity)
    made.status = RunStatus.RUNNING
    made.last_started_event_id = last_started
    return made


def sent(memory: Updates, task: WorkflowTaskReply) -> list[str]:
    return [message.protocol_instance_id for message in memory.messages(task)]


def rejected(*update_ids: str) -> CompletionReply:
    no = failure.Failure(message="no")
    return CompletionReply(rejected_updates=tuple(UpdateRejection(each, no) for each in update_ids))


def test_a_task_carries_the_updates_of_its_run_in_order_with_where_they_belong():
    memory = Updates()
    assert memory.messages(reply()) == []
    for update_id in ("b", "a"):
        memory.admit(RUN, update_id, REQUEST)
    memory.admit(OTHER, "x", REQUEST)
    messages = memory.messages(reply(started=7))
    assert [(m.id, m.protocol_instance_id, m.event_id) for m in messages] == [
        ("b/request", "b", 6),
        ("a/request", "a", 6),
    ]
    body = update.Request()
    assert messages[0].body.Unpack(body)
    assert body == REQUEST
    assert sent(memory, reply(OTHER)) == ["x"]


@pytest.mark.parametrize(
    ("is_sticky", "attempt", "again"),
    [(True, 1, []), (True, 2, ["u"]), (False, 1, ["u"]), (False, 2, ["u"])],
)
def test_an_update_is_sent_again_only_to_a_worker_that_may_not_know_it(
    again: list[str], attempt: int, *, is_sticky: bool
):
    memory = Updates()
    memory.admit(RUN, "u", REQUEST)
    first = reply(started=7, is_sticky=True)
    assert sent(memory, first) == ["u"], "nobody knows it yet"
    assert sent(memory, reply(started=7)) == ["u"], "the same task, delivered again"
    assert sent(memory, reply(started=11, is_sticky=is_sticky, attempt=attempt)) == again


def test_what_a_completion_is_told_of_updates():
    memory = Updates()
    assert not memory.of_task(state()).sent
    memory.admit(RUN, "seen", REQUEST)
    memory.messages(reply())
    told = memory.of_task(state())
    assert (list(told.sent), told.others_wait) == (["seen"], False)
    memory.admit(RUN, "new", REQUEST)
    told = memory.of_task(state())
    assert (list(told.sent), told.others_wait) == (["seen"], True)
    assert not memory.of_task(state(entity=OTHER)).sent
    assert memory.count_others(state(), "new") == 1
    assert memory.count_others(state(), "third") == 2
    assert memory.count_others(state(entity=OTHER), "new") == 0


def test_a_rejection_counts_once_its_task_is_completed_and_no_earlier():
    memory = Updates()
    memory.admit(RUN, "u", REQUEST)
    with memory.awaited(RUN, "u"):
        memory.messages(reply(started=7))
        memory.answered(state(7), 7, rejected("u"))
        found = memory.find(RUN, "u")
        assert found is not None
        assert found.failure is not None
        assert found.failure.message == "no"
        assert found.is_answered(7)
        assert not found.is_answered(6), "as long as the run has not got so far, it is not told"
        assert found.is_waiting(6)
        # The completion was never written: the task is delivered again, and the answer is void.
        assert sent(memory, reply(started=7, previous=3)) == ["u"]
        assert (found.answered_in, found.failure) == (0, None)
        memory.answered(state(7), 7, rejected("u", "unknown"))
        assert memory.find(RUN, "u") is found, "somebody waits for it"
        memory.admit(RUN, "u", REQUEST, 7)
        assert memory.find(RUN, "u") is not found, "asked again, it is a new one"
    assert memory.find(RUN, "u") is not None, "no worker has seen the new one"


def test_an_update_that_waits_is_left_as_it_is_when_it_is_asked_again():
    memory = Updates()
    memory.admit(RUN, "u", REQUEST)
    first = memory.find(RUN, "u")
    memory.messages(reply())
    memory.admit(RUN, "u", update.Request(input=update.Input(name="other")))
    assert memory.find(RUN, "u") is first
    assert len(memory) == 1


def test_what_is_decided_is_let_go_of_with_the_last_who_waits():
    memory = Updates()
    memory.admit(RUN, "u", REQUEST)
    with memory.awaited(RUN, "u"):
        with memory.awaited(RUN, "u"):
            memory.messages(reply(started=7))
            memory.answered(state(7), 7, rejected("u"))
        assert memory.find(RUN, "u") is not None
    assert len(memory) == 0
    assert not memory._callers
    memory.admit(RUN, "u", REQUEST)
    with memory.awaited(RUN, "u"):
        pass
    assert len(memory) == 1, "not decided yet"
    memory.messages(reply(started=7))
    memory.answered(state(7), 7, rejected("u"))
    assert len(memory) == 0, "nobody waits any more"
    memory.admit(RUN, "u", REQUEST)
    memory.messages(reply(started=7))
    memory.answered(state(7), 7, rejected("u"))
    assert len(memory) == 1, "its caller has not come to wait yet"


def test_updates_that_a_failed_task_carried_fail_and_others_wait():
    memory = Updates()
    memory.admit(RUN, "seen", REQUEST)
    memory.admit(RUN, "seen too", REQUEST)
    memory.messages(reply(started=7))
    memory.admit(RUN, "new", REQUEST)
    memory.admit(OTHER, "other", REQUEST)
    with memory.awaited(RUN, "new"):
        pass  # its caller has gone: nothing is decided, so it is kept
    with memory.awaited(RUN, "seen"), memory.awaited(RUN, "seen too"):
        memory.failed(RUN, 7)
        seen, new = memory.find(RUN, "seen"), memory.find(RUN, "new")
        assert seen is not None
        assert new is not None
        assert (seen.failed_in, new.failed_in) == (7, 0)
        assert not seen.is_waiting(100)
        too = memory.find(RUN, "seen too")
        assert too is not None
        assert too.failed_in == 7
        assert sent(memory, reply(started=11)) == ["new"]
    assert memory.find(RUN, "seen") is None
    assert len(memory) == 2


def test_all_that_a_completion_settles_is_let_go_of():
    memory = Updates()
    for update_id in ("a", "b", "c"):
        memory.admit(RUN, update_id, REQUEST)
        with memory.awaited(RUN, update_id):
            pass
    memory.messages(reply(started=7))
    memory.answered(state(7), 7, rejected("a", "c"))
    assert [memory.find(RUN, each) is None for each in ("a", "b", "c")] == [True, False, True]
    memory.admit(RUN, "never awaited", REQUEST)
    closed = state(7)
    closed.status = RunStatus.COMPLETED
    with memory.awaited(RUN, "d"):
        memory.admit(RUN, "d", REQUEST)
        memory.answered(closed, 11, CompletionReply())
        found = [memory.find(RUN, each) is None for each in ("b", "d", "never awaited")]
        assert found == [True, False, False], "a run that has closed answers no more"


def test_requests_of_exactly_the_bound_are_kept():
    memory = Updates(bytes_max=2 * REQUEST.ByteSize())
    memory.admit(RUN, "u", REQUEST)
    memory.admit(OTHER, "u", REQUEST)
    assert len(memory) == 2
    memory.admit(OTHER, "v", REQUEST)
    assert memory.find(RUN, "u") is None
    assert len(memory) == 2


def test_the_oldest_runs_make_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(updates, "RUNS_MAX", 2)
    memory = Updates()
    keys = [run_key("n", "w", str(n)) for n in range(3)]
    for key in keys:
        memory.admit(key, "u", REQUEST)
        memory.admit(key, "v", REQUEST)
    assert [memory.find(key, "u") is None for key in keys] == [True, False, False]
    assert len(memory) == 4
    for key in keys[1:]:
        memory.forget(key, "u")
        memory.forget(key, "v")
        memory.forget(key, "v")
    assert (len(memory), memory._bytes) == (0, 0)


def test_an_update_that_history_knows_from_an_earlier_task_is_let_go_of():
    memory = Updates()
    memory.admit(RUN, "u", REQUEST)
    memory.messages(reply(started=7))
    accepted = state(7)
    accepted.updates = cast("Any", {"u": SimpleNamespace(accepted_event_id=5)})
    memory.answered(accepted, 7, CompletionReply())
    assert memory.find(RUN, "u") is None
    memory.admit(RUN, "v", REQUEST)
    memory.messages(reply(started=11))
    accepted.updates = cast("Any", {"v": SimpleNamespace(accepted_event_id=13)})
    memory.answered(accepted, 11, CompletionReply())
    found = memory.find(RUN, "v")
    assert found is not None
    assert found.answered_in == 11, "its caller may still wait for this task to be durable"


# Queries.


def question(
    name: str, entity: EntityKey = RUN, not_with: TaskAttempt | None = None
) -> PendingQuery:
    return PendingQuery(name, entity, query.WorkflowQuery(query_type=name), not_with=not_with)


def answer(text: str) -> query.WorkflowQueryResult:
    payloads = common.Payloads(payloads=[common.Payload(data=text.encode())])
    kind = enums.QUERY_RESULT_TYPE_ANSWERED
    return query.WorkflowQueryResult(result_type=kind, answer=payloads)


async def test_each_attached_query_gets_the_answer_to_its_id_once():
    queries = Queries()
    first, second, other = question("a"), question("b"), question("c", OTHER)
    for each in (first, second, other):
        queries.attach(each, at_most=2)
    assert {key: q.query_type for key, q in queries.for_task(RUN, TaskAttempt(3, 1)).items()} == {
        "a": "a",
        "b": "b",
    }
    queries.answered(RUN, [("b", answer("1")), ("c", answer("2")), ("unknown", answer("3"))])
    assert not first.answer.done()
    assert not other.answer.done()
    assert (await second.answer or pytest.fail("no answer")).result == answer("1")
    assert not second.settle(None), "once"
    assert list(queries.for_task(RUN, TaskAttempt(3, 1))) == ["a"], (
        "what is answered is asked no more"
    )
    queries.answered(run_key("n", "nobody", "r"), [("a", answer("4"))])
    for each in (first, second, other):
        queries.forget(each)
    assert not queries._attached
    assert first.answer.cancelled()


async def test_the_buffer_of_a_run_is_its_own_and_has_a_bound():
    queries = Queries()
    first = question("a")
    queries.attach(first, at_most=1)
    with pytest.raises(ResourceExhausted, match="1 queries wait"):
        queries.attach(question("b"), at_most=1)
    queries.attach(question("c", OTHER), at_most=1)
    queries.forget(first)
    queries.attach(question("b"), at_most=1)


async def test_all_queries_of_a_run_are_stirred_and_look_again_each_time():
    queries = Queries()
    some = [question("a"), question("b"), question("c", OTHER)]
    for each in some:
        queries.attach(each, at_most=2)
    queries.reroute(RUN)
    queries.reroute(run_key("n", "nobody", "r"))
    assert [each.stirred.done() for each in some] == [True, True, False]
    some[0].calm()
    some[2].calm()
    assert [each.stirred.done() for each in some] == [False, True, False]
    queries.reroute(RUN)
    assert some[0].stirred.done()


async def test_a_direct_query_is_found_until_its_caller_goes():
    queries = Queries()
    asked = question("a")
    assert queries.find_direct("a") is None
    queries.add_direct(asked)
    assert queries.find_direct("a") is asked
    asked.mark_taken()
    asked.mark_taken()
    assert asked.taken.done()
    other = question("b")
    assert other.settle(None)
    queries.forget(asked)
    assert queries.find_direct("a") is None
    assert not asked.is_waiting
    assert not asked.settle(None)


# Kept answers.


def outcome(said: object) -> Outcome:
    group = Group(cast("Any", None), cast("Any", None))
    group.settle(None)
    return Outcome((group,), said)


def test_the_answers_of_two_minutes_are_two_generations():
    replies = ReplyCache()
    replies.keep(b"a", outcome("a"), 0)
    replies.keep(b"b", outcome("b"), reply_cache.REPLY_TTL_NS)
    assert len(replies) == 2
    found = replies.get(b"a", 2 * reply_cache.REPLY_TTL_NS - 1)
    assert found is not None
    assert found.reply == "a"
    replies.keep(b"c", outcome("c"), 2 * reply_cache.REPLY_TTL_NS)
    assert replies.get(b"a", 2 * reply_cache.REPLY_TTL_NS) is None
    assert len(replies) == 2


def test_large_rejections_and_messages_count_as_well():
    size_bytes = reply_cache.REPLY_BYTES_MAX // 16
    large = failure.Failure(message="x" * size_bytes)
    rejections = CompletionReply(rejected_updates=(UpdateRejection("u", large),))
    told = workflowservice.RecordActivityTaskHeartbeatResponse()
    details = common.Payloads(payloads=[common.Payload(data=bytes(size_bytes))])
    for said in (rejections, details):
        replies = ReplyCache()
        for n in range(64):
            replies.keep(b"%d" % n, outcome(said), 100)
            assert len(replies) <= 17
    replies = ReplyCache()
    for n in range(1_000):
        replies.keep(b"%d" % n, outcome(told), 100)
    assert len(replies) == 1_000


def test_an_answer_of_nothing_is_not_kept():
    replies = ReplyCache()
    replies.keep(b"a", outcome(None), 0)
    replies.keep(b"b", outcome("b"), 0)
    assert replies.get(b"a", 0) is None
    assert len(replies) == 1
