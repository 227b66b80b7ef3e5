"""What a caller leaves out, what a server sends too much of, and what cannot be invoked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perdure import workflow
from perdure.client import Client
from perdure.common import RawValue, SearchAttributeKey
from perdure.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    SerializationContext,
    WithSerializationContext,
    encode_typed_search_attribute_value,
)
from perdure.converter.search_attributes import decode_search_attribute_value
from perdure.wire.api import common as common_pb
from perdure.wire.api import update as update_pb
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection
from tests.unit.client.scripted import client_over
from tests.unit.client.test_handles import closing
from tests.unit.client.workflows import Order, OrderWorkflow

CONVERTER = DataConverter.default.payload_converter


def payloads(*values: Any) -> common_pb.Payloads:
    return common_pb.Payloads(payloads=CONVERTER.to_payloads(values))


# The first run ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [None, "first"])
async def test_calls_are_bound_to_the_first_run_only_when_it_is_known(
    client: Client, connection: ScriptedConnection, first: str | None
) -> None:
    updated = pb.UpdateWorkflowExecutionResponse(stage=3)  # pyright: ignore[reportArgumentType]
    updated.outcome.success.SetInParent()
    connection.on("UpdateWorkflowExecution", updated)
    connection.on("RequestCancelWorkflowExecution", pb.RequestCancelWorkflowExecutionResponse())
    connection.on("TerminateWorkflowExecution", pb.TerminateWorkflowExecutionResponse())
    handle = client.get_workflow_handle("w", first_execution_run_id=first)
    await handle.execute_update("u")
    await handle.cancel()
    await handle.terminate()
    sent = [request.first_execution_run_id for _, request in connection.calls]
    assert sent == [first or ""] * 3


# Results: without a type, with a type, and too many ----------------------------------------------


def query_answer(*values: Any) -> pb.QueryWorkflowResponse:
    return pb.QueryWorkflowResponse(query_result=payloads(*values))


async def test_a_query_by_name_converts_to_the_type_that_is_asked_for(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.on("QueryWorkflow", query_answer({"id": "x", "amount": 2}))
    handle = client.get_workflow_handle("w")
    assert await handle.query("status") == {"id": "x", "amount": 2}
    assert await handle.query("status", result_type=Order) == Order("x", 2)
    assert await handle.query(OrderWorkflow.status) == Order("x", 2)


async def test_a_start_converts_to_the_type_that_is_asked_for(
    client: Client, connection: ScriptedConnection
) -> None:
    connection.on("StartWorkflowExecution", pb.StartWorkflowExecutionResponse(run_id="r"))
    connection.on(
        "GetWorkflowExecutionHistory",
        closing("completed", result=payloads({"id": "x", "amount": 2})),
    )
    order, options = Order("x", 2), {"id": "w", "task_queue": "q"}
    start: Any = client.start_workflow
    by_name = await start("OrderWorkflow", order, **options)
    assert await by_name.result() == {"id": "x", "amount": 2}
    by_name = await start("OrderWorkflow", order, result_type=Order, **options)
    assert await by_name.result() == order
    by_method = await start(OrderWorkflow.run, order, **options)
    assert await by_method.result() == order
    as_told = await start(OrderWorkflow.run, order, result_type=dict, **options)
    assert await as_told.result() == {"id": "x", "amount": 2}


async def test_an_update_by_name_converts_to_the_type_that_is_asked_for(
    client: Client, connection: ScriptedConnection
) -> None:
    answer = pb.UpdateWorkflowExecutionResponse(stage=3)  # pyright: ignore[reportArgumentType]
    answer.outcome.success.CopyFrom(payloads({"id": "x", "amount": 2}))
    connection.on("UpdateWorkflowExecution", answer)
    handle = client.get_workflow_handle("w")
    assert await handle.execute_update("change", 2) == {"id": "x", "amount": 2}
    assert await handle.execute_update("change", 2, result_type=Order) == Order("x", 2)
    assert await handle.execute_update(OrderWorkflow.change, 2) == Order("x", 2)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("kind", ["query", "update", "result"])
async def test_of_several_values_the_first_is_taken_with_a_warning(
    client: Client,
    connection: ScriptedConnection,
    recwarn: pytest.WarningsRecorder,
    kind: str,
    count: int,
) -> None:
    values = payloads(*["first", "second"][:count])
    updated = pb.UpdateWorkflowExecutionResponse(stage=3)  # pyright: ignore[reportArgumentType]
    updated.outcome.CopyFrom(update_pb.Outcome(success=values))
    connection.on("UpdateWorkflowExecution", updated)
    connection.on("QueryWorkflow", pb.QueryWorkflowResponse(query_result=values))
    connection.on("GetWorkflowExecutionHistory", closing("completed", result=values))
    handle = client.get_workflow_handle("w")
    calls = {
        "query": lambda: handle.query("q"),
        "update": lambda: handle.execute_update("u"),
        "result": handle.result,
    }
    assert await calls[kind]() == ("first" if count else None)
    words = {"query": "query result", "update": "update result", "result": "result"}[kind]
    expected = [f"Expected single {words}, got 2"] if count == 2 else []
    assert [str(each.message) for each in recwarn] == expected
    assert all(each.filename.endswith(".py") for each in recwarn)


# Values of counts ---------------------------------------------------------------------------------


def test_only_texts_are_read_as_moments() -> None:
    key = SearchAttributeKey.for_keyword_list("L")
    several = encode_typed_search_attribute_value(key, ["2026-11-22T01:02:03+00:00"])
    several.metadata["type"] = b"Datetime"
    assert decode_search_attribute_value(several) == ["2026-11-22T01:02:03+00:00"]
    nothing = CONVERTER.to_payload(None)
    nothing.metadata["type"] = b"Datetime"
    assert decode_search_attribute_value(nothing) is None
    text = CONVERTER.to_payload("2026-11-22T01:02:03+00:00")
    assert decode_search_attribute_value(text) == "2026-11-22T01:02:03+00:00"


# Asynchronous activities in a context ------------------------------------------------------------


class InContext(CompositePayloadConverter, WithSerializationContext):
    """Marks payloads with the activity type of its context, and those of the converter it came from."""

    def __init__(self, marks: Sequence[str] = ()) -> None:
        super().__init__(*DefaultPayloadConverter().converters.values())
        self.marks = tuple(marks)

    def with_context(self, context: SerializationContext) -> InContext:
        assert isinstance(context, ActivitySerializationContext)
        return InContext([*self.marks, context.activity_type or ""])

    def to_payloads(self, values: Sequence[Any]) -> list[common_pb.Payload]:
        made = super().to_payloads(values)
        for payload in made:
            payload.metadata["marks"] = ",".join(self.marks).encode()
        return made


def context(activity_type: str) -> ActivitySerializationContext:
    return ActivitySerializationContext(
        namespace="shop",
        activity_id="a",
        activity_type=activity_type,
        activity_task_queue="q",
        workflow_id="w",
        workflow_type="W",
        is_local=False,
    )


async def test_an_activity_s_handle_converts_in_the_context_that_it_was_given(
    connection: ScriptedConnection,
) -> None:
    client = client_over(connection, data_converter=DataConverter(InContext))
    connection.on("RespondActivityTaskCompleted", pb.RespondActivityTaskCompletedResponse())
    plain = client.get_async_activity_handle(task_token=b"token")
    charged = plain.with_context(context("charge"))
    again = charged.with_context(context("refund"))
    for handle in (plain, charged, again):
        await handle.complete("done")
    requests = connection.requests("RespondActivityTaskCompleted")
    marks = [request.result.payloads[0].metadata["marks"] for request in requests]
    assert marks == [b"", b"charge", b"charge,refund"]
    assert {request.task_token for request in requests} == {b"token"}


# Dynamic definitions ------------------------------------------------------------------------------


@workflow.defn(dynamic=True)
class Anything:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None: ...

    @workflow.signal(dynamic=True)
    def any_signal(self, name: str, args: Sequence[RawValue]) -> None: ...

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> None: ...

    @workflow.update(dynamic=True)
    async def any_update(self, name: str, args: Sequence[RawValue]) -> None: ...

    def plain(self) -> None: ...


async def test_what_is_dynamic_has_no_name_to_call_it_by(
    client: Client, connection: ScriptedConnection
) -> None:
    start: Any = client.start_workflow
    for target in (Anything, Anything.run):
        with pytest.raises(ValueError, match="Cannot invoke dynamic workflow explicitly"):
            await start(target, id="w", task_queue="q")
    handle: Any = client.get_workflow_handle("w")
    for kind, call in (
        ("signal", handle.signal),
        ("query", handle.query),
        ("update", handle.execute_update),
    ):
        with pytest.raises(RuntimeError, match=f"Cannot invoke dynamic {kind} definition"):
            await call(getattr(Anything, f"any_{kind}"))
        with pytest.raises(RuntimeError, match=rf"not found on .*plain, .*@workflow\.{kind}\?"):
            await call(Anything.plain)
    assert connection.calls == []
