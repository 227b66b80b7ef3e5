"""Who answers a call: the routing column of the table of RPCs, and the request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.ids import run_key, shard_of, workflow_id_key
from perdure.core.units import SECOND_NS
from perdure.history.draft.tokens import QueryToken, WorkflowTaskToken, encode_token
from perdure.server.frontend.interceptors import Arrival, Next, Reply
from perdure.server.frontend.routing import place_of, workflow_id_of
from perdure.server.frontend.rpcs import RPCS, Routing, Rpc
from perdure.server.owners.messages import CallRpc
from perdure.wire.api import enums
from perdure.wire.errors import Internal, Unavailable, Unimplemented
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.unit.frontend.conftest import Caller
from tests.unit.server.cluster import two_nodes
from tests.unit.server.virtual import on_virtual_time

NAMED: dict[str, dict[str, Any]] = {
    "workflow_id": {"workflow_id": "w"},
    "workflow_execution": {"workflow_execution": {"workflow_id": "w"}},
    "execution": {"execution": {"workflow_id": "w"}},
    "update_ref": {"update_ref": {"workflow_execution": {"workflow_id": "w"}}},
    "operations": {"operations": [{"start_workflow": {"workflow_id": "w"}}, {}]},
}


def rows(*routings: Routing) -> list[Rpc]:
    return [row for row in RPCS.values() if row.routing in routings]


def fields_of(row: Rpc) -> Any:
    return row.method.request_type.DESCRIPTOR.fields_by_name


@pytest.mark.parametrize("row", rows(Routing.WORKFLOW), ids=lambda row: row.method.name)
def test_the_workflow_id_is_found_in_each_request_that_is_about_one(row: Rpc):
    (name,) = [name for name in NAMED if name in fields_of(row)][:1]
    assert workflow_id_of(row.method.request_type(**NAMED[name])) == "w"
    assert workflow_id_of(row.method.request_type()) == ""


@pytest.mark.parametrize(
    "row", rows(Routing.WORKFLOW, Routing.QUEUE, Routing.TASK, Routing.NAMESPACE)
)
def test_each_request_has_what_its_routing_needs(row: Rpc):
    assert "namespace" in fields_of(row)
    assert ("task_token" in fields_of(row)) == (row.routing is Routing.TASK)
    if row.routing is Routing.QUEUE:
        assert "task_queue" in fields_of(row)


async def test_requests_that_name_no_owner_are_answered_where_they_arrive(caller: Caller):
    namespaces = caller.node.engine.namespaces
    for row in RPCS.values():
        request: Any = row.method.request_type()
        place = place_of(row, request, namespaces)
        assert place == (workflow_id_key("", "") if row.routing is Routing.NAMESPACE else None)
        if row.routing is Routing.TASK:
            request.task_token = b"nonsense"
            assert place_of(row, request, namespaces) is None


async def test_a_task_token_names_the_run_whose_owner_answers(caller: Caller):
    row = RPCS[WORKFLOW_SERVICE["RespondWorkflowTaskCompleted"].path]
    task = WorkflowTaskToken("n", "w", "r", 1, 2, 1, 0)
    request = row.method.request_type(task_token=encode_token(task))
    namespaces = caller.node.engine.namespaces
    assert place_of(row, request, namespaces) == run_key("n", "w", "r")
    question = row.method.request_type(task_token=encode_token(QueryToken("n", "q", "w")))
    assert place_of(row, question, namespaces) == workflow_id_key("n", "w")


@on_virtual_time
async def test_a_call_that_was_passed_on_to_the_wrong_node_is_refused():
    async with two_nodes() as cluster:
        method = WORKFLOW_SERVICE["DescribeWorkflowExecution"]
        execution = {"workflow_id": cluster.named("b", "w")}
        request = method.request_type(namespace="default", execution=execution)
        message = CallRpc(method.path, request.SerializeToString(), {}, 10**9)
        with pytest.raises(Unavailable, match="Another node owns this"):
            await cluster.nodes["a"].frontend.answer_passed_on(message)
        poll = WORKFLOW_SERVICE["PollWorkflowTaskQueue"]
        queue = {"name": cluster.named("b", "q")}
        request = poll.request_type(namespace="default", task_queue=queue)
        message = CallRpc(poll.path, request.SerializeToString(), {}, 10**10)
        with pytest.raises(Unavailable, match="Another node owns this"):
            await cluster.nodes["a"].frontend.answer_passed_on(message)
        key = cluster.run(cluster.named("b", "w"), "r")
        with pytest.raises(Unavailable, match="Another node owns this"):
            await cluster.nodes["a"].engine.read(key, lambda state: state)
        assert shard_of(key, 4) not in cluster.nodes["a"].engine.owned_shards()
        with pytest.raises(Unimplemented, match="/nowhere"):
            await cluster.nodes["a"].frontend.answer_passed_on(CallRpc("/nowhere", b"", {}, 1))
        cluster.nodes["a"].frontend.drain()
        with pytest.raises(Unavailable, match="shutting down"):
            await cluster.nodes["a"].frontend.answer_passed_on(message)


class Count:
    """An interceptor that counts calls."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def intercept(self, arrival: Arrival, call_next: Next) -> Reply:
        self.methods.append(f"{arrival.call.method} {arrival.call.header('who')}")
        return await call_next(arrival)


@on_virtual_time
async def test_interceptors_see_a_call_where_it_arrives_and_headers_go_along():
    counts = {name: Count() for name in ("a", "b")}
    async with two_nodes(interceptors=counts) as cluster:
        await cluster.a.call(
            "StartWorkflowExecution",
            metadata={"who": "me"},
            workflow_id=cluster.named("b", "w"),
            workflow_type={"name": "T"},
            task_queue={"name": "q"},
        )
        reading: dict[str, Any] = {"execution": {"workflow_id": cluster.named("b", "w")}}
        metadata: dict[str, str | bytes] = {"client-name": "perdure-cli", "who": b"\xff"}
        await cluster.a.call("GetWorkflowExecutionHistory", metadata=metadata, **reading)
        assert counts["a"].methods == [
            "StartWorkflowExecution me",
            "GetWorkflowExecutionHistory \ufffd",
        ]
        assert counts["b"].methods == []
        assert cluster.messages("CallRpc") == 2


@on_virtual_time
async def test_headers_and_time_limits_of_a_call_go_along():
    async with two_nodes() as cluster:
        workflow_id = cluster.named("b", "w")
        await cluster.a.call(
            "StartWorkflowExecution",
            workflow_id=workflow_id,
            workflow_type={"name": "T"},
            task_queue={"name": "q"},
        )
        task = await cluster.a.poll("q")
        await cluster.a.call("RespondWorkflowTaskFailed", task_token=task.task_token)
        await cluster.a.poll("q")
        reading: dict[str, Any] = {"execution": {"workflow_id": workflow_id}}
        shown: dict[str, int] = {}
        for client in ("perdure-python", "perdure-cli"):
            metadata: dict[str, str | bytes] = {"client-name": client}
            answer = await cluster.a.call(
                "GetWorkflowExecutionHistory", metadata=metadata, **reading
            )
            shown[client] = len(answer.history.events)
        assert shown["perdure-python"] == shown["perdure-cli"] + 2, "with the transient task"
        began_s = asyncio.get_running_loop().time()
        await cluster.a.call(
            "GetWorkflowExecutionHistory",
            timeout_ns=5 * SECOND_NS,
            wait_new_event=True,
            history_event_filter_type=enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
            **reading,
        )
        assert 3.9 < asyncio.get_running_loop().time() - began_s < 4.1


def test_a_bug_is_reported_by_the_node_that_has_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    @on_virtual_time
    async def play() -> None:
        async with two_nodes() as cluster:
            monkeypatch.setattr(cluster.nodes["b"].frontend.services.runs, "read_current", broken)
            execution = {"workflow_id": cluster.named("b", "w")}
            with pytest.raises(Internal, match="DescribeWorkflowExecution failed") as caught:
                await cluster.a.call("DescribeWorkflowExecution", execution=execution)
            assert "secret" not in caught.value.message
            assert caught.value.message.rsplit(" ", 1)[1].rstrip(".") in caplog.text

    play()
