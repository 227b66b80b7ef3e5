"""Each field of a request that a caller can fill, and each part of an answer that a handle keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest

from perdure.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
)
from perdure.client.names import Target
from perdure.common import AutoUpgradeVersioningOverride, HeaderCodecBehavior, RawValue
from perdure.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    PayloadCodec,
    PayloadConverter,
)
from perdure.wire.api import common as common_pb
from perdure.wire.api import update as update_pb
from perdure.wire.api import workflowservice as pb
from tests.harness.connections import ScriptedConnection
from tests.unit.client.scripted import client_over
from tests.unit.client.workflows import Order, Ping

PAYLOAD = PayloadConverter.default.to_payload


# Headers ------------------------------------------------------------------------------------------

UPDATED = pb.UpdateWorkflowExecutionResponse(stage=3)  # pyright: ignore[reportArgumentType]
UPDATED.outcome.CopyFrom(update_pb.Outcome(success=common_pb.Payloads()))

WITH_HEADERS: dict[str, tuple[Callable[[Client], Awaitable[Any]], Any, Callable[[Any], Any]]] = {
    "StartWorkflowExecution": (
        lambda client: client.start_workflow("W", id="w", task_queue="q"),
        pb.StartWorkflowExecutionResponse(run_id="r"),
        lambda request: request,
    ),
    "SignalWithStartWorkflowExecution": (
        lambda client: client.start_workflow("W", id="w", task_queue="q", start_signal="s"),
        pb.SignalWithStartWorkflowExecutionResponse(run_id="r"),
        lambda request: request,
    ),
    "SignalWorkflowExecution": (
        lambda client: client.get_workflow_handle("w").signal("s"),
        pb.SignalWorkflowExecutionResponse(),
        lambda request: request,
    ),
    "QueryWorkflow": (
        lambda client: client.get_workflow_handle("w").query("q"),
        pb.QueryWorkflowResponse(),
        lambda request: request.query,
    ),
    "UpdateWorkflowExecution": (
        lambda client: client.get_workflow_handle("w").execute_update("u"),
        UPDATED,
        lambda request: request.request.input,
    ),
}


class Headers(Interceptor):
    """Gives headers to every call that can have them."""

    def __init__(self, **headers: str) -> None:
        self._headers = {name: PAYLOAD(value) for name, value in headers.items()}

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        def giving(verb: str) -> Any:
            def method(outbound: Any, input: Any) -> Any:
                input.headers = {**input.headers, **self._headers}
                return getattr(OutboundInterceptor, verb)(outbound, input)

            return method

        verbs = ("start_workflow", "signal_workflow", "query_workflow", "start_workflow_update")
        kind = type("Giving", (OutboundInterceptor,), {verb: giving(verb) for verb in verbs})
        return kind(super().intercept_client(next))


class Merging(PayloadCodec):
    """Makes one payload of all that it is given, as a codec may."""

    async def encode(self, payloads: Any) -> list[Any]:
        data = b"+".join(payload.data for payload in payloads)
        return [common_pb.Payload(metadata={"encoding": b"merged"}, data=data)]

    async def decode(self, payloads: Any) -> list[Any]:
        return [
            common_pb.Payload(metadata={"encoding": b"json/plain"}, data=part)
            for payload in payloads
            for part in payload.data.split(b"+")
        ]


@pytest.mark.parametrize("behavior", [None, *HeaderCodecBehavior])
@pytest.mark.parametrize("has_codec", [True, False])
@pytest.mark.parametrize("method", WITH_HEADERS)
async def test_headers_travel_with_every_call_that_can_have_them(
    connection: ScriptedConnection,
    method: str,
    behavior: HeaderCodecBehavior | None,
    has_codec: bool,
) -> None:
    call, answer, part = WITH_HEADERS[method]
    connection.on(method, answer)
    converter = DataConverter(payload_codec=Merging() if has_codec else None)
    options: dict[str, Any] = {} if behavior is None else {"header_codec_behavior": behavior}
    client = client_over(
        connection, data_converter=converter, interceptors=[Headers(a="1", b="2")], **options
    )
    await call(client)
    (request,) = connection.requests(method)
    fields = part(request).header.fields
    assert {name: payload.data for name, payload in fields.items()} == {"a": b'"1"', "b": b'"2"'}
    is_encoded = has_codec and behavior is HeaderCodecBehavior.CODEC
    encodings = {payload.metadata["encoding"] for payload in fields.values()}
    assert encodings == {b"merged" if is_encoded else b"json/plain"}


@pytest.mark.parametrize("method", WITH_HEADERS)
async def test_without_headers_the_field_stays_empty(
    client: Client, connection: ScriptedConnection, method: str
) -> None:
    call, answer, part = WITH_HEADERS[method]
    connection.on(method, answer)
    await call(client)
    (request,) = connection.requests(method)
    assert not part(request).HasField("header")


# Texts for people ---------------------------------------------------------------------------------


@pytest.mark.parametrize("summary", [None, "", "sum"])
@pytest.mark.parametrize("details", [None, "", "det"])
async def test_each_text_for_people_is_sent_and_read_on_its_own(
    client: Client, connection: ScriptedConnection, summary: str | None, details: str | None
) -> None:
    connection.on("StartWorkflowExecution", pb.StartWorkflowExecutionResponse(run_id="r"))
    handle = await client.start_workflow(
        Ping.run, id="w", task_queue="q", static_summary=summary, static_details=details
    )
    (request,) = connection.requests("StartWorkflowExecution")
    assert request.HasField("user_metadata") == (summary is not None or details is not None)
    assert request.user_metadata.HasField("summary") == (summary is not None)
    assert request.user_metadata.HasField("details") == (details is not None)
    described = pb.DescribeWorkflowExecutionResponse()
    described.execution_config.user_metadata.CopyFrom(request.user_metadata)
    connection.on("DescribeWorkflowExecution", described)
    told = await handle.describe()
    assert (await told.static_summary(), await told.static_details()) == (summary, details)


# The first run ------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", ["", "first"])
@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("with_signal", [True, False])
async def test_the_first_run_of_a_start(
    client: Client, connection: ScriptedConnection, answered: str, started: bool, with_signal: bool
) -> None:
    fields: dict[str, Any] = {
        "run_id": "r",
        "started": started,
        "first_execution_run_id": answered,
    }
    connection.on("StartWorkflowExecution", pb.StartWorkflowExecutionResponse(**fields))
    connection.on(
        "SignalWithStartWorkflowExecution", pb.SignalWithStartWorkflowExecutionResponse(**fields)
    )
    options: dict[str, Any] = {"start_signal": "s"} if with_signal else {}
    handle = await client.start_workflow("W", id="w", task_queue="q", **options)
    own_run = "r" if started or not with_signal else None
    assert handle.first_execution_run_id == (answered or own_run)
    assert handle.result_run_id == "r"
    assert handle.run_id is None


# What a hint accepts ------------------------------------------------------------------------------


@dataclass
class Box:
    inside: int


class Plain:
    pass


SCALARS: list[Any] = ["x", b"x", 1, 1.5, True]
OBJECTS: list[Any] = [None, [1], {"a": 1}, bytearray(b"x"), date(2026, 1, 2), Box(1), Plain()]
# Hint -> the scalars that may become it.
ACCEPTED: list[tuple[Any, list[Any]]] = [
    (str, ["x"]),
    (bytes, [b"x"]),
    (int, [1, 1.5, True]),
    (float, [1, 1.5, True]),
    (bool, [True]),
    (Box, []),
    (Order, []),
    (Plain, SCALARS),
    (date, SCALARS),
    (list, SCALARS),
    (None, SCALARS),
    (Any, SCALARS),
    (list[int], SCALARS),
    (str | int, SCALARS),
    (Annotated[int, []], SCALARS),
]


def check(kind: Any, value: Any, converter: PayloadConverter) -> None:
    def function(argument: Any) -> None: ...

    Target("t", [kind], None, function).check([value], "Signal", converter)


@pytest.mark.parametrize(("kind", "accepted"), ACCEPTED)
def test_only_a_scalar_that_cannot_become_the_type_is_refused(
    kind: Any, accepted: list[Any]
) -> None:
    default = DefaultPayloadConverter()
    own = CompositePayloadConverter(*default.converters.values())
    raw = RawValue(PAYLOAD(1))
    for value in [*accepted, *OBJECTS, raw]:
        check(kind, value, default)
    refused = [each for each in SCALARS if not any(each is one for one in accepted)]
    for value in refused:
        with pytest.raises(
            TypeError, match=rf"Argument 1 of Signal t is of type {type(value).__name__}, but"
        ):
            check(kind, value, default)
        check(kind, value, own)


def test_the_argument_that_is_refused_is_counted() -> None:
    def function(first: int, second: int, third: str) -> None: ...

    target = Target("t", [int, int, str], None, function)
    target.check([1, 2, "x"], "Update", DefaultPayloadConverter())
    with pytest.raises(TypeError, match="Argument 2 of Update t is of type str, but int is"):
        target.check([1, "x", "x"], "Update", DefaultPayloadConverter())
    with pytest.raises(TypeError, match="Argument 3 of Update t"):
        target.check([1, 2, 3], "Update", DefaultPayloadConverter())


def test_a_name_alone_accepts_everything() -> None:
    Target("t").check([1, 2, 3], "Signal", DefaultPayloadConverter())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (Plain, r"Workflow Plain missing attributes, was it decorated with @workflow\.defn\?"),
        (Plain.__init__, r"Function .* missing attributes, was it decorated with @workflow\.run"),
    ],
)
async def test_what_is_no_workflow_is_said_as_it_was_given(
    client: Client, connection: ScriptedConnection, what: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await client.start_workflow(what, id="w", task_queue="q")
    assert connection.calls == []


async def test_a_class_that_inherits_a_definition_has_none_of_its_own(client: Client) -> None:
    class Child(Ping):
        pass

    with pytest.raises(ValueError, match="Workflow Child missing attributes"):
        await client.start_workflow(Child, id="w", task_queue="q")


# Asynchronous activities: each verb in the context of its handle ---------------------------------


class Marking(CompositePayloadConverter):
    """Marks every payload."""

    def __init__(self) -> None:
        super().__init__(*DefaultPayloadConverter().converters.values())

    def to_payloads(self, values: Any) -> list[common_pb.Payload]:
        made = super().to_payloads(values)
        for payload in made:
            payload.metadata["mark"] = b"own"
        return made


ACTIVITY_VERBS: dict[str, tuple[Callable[[Any], Awaitable[None]], Any, Callable[[Any], Any]]] = {
    "RecordActivityTaskHeartbeat": (
        lambda handle: handle.heartbeat(1),
        pb.RecordActivityTaskHeartbeatResponse(),
        lambda request: request.details,
    ),
    "RespondActivityTaskCompleted": (
        lambda handle: handle.complete(1),
        pb.RespondActivityTaskCompletedResponse(),
        lambda request: request.result,
    ),
    "RespondActivityTaskFailed": (
        lambda handle: handle.fail(ValueError("no"), last_heartbeat_details=[1]),
        pb.RespondActivityTaskFailedResponse(),
        lambda request: request.last_heartbeat_details,
    ),
    "RespondActivityTaskCanceled": (
        lambda handle: handle.report_cancellation(1),
        pb.RespondActivityTaskCanceledResponse(),
        lambda request: request.details,
    ),
}


@pytest.mark.parametrize("method", ACTIVITY_VERBS)
async def test_every_verb_of_an_activity_converts_as_its_handle_says(
    client: Client, connection: ScriptedConnection, method: str
) -> None:
    call, answer, payloads = ACTIVITY_VERBS[method]
    connection.on(method, answer)
    plain = client.get_async_activity_handle(task_token=b"token")
    await call(plain)
    await call(type(plain)(client, b"token", DataConverter(Marking)))
    marks = [
        payload.metadata.get("mark", b"")
        for request in connection.requests(method)
        for payload in payloads(request).payloads
    ]
    assert marks == [b"", b"own"]
    assert {request.identity for request in connection.requests(method)} == {"me"}


def test_a_function_whose_types_are_unknown_accepts_everything() -> None:
    def function(*arguments: Any) -> None: ...

    Target("t", None, None, function).check([1, "x"], "Signal", DefaultPayloadConverter())


# What few callers give ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_given", [True, False])
async def test_a_versioning_override_travels(
    client: Client, connection: ScriptedConnection, is_given: bool
) -> None:
    connection.on("StartWorkflowExecution", pb.StartWorkflowExecutionResponse(run_id="r"))
    override = AutoUpgradeVersioningOverride()
    options: dict[str, Any] = {"versioning_override": override} if is_given else {}
    await client.start_workflow("W", id="w", task_queue="q", **options)
    (request,) = connection.requests("StartWorkflowExecution")
    assert request.HasField("versioning_override") == is_given
    assert request.versioning_override.auto_upgrade == is_given


class WithHeaders(ScriptedConnection):
    """Remembers the headers that it is told to use."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[tuple[Any, str | None]] = []

    def update_headers(self, rpc_metadata: Any, api_key: str | None) -> None:
        self.headers.append((rpc_metadata, api_key))


def test_each_change_of_headers_reaches_the_connection() -> None:
    connection = WithHeaders()
    client = client_over(connection)
    client.rpc_metadata = {"a": "1"}
    client.api_key = "k"
    client.rpc_metadata = {}
    assert connection.headers == [({"a": "1"}, None), ({"a": "1"}, "k"), ({}, "k")]
