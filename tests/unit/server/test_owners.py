"""What passes between owners: each message as bytes, answers and errors, and nodes that do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast, get_args

import msgspec
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.core.ids import EntityKey, QueueKey, QueueKind, TaskRowId, run_key, workflow_id_key
from perdure.entity.transition import Task
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history.delivery.messages import (
    Address,
    CreateChild,
    DiscardChild,
    Receipt,
    Refusal,
    ReleaseChild,
    ReportClose,
    RequestCancel,
    Signal,
    Terminate,
)
from perdure.history.delivery.messages import Message as RunMessage
from perdure.history.run.start import Parent
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.owners import messages
from perdure.server.owners.codec import (
    decode_answer,
    decode_message,
    encode_answer,
    encode_error,
    encode_message,
)
from perdure.server.owners.owners import TRIES, Owners, Peers, elsewhere
from perdure.server.pending.queries import QueryTask
from perdure.wire.api import common, errordetails, history, query, workflowservice
from perdure.wire.errors import (
    FailedPrecondition,
    Internal,
    NotFound,
    RpcError,
    Unavailable,
    namespace_not_found,
)
from tests.unit.server.task_source import activity_reply, workflow_reply
from tests.unit.server.virtual import on_virtual_time

RUN = run_key("n", "w", "r")
TO = Address("n", "w", "r")
QUEUE = QueueKey("n", "q", QueueKind.WORKFLOW)
ROW = TaskRowId(QUEUE, 3, 4)
TASK = Task(QUEUE, RUN, 5, 1, 7, priority=2, may_be_sticky=False)
QUERY = QueryTask("id", RUN, query.WorkflowQuery(query_type="stage"))
REPLY = msgspec.structs.replace(
    workflow_reply(RUN), transient_events=(history.HistoryEvent(event_id=9),)
)
INPUT = common.Payloads(payloads=[common.Payload(data=b"x")])

BETWEEN_RUNS: list[RunMessage] = [
    Signal(
        TO, RUN, 5, workflowservice.SignalWorkflowExecutionRequest(input=INPUT), child_only=True
    ),
    RequestCancel(TO, RUN, workflowservice.RequestCancelWorkflowExecutionRequest(reason="why"), 5),
    Terminate(TO, workflowservice.TerminateWorkflowExecutionRequest(reason="why")),
    CreateChild(
        TO,
        Parent(RUN, "default", 5, "root", "r"),
        workflowservice.StartWorkflowExecutionRequest(input=INPUT),
    ),
    ReleaseChild(TO, RUN, "r:5"),
    DiscardChild(TO, RUN, "r:5"),
    ReportClose(TO, 5, RUN, "first", history.HistoryEvent(event_id=7)),
]
ALL: list[messages.Message] = [
    *(messages.DeliverMessage(each) for each in BETWEEN_RUNS),
    messages.CallRpc("/path", b"request", {"text": "t", "bytes-bin": b"\xff"}, 10),
    messages.OfferTask(QUEUE, TASK, ROW),
    messages.OfferTask(QUEUE, TASK, None),
    messages.OfferQuery(QUEUE, QUERY),
    messages.WithdrawQuery(QUEUE, "id"),
    messages.IsServed(QUEUE),
    messages.ShardAcquired(3),
    messages.StartTask(TASK, ROW, PollInfo(identity="me", request_id="poll", queue_name="q")),
    messages.GiveBackTask(TASK, REPLY),
    messages.GiveBackTask(TASK, activity_reply(RUN)),
    messages.LeaveStickyQueue(TASK, ROW),
    messages.WriteWorkflowTask(REPLY),
    messages.WriteQueryTask(QUERY, is_sticky=True),
    messages.GiveBackQuery(QUEUE, QUERY),
    messages.WriteNamespace(NamespaceFact(namespace_id="n", name="default", data={"a": "b"})),
    messages.NamespaceWritten(NamespaceFact(namespace_id="n", name="default")),
]
ANSWERS: list[tuple[messages.Message, Any]] = [
    (messages.DeliverMessage(BETWEEN_RUNS[0]), Receipt()),
    (messages.DeliverMessage(BETWEEN_RUNS[0]), Receipt(Refusal.LIMIT)),
    (messages.DeliverMessage(BETWEEN_RUNS[3]), Receipt(run_id="r")),
    (messages.IsServed(QUEUE), True),
    (messages.StartTask(TASK, ROW, PollInfo(identity="me", request_id="p")), REPLY),
    (messages.StartTask(TASK, ROW, PollInfo(identity="me", request_id="p")), StaleTask()),
    (messages.StartTask(TASK, ROW, PollInfo(identity="me", request_id="p")), activity_reply(RUN)),
    (messages.CallRpc("/path", b"", {}, 1), b"response"),
    (messages.ShardAcquired(3), None),
]


@pytest.mark.parametrize("message", ALL, ids=lambda each: type(each).__name__)
def test_each_message_arrives_as_it_was_sent(message: messages.Message):
    arrived = decode_message(encode_message(message))
    assert arrived == message
    assert type(arrived) is type(message)


def test_all_messages_are_tried_above():
    assert {type(each) for each in ALL} == set(get_args(messages.Message))
    assert {type(each) for each in BETWEEN_RUNS} == set(get_args(RunMessage))


@pytest.mark.parametrize(("message", "answer"), ANSWERS)
def test_answers_arrive_as_they_were_given(message: messages.Message, answer: object):
    assert decode_answer(message, encode_answer(answer)) == answer


@pytest.mark.parametrize("no_value", [lambda: None, asyncio, object()])
def test_what_is_no_value_does_not_leave_its_owner(no_value: Any):
    with pytest.raises(TypeError, match="no value that may leave its owner"):
        encode_answer(no_value)
    with pytest.raises(TypeError):
        encode_message(messages.WithdrawQuery(QUEUE, no_value))


@pytest.mark.parametrize(
    "error",
    [namespace_not_found("x"), Unavailable("later"), FailedPrecondition("no"), elsewhere()],
)
def test_errors_arrive_with_type_message_and_details(error: RpcError):
    with pytest.raises(type(error)) as caught:
        decode_answer(messages.IsServed(QUEUE), encode_error(error))
    assert caught.value.message == error.message
    assert caught.value.details == error.details


def test_a_detail_of_an_unknown_type_stays_packed():
    detail = AnyMessage(type_url="type.googleapis.com/not.known", value=b"x")
    with pytest.raises(NotFound) as caught:
        decode_answer(messages.IsServed(QUEUE), encode_error(NotFound("no", detail)))
    assert caught.value.details == (detail,)


class Others:
    """Peers that are told what to answer."""

    def __init__(self, owners: dict[int, str], answers: dict[str, Any]) -> None:
        self._owners = owners
        self._answers = answers
        self.asked: list[tuple[str, messages.Message]] = []

    def owner_of(self, shard_id: int) -> str:
        return self._owners.get(shard_id, "")

    def others(self) -> Iterable[str]:
        return tuple(self._answers)

    async def ask(self, node: str, message: bytes) -> bytes:
        self.asked.append((node, decode_message(message)))
        answer = self._answers[node]
        if isinstance(answer, RpcError):
            raise answer
        return encode_answer(answer)


def _here(owners: Owners, answer: object) -> list[messages.Message]:
    asked: list[messages.Message] = []

    async def serve(message: messages.IsServed) -> object:
        asked.append(message)
        return answer

    owners.serve({messages.IsServed: serve})
    return asked


def _queue_in(owners: Owners, shard_id: int) -> QueueKey:
    queues = (QUEUE._replace(name=f"q{n}") for n in range(100))
    return next(queue for queue in queues if owners.shard_of(queue) == shard_id)


async def test_a_node_that_is_alone_owns_everything():
    owners = Owners(4)
    asked = _here(owners, answer=True)
    assert owners.shards_here == (0, 1, 2, 3)
    assert owners.shards_elsewhere == ()
    for shard_id in range(4):
        queue = _queue_in(owners, shard_id)
        assert owners.is_here(queue)
        assert await owners.ask(queue, messages.IsServed(queue))
    assert len(asked) == 4
    await owners.ask_others(messages.ShardAcquired(1))


async def test_the_owner_is_asked_wherever_it_is():
    peers = Others({1: "b", 2: "c"}, {"b": True, "c": Unavailable("down")})
    owners = Owners(3, peers)
    asked = _here(owners, answer=False)
    assert (owners.shards_here, owners.shards_elsewhere) == ((0,), (1, 2))
    mine, of_b, of_c = (_queue_in(owners, n) for n in range(3))
    assert [owners.is_here(queue) for queue in (mine, of_b, of_c)] == [True, False, False]
    assert await owners.ask(mine, messages.IsServed(mine)) is False
    assert await owners.ask(of_b, messages.IsServed(of_b)) is True
    with pytest.raises(Unavailable, match="down"):
        await owners.ask(of_c, messages.IsServed(of_c))
    assert asked == [messages.IsServed(mine)]
    assert peers.asked == [("b", messages.IsServed(of_b)), ("c", messages.IsServed(of_c))]


async def test_what_is_told_arrives_in_order_and_a_node_that_is_down_is_passed_over():
    peers = Others({1: "b", 2: "c"}, {"b": None, "c": Unavailable("down")})
    owners = Owners(3, peers)
    queue = _queue_in(owners, 1)
    for name in ("first", "second", "third"):
        owners.tell(queue, messages.WithdrawQuery(queue, name))
    owners.tell(_queue_in(owners, 2), messages.WithdrawQuery(queue, "lost"))
    owners.tell_others(messages.ShardAcquired(0))
    for _ in range(10):
        await asyncio.sleep(0)
    told = [each.query_id for _, each in peers.asked if isinstance(each, messages.WithdrawQuery)]
    assert told == ["first", "second", "third", "lost"]
    assert sorted(node for node, each in peers.asked if each == messages.ShardAcquired(0)) == [
        "b",
        "c",
    ]


@pytest.mark.parametrize("error", [Unavailable("down"), NotFound("no")])
@on_virtual_time
async def test_a_node_that_is_away_is_told_again_for_some_seconds(
    error: RpcError, caplog: pytest.LogCaptureFixture
):
    answers: dict[str, Any] = {"b": error}
    peers = Others({0: "b"}, answers)
    owners = Owners(1, peers)
    owners.tell(QUEUE, messages.WithdrawQuery(QUEUE, "x"))
    await asyncio.sleep(100)
    is_away = isinstance(error, Unavailable)
    assert len(peers.asked) == (TRIES if is_away else 1)
    assert caplog.text.count("WithdrawQuery did not reach node 'b'") == 1
    peers.asked.clear()
    answers["b"] = Unavailable("down")
    await owners.ask_others(messages.ShardAcquired(1))
    await asyncio.sleep(1)
    asked = len(peers.asked)
    assert asked > 1, "told again in the background"
    answers["b"] = None
    await asyncio.sleep(100)
    assert len(peers.asked) == asked + 1
    peers.asked.clear()
    answers["b"] = Unavailable("down")
    owners.tell_others(messages.ShardAcquired(1))
    await asyncio.sleep(1)
    answers["b"] = NotFound("no")
    asked = len(peers.asked)
    await asyncio.sleep(100)
    assert len(peers.asked) == asked + 1
    assert caplog.text.count("ShardAcquired did not reach node 'b': no") == 1


async def test_runs_of_a_workflow_id_and_its_pointer_have_one_owner():
    owners = Owners(1000)
    places: list[EntityKey] = [RUN, run_key("n", "w", "another"), workflow_id_key("n", "w")]
    assert len({owners.shard_of(place) for place in places}) == 1
    assert len({owners.shard_of(QUEUE._replace(kind=kind)) for kind in QueueKind}) == 1


async def test_a_message_for_a_node_that_is_starting_or_has_a_bug_is_answered_with_an_error(
    caplog: pytest.LogCaptureFixture,
):
    owners = Owners(1, cast("Peers", Others({}, {})))
    question = messages.IsServed(QUEUE)
    answer = await owners.receive(encode_message(question))
    with pytest.raises(Unavailable, match="starting"):
        decode_answer(question, answer)

    async def broken(_: object) -> None:
        raise ZeroDivisionError("secret")

    async def refusing(_: object) -> None:
        raise NotFound("not here", errordetails.NotFoundFailure())

    owners.serve({messages.IsServed: broken, messages.ShardAcquired: refusing})
    answer = await owners.receive(encode_message(question))
    with pytest.raises(Internal) as caught:
        decode_answer(question, answer)
    assert "secret" not in caught.value.message
    assert "secret" in caplog.text
    answer = await owners.receive(encode_message(messages.ShardAcquired(1)))
    with pytest.raises(NotFound):
        decode_answer(question, answer)
    answer = await owners.receive(b"no message")
    with pytest.raises(Internal):
        decode_answer(question, answer)


async def test_nothing_is_told_after_the_end():
    peers = Others({0: "b"}, {"b": None})
    owners = Owners(1, peers)
    owners.tell(QUEUE, messages.WithdrawQuery(QUEUE, "x"))
    owners.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert peers.asked == []
