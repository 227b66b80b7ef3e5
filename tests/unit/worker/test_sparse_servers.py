"""Servers that leave things out: calls that they do not have, time-outs that they do not tell; and what is missing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import activity, workflow
from perdure.core.units import SECOND_NS
from perdure.wire import errors
from perdure.wire.api import enums, workflowservice
from perdure.wire.api import failure as failures
from perdure.wire.times import timestamp
from tests.unit.worker.calling import PAYLOADS, Broken, codec_of, raising, rpc_over
from tests.unit.worker.test_task_answers import COMPLETED, Server, answers_to, task, working


async def test_a_server_that_cannot_describe_namespaces_ends_no_polls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perdure.worker.operation.POLLS_END_S", 3_600.0)
    server = Server([], {"DescribeNamespace": raising(errors.Unimplemented("old"))})
    async with asyncio.timeout(60), working(server):
        await server.all_taken.wait()
    assert len(server.connection.requests("ShutdownWorker")) == 1


NOW_NS = 1_700_000_000_000_000_000
scheduled: list[datetime] = []


@activity.defn
async def takes_its_time() -> None:
    scheduled.append(activity.info().scheduled_time)
    for _ in range(20):
        await asyncio.sleep(0)


@workflow.defn(name="Local")
class Local:
    @workflow.run
    async def run(self, _text: str) -> None:
        await workflow.execute_local_activity(
            takes_its_time, start_to_close_timeout=timedelta(minutes=1)
        )


async def test_a_task_without_a_timeout_is_not_answered_at_once() -> None:
    options = {"workflows": [Local], "activities": [takes_its_time]}
    poll = task("Local")
    for each in poll.history.events:
        each.event_time.CopyFrom(timestamp(NOW_NS))
    scheduled.clear()
    ((name, request),) = await answers_to(poll, options=options)
    assert scheduled == [datetime.fromtimestamp(NOW_NS / SECOND_NS, UTC)], "in the workflow's time"
    assert name == COMPLETED
    assert not request.force_create_new_workflow_task
    assert [each.command_type for each in request.commands] == [
        enums.COMMAND_TYPE_RECORD_MARKER,
        enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
    ]


@pytest.mark.parametrize("source", ["", "JavaSDK"])
async def test_a_failure_whose_details_cannot_be_encoded_keeps_its_source(source: str) -> None:
    rpc, connection = rpc_over(Broken())
    request = workflowservice.RespondWorkflowTaskFailedRequest(task_token=b"token")
    request.failure.message, request.failure.source = "no money", source
    request.failure.application_failure_info.type = "Broke"
    request.failure.application_failure_info.details.CopyFrom(PAYLOADS)
    await rpc.fail_workflow_task(request, codec_of(rpc))
    (sent,) = connection.requests("RespondWorkflowTaskFailed")
    assert sent.failure == failures.Failure(
        message="no money (its details could not be encoded: LookupError)",
        source=source or "PerdurePython",
        application_failure_info=failures.ApplicationFailureInfo(type="Broke"),
    )
