"""Errors fit into the headers of every client, and keep what people and programs need most."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from perdure.wire.api import common, errordetails, failure
from perdure.wire.error_bounds import (
    MESSAGE_WIRE_BYTES_MAX,
    STATUS_WIRE_BYTES_MAX,
    bound_error,
    message_wire_bytes,
    status_wire_bytes,
)
from perdure.wire.errors import (
    SHOWN_CHARACTERS_MAX,
    InvalidArgument,
    NotFound,
    aborted_operation,
    multi_operation,
    namespace_not_found,
    shown,
    workflow_already_started,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.errors import RpcError

HEADERS_BYTES_MAX = 8 * 1024
"""Of gRPC's own libraries, for all headers of a call with their overhead."""
OVERHEAD_BYTES = 400
DATA_98 = common.Payload(data=b"x" * 98)
EMOJI = "\U0001f600"


def bounded(error: RpcError) -> RpcError:
    bound_error(error)
    assert message_wire_bytes(error.message) <= MESSAGE_WIRE_BYTES_MAX
    assert status_wire_bytes(error) <= STATUS_WIRE_BYTES_MAX
    return error


def query_failed(**fields: Any) -> InvalidArgument:
    fields.setdefault("message", "boom")
    why = failure.Failure(**fields)
    return InvalidArgument(why.message, errordetails.QueryFailedFailure(failure=why))


def failure_of(error: RpcError) -> failure.Failure:
    (detail,) = error.details
    assert isinstance(detail, errordetails.QueryFailedFailure)
    return detail.failure


def chain_of(levels: int, **fields: Any) -> failure.Failure:
    top = level = failure.Failure(message="0", **fields)
    for number in range(1, levels):
        level = level.cause
        level.MergeFrom(failure.Failure(message=str(number), **fields))
    return top


def test_the_limits_leave_room_for_the_other_headers():
    assert MESSAGE_WIRE_BYTES_MAX + STATUS_WIRE_BYTES_MAX + OVERHEAD_BYTES < HEADERS_BYTES_MAX


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("a b~", 4), ("%", 3), ("\n", 3), ("é", 6), (EMOJI, 12), ("\x7f", 3)],
)
def test_the_size_of_a_message_is_that_of_its_percent_encoding(text: str, size: int):
    assert message_wire_bytes(text) == size


def test_the_size_of_the_details_is_that_of_base64():
    for length in range(5):
        error = NotFound("x" * length, errordetails.NotFoundFailure())
        packed = AnyMessage()
        packed.Pack(errordetails.NotFoundFailure())
        status = common.GrpcStatus(code=5, message="x" * length, details=[packed])
        assert status_wire_bytes(error) == (status.ByteSize() + 2) // 3 * 4


def test_what_fits_is_left_alone():
    cause = failure.Failure(message="why", stack_trace="line\n" * 100)
    error = query_failed(stack_trace="line\n" * 200, cause=cause)
    before = failure_of(error)
    copy = failure.Failure()
    copy.CopyFrom(before)
    bound_error(error)
    assert failure_of(error) is before
    assert before == copy


@pytest.mark.parametrize("letter", ["a", "%", "é", "漢", EMOJI, "\x00"])
@pytest.mark.parametrize("count", [127, 128, 129, 511, 512, 513, 1_536, 1_537, 100_000])
def test_a_message_is_cut_at_a_character_and_says_so(letter: str, count: int):
    text = letter * count
    error = bounded(InvalidArgument(text))
    if message_wire_bytes(text) <= MESSAGE_WIRE_BYTES_MAX:
        assert error.message == text
    else:
        kept = error.message.removesuffix("… (shortened)")
        assert kept != error.message
        assert text.startswith(kept)
        # Nothing more would fit.
        assert message_wire_bytes(error.message + letter) > MESSAGE_WIRE_BYTES_MAX
    assert str(error) == error.message


def test_a_message_that_cannot_be_encoded_is_made_so():
    assert bounded(InvalidArgument("file \udcff is gone")).message == "file ? is gone"


def test_stack_traces_are_shortened_first():
    trace = "".join(f"line {number}\n" for number in range(5_000))
    error = bounded(query_failed(stack_trace=trace, cause=failure.Failure(message="why")))
    left = failure_of(error)
    assert (left.message, left.cause.message) == ("boom", "why")
    assert left.stack_trace.startswith("line 0\n")
    assert left.stack_trace.endswith("line 4999\n")
    assert "characters are left out" in left.stack_trace
    assert status_wire_bytes(error) > STATUS_WIRE_BYTES_MAX * 0.9, "room is used"


def test_all_levels_share_the_room_for_stack_traces():
    error = bounded(query_failed(**fields_of(chain_of(3, stack_trace="x" * 9_000))))
    left = failure_of(error)
    sizes = {len(each.stack_trace) for each in (left, left.cause, left.cause.cause)}
    assert len(sizes) == 1
    assert sizes.pop() > 500


def fields_of(message: Message) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}


def test_stack_traces_of_other_alphabets_count_their_bytes():
    assert failure_of(bounded(query_failed(stack_trace=EMOJI * 9_000))).stack_trace


def test_stack_traces_are_dropped_when_the_rest_leaves_no_room():
    chain = chain_of(40, stack_trace="x" * 1_000)
    left = failure_of(bounded(query_failed(**fields_of(chain))))
    assert left.stack_trace == ""
    assert left.cause.message == "1", "the causes fit without them"


def test_causes_are_dropped_next():
    cause = failure.Failure(message="c" * 5_000)
    info = failure.ApplicationFailureInfo(type="Wrong", non_retryable=True)
    error = bounded(query_failed(cause=cause, stack_trace="s" * 50, application_failure_info=info))
    left = failure_of(error)
    assert (left.message, left.HasField("cause")) == ("boom", False)
    assert left.application_failure_info == info


def test_the_causes_of_each_detail_are_dropped():
    one = query_failed(cause=failure.Failure(message="c" * 5_000)).details[0]
    left = bounded(InvalidArgument("m", one, one)).details
    assert left == (errordetails.QueryFailedFailure(failure=failure.Failure(message="boom")),) * 2


def test_values_are_dropped_next():
    big = common.Payload(metadata={"encoding": b"json/plain"}, data=b"1" * 9_000)
    info = failure.ApplicationFailureInfo(
        type="Wrong", non_retryable=True, details=common.Payloads(payloads=[big])
    )
    error = bounded(
        query_failed(application_failure_info=info, encoded_attributes=big, source="s" * 9_000)
    )
    left = failure_of(error)
    assert left == failure.Failure(
        message="boom",
        application_failure_info=failure.ApplicationFailureInfo(
            type="Wrong", non_retryable=True, details=common.Payloads()
        ),
    )


def test_a_long_message_is_shortened_in_the_detail_too():
    left = failure_of(bounded(query_failed(message="m" * 9_000)))
    assert left.message.startswith("mmmm")
    assert left.message.endswith("(shortened)")


def test_an_existing_run_is_named_whatever_its_request_id_is():
    error = bounded(
        workflow_already_started(
            "taken", start_request_id=EMOJI * 1_000, run_id="run", first_run_id="first"
        )
    )
    (detail,) = error.details
    assert detail == errordetails.WorkflowExecutionAlreadyStartedFailure(
        run_id="run", first_execution_run_id="first"
    )


def test_a_namespace_that_is_too_long_keeps_its_kind_of_error():
    error = bounded(namespace_not_found("n" * 20_000))
    assert error.details == (errordetails.NamespaceNotFoundFailure(),)
    assert len(error.message) < 200


def test_errors_of_several_operations_keep_their_codes_and_runs():
    taken = workflow_already_started(
        "taken " + "x" * 9_000, start_request_id="r" * 9_000, run_id="run", first_run_id="first"
    )
    error = bounded(multi_operation("failed", taken, aborted_operation()))
    (detail,) = error.details
    assert isinstance(detail, errordetails.MultiOperationExecutionFailure)
    assert [status.code for status in detail.statuses] == [6, 10]
    assert detail.statuses[0].message.startswith("taken xxx")
    existing = errordetails.WorkflowExecutionAlreadyStartedFailure()
    assert detail.statuses[0].details[0].Unpack(existing)
    assert existing.run_id == "run"
    aborted = failure.MultiOperationExecutionAborted()
    assert detail.statuses[1].details[0].Unpack(aborted)


def test_failures_within_several_operations_lose_traces_and_causes():
    inner = query_failed(stack_trace="s" * 9_000, cause=failure.Failure(message="c" * 9_000))
    (detail,) = bounded(multi_operation("failed", inner)).details
    assert isinstance(detail, errordetails.MultiOperationExecutionFailure)
    left = errordetails.QueryFailedFailure()
    assert detail.statuses[0].details[0].Unpack(left)
    assert left.failure == failure.Failure(message="boom")


def test_each_detail_of_an_operation_is_shortened():
    inner = query_failed(stack_trace="s" * 9_000).details[0]
    error = bounded(multi_operation("failed", InvalidArgument("m", inner, inner)))
    (detail,) = error.details
    assert isinstance(detail, errordetails.MultiOperationExecutionFailure)
    left = [errordetails.QueryFailedFailure(), errordetails.QueryFailedFailure()]
    (status,) = detail.statuses
    assert [packed.Unpack(each) for packed, each in zip(status.details, left, strict=True)] == [
        True,
        True,
    ]
    assert [each.failure for each in left] == [failure.Failure(message="boom")] * 2


def test_details_of_unknown_types_are_dropped_from_the_last_on():
    unknown = AnyMessage(type_url="type.googleapis.com/nobody.Knows", value=b"x" * 6_000)
    known = errordetails.NotFoundFailure()
    assert bounded(InvalidArgument("m", known, unknown)).details == (known,)
    assert bounded(InvalidArgument("m", known, unknown, unknown)).details == (known,)
    assert bounded(InvalidArgument("m", unknown, known)).details == ()


def test_a_packed_detail_is_shortened_like_any_other():
    packed = AnyMessage()
    packed.Pack(query_failed(stack_trace="s" * 9_000).details[0])
    assert failure_of(bounded(InvalidArgument("m", packed))).message == "boom"


def test_messages_of_the_caller_are_not_changed():
    detail = errordetails.QueryFailedFailure(failure=failure.Failure(stack_trace="s" * 9_000))
    bound_error(InvalidArgument("m", detail))
    assert len(detail.failure.stack_trace) == 9_000


texts = st.text(st.sampled_from([*string.printable, "é", "漢", EMOJI]), max_size=40).flatmap(
    lambda text: st.integers(0, 300).map(lambda times: text * times)
)
failures = st.recursive(
    st.builds(failure.Failure, message=texts, stack_trace=texts, source=texts),
    lambda below: st.builds(failure.Failure, message=texts, stack_trace=texts, cause=below),
    max_leaves=6,
)


@given(texts, failures, texts)
def test_whatever_is_in_an_error_it_fits_and_is_bounded_once(
    message: str, why: failure.Failure, name: str
):
    error = InvalidArgument(
        message,
        errordetails.QueryFailedFailure(failure=why),
        errordetails.NamespaceNotFoundFailure(namespace=name),
    )
    bounded(error)
    once = (error.message, error.details)
    bounded(error)
    assert (error.message, error.details) == once


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"source": "x" * 100}, {"source": "x" * 100}),
        ({"source": "x" * 101}, {}),
        ({"source": "é" * 50}, {"source": "é" * 50}),
        ({"source": "é" * 51}, {}),
        # With a tag and a length.
        ({"encoded_attributes": DATA_98}, {"encoded_attributes": DATA_98}),
        ({"encoded_attributes": common.Payload(data=b"x" * 99)}, {}),
        ({"message": "m" * 100}, {"message": "m" * 100}),
        ({"message": "m" * 101}, {"message": "m" * 100 + "… (shortened)"}),
    ],
)
def test_of_a_value_a_hundred_bytes_are_kept(given: dict[str, Any], left: dict[str, Any]):
    large = errordetails.NamespaceNotFoundFailure(namespace="n" * 9_000)
    kept = errordetails.QueryFailedFailure(failure=failure.Failure(**given))
    error = bounded(InvalidArgument("m", kept, large))
    assert error.details == (
        errordetails.QueryFailedFailure(failure=failure.Failure(**left)),
        errordetails.NamespaceNotFoundFailure(),
    )


def test_messages_show_a_hundred_characters_of_what_was_sent():
    exactly = "x" * SHOWN_CHARACTERS_MAX
    assert shown(exactly) == exactly
    assert shown(exactly + "y") == "x" * (SHOWN_CHARACTERS_MAX - 1) + "…"
    assert SHOWN_CHARACTERS_MAX == 100
