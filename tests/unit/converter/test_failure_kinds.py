"""Every kind of error becomes its kind of failure, field by field, and the same error again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.converter import DefaultFailureConverter, FailureConverter, PayloadConverter
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    NexusOperationError,
    RetryState,
    ServerError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - the failure of that name
    TimeoutType,
)
from perdure.wire.api import failure as failure_pb

CONVERTER = PayloadConverter.default


def write(error: BaseException) -> failure_pb.Failure:
    failure = failure_pb.Failure()
    FailureConverter.default.to_failure(error, CONVERTER, failure)
    return failure


def read(failure: failure_pb.Failure) -> Any:
    return FailureConverter.default.from_failure(failure, CONVERTER)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def public(error: BaseException) -> dict[str, Any]:
    """What an error says, apart from its cause and from the failure that it was read from."""
    names = {name for name in vars(error) if not name.startswith("_")}
    for kind in type(error).__mro__:
        names |= {name for name, member in vars(kind).items() if isinstance(member, property)}
    values: dict[str, Any] = {name: getattr(error, name) for name in names - {"failure", "cause"}}
    return {name: _listed(each) for name, each in values.items()}


# Each field has a value that no other field has and no default is.
ERRORS: list[FailureError] = [
    ApplicationError(
        "application",
        "one",
        2,
        type="Type",
        non_retryable=True,
        next_retry_delay=timedelta(seconds=3),
        category=ApplicationErrorCategory.BENIGN,
    ),
    TimeoutError("timeout", type=TimeoutType.HEARTBEAT, last_heartbeat_details=["a", 1]),
    CancelledError("cancelled", "why", 3),
    TerminatedError("terminated"),
    ServerError("server", non_retryable=True),
    ActivityError(
        "activity",
        scheduled_event_id=5,
        started_event_id=6,
        identity="worker-1",
        activity_type="charge",
        activity_id="id-7",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    ),
    ChildWorkflowError(
        "child",
        namespace="shop",
        workflow_id="w",
        run_id="r",
        workflow_type="Order",
        initiated_event_id=8,
        started_event_id=9,
        retry_state=RetryState.TIMEOUT,
    ),
    NexusOperationError(
        "nexus",
        scheduled_event_id=10,
        endpoint="e",
        service="s",
        operation="o",
        operation_token="t",
    ),
]


def kind_of(error: object) -> str:
    return type(error).__name__


def test_the_errors_say_something() -> None:
    assert public(ERRORS[5])["activity_id"] == "id-7"
    assert public(ERRORS[0])["details"] == ["one", 2]


@pytest.mark.parametrize("error", ERRORS, ids=kind_of)
def test_every_field_travels_both_ways(error: FailureError) -> None:
    failure = write(error)
    again = read(failure)
    assert type(again) is type(error)
    assert public(again) == public(error)
    assert again.failure == failure
    assert write(again) == failure


# What an error has that was made with as little as possible.
BARE: list[FailureError] = [
    ApplicationError("m"),
    TimeoutError("m", type=None, last_heartbeat_details=[]),
    CancelledError("m"),
    ServerError("m"),
    ActivityError(
        "m", scheduled_event_id=0, started_event_id=0, identity="", activity_type="", activity_id="",
        retry_state=None,
    ),
    ChildWorkflowError(
        "m", namespace="", workflow_id="", run_id="", workflow_type="", initiated_event_id=0,
        started_event_id=0, retry_state=None,
    ),
]  # fmt: skip


@pytest.mark.parametrize("error", BARE, ids=kind_of)
def test_what_is_not_set_stays_unset(error: FailureError) -> None:
    failure = write(error)
    kind = failure.WhichOneof("failure_info")
    assert kind is not None
    info = getattr(failure, kind)
    # Only messages that hold a name are there, and empty.
    assert info.SerializeToString(deterministic=True).count(b"\n") <= 2
    for name in ("details", "last_heartbeat_details", "next_retry_delay"):
        assert name not in info.DESCRIPTOR.fields_by_name or not info.HasField(name)
    assert public(read(failure)) == public(error)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("application_failure_info", "Application error"),
        ("timeout_failure_info", "Timeout"),
        ("canceled_failure_info", "Cancelled"),
        ("terminated_failure_info", "Terminated"),
        ("server_failure_info", "Server error"),
        ("activity_failure_info", "Activity error"),
        ("child_workflow_execution_failure_info", "Child workflow error"),
        ("nexus_operation_execution_failure_info", "Nexus operation error"),
        ("nexus_handler_failure_info", "Nexus handler error"),
    ],
)
def test_a_failure_without_a_message_gets_that_of_its_kind(kind: str, message: str) -> None:
    failure = failure_pb.Failure()
    getattr(failure, kind).SetInParent()
    assert message in str(read(failure))


def test_a_delay_of_zero_is_not_sent() -> None:
    failure = write(ApplicationError("m", next_retry_delay=timedelta()))
    assert not failure.application_failure_info.HasField("next_retry_delay")
    assert read(failure).next_retry_delay is None


def test_other_exceptions_become_application_errors() -> None:
    failure = write(KeyError("k"))
    assert failure.message == "'k'"
    assert failure.application_failure_info.type == "KeyError"
    assert not failure.application_failure_info.non_retryable


def _raise_inner() -> None:
    raise ValueError("inner")


def _raise_chain(how: str) -> None:
    try:
        _raise_inner()
    except ValueError as inner:
        if how == "from":
            raise ApplicationError("outer") from inner
        if how == "from none":
            raise ApplicationError("outer") from None
        raise ApplicationError("outer")  # noqa: B904 - the point of the test


@pytest.mark.parametrize(
    ("how", "has_cause"), [("from", True), ("while", True), ("from none", False)]
)
def test_chained_exceptions_become_causes(how: str, has_cause: bool) -> None:
    with pytest.raises(ApplicationError) as caught:
        _raise_chain(how)
    failure = write(caught.value)
    assert failure.HasField("cause") is has_cause
    assert "_raise_chain" in failure.stack_trace
    again = read(failure)
    assert (again.cause is not None) is has_cause
    if has_cause:
        assert failure.cause.application_failure_info.type == "ValueError"
        assert "_raise_chain" in failure.cause.stack_trace
        assert again.cause.message == "inner"


def test_causes_of_other_exceptions_travel() -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = ApplicationError("inner", "detail")
    failure = write(outer)
    assert failure.cause.message == "inner"
    assert failure.stack_trace == ""
    assert list(read(failure).cause.details) == ["detail"]


def test_common_attributes_of_each_link_are_encoded_apart() -> None:
    converter = DefaultFailureConverter(encode_common_attributes=True)
    with pytest.raises(ApplicationError) as caught:
        _raise_chain("from")
    failure = failure_pb.Failure()
    converter.to_failure(caught.value, CONVERTER, failure)
    for link, text in ((failure, "outer"), (failure.cause, "inner")):
        assert (link.message, link.stack_trace) == ("Encoded failure", "")
        common = CONVERTER.from_payload(link.encoded_attributes)
        assert common["message"] == text
        assert "_raise_chain" in common["stack_trace"]
    again: Any = converter.from_failure(failure, CONVERTER)
    assert (again.message, again.cause.message) == ("outer", "inner")
    assert "_raise_chain" in again.failure.stack_trace
    assert failure.message == "Encoded failure"


@pytest.mark.parametrize("common", [["no", "mapping"], {"message": 5}, {"stack_trace": "s"}])
def test_encoded_attributes_of_another_kind_are_left_alone(common: Any) -> None:
    failure = failure_pb.Failure(message="Encoded failure")
    failure.application_failure_info.SetInParent()
    failure.encoded_attributes.CopyFrom(CONVERTER.to_payload(common))
    error = read(failure)
    assert error.message == "Encoded failure"
    assert error.failure.stack_trace == (
        common.get("stack_trace", "") if isinstance(common, dict) else ""  # pyright: ignore[reportUnknownMemberType]
    )
