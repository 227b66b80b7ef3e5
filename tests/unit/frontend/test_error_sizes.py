"""Errors repeat little of what a caller has sent, and reach a client whose headers have gRPC's limit of 8 KiB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from perdure.server.transport.grpc import STATUS_DETAILS_KEY, GrpcServer
from perdure.wire.api import common, enums, errordetails, failure
from perdure.wire.errors import RpcError, to_status
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE
from tests.unit.frontend.conftest import QUEUE, Caller, schedule_activity

LETTERS = ("x", "漢", "\U0001f600", "%")
"""In a header, they take 1, 9, 12 and 3 bytes."""
ID_BYTES_MAX = 1_000
REPEATED_MAX = 100

Call = Callable[..., Awaitable[Any]]


def longest_id(letter: str) -> str:
    """The longest id of that letter."""
    return letter * (ID_BYTES_MAX // len(letter.encode()))


@pytest.fixture
async def channel(caller: Caller) -> AsyncIterator[grpc.aio.Channel]:
    server = GrpcServer(caller.node.frontend, "127.0.0.1", 0)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await caller.node.stop_polls()
    await server.stop(0)


def served(channel: grpc.aio.Channel) -> Call:
    """Calls through the transport, whose errors become statuses again."""

    async def call(name: str, **fields: Any) -> Any:
        method = WORKFLOW_SERVICE.get(name) or OPERATOR_SERVICE[name]
        if "namespace" in method.request_type.DESCRIPTOR.fields_by_name:
            fields.setdefault("namespace", "default")
        unary = channel.unary_unary(
            method.path,
            request_serializer=method.request_type.SerializeToString,
            response_deserializer=method.response_type.FromString,
        )
        return await unary(method.request_type(**fields), timeout=60)

    return call


async def served_status(answer: Awaitable[Any]) -> common.GrpcStatus:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer
    trailers = dict(caught.value.trailing_metadata())
    status = common.GrpcStatus.FromString(trailers[STATUS_DETAILS_KEY])  # pyright: ignore[reportArgumentType]
    assert status.message == caught.value.details()
    assert status.code == caught.value.code().value[0]
    return status


async def embedded_status(answer: Awaitable[Any]) -> common.GrpcStatus:
    with pytest.raises(RpcError) as caught:
        await answer
    return to_status(caught.value)


INVALID, MISSING, EXISTS = 3, 5, 6
Provocation = tuple[int, str, Callable[[str], dict[str, Any]]]


def start(workflow_id: str = "w", **fields: Any) -> dict[str, Any]:
    return {
        "workflow_id": workflow_id,
        "workflow_type": {"name": "Greeting"},
        "task_queue": {"name": QUEUE},
        **fields,
    }


PROVOCATIONS: dict[str, Provocation] = {
    "unknown namespace": (MISSING, "DescribeNamespace", lambda t: {"namespace": longest_id(t)}),
    "namespace that is too long": (
        INVALID,
        "CountWorkflowExecutions",
        lambda t: {"namespace": t * 20_000},
    ),
    "unknown namespace id": (MISSING, "DescribeNamespace", lambda t: {"id": t * 20_000}),
    "namespace name": (
        INVALID,
        "RegisterNamespace",
        lambda t: {"namespace": "ü" + longest_id(t)[:-2]},
    ),
    "unknown workflow": (
        MISSING,
        "DescribeWorkflowExecution",
        lambda t: {"execution": {"workflow_id": longest_id(t)[:-1]}},
    ),
    "id that is too long": (INVALID, "StartWorkflowExecution", lambda t: start(t * 20_000)),
    "second start": (EXISTS, "StartWorkflowExecution", lambda t: start(longest_id(t))),
    "second start with update": (
        EXISTS,
        "ExecuteMultiOperation",
        lambda t: {
            "operations": [
                {
                    "start_workflow": start(
                        longest_id(t),
                        namespace="default",
                        workflow_id_conflict_policy=enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
                    )
                },
                {
                    "update_workflow": {
                        "namespace": "default",
                        "workflow_execution": {"workflow_id": longest_id(t)},
                        "request": {"meta": {"update_id": "u"}, "input": {"name": "u"}},
                    }
                },
            ]
        },
    ),
    "search attribute of a run": (
        INVALID,
        "StartWorkflowExecution",
        lambda t: start(search_attributes={"indexed_fields": {t * 5_000: {}}}),
    ),
    "search attribute to remove": (
        INVALID,
        "RemoveSearchAttributes",
        lambda t: {"search_attributes": [t * 5_000]},
    ),
    "type of time-out": (
        INVALID,
        "StartWorkflowExecution",
        lambda t: start(
            retry_policy={"non_retryable_error_types": ["TemporalTimeout:" + t * 20_000]}
        ),
    ),
    "list filter, field": (INVALID, "ListWorkflowExecutions", lambda t: {"query": "f" * 9_000}),
    "list filter, value": (
        INVALID,
        "ListWorkflowExecutions",
        lambda t: {"query": f"StartTime > '{t * 20_000}'"},
    ),
    "list filter, status": (
        INVALID,
        "CountWorkflowExecutions",
        lambda t: {"query": f"ExecutionStatus = '{t * 20_000}'"},
    ),
    "list filter, number": (
        INVALID,
        "CountWorkflowExecutions",
        lambda t: {"query": f"ExecutionStatus = {'7' * 20_000}"},
    ),
    "list filter, junk": (
        INVALID,
        "CountWorkflowExecutions",
        lambda t: {"query": f"WorkflowId = 'a' '{t * 20_000}'"},
    ),
    "activity without workflow": (
        MISSING,
        "PauseActivityExecution",
        lambda t: {"activity_id": longest_id(t)},
    ),
    "activity of an unknown workflow": (
        MISSING,
        "RespondActivityTaskCompletedById",
        lambda t: {"workflow_id": longest_id(t)[:-1], "activity_id": longest_id(t)},
    ),
    "unknown activity": (
        MISSING,
        "RespondActivityTaskCompletedById",
        lambda t: {"workflow_id": longest_id(t), "activity_id": longest_id(t)},
    ),
    "unknown activity, paused": (
        MISSING,
        "PauseActivity",
        lambda t: {"execution": {"workflow_id": longest_id(t)}, "id": t * 20_000},
    ),
    "unknown type of activity, paused": (
        MISSING,
        "PauseActivity",
        lambda t: {"execution": {"workflow_id": longest_id(t)}, "type": t * 20_000},
    ),
    "signal that is too large": (
        INVALID,
        "SignalWorkflowExecution",
        lambda t: {
            "workflow_execution": {"workflow_id": longest_id(t)},
            "signal_name": longest_id(t),
            "input": {"payloads": [{"data": bytes(2 * 1024 * 1024)}]},
        },
    ),
    "request with a long id of its own": (EXISTS, "StartWorkflowExecution", lambda t: start("r")),
}


@pytest.mark.parametrize("letter", LETTERS)
async def test_an_error_repeats_little_and_is_the_same_embedded_and_served(
    caller: Caller, channel: grpc.aio.Channel, letter: str
):
    await caller.call("StartWorkflowExecution", **start("r"), request_id=longest_id(letter))
    await caller.start(longest_id(letter))
    for what, (code, name, fields) in PROVOCATIONS.items():
        status = await served_status(served(channel)(name, **fields(letter)))
        assert status.code == code, (what, status.message)
        longest = max(status.message.count(each) for each in (letter, "f", "7"))
        assert longest <= 2 * REPEATED_MAX + 20, (what, status.message)
        for each in (letter, "f", "7"):
            assert each * (REPEATED_MAX + 1) not in status.message, what
        assert await embedded_status(caller.call(name, **fields(letter))) == status, what


@pytest.mark.parametrize("letter", LETTERS)
async def test_commands_repeat_little(caller: Caller, channel: grpc.aio.Channel, letter: str):
    await caller.start()
    task = await caller.poll()
    long_id = longest_id(letter)
    status = await served_status(
        served(channel)(
            "RespondWorkflowTaskCompleted",
            task_token=task.task_token,
            commands=[schedule_activity(long_id), schedule_activity(long_id)],
        )
    )
    assert status.code == INVALID
    assert letter * 50 in status.message
    assert letter * (REPEATED_MAX + 1) not in status.message


@pytest.mark.parametrize(
    "why",
    [
        failure.Failure(message="boom", stack_trace="s" * 3_000),
        failure.Failure(message="boom", stack_trace="s" * 12_000),
        failure.Failure(message="boom", stack_trace="s" * 1_000_000),
        failure.Failure(message="boom", stack_trace="漢" * 12_000),
        failure.Failure(message="boom" * 3_000),
        failure.Failure(message="\U0001f600boom" * 3_000),
        failure.Failure(message="boom", cause=failure.Failure(message="c" * 40_000)),
        failure.Failure(message="boom", encoded_attributes=common.Payload(data=b"e" * 1_000_000)),
    ],
    ids=lambda why: f"{why.ByteSize()} bytes",
)
async def test_a_query_fails_with_its_own_error_whatever_the_size_of_the_failure(
    caller: Caller, channel: grpc.aio.Channel, why: failure.Failure
):
    await caller.start()
    await caller.complete(await caller.poll())
    asked = asyncio.ensure_future(
        served_status(
            served(channel)(
                "QueryWorkflow", execution={"workflow_id": "w"}, query={"query_type": "stage"}
            )
        )
    )
    task = await caller.poll()
    await caller.call(
        "RespondQueryTaskCompleted",
        task_token=task.task_token,
        completed_type=enums.QUERY_RESULT_TYPE_FAILED,
        error_message=why.message,
        failure=why,
    )
    status = await asked
    assert status.code == INVALID
    assert "boom" in status.message
    left = errordetails.QueryFailedFailure()
    assert status.details[0].Unpack(left), "clients tell a failed query by it"
    assert "boom" in left.failure.message


async def test_a_client_that_starts_again_finds_the_run_whatever_its_ids(
    caller: Caller, channel: grpc.aio.Channel
):
    long_id = longest_id("\U0001f600")
    first = await caller.call("StartWorkflowExecution", **start(long_id), request_id=long_id)
    status = await served_status(served(channel)("StartWorkflowExecution", **start(long_id)))
    detail = errordetails.WorkflowExecutionAlreadyStartedFailure()
    assert status.details[0].Unpack(detail)
    assert detail.run_id == first.run_id


async def test_many_paused_activities_are_not_all_named(caller: Caller):
    await caller.start()
    ids = [longest_id(letter) for letter in "abcde"]
    await caller.complete(await caller.poll(), *(schedule_activity(each) for each in ids))
    pause: dict[str, Any] = {"execution": {"workflow_id": "w"}, "type": "greet"}
    await caller.call("PauseActivity", **pause, request_id="1")
    status = await embedded_status(caller.call("PauseActivity", **pause, request_id="2"))
    assert status.message.endswith("… and 2 more.")
    assert len(status.message) < 400
