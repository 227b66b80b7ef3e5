"""What the commands say where no engine of the tests goes: odd answers, odd definitions of workers, nobody there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from typing import Any

import pytest

from perdure.cli import db, session, worker, workflow_change, workflow_start
from perdure.cli.exits import CommandError, Exit
from perdure.cli.options import ConnectionOptions, Target
from perdure.cli.worker import HINT, make_worker
from perdure.client import RPCError, RPCStatusCode
from perdure.common import RawValue
from perdure.converter import PayloadConverter
from perdure.core.units import SECOND_NS
from perdure.rendering import payloads
from perdure.server.admin.audit import AuditReport, Finding
from perdure.wire import errors
from perdure.wire.api import common, enums, history
from perdure.wire.api import workflowservice as pb
from perdure.worker import Worker
from tests.harness.connections import ScriptedConnection
from tests.unit.client.scripted import client_over
from tests.unit.client.workflows import Ping

PAYLOAD = PayloadConverter.default.to_payload


@pytest.mark.parametrize(
    ("raw", "value", "text"),
    [
        (RawValue(PAYLOAD({"a": [1, "é"]})), {"a": [1, "é"]}, '{"a": [1, "é"]}'),
        (RawValue(PAYLOAD(None)), None, "null"),
        (None, None, "null"),
    ],
)
def test_the_answer_of_a_query(
    capsys: pytest.CaptureFixture[str], raw: object, value: object, text: str
):
    for form in ("json", "jsonl"):
        workflow_change.show_answer(raw, form)
        assert json.loads(capsys.readouterr().out) == {"queryResult": value}
    workflow_change.show_answer(raw, "text")
    assert capsys.readouterr().out == text + "\n"
    workflow_change.show_answer(raw, "none")
    assert capsys.readouterr().out == ""


def rejected(status: int) -> pb.QueryWorkflowResponse:
    answer = pb.QueryWorkflowResponse()
    answer.query_rejected.status = status  # pyright: ignore[reportAttributeAccessIssue]
    return answer


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (rejected(2), "not asked: workflow 'w' is COMPLETED"),
        (rejected(99), "not asked: workflow 'w' is in another state"),
        (errors.InvalidArgument("no\n such  query"), "query 'q' failed: no such query"),
    ],
)
async def test_why_a_query_has_no_answer(answer: Any, text: str):
    connection = ScriptedConnection()
    connection.on("QueryWorkflow", answer)
    with pytest.raises(CommandError) as caught:
        await workflow_change._ask(
            client_over(connection), Target(workflow_id="w", run_id=None), "q", [], None
        )
    assert str(caught.value) == text
    (request,) = connection.requests("QueryWorkflow")
    assert (request.execution.workflow_id, request.execution.run_id) == ("w", "")
    assert request.query_reject_condition == 0


@pytest.mark.parametrize(
    ("condition", "number"), [("not_open", 2), ("NOT_COMPLETED_CLEANLY", 3), (None, 0)]
)
async def test_the_condition_of_a_query(condition: str | None, number: int):
    connection = ScriptedConnection()
    connection.on("QueryWorkflow", pb.QueryWorkflowResponse())
    given = [PAYLOAD(1), PAYLOAD("a")]
    client = client_over(connection)
    answer = await workflow_change._ask(
        client, Target(workflow_id="w", run_id="r"), "q", given, condition
    )
    assert answer is None
    (request,) = connection.requests("QueryWorkflow")
    assert request.query_reject_condition == number
    assert list(request.query.query_args.payloads) == given
    assert request.execution.run_id == "r"


async def test_what_a_definition_of_a_worker_may_be():
    client = client_over(ScriptedConnection())
    options: dict[str, Any] = {"task_queue": "q", "workflows": [Ping]}

    async def factory(given: Any) -> Worker:
        return Worker(given, **options)

    def plain(given: Any) -> Worker:
        return Worker(given, **options)

    for definition in (options, factory, plain):
        worker = await make_worker("m:a", definition, client)
        assert isinstance(worker, Worker)
        assert worker.task_queue == "q"
    assert (await make_worker("m:a", options, client, "other")).task_queue == "other"
    assert options["task_queue"] == "q", "the module's own stays as it is"
    bound = Worker(client, **options)

    async def gives_nothing(given: Any) -> None: ...

    refused: list[tuple[Any, str]] = [
        (bound, f"m:a is a Worker that is bound to a client already; {HINT}"),
        (5, f"m:a is a int; {HINT}"),
        (None, f"m:a is a NoneType; {HINT}"),
        (gives_nothing, f"m:a gave a NoneType; {HINT}"),
        (lambda given: given, f"m:a gave a Client; {HINT}"),  # pyright: ignore[reportUnknownLambdaType]
    ]
    for definition, text in refused:
        with pytest.raises(CommandError) as caught:
            await make_worker("m:a", definition, client)
        assert str(caught.value) == text
    for wrong, text in (
        ({"task_queue": "q"}, "m:a does not make a worker: "),
        ({"task_queue": "q", "nonsense": 1}, "m:a does not make a worker: got an unexpected"),
    ):
        with pytest.raises(CommandError) as caught:
            await make_worker("m:a", wrong, client)
        assert str(caught.value).startswith(text)


def test_what_is_rooted_in_a_transport_s_error_is_explained():
    outer = RuntimeError("Failed client connect")
    assert session.explain_cause(outer, "nowhere:1") is None
    outer.__cause__ = ZeroDivisionError()
    assert session.explain_cause(outer, "nowhere:1") is None
    outer.__cause__ = RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
    explained = session.explain_cause(outer, "nowhere:1")
    assert explained is not None
    assert explained.exit_code is Exit.UNREACHABLE
    assert "no server answers at nowhere:1" in str(explained)


def test_reading_a_payload_leaves_it_as_it_is():
    bare = common.Payload(data=b"x")
    assert payloads.encoding_of(bare) == ""
    assert payloads.text(bare) == "<no encoding, 1 bytes>"
    assert payloads.value(bare) == {"encoding": "unknown", "data": "eA=="}
    assert bare == common.Payload(data=b"x")
    odd = common.Payload(metadata={"encoding": b"\xff"}, data=b"")
    assert payloads.encoding_of(odd) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("count", "more"), [(0, ""), (50, ""), (51, "… and 1 more"), (60, "… and 10 more")]
)
def test_at_most_fifty_findings_of_a_check_are_shown(
    capsys: pytest.CaptureFixture[str], count: int, more: str
):
    findings = [Finding("pages", f"<{number}>") for number in range(count)]
    db._show(AuditReport(Counter(), findings))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("✗")] == [
        f"✗ pages: <{number}>" for number in range(min(count, 50))
    ]
    assert [line for line in lines if line.startswith("…")] == ([more] if more else [])
    assert ("sound" in lines) == (count == 0)


@pytest.mark.parametrize("count", [0, 3])
def test_stale_tasks_are_shown_when_there_are_any(capsys: pytest.CaptureFixture[str], count: int):
    db._show(AuditReport(Counter(), [], stale_tasks=count))
    lines = [line for line in capsys.readouterr().out.splitlines() if "stale" in line]
    told = [f"{count} stale tasks: harmless, a running engine removes them"]
    assert lines == (told if count else [])


async def test_a_worker_waits_for_its_server_until_it_is_told_to_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setattr(worker, "RETRY_SECONDS", 0.001)
        stop = asyncio.Event()
        options = ConnectionOptions(
            address=address, namespace="default", connect_timeout_ns=SECOND_NS // 200
        )
        waiting = asyncio.create_task(worker._connect_patiently(options, stop))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done, "it tries again"
        stop.set()
        assert await waiting is None
    assert [one.getMessage() for one in caplog.records] == [f"waiting for a server at {address}"]


async def test_a_workflow_that_returns_no_payload_has_the_result_null(
    capsys: pytest.CaptureFixture[str],
):
    connection = ScriptedConnection()
    closed = history.HistoryEvent(
        event_id=3,
        event_type=enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        workflow_execution_completed_event_attributes=history.WorkflowExecutionCompletedEventAttributes(),
    )
    connection.on(
        "GetWorkflowExecutionHistory",
        pb.GetWorkflowExecutionHistoryResponse(history=history.History(events=[closed])),
    )
    handle = client_over(connection).get_workflow_handle("w", result_type=RawValue)
    await workflow_start._await_result(handle, "json", {"workflowId": "w"})
    assert json.loads(capsys.readouterr().out) == {
        "workflowId": "w",
        "status": "COMPLETED",
        "result": None,
    }
    await workflow_start._await_result(handle, "text", {})
    assert capsys.readouterr().out.split() == ["Status", "COMPLETED", "Result", "null"]
