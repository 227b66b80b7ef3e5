"""Warnings about large values: which fields are looked at, at which sizes, and what the log says."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from perdure import activity, workflow
from perdure.client import Client, PayloadLimitsConfig
from perdure.service.payload_sizes import NO_WARNINGS, SizeWarnings
from perdure.wire.api import command, common, enums, failure, protocol, workflowservice
from perdure.worker import Worker

SMALL, LARGE = common.Payload(data=b"s" * 10), common.Payload(data=b"l" * 1000)
WARNINGS = SizeWarnings(PayloadLimitsConfig(payloads_warn_size=500, memo_warn_size=100))
SECRET = "4111-1111"


def fields(request: Any) -> list[str]:
    return [each.field for each in WARNINGS.oversized(request)]


def test_each_place_of_payloads_is_looked_at() -> None:
    large = common.Payloads(payloads=[LARGE])
    start = workflowservice.StartWorkflowExecutionRequest(
        input=large,
        header=common.Header(fields={"trace": LARGE}),
        memo=common.Memo(fields={"note": LARGE}),
        search_attributes=common.SearchAttributes(indexed_fields={"City": LARGE}),
        last_completion_result=common.Payloads(payloads=[SMALL]),
    )
    start.user_metadata.summary.CopyFrom(LARGE)
    assert sorted(fields(start)) == [
        "header.fields",
        "input",
        "memo.fields",
        "user_metadata.summary",
    ]
    completion = workflowservice.RespondWorkflowTaskCompletedRequest(
        commands=[
            command.Command(command_type=enums.COMMAND_TYPE_START_TIMER),
            command.Command(
                record_marker_command_attributes=command.RecordMarkerCommandAttributes(
                    details={"data": large},
                    failure=failure.Failure(
                        cause=failure.Failure(
                            application_failure_info=failure.ApplicationFailureInfo(details=large)
                        )
                    ),
                )
            ),
        ],
        messages=[protocol.Message(body=AnyMessage(value=b"b" * 1000))],
    )
    assert fields(completion) == [
        "commands[1].record_marker_command_attributes.details",
        "commands[1].record_marker_command_attributes.failure.cause.application_failure_info.details",
        "messages[0].body",
    ]


def test_the_size_and_the_limit_are_said_and_the_limit_itself_is_no_excess() -> None:
    payloads = common.Payloads(payloads=[common.Payload(data=b"x" * 494)])
    request = workflowservice.SignalWorkflowExecutionRequest(input=payloads)
    assert payloads.ByteSize() == 500
    assert list(WARNINGS.oversized(request)) == []
    payloads.payloads[0].data += b"x"
    request = workflowservice.SignalWorkflowExecutionRequest(input=payloads)
    (found,) = WARNINGS.oversized(request)
    assert found == ("input", 501, 500)


def test_a_memo_has_a_limit_of_its_own_and_counts_its_names() -> None:
    def memo(**values: int) -> workflowservice.StartWorkflowExecutionRequest:
        return workflowservice.StartWorkflowExecutionRequest(
            memo=common.Memo(
                fields={name: common.Payload(data=b"m" * size) for name, size in values.items()}
            )
        )

    assert fields(memo(a=48, b=46)) == []  # 2 bytes of names, 4 of framing
    assert fields(memo(a=48, b=47)) == ["memo.fields"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (PayloadLimitsConfig(payloads_warn_size=0, memo_warn_size=100), ["memo.fields"]),
        (PayloadLimitsConfig(payloads_warn_size=500, memo_warn_size=0), ["input"]),
        (PayloadLimitsConfig(payloads_warn_size=0, memo_warn_size=0), []),
    ],
)
def test_zero_turns_a_warning_off(
    limits: PayloadLimitsConfig, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    request = workflowservice.StartWorkflowExecutionRequest(
        input=common.Payloads(payloads=[LARGE]), memo=common.Memo(fields={"note": LARGE})
    )
    SizeWarnings(limits).check("Start", request)
    assert [word for record in caplog.records for word in expected if word in record.message] == (
        expected
    )
    assert len(caplog.records) == len(expected)
    caplog.clear()
    NO_WARNINGS.check("Start", request)
    assert not caplog.records


def test_one_line_names_the_largest_field_and_counts_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    larger = common.Payload(data=b"l" * 2000)
    request = workflowservice.StartWorkflowExecutionRequest(
        input=common.Payloads(payloads=[LARGE]),
        header=common.Header(fields={"trace": larger}),
        memo=common.Memo(fields={"note": LARGE}),
    )
    WARNINGS.check("Start", request)
    (record,) = caplog.records
    size_bytes = larger.ByteSize() + len("trace")
    assert record.message.startswith(f"Start sends {size_bytes} bytes in header.fields, above")
    assert "of 500 bytes (PayloadLimitsConfig); 2 more of its fields are above theirs." in (
        record.message
    )


@activity.defn
async def fetch() -> str:
    return SECRET * 100


@workflow.defn
class Fetches:
    @workflow.run
    async def run(self, text: str) -> str:
        return await workflow.execute_activity(
            fetch, schedule_to_close_timeout=workflow.info().task_timeout
        )


async def test_clients_and_workers_warn_and_keep_the_value_to_themselves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = PayloadLimitsConfig(payloads_warn_size=500)
    async with await Client.connect("memory:", payload_limits=limits) as client:
        worker = Worker(client, task_queue="q", workflows=[Fetches], activities=[fetch])
        with caplog.at_level(logging.WARNING):
            async with worker:
                await client.execute_workflow(Fetches.run, SECRET * 100, id="w", task_queue="q")
    warned = [
        record.message for record in caplog.records if "PayloadLimitsConfig" in record.message
    ]
    assert [message.split(" sends ")[0] for message in warned] == [
        "StartWorkflowExecution",
        "RespondActivityTaskCompleted",
        "RespondWorkflowTaskCompleted",
    ]
    assert all("above the warning limit of 500 bytes" in message for message in warned)
    assert SECRET not in caplog.text
