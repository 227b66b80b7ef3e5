"""The codec reaches every payload of a message, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.wire.api import (
    command,
    common,
    failure,
    history,
    protocol,
    update,
    workflowservice,
)
from perdure.worker.polling.codec import apply_codec


async def mark(payloads: Sequence[common.Payload]) -> list[common.Payload]:
    return [common.Payload(data=b"<" + payload.data + b">") for payload in payloads]


def payload(data: bytes) -> common.Payload:
    return common.Payload(data=data)


async def test_payloads_in_lists_maps_and_nested_failures_are_replaced() -> None:
    request = workflowservice.RespondWorkflowTaskCompletedRequest()
    schedule = request.commands.add()
    attributes = schedule.schedule_activity_task_command_attributes
    attributes.input.payloads.extend([payload(b"a"), payload(b"b")])
    fail = request.commands.add().fail_workflow_execution_command_attributes
    fail.failure.CopyFrom(
        failure.Failure(
            encoded_attributes=payload(b"outer"),
            cause=failure.Failure(
                application_failure_info=failure.ApplicationFailureInfo(
                    details=common.Payloads(payloads=[payload(b"details")])
                )
            ),
        )
    )
    request.query_results["q"].answer.payloads.append(payload(b"answer"))
    await apply_codec(request, mark)
    assert [each.data for each in attributes.input.payloads] == [b"<a>", b"<b>"]
    assert fail.failure.encoded_attributes.data == b"<outer>"
    details = fail.failure.cause.application_failure_info.details.payloads
    assert details[0].data == b"<details>"
    assert request.query_results["q"].answer.payloads[0].data == b"<answer>"


async def test_search_attributes_and_headers_are_left_alone() -> None:
    attributes = command.StartChildWorkflowExecutionCommandAttributes()
    attributes.header.fields["trace"].data = b"header"
    attributes.search_attributes.indexed_fields["Key"].data = b"indexed"
    attributes.memo.fields["note"].data = b"memo"
    await apply_codec(attributes, mark)
    assert attributes.header.fields["trace"].data == b"header"
    assert attributes.search_attributes.indexed_fields["Key"].data == b"indexed"
    assert attributes.memo.fields["note"].data == b"<memo>"


def _request() -> update.Request:
    request = update.Request()
    request.input.args.payloads.append(payload(b"text"))
    return request


def _rejection() -> update.Rejection:
    rejection = update.Rejection(rejected_request=_request())
    rejection.failure.encoded_attributes.data = b"why"
    return rejection


def _response() -> update.Response:
    response = update.Response()
    response.outcome.success.payloads.append(payload(b"done"))
    return response


PACKED: dict[str, tuple[Any, list[bytes]]] = {
    "request": (_request(), [b"<text>"]),
    "acceptance": (update.Acceptance(accepted_request=_request()), [b"<text>"]),
    "rejection": (_rejection(), [b"<text>", b"<why>"]),
    "response": (_response(), [b"<done>"]),
}


@pytest.mark.parametrize("name", PACKED)
async def test_packed_update_messages_are_reached(name: str) -> None:
    message, expected = PACKED[name]
    packed = AnyMessage()
    packed.Pack(message)
    request = workflowservice.RespondWorkflowTaskCompletedRequest(
        messages=[protocol.Message(body=packed)]
    )
    await apply_codec(request, mark)
    got = type(message)()
    assert request.messages[0].body.Unpack(got)
    seen: list[bytes] = []

    async def note(payloads: Sequence[common.Payload]) -> list[common.Payload]:
        seen.extend(each.data for each in payloads)
        return list(payloads)

    await apply_codec(got, note)
    assert sorted(seen) == sorted(expected)


async def test_packed_messages_of_others_are_left_alone() -> None:
    packed = AnyMessage(type_url="type.googleapis.com/somebody.Else", value=b"\x0a\x00")
    request = workflowservice.RespondWorkflowTaskCompletedRequest(
        messages=[protocol.Message(body=packed)]
    )
    await apply_codec(request, mark)
    assert request.messages[0].body == packed


@pytest.mark.parametrize(
    "kind", [command.RecordMarkerCommandAttributes, history.MarkerRecordedEventAttributes]
)
async def test_what_the_engine_writes_into_markers_stays_readable(kind: type[Any]) -> None:
    def marker(name: str) -> Any:
        made = kind(marker_name=name)
        for key in ("data", "patch-data", "result"):
            made.details[key].payloads.append(payload(key.encode()))
        return made

    def said(made: Any) -> dict[str, bytes]:
        return {key: made.details[key].payloads[0].data for key in made.details}

    local, patch, own = (marker(name) for name in ("core_local_activity", "core_patch", "mine"))
    for each in (local, patch, own):
        await apply_codec(each, mark)
    assert (said(local)["data"], said(local)["result"]) == (b"data", b"<result>")
    assert said(patch)["patch-data"] == b"patch-data"
    assert set(said(own).values()) == {b"<data>", b"<patch-data>", b"<result>"}
