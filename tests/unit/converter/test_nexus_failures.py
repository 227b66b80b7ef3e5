"""Errors of Nexus handlers: what is written of each, and what is read back."""

from __future__ import annotations

import json
import sys
from typing import Any

import nexusrpc
import pytest

from perdure.converter import FailureConverter, PayloadConverter
from perdure.exceptions import ApplicationError
from perdure.wire.api import enums
from perdure.wire.api import failure as failure_pb

CONVERTER = PayloadConverter.default
Kind = nexusrpc.HandlerErrorType


def write(error: BaseException) -> failure_pb.Failure:
    failure = failure_pb.Failure()
    FailureConverter.default.to_failure(error, CONVERTER, failure)
    return failure


def read(failure: failure_pb.Failure) -> Any:
    return FailureConverter.default.from_failure(failure, CONVERTER)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_type_travels_both_ways(kind: nexusrpc.HandlerErrorType) -> None:
    failure = write(nexusrpc.HandlerError("bad", type=kind))
    assert failure.nexus_handler_failure_info.type == kind.name
    assert (failure.message, failure.stack_trace, failure.HasField("cause")) == ("bad", "", False)
    found = read(failure)
    assert (found.message, found.type, found.stack_trace) == ("bad", kind, None)


@pytest.mark.parametrize(
    ("override", "behavior"),
    [
        (None, enums.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_UNSPECIFIED),
        (True, enums.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_RETRYABLE),
        (False, enums.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_NON_RETRYABLE),
    ],
)
def test_whether_to_try_again_travels_both_ways(override: bool | None, behavior: int) -> None:
    failure = write(nexusrpc.HandlerError("bad", type=Kind.INTERNAL, retryable_override=override))
    assert failure.nexus_handler_failure_info.retry_behavior == behavior
    assert read(failure).retryable_override is override


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except nexusrpc.HandlerError as caught:
        return caught


def test_the_stack_is_that_of_the_error_or_where_it_was_raised() -> None:
    own = nexusrpc.HandlerError("bad", type=Kind.INTERNAL, stack_trace="at home")
    assert write(own).stack_trace == "at home"
    assert write(raised(own)).stack_trace == "at home"
    assert "in raised" in write(raised(nexusrpc.HandlerError("b", type=Kind.INTERNAL))).stack_trace


def test_a_cause_travels() -> None:
    error = nexusrpc.HandlerError("bad", type=Kind.INTERNAL)
    error.__cause__ = ApplicationError("why", 1)
    failure = write(error)
    assert failure.cause.message == "why"
    assert list(read(failure).__cause__.details) == [1]


def test_what_was_read_keeps_its_original_and_is_written_as_it_was() -> None:
    failure = failure_pb.Failure(message="bad", stack_trace="there", source="another SDK")
    failure.nexus_handler_failure_info.type = "NOT_FOUND"
    failure.cause.message = "why"
    found = read(failure)
    assert (found.message, found.type, found.stack_trace) == ("bad", Kind.NOT_FOUND, "there")
    original = found.original_failure
    assert (original.message, original.stack_trace) == ("bad", "there")
    assert original.metadata == {"type": "temporal.api.failure.v1.Failure"}
    assert dict(original.details) == {
        "source": "another SDK",
        "nexusHandlerFailureInfo": {"type": "NOT_FOUND"},
        "cause": {"message": "why"},
    }
    assert write(found) == failure
    assert failure.message == "bad", "what is read stays as it is"


def test_a_failure_without_message_and_of_a_later_type() -> None:
    failure = failure_pb.Failure()
    failure.nexus_handler_failure_info.type = "LATER"
    failure.nexus_handler_failure_info.retry_behavior = 99  # pyright: ignore[reportAttributeAccessIssue]
    found = read(failure)
    assert (found.message, found.type) == ("Nexus handler error", Kind.INTERNAL)
    assert found.retryable_override is None


@pytest.mark.parametrize("metadata", [None, {}, {"type": "another"}])
@pytest.mark.parametrize("retryable", [True, False])
def test_an_original_of_another_kind_becomes_details(
    metadata: dict[str, str] | None, retryable: bool
) -> None:
    original = nexusrpc.Failure(
        message="first", stack_trace=None, metadata=metadata, details={"a": 1}
    )
    error = nexusrpc.HandlerError(
        "bad", type=Kind.INTERNAL, retryable_override=retryable, original_failure=original
    )
    failure = write(error)
    info = failure.application_failure_info
    assert (failure.message, failure.stack_trace) == ("first", "")
    assert (info.type, info.non_retryable) == ("NexusFailure", not retryable)
    (payload,) = info.details.payloads
    assert payload.metadata["encoding"] == b"json/plain"
    told = json.loads(payload.data)
    assert (told["message"], told["details"], told["metadata"]) == ("", {"a": 1}, metadata)


def test_an_original_without_details() -> None:
    original = nexusrpc.Failure(
        message="first",
        stack_trace="there",
        metadata={"type": "temporal.api.failure.v1.Failure"},
        details=None,
    )
    failure = write(nexusrpc.HandlerError("bad", type=Kind.INTERNAL, original_failure=original))
    assert failure == failure_pb.Failure(message="first", stack_trace="there")


def test_before_anything_of_nexus_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nexusrpc")
    assert write(ValueError("x")).application_failure_info.type == "ValueError"
