"""The chain around every RPC: order, refusals, replies, and what the built-in links log."""

from __future__ import annotations

import logging
from itertools import count

import pytest

from perdure.core.clock import SystemClock
from perdure.server.frontend.interceptors import Arrival, Next, Reply
from perdure.server.frontend.rpcs import Access
from perdure.server.node.node import Node, open_node
from perdure.storage.sqlite import open_memory
from perdure.wire import errors
from perdure.wire.api import common, taskqueue, workflowservice
from perdure.wire.seam import WORKFLOW_SERVICE

INTERCEPTORS = "perdure.server.frontend.interceptors"


class Noted:
    """Writes down what passes."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name, self.lines = name, lines

    async def intercept(self, arrival: Arrival, call_next: Next) -> Reply:
        self.lines.append(f"{self.name}: {arrival.call.method} comes")
        try:
            return await call_next(arrival)
        finally:
            self.lines.append(f"{self.name}: {arrival.call.method} goes")


class ReadOnly:
    async def intercept(self, arrival: Arrival, call_next: Next) -> Reply:
        if arrival.rpc.access is Access.WRITE:
            raise errors.PermissionDenied(f"{arrival.call.method} changes runs.")
        return await call_next(arrival)


class Renamed:
    """Another request in place of the caller's, and another reply."""

    async def intercept(self, arrival: Arrival, call_next: Next) -> Reply:
        request = workflowservice.DescribeNamespaceRequest(namespace="default")
        reply = await call_next(arrival._replace(request=request))
        assert isinstance(reply, workflowservice.DescribeNamespaceResponse)
        reply.namespace_info.description = "seen"
        return reply


class Broken:
    async def intercept(self, arrival: Arrival, call_next: Next) -> Reply:
        raise ZeroDivisionError("secret")


async def opened(*interceptors: Noted | ReadOnly | Renamed | Broken) -> Node:
    ids = count(1)
    return await open_node(
        open_memory(),
        clock=SystemClock(),
        new_id=lambda: f"id-{next(ids)}",
        interceptors=interceptors,
    )


async def describe(node: Node, name: str = "default") -> workflowservice.DescribeNamespaceResponse:
    reply = await node.frontend.dispatch(
        WORKFLOW_SERVICE["DescribeNamespace"],
        workflowservice.DescribeNamespaceRequest(namespace=name),
    )
    assert isinstance(reply, workflowservice.DescribeNamespaceResponse)
    return reply


def start() -> workflowservice.StartWorkflowExecutionRequest:
    return workflowservice.StartWorkflowExecutionRequest(
        namespace="default",
        workflow_id="w",
        workflow_type=common.WorkflowType(name="secret"),
        task_queue=taskqueue.TaskQueue(name="q"),
    )


async def test_the_first_one_is_outermost_on_both_ways_of_calling():
    lines: list[str] = []
    node = await opened(Noted("a", lines), Noted("b", lines))
    steps = (("a", "comes"), ("b", "comes"), ("b", "goes"), ("a", "goes"))
    wanted = [f"{who}: DescribeNamespace {what}" for who, what in steps]
    await describe(node)
    assert lines == wanted
    lines.clear()
    method = WORKFLOW_SERVICE["DescribeNamespace"]
    request = workflowservice.DescribeNamespaceRequest(namespace="default").SerializeToString()
    encoded = await node.frontend.dispatch_encoded(method, request, {}, None)
    assert (
        workflowservice.DescribeNamespaceResponse.FromString(encoded).namespace_info.name
        == "default"
    )
    assert lines == wanted
    await node.close()


async def test_one_may_refuse_a_call_by_what_its_row_says():
    lines: list[str] = []
    node = await opened(ReadOnly(), Noted("inner", lines))
    with pytest.raises(errors.PermissionDenied, match="StartWorkflowExecution changes runs"):
        await node.frontend.dispatch(WORKFLOW_SERVICE["StartWorkflowExecution"], start())
    assert lines == []
    assert (await describe(node)).namespace_info.name == "default"
    await node.close()


async def test_one_may_replace_the_request_and_change_the_reply():
    node = await opened(Renamed())
    assert (await describe(node, "another")).namespace_info.description == "seen"
    await node.close()


async def test_a_bug_in_one_is_reported_like_that_of_a_handler(caplog: pytest.LogCaptureFixture):
    node = await opened(Broken())
    with pytest.raises(
        errors.Internal, match=r"\(ZeroDivisionError\).*under reference id-"
    ) as raised:
        await describe(node)
    assert "secret" not in str(raised.value)
    (record,) = [record for record in caplog.records if record.name == INTERCEPTORS]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    await node.close()


async def test_calls_are_logged_with_their_outcome_and_nothing_of_their_content(
    caplog: pytest.LogCaptureFixture,
):
    node = await opened()
    await describe(node)
    assert not caplog.records, "nothing is logged unless asked for"
    caplog.set_level(logging.DEBUG, logger=INTERCEPTORS)
    await describe(node)
    await node.frontend.dispatch(WORKFLOW_SERVICE["StartWorkflowExecution"], start())
    with pytest.raises(errors.NotFound):
        await describe(node, "another")
    lines = [record.getMessage() for record in caplog.records if record.name == INTERCEPTORS]
    assert [line.split(" in ")[0] for line in lines] == [
        "DescribeNamespace (read): OK",
        "StartWorkflowExecution (write): OK",
        "DescribeNamespace (read): NOT_FOUND",
    ]
    assert all(line.endswith(" ms") for line in lines)
    assert "secret" not in caplog.text
    await node.close()
