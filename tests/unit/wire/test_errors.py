"""Errors with their codes and details, as a status and back."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from perdure.wire import errors
from perdure.wire.api import enums, errordetails, failure
from perdure.wire.errors import RpcError, RPCStatusCode

CODES: dict[type[RpcError], int] = {
    errors.Canceled: 1,
    errors.Unknown: 2,
    errors.InvalidArgument: 3,
    errors.DeadlineExceeded: 4,
    errors.NotFound: 5,
    errors.AlreadyExists: 6,
    errors.PermissionDenied: 7,
    errors.ResourceExhausted: 8,
    errors.FailedPrecondition: 9,
    errors.Aborted: 10,
    errors.OutOfRange: 11,
    errors.Unimplemented: 12,
    errors.Internal: 13,
    errors.Unavailable: 14,
    errors.DataLoss: 15,
    errors.Unauthenticated: 16,
}


def test_the_codes_are_those_of_grpc() -> None:
    assert {code.value for code in RPCStatusCode} == {0, *CODES.values()}
    assert {kind: int(kind("x").status_code) for kind in CODES} == CODES
    assert RpcError("x").status_code == 2
    assert errors.ConnectionClosed("x").status_code == 9


@pytest.mark.parametrize("kind", CODES)
def test_an_error_survives_as_a_status(kind: type[RpcError]) -> None:
    detail = errordetails.NamespaceNotFoundFailure(namespace="n")
    status = errors.to_status(kind("what happened", detail))
    assert (status.code, status.message, len(status.details)) == (CODES[kind], "what happened", 1)
    again = errors.from_status(status.code, status.message, status.details)
    assert type(again) is kind
    assert (again.message, str(again)) == ("what happened", "what happened")
    packed = again.details[0]
    assert isinstance(packed, AnyMessage)
    unpacked = errordetails.NamespaceNotFoundFailure()
    assert packed.Unpack(unpacked)
    assert unpacked == detail
    assert errors.to_status(again) == status, "details that are packed stay so"


def test_a_code_that_nobody_knows_is_unknown() -> None:
    error = errors.from_status(99, "odd")
    assert type(error) is errors.Unknown
    assert error.details == ()


def test_each_builder_says_what_programs_read() -> None:
    taken = errors.workflow_already_started("m", start_request_id="q", run_id="r", first_run_id="f")
    assert type(taken) is errors.AlreadyExists
    assert taken.details == (
        errordetails.WorkflowExecutionAlreadyStartedFailure(
            start_request_id="q", run_id="r", first_execution_run_id="f"
        ),
    )
    missing = errors.not_found("m")
    assert (type(missing), missing.message) == (errors.NotFound, "m")
    assert missing.details == (errordetails.NotFoundFailure(),)
    nowhere = errors.namespace_not_found("n")
    assert (type(nowhere), nowhere.message) == (errors.NotFound, "Namespace n is not found.")
    assert nowhere.details == (errordetails.NamespaceNotFoundFailure(namespace="n"),)
    unready = errors.workflow_not_ready("m")
    assert (type(unready), unready.message) == (errors.FailedPrecondition, "m")
    assert unready.details == (errordetails.WorkflowNotReadyFailure(),)
    busy = enums.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
    much = errors.resource_exhausted("m", busy)
    assert (type(much), much.message) == (errors.ResourceExhausted, "m")
    assert much.details == (errordetails.ResourceExhaustedFailure(cause=busy),)
    aborted = errors.aborted_operation()
    assert (type(aborted), aborted.message) == (errors.Aborted, "Operation was aborted.")
    assert aborted.details == (failure.MultiOperationExecutionAborted(),)


NOT_FOUND = errors.not_found("gone")
EXHAUSTED = errors.resource_exhausted("full", enums.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW)


@pytest.mark.parametrize(
    ("operations", "kind", "codes"),
    [
        ((errors.aborted_operation(), NOT_FOUND), errors.NotFound, [10, 5]),
        ((NOT_FOUND, errors.aborted_operation()), errors.NotFound, [5, 10]),
        ((EXHAUSTED, NOT_FOUND), errors.ResourceExhausted, [8, 5]),
        ((None, NOT_FOUND), errors.NotFound, [0, 5]),
        ((EXHAUSTED, None), errors.ResourceExhausted, [8, 0]),
        ((errors.Aborted("by itself"), None), errors.Aborted, [10, 0]),
        ((errors.aborted_operation(), None), errors.Unknown, [10, 0]),
    ],
)
def test_several_operations_in_one_error(
    operations: tuple[RpcError | None, ...], kind: type[RpcError], codes: list[int]
) -> None:
    error = errors.multi_operation("both", *operations)
    assert (type(error), error.message) == (kind, "both")
    (detail,) = error.details
    assert isinstance(detail, errordetails.MultiOperationExecutionFailure)
    assert [status.code for status in detail.statuses] == codes
    said = ["" if each is None else each.message for each in operations]
    assert [status.message for status in detail.statuses] == said
    counts = [0 if each is None else len(each.details) for each in operations]
    assert [len(status.details) for status in detail.statuses] == counts


def test_all_details_travel() -> None:
    details = [errordetails.NamespaceNotFoundFailure(namespace=name) for name in "ab"]
    packed = [AnyMessage(), *details]
    status = errors.to_status(errors.NotFound("m", *packed))
    assert len(status.details) == 3
    read: list[str] = []
    for each in status.details[1:]:
        detail = errordetails.NamespaceNotFoundFailure()
        assert each.Unpack(detail)
        read.append(detail.namespace)
    assert read == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        (b"", b""),
        (b"\x0a", b""),
        (b"\x0a\x03abc", b"abc"),
        (b"\x0a\x03abc\xff\xff", b"abc"),
        (b"\x0a\x00\xff", b""),
        (b"\x0a\xac\x02" + 300 * b"x" + b"rest", 300 * b"x"),
        (b"\x0a\xff\xff\xff\xff\xff\xff", b""),
        (b"\x12\x03abc", b""),
    ],
)
def test_the_token_of_a_task_that_cannot_be_read(answer: bytes, token: bytes) -> None:
    for method in ("PollWorkflowTaskQueue", "PollActivityTaskQueue"):
        assert errors.UndecodableAnswer(method, answer).task_token == token
    other = errors.UndecodableAnswer("RespondQueryTaskCompleted", answer)
    assert other.task_token == b""
    assert f"RespondQueryTaskCompleted ({len(answer)} bytes)" in other.message
    assert other.status_code is RPCStatusCode.INTERNAL
