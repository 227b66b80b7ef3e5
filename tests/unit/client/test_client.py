from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.client import (
    Client,
    ClientConfig,
    ConnectConfig,
    Interceptor,
    OutboundInterceptor,
    Plugin,
    ServiceClient,
    StartWorkflowInput,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistory,
)
from perdure.common import HeaderCodecBehavior, SearchAttributeKey
from perdure.converter import DataConverter, PayloadCodec, PayloadConverter
from perdure.wire.api import enums
from perdure.wire.api import history as history_pb
from perdure.wire.api import workflow as workflow_pb
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection
from tests.unit.client.scripted import client_over
from tests.unit.client.workflows import Ping

CONVERTER = PayloadConverter.default


def info(workflow_id: str) -> workflow_pb.WorkflowExecutionInfo:
    made = workflow_pb.WorkflowExecutionInfo(task_queue="q", history_length=7)
    made.execution.workflow_id = workflow_id
    made.execution.run_id = "r"
    made.type.name = "W"
    made.status = enums.WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
    made.start_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    made.memo.fields["m"].CopyFrom(CONVERTER.to_payload(1))
    made.search_attributes.indexed_fields["C"].CopyFrom(CONVERTER.to_payload("c"))
    made.search_attributes.indexed_fields["C"].metadata["type"] = b"Keyword"
    return made


class TestLists:
    async def test_pages(self, client: Client, connection: ScriptedConnection) -> None:
        connection.on(
            "ListWorkflowExecutions",
            pb.ListWorkflowExecutionsResponse(executions=[info("a")], next_page_token=b"1"),
            pb.ListWorkflowExecutionsResponse(next_page_token=b"2"),
            pb.ListWorkflowExecutionsResponse(executions=[info("b")]),
        )
        found = [execution.id async for execution in client.list_workflows("A = 'b'")]
        assert found == ["a", "b"]
        requests = connection.requests("ListWorkflowExecutions")
        assert [request.next_page_token for request in requests] == [b"", b"1", b"2"]
        assert (requests[0].query, requests[0].page_size) == ("A = 'b'", 1000)

    async def test_limit(self, client: Client, connection: ScriptedConnection) -> None:
        page = pb.ListWorkflowExecutionsResponse(
            executions=[info("a"), info("b")], next_page_token=b"1"
        )
        connection.on("ListWorkflowExecutions", page)
        found = [execution.id async for execution in client.list_workflows(limit=3, page_size=2)]
        assert found == ["a", "b", "a"]
        sizes = [request.page_size for request in connection.requests("ListWorkflowExecutions")]
        assert sizes == [2, 1]

    async def test_entries(self, client: Client, connection: ScriptedConnection) -> None:
        connection.on(
            "ListWorkflowExecutions", pb.ListWorkflowExecutionsResponse(executions=[info("a")])
        )
        pages = client.list_workflows()
        execution = await anext(pages)
        assert execution.status is WorkflowExecutionStatus.RUNNING
        assert execution.start_time == datetime(2026, 1, 1, tzinfo=UTC)
        assert execution.close_time is None
        assert execution.parent_id is None
        assert execution.typed_search_attributes[SearchAttributeKey.for_keyword("C")] == "c"
        assert await execution.memo() == {"m": 1}
        assert await execution.memo_value("m", type_hint=float) == 1.0
        assert await execution.memo_value("x", 5) == 5
        with pytest.raises(KeyError):
            await execution.memo_value("x")

    async def test_describe(self, client: Client, connection: ScriptedConnection) -> None:
        response = pb.DescribeWorkflowExecutionResponse(workflow_execution_info=info("a"))
        metadata = response.execution_config.user_metadata
        metadata.summary.CopyFrom(CONVERTER.to_payload("sum"))
        connection.on("DescribeWorkflowExecution", response)
        description = await client.get_workflow_handle("a").describe()
        assert (description.id, description.namespace, description.history_length) == (
            "a",
            "shop",
            7,
        )
        assert await description.static_summary() == "sum"
        assert await description.static_details() is None
        assert description.raw_description is response

    async def test_count(self, client: Client, connection: ScriptedConnection) -> None:
        response = pb.CountWorkflowExecutionsResponse(count=3)
        response.groups.add(count=2, group_values=[CONVERTER.to_payload("Running")])
        connection.on("CountWorkflowExecutions", response)
        found = await client.count_workflows("GROUP BY ExecutionStatus")
        assert found.count == 3
        assert (found.groups[0].count, found.groups[0].group_values) == (2, ["Running"])


class TestHistories:
    async def test_pages(self, client: Client, connection: ScriptedConnection) -> None:
        def page(event_id: int, token: bytes = b"") -> pb.GetWorkflowExecutionHistoryResponse:
            events = [history_pb.HistoryEvent(event_id=event_id)]
            return pb.GetWorkflowExecutionHistoryResponse(
                history=history_pb.History(events=events), next_page_token=token
            )

        connection.on("GetWorkflowExecutionHistory", page(1, b"1"), page(2))
        history = await client.get_workflow_handle("w", run_id="r").fetch_history()
        assert [event.event_id for event in history.events] == [1, 2]
        assert history.workflow_id == "w"
        first = connection.requests("GetWorkflowExecutionHistory")[0]
        assert (first.execution.run_id, first.wait_new_event) == ("r", False)

    EVENTS = (
        ("EVENT_TYPE_WORKFLOW_EXECUTION_STARTED", "TASK_QUEUE_KIND_NORMAL"),
        ("WorkflowExecutionStarted", "Normal"),
        (1, 1),
    )

    @pytest.mark.parametrize(("event_type", "kind"), EVENTS)
    def test_every_spelling(self, event_type: Any, kind: Any) -> None:
        document = {
            "events": [
                {
                    "eventId": "1",
                    "eventTime": "2026-01-01T00:00:00Z",
                    "eventType": event_type,
                    "somethingNew": {"x": 1},
                    "workflowExecutionStartedEventAttributes": {
                        "originalExecutionRunId": "r",
                        "taskQueue": {"name": "q", "kind": kind},
                        "continuedFailure": {
                            "message": "m",
                            "cause": {
                                "activityFailureInfo": {
                                    "retryState": "MaximumAttemptsReached"
                                    if isinstance(event_type, str)
                                    else 4
                                }
                            },
                        },
                    },
                }
            ]
        }
        before = json.dumps(document)
        history = WorkflowHistory.from_json("w", document)
        assert json.dumps(document) == before
        (event,) = history.events
        attributes = event.workflow_execution_started_event_attributes
        assert (event.event_type, attributes.task_queue.kind, history.run_id) == (1, 1, "r")
        assert attributes.continued_failure.cause.activity_failure_info.retry_state == 4
        again = WorkflowHistory.from_json("w", history.to_json())
        assert again == history
        assert WorkflowHistory.from_json("w", history.to_json_dict()) == history

    @pytest.mark.parametrize("text", ["[]", "{}", '{"events": 5}', '{"events": [1]}'])
    def test_not_a_history(self, text: str) -> None:
        with pytest.raises(ValueError):
            WorkflowHistory.from_json("w", text)

    def test_no_run_id(self) -> None:
        with pytest.raises(RuntimeError, match="No events"):
            _ = WorkflowHistory("w", []).run_id
        with pytest.raises(RuntimeError, match="not workflow start"):
            _ = WorkflowHistory("w", [history_pb.HistoryEvent()]).run_id


class Recorder(Interceptor):
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        recorder = self

        class Outbound(OutboundInterceptor):
            async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
                recorder.log.append(recorder.name)
                input.headers = {**input.headers, recorder.name: CONVERTER.to_payload(1)}
                return await super().start_workflow(input)

        return Outbound(super().intercept_client(next))


async def test_interceptors_wrap_in_order_and_may_change_inputs(
    connection: ScriptedConnection,
) -> None:
    log: list[str] = []
    client = client_over(connection, interceptors=[Recorder("a", log), Recorder("b", log)])
    connection.on("StartWorkflowExecution", pb.StartWorkflowExecutionResponse(run_id="r"))
    await client.start_workflow(Ping.run, id="p", task_queue="q")
    assert log == ["a", "b"]
    assert set(connection.calls[0][1].header.fields) == {"a", "b"}


class Hide(PayloadCodec):
    async def encode(self, payloads: Any) -> list[Any]:
        return [type(p)(metadata={"encoding": b"hidden"}, data=p.data[::-1]) for p in payloads]

    async def decode(self, payloads: Any) -> list[Any]:
        return [type(p)(metadata={"encoding": b"json/plain"}, data=p.data[::-1]) for p in payloads]


@pytest.mark.parametrize(
    ("behavior", "encoding"),
    [(HeaderCodecBehavior.NO_CODEC, b"json/plain"), (HeaderCodecBehavior.CODEC, b"hidden")],
)
async def test_codec_and_headers(
    connection: ScriptedConnection, behavior: HeaderCodecBehavior, encoding: bytes
) -> None:
    client = client_over(
        connection,
        data_converter=DataConverter(payload_codec=Hide()),
        interceptors=[Recorder("a", [])],
        header_codec_behavior=behavior,
    )
    connection.on("StartWorkflowExecution", pb.StartWorkflowExecutionResponse(run_id="r"))
    await client.start_workflow("P", 12, id="p", task_queue="q")
    request = connection.calls[0][1]
    assert request.input.payloads[0].data == b"21"
    assert request.header.fields["a"].metadata["encoding"] == encoding


async def test_plugins(connection: ScriptedConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connecting(Plugin):
        def configure_client(self, config: ClientConfig) -> ClientConfig:
            config["namespace"] = "plugged"
            return config

        async def connect_service_client(
            self,
            config: ConnectConfig,
            next: Callable[[ConnectConfig], Awaitable[ServiceClient]],
        ) -> ServiceClient:
            config.lazy = True
            await next(config)
            return ServiceClient(config, connection)

    client = await Client.connect("nowhere:1", plugins=[Connecting()], identity="me")
    assert (client.namespace, client.identity) == ("plugged", "me")
    assert client.config()["namespace"] == "default"
    assert client.config(active_config=True)["namespace"] == "plugged"
    assert client.connection is connection
    assert Connecting().name().endswith("Connecting")


async def test_a_lazy_client_does_not_connect() -> None:
    client = await Client.connect("127.0.0.1:1", lazy=True)
    with pytest.raises(RuntimeError, match="lazy"):
        _ = client.connection
    await client.close()


async def test_async_with_closes(client: Client, connection: ScriptedConnection) -> None:
    async with client as same:
        assert same is client
        assert not connection.is_closed
    assert connection.is_closed


async def test_another_client_from_the_same_connection(client: Client) -> None:
    config = client.config()
    config["namespace"] = "other"
    other = Client(**config)
    assert other.namespace == "other"
    assert other.connection is client.connection


@pytest.mark.parametrize("active", [False, True])
def test_parameters_are_copies(client: Client, active: bool) -> None:
    config = client.config(active_config=active)
    config["namespace"] = "other"
    config["interceptors"] = [*config["interceptors"], Interceptor()]
    again = client.config(active_config=active)
    assert (again["namespace"], len(again["interceptors"])) == ("shop", 0)
    again["interceptors"].append(Interceptor())  # type: ignore[attr-defined]
    assert client.config(active_config=active)["interceptors"] == []


def test_metadata_and_key_can_change(client: Client) -> None:
    client.rpc_metadata = {"a": "1"}
    client.api_key = "k"
    assert client.rpc_metadata == {"a": "1"}
    assert client.api_key == "k"
    with pytest.raises(TypeError, match="'A'"):
        client.rpc_metadata = {"A": "1"}
    assert client.rpc_metadata == {"a": "1"}, "what is malformed changes nothing"
