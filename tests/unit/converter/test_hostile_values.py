"""Failures, payloads and search attributes that somebody else wrote, or that hold what no message can."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import nexusrpc
import pytest

from perdure.common import RetryPolicy, SearchAttributeKey
from perdure.converter import (
    DefaultFailureConverter,
    PayloadConverter,
    decode_search_attributes,
    decode_typed_search_attributes,
)
from perdure.converter.search_attributes import decode_search_attribute_value
from perdure.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb

CONVERTER = PayloadConverter.default
PLAIN = DefaultFailureConverter()
ENCODING = DefaultFailureConverter(encode_common_attributes=True)
MESSAGE = b"temporal.api.common.v1.Payload"


def payload(data: bytes, encoding: bytes = b"json/plain", **more: bytes) -> common_pb.Payload:
    return common_pb.Payload(metadata={"encoding": encoding, **more}, data=data)


def there_and_back(error: BaseException, converter: DefaultFailureConverter = PLAIN) -> Any:
    failure = failure_pb.Failure()
    converter.to_failure(error, CONVERTER, failure)
    return converter.from_failure(failure, CONVERTER)


MALFORMED = [
    payload(b"{"),
    payload(b"\xff"),
    payload(b"[" * 100_000),
    payload(b"9" * 5000),
    payload(b"{", b"json/protobuf", messageType=MESSAGE),
    payload(b"\xff", b"json/protobuf", messageType=MESSAGE),
    payload(b'{"metadata": 1}', b"json/protobuf", messageType=MESSAGE),
    payload(b'{"metadata": {"\\ud800": ""}}', b"json/protobuf", messageType=MESSAGE),
    payload(b"[" * 100_000, b"json/protobuf", messageType=MESSAGE),
    payload(b"{}", b"json/protobuf", messageType=b"\xff"),
    payload(b"{}", b"json/protobuf"),
    payload(b"\xff", b"binary/protobuf", messageType=MESSAGE),
    payload(b"x", b"binary/null"),
]


@pytest.mark.parametrize("given", MALFORMED, ids=lambda given: repr(given.data[:16]))
def test_a_malformed_payload_is_a_runtime_error_wherever_it_is(given: common_pb.Payload):
    with pytest.raises(RuntimeError, match="could not be converted"):
        CONVERTER.from_payload(given)
    details = common_pb.Payloads(payloads=[given])
    for failure in (
        failure_pb.Failure(
            application_failure_info=failure_pb.ApplicationFailureInfo(details=details)
        ),
        failure_pb.Failure(canceled_failure_info=failure_pb.CanceledFailureInfo(details=details)),
        failure_pb.Failure(
            timeout_failure_info=failure_pb.TimeoutFailureInfo(last_heartbeat_details=details)
        ),
    ):
        with pytest.raises(RuntimeError, match="could not be converted"):
            PLAIN.from_failure(failure, CONVERTER)
    # What is still encoded is shown as it is.
    encoded = failure_pb.Failure(message="Encoded failure", encoded_attributes=given)
    assert str(PLAIN.from_failure(encoded, CONVERTER)) == "Encoded failure"


def test_a_retry_delay_of_any_length_is_read_and_written():
    failure = failure_pb.Failure()
    failure.application_failure_info.next_retry_delay.seconds = 2**62
    read: Any = PLAIN.from_failure(failure, CONVERTER)
    assert read.next_retry_delay == timedelta.max
    written = failure_pb.Failure()
    PLAIN.to_failure(ApplicationError("x", next_retry_delay=timedelta.max), CONVERTER, written)
    assert written.application_failure_info.next_retry_delay.ToJsonString() == "315576000000s"


def test_a_retry_policy_of_any_length_is_read_and_written():
    proto = common_pb.RetryPolicy()
    proto.initial_interval.seconds = proto.maximum_interval.seconds = 2**62
    read = RetryPolicy.from_proto(proto)
    assert (read.initial_interval, read.maximum_interval) == (timedelta.max, timedelta.max)
    written = common_pb.RetryPolicy()
    RetryPolicy(initial_interval=timedelta.max).apply_to_proto(written)
    assert written.initial_interval == written.maximum_interval
    assert written.initial_interval.ToJsonString() == "315576000000s"


@pytest.mark.parametrize("levels", [100, 5000])
def test_a_failure_of_any_depth_is_read(levels: int):
    failure = failure_pb.Failure(message="first")
    inner = failure
    for _ in range(levels - 1):
        inner = inner.cause
    inner.message = "last"
    before = failure.ByteSize()
    error: BaseException | None = PLAIN.from_failure(failure, CONVERTER)
    texts: list[str] = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    assert (texts[0], texts[-1]) == ("first", "last")
    assert len(texts) == (levels if levels < 200 else 50)
    assert failure.ByteSize() == before, "the message is not changed"


@pytest.mark.parametrize("converter", [PLAIN, ENCODING])
def test_half_a_surrogate_pair_in_any_text_is_spelled_out(converter: DefaultFailureConverter):
    """Names of files that are not UTF-8 get into messages."""
    assert str(there_and_back(ValueError("a \udcff b"), converter)) == "ValueError: a \\udcff b"
    group = ExceptionGroup("g", [ValueError("\udcff")])
    assert "\\udcff" in str(there_and_back(group, converter))
    error = there_and_back(ApplicationError("m", type="\ud800"), converter)
    assert error.type == "\\ud800"
    activity = there_and_back(
        ActivityError(
            "\ud800", scheduled_event_id=1, started_event_id=2, identity="\ud801",
            activity_type="\ud802", activity_id="\ud803", retry_state=None,
        ),
        converter,
    )  # fmt: skip
    assert (activity.message, activity.identity, activity.activity_type, activity.activity_id) == (
        "\\ud800", "\\ud801", "\\ud802", "\\ud803",
    )  # fmt: skip
    child = there_and_back(
        ChildWorkflowError(
            "m", namespace="\ud800", workflow_id="\ud801", run_id="\ud802", workflow_type="\ud803",
            initiated_event_id=1, started_event_id=2, retry_state=None,
        ),
        converter,
    )  # fmt: skip
    assert (child.namespace, child.workflow_id, child.run_id, child.workflow_type) == (
        "\\ud800", "\\ud801", "\\ud802", "\\ud803",
    )  # fmt: skip


def test_half_a_surrogate_pair_in_encoded_attributes():
    common = json.dumps({"message": "\ud800", "stack_trace": 1}).encode()
    failure = failure_pb.Failure(message="Encoded failure", encoded_attributes=payload(common))
    assert str(PLAIN.from_failure(failure, CONVERTER)) == "\\ud800"


@pytest.mark.parametrize("converter", [PLAIN, ENCODING])
def test_arguments_of_another_type_become_text(converter: DefaultFailureConverter):
    given: Any = {"code": 7}
    error = there_and_back(ApplicationError(given, type=given, non_retryable=given), converter)
    assert (error.message, error.type) == ("{'code': 7}", "{'code': 7}")
    assert error.non_retryable is True
    nothing: Any = None
    assert there_and_back(ApplicationError("m", category=nothing), converter).category == 0


# ── errors of Nexus handlers ─────────────────────────────────────────────────────────────────────────


def handler_error(details: Any, kind: str = "temporal.api.failure.v1.Failure") -> Any:
    return nexusrpc.HandlerError(
        "outer",
        type=nexusrpc.HandlerErrorType.INTERNAL,
        original_failure=nexusrpc.Failure(
            message="\ud800", stack_trace="\ud801", metadata={"type": kind}, details=details
        ),
    )


def nested(levels: int) -> Any:
    inner: Any = {}
    for _ in range(levels):
        inner = {"cause": inner}
    return inner


@pytest.mark.parametrize(
    ("details", "kept"),
    [
        ({"cause": 1}, b'"cause":1'),
        ({"unheardOf": 1}, b'"unheardOf":1'),
        ({"message": "\ud800"}, b'"message":"\\ud800"'),
        ({"applicationFailureInfo": {"details": {"payloads": [{"metadata": 1}]}}}, b'"metadata":1'),
        (nested(5000), b'"details":null'),
        ({"cause": object()}, b'"details":null'),
    ],
)
def test_details_that_are_no_failure_are_kept_as_they_are(details: Any, kept: bytes):
    failure = failure_pb.Failure()
    PLAIN.to_failure(handler_error(details), CONVERTER, failure)
    assert (failure.message, failure.stack_trace) == ("\\ud800", "\\ud801")
    info = failure.application_failure_info
    assert info.type == "NexusFailure"
    assert kept in info.details.payloads[0].data
    assert not failure.HasField("cause")


def test_details_of_another_kind_are_kept_as_they_are():
    failure = failure_pb.Failure()
    PLAIN.to_failure(handler_error({"a": object()}, kind="x"), CONVERTER, failure)
    assert failure.application_failure_info.details.payloads[0].data == b'{"details":null}'


def test_a_handler_error_with_a_cause_out_of_range_is_read():
    failure = failure_pb.Failure(message="m")
    failure.nexus_handler_failure_info.type = "NOT_FOUND"
    failure.cause.application_failure_info.next_retry_delay.seconds = 2**62
    read: Any = PLAIN.from_failure(failure, CONVERTER)
    assert (read.type, str(read)) == (nexusrpc.HandlerErrorType.NOT_FOUND, "m")
    assert read.__cause__.next_retry_delay == timedelta.max


# ── search attributes ────────────────────────────────────────────────────────────────────────────────


def attributes(**values: tuple[str, bytes]) -> common_pb.SearchAttributes:
    return common_pb.SearchAttributes(
        indexed_fields={
            name: payload(data, type=kind.encode()) for name, (kind, data) in values.items()
        }
    )


UNREADABLE = {
    "brackets": ("Keyword", b"[" * 100_000),
    "no_json": ("Keyword", b"{"),
    "no_utf8": ("Keyword", b"\xff"),
    "digits": ("Int", b"9" * 5000),
    "no_datetime": ("Datetime", b'"yesterday"'),
    "number": ("Datetime", b"5"),
    "object": ("Datetime", b"{}"),
    "far": ("Double", b"9" * 400),
    "texts": ("Keyword", b'["a", "b"]'),
    "numbers": ("KeywordList", b"[1, 2]"),
    "text_as_int": ("Int", b'"1"'),
}


def test_search_attributes_that_cannot_be_read_are_left_out():
    api = attributes(
        good=("Int", b"7"),
        one=("Keyword", b'["a"]'),
        single=("KeywordList", b'"a"'),
        **UNREADABLE,
    )
    api.indexed_fields["odd"].CopyFrom(payload(b"1", type=b"\xff"))
    api.indexed_fields["encrypted"].CopyFrom(payload(b"1", b"binary/encrypted", type=b"Int"))
    read = decode_typed_search_attributes(api)
    assert {pair.key.name: pair.value for pair in read} == {
        "good": 7, "one": "a", "single": ["a"],
    }  # fmt: skip
    assert read[SearchAttributeKey.for_keyword_list("single")] == ["a"]
    untyped = decode_search_attributes(api)
    assert "good" in untyped
    for name in ("brackets", "no_json", "no_utf8", "digits", "no_datetime", "number", "encrypted"):
        assert name not in untyped, name


def test_a_group_whose_datetime_cannot_be_read_is_its_text():
    good = decode_search_attribute_value(payload(b'"2026-01-02T03:04:05Z"', type=b"Datetime"))
    assert isinstance(good, datetime)
    bad = decode_search_attribute_value(payload(b'"yesterday"', type=b"Datetime"))
    assert bad == "yesterday"
