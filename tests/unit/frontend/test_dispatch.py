"""From request to answer: patience that is not named, encodings, bugs, and calls at the end of a node."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.server.frontend.call import Call
from perdure.wire.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    RpcError,
    Unavailable,
    Unimplemented,
)
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import QUEUE, Caller, virtual_caller
from tests.unit.server.virtual import on_virtual_time


@pytest.mark.parametrize(
    ("timeout_ns", "wait_ns"),
    [
        (2 * SECOND_NS, SECOND_NS),
        (10 * SECOND_NS, 9 * SECOND_NS),
        (61 * SECOND_NS, 60 * SECOND_NS),
        (62 * SECOND_NS, 60 * SECOND_NS),
    ],
)
def test_a_long_poll_ends_a_second_before_its_caller_and_after_a_minute(
    timeout_ns: int, wait_ns: int
):
    assert Call("m", timeout_ns).long_poll_ns() == wait_ns
    assert Call("m", timeout_ns).long_poll_ns(5 * SECOND_NS) == min(wait_ns, 5 * SECOND_NS)


def test_a_long_poll_of_less_than_two_seconds_is_refused_by_name():
    with pytest.raises(FailedPrecondition, match="PollIt is a long poll"):
        Call("PollIt", 2 * SECOND_NS - 1).long_poll_ns()


def test_headers_are_text_whatever_they_came_as():
    call = Call("m", 1, {"text": "a", "bytes": "ü".encode(), "broken": b"\xff"})
    assert [call.header(name) for name in ("text", "bytes", "broken", "none")] == [
        "a",
        "ü",
        "\N{REPLACEMENT CHARACTER}",
        "",
    ]


async def elapsed(call: Any) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with contextlib.suppress(DeadlineExceeded):
        await call
    return round(loop.time() - began_s, 6)


@on_virtual_time
async def test_who_names_no_patience_has_that_of_the_method():
    async with virtual_caller() as caller:
        queue = {"task_queue": {"name": QUEUE}}
        assert await elapsed(caller.call("PollWorkflowTaskQueue", None, None, **queue)) == 60
        assert await elapsed(caller.call("PollActivityTaskQueue", None, None, **queue)) == 60
        await caller.start()
        run = {"workflow_id": "w"}
        question = {"execution": run, "query": {"query_type": "q"}}
        assert await elapsed(caller.call("QueryWorkflow", None, None, **question)) == 10
        first = await caller.history(wait_new_event=True)
        waits = caller.call(
            "GetWorkflowExecutionHistory",
            None,
            None,
            execution=run,
            wait_new_event=True,
            next_page_token=first.next_page_token,
        )
        assert await elapsed(waits) == 20
        updating = {
            "workflow_execution": run,
            "request": {"meta": {"update_id": "u"}, "input": {"name": "n"}},
        }
        assert await elapsed(caller.call("UpdateWorkflowExecution", None, None, **updating)) == 20


async def test_an_encoded_call_is_answered_as_the_same_call_in_process(caller: Caller):
    await caller.start()
    await caller.complete(await caller.poll(), complete_workflow())
    for name in ("GetWorkflowExecutionHistory", "DescribeWorkflowExecution", "GetSystemInfo"):
        method = WORKFLOW_SERVICE[name]
        request = method.request_type()
        if name != "GetSystemInfo":
            request.namespace = "default"  # type: ignore[attr-defined]
            request.execution.workflow_id = "w"  # type: ignore[attr-defined]
        frontend = caller.node.frontend
        encoded = await frontend.dispatch_encoded(
            method, request.SerializeToString(), {}, SECOND_NS
        )
        assert method.response_type.FromString(encoded) == await frontend.dispatch(method, request)


async def test_errors_and_bugs_leave_an_encoded_call_as_they_leave_any_other(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    frontend = caller.node.frontend
    describe = WORKFLOW_SERVICE["DescribeWorkflowExecution"]
    request = describe.request_type(namespace="default", execution={"workflow_id": "x"})
    data = request.SerializeToString()
    with pytest.raises(NotFound):
        await frontend.dispatch_encoded(describe, data, {}, SECOND_NS)
    missing = WORKFLOW_SERVICE["CreateSchedule"]
    with pytest.raises(Unimplemented, match="CreateSchedule"):
        await frontend.dispatch_encoded(missing, b"", {}, SECOND_NS)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(caller.node.frontend.services.runs, "read_current", broken)
    with pytest.raises(Internal, match="ZeroDivisionError") as caught:
        await frontend.dispatch_encoded(describe, data, {}, SECOND_NS)
    assert "secret" not in caught.value.message
    assert caught.value.message.rsplit(" ", 1)[1].rstrip(".") in caplog.text
    frontend.drain()
    with pytest.raises(Unavailable):
        await frontend.dispatch_encoded(describe, data, {}, SECOND_NS)


async def test_only_a_poll_needs_a_deadline_over_the_wire(caller: Caller):
    method = WORKFLOW_SERVICE["GetSystemInfo"]
    assert await caller.node.frontend.dispatch_encoded(method, b"", {}, None)
    for name in ("PollWorkflowTaskQueue", "PollActivityTaskQueue"):
        with pytest.raises(RpcError, match=f"{name} is a long poll: set a deadline"):
            await caller.node.frontend.dispatch_encoded(WORKFLOW_SERVICE[name], b"", {}, None)
