"""Every exception of the public tree: its text, its message, and each attribute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import exceptions
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    NexusOperationError,
    RetryState,
    TemporalError,
    TimeoutType,
    is_cancelled_exception,
)
from perdure.wire.api import failure as failure_pb
from perdure.workflow import (
    ContinueAsNewError,
    NondeterminismError,
    ReadOnlyContextError,
)
from perdure.workflow._errors import NonDeterministicCall, NotInWorkflowEventLoopError

ACTIVITY: dict[str, Any] = {
    "scheduled_event_id": 5,
    "started_event_id": 6,
    "identity": "worker",
    "activity_type": "Charge",
    "activity_id": "a",
    "retry_state": RetryState.TIMEOUT,
}
CHILD: dict[str, Any] = {
    "namespace": "shop",
    "workflow_id": "w",
    "run_id": "r",
    "workflow_type": "W",
    "initiated_event_id": 7,
    "started_event_id": 8,
    "retry_state": RetryState.IN_PROGRESS,
}
OPERATION: dict[str, Any] = {
    "scheduled_event_id": 9,
    "endpoint": "e",
    "service": "s",
    "operation": "o",
    "operation_token": "t",
}
TIMED_OUT: dict[str, Any] = {"type": TimeoutType.HEARTBEAT, "last_heartbeat_details": [1]}
APPLICATION: dict[str, Any] = {
    "type": "T",
    "non_retryable": True,
    "next_retry_delay": timedelta(seconds=3),
    "category": ApplicationErrorCategory.BENIGN,
}
PLAIN_APPLICATION: dict[str, Any] = {
    "type": None,
    "non_retryable": False,
    "next_retry_delay": None,
    "category": ApplicationErrorCategory.UNSPECIFIED,
    "details": (),
}
STARTED: dict[str, Any] = {
    "workflow_id": "w",
    "workflow_type": "W",
    "run_id": "r",
    "first_run_id": "f",
}

# The error, its text, its message, and its attributes.
FAILURES: list[tuple[Callable[[], FailureError], str, str, dict[str, Any]]] = [
    (lambda: FailureError("no"), "no", "no", {}),
    (lambda: FailureError("no", exc_args=("other",)), "other", "no", {}),
    (lambda: ApplicationError("no"), "no", "no", PLAIN_APPLICATION),
    (lambda: ApplicationError("no", 1, "b", **APPLICATION), "T: no", "no", {**APPLICATION, "details": (1, "b")}),
    (CancelledError, "Cancelled", "Cancelled", {"details": ()}),
    (lambda: CancelledError("late", 1, 2), "late", "late", {"details": (1, 2)}),
    (lambda: exceptions.TerminatedError("end", 1), "end", "end", {"details": (1,)}),
    (lambda: exceptions.TimeoutError("late", **TIMED_OUT), "late", "late", TIMED_OUT),
    (lambda: exceptions.ServerError("no"), "no", "no", {"non_retryable": False}),
    (lambda: exceptions.ServerError("no", non_retryable=True), "no", "no", {"non_retryable": True}),
    (lambda: ActivityError("a", **ACTIVITY), "a", "a", ACTIVITY),
    (lambda: ChildWorkflowError("c", **CHILD), "c", "c", CHILD),
    (lambda: NexusOperationError("o", **OPERATION), "o", "o", OPERATION),
    (
        lambda: exceptions.WorkflowAlreadyStartedError("w", "W", run_id="r", first_run_id="f"),
        "Workflow execution already started: 'w' (run r)",
        "Workflow execution already started",
        STARTED,
    ),
    (
        lambda: exceptions.WorkflowAlreadyStartedError("w", "W"),
        "Workflow execution already started: 'w'",
        "Workflow execution already started",
        {**STARTED, "run_id": None, "first_run_id": None},
    ),
    (
        lambda: exceptions.ActivityAlreadyStartedError("a", "A", run_id="r"),
        "Activity execution already started",
        "Activity execution already started",
        {"activity_id": "a", "activity_type": "A", "run_id": "r"},
    ),
    (
        lambda: exceptions.NexusOperationAlreadyStartedError("o", run_id="r"),
        "Nexus operation execution already started",
        "Nexus operation execution already started",
        {"operation_id": "o", "run_id": "r"},
    ),
    (
        exceptions.InvalidVersioningOverrideError,
        "Invalid versioning override",
        "Invalid versioning override",
        {},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text", "message", "attributes"), FAILURES)
def test_a_failure_keeps_what_it_was_made_of(
    make: Callable[[], FailureError], text: str, message: str, attributes: dict[str, Any]
) -> None:
    error = make()
    assert isinstance(error, TemporalError)
    assert (str(error), error.message, error.failure) == (text, message, None)
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert error.cause is None
    cause = ValueError("why")
    error.__cause__ = cause
    assert error.cause is cause


def test_a_failure_keeps_the_message_that_it_was_read_from() -> None:
    failure = failure_pb.Failure(message="m")
    assert FailureError("m", failure=failure).failure is failure


def activity(**changes: Any) -> ActivityError:
    return ActivityError("a", **(ACTIVITY | changes))


WRAPPERS: list[Any] = [
    activity,
    lambda: ChildWorkflowError("c", **CHILD),
    lambda: NexusOperationError("o", **OPERATION),
]


@pytest.mark.parametrize("make", WRAPPERS)
def test_what_wraps_a_cancellation_counts_as_one(make: Any) -> None:
    for cause, expected in ((None, False), (ValueError(), False), (CancelledError(), True)):
        error = make()
        error.__cause__ = cause
        assert is_cancelled_exception(error) is expected
    # Only the cause itself counts, not that of another error in between.
    outer, inner = make(), activity()
    inner.__cause__ = CancelledError()
    outer.__cause__ = inner
    assert not is_cancelled_exception(outer)


def test_which_other_errors_mean_cancelled() -> None:
    assert is_cancelled_exception(asyncio.CancelledError())
    assert is_cancelled_exception(CancelledError())
    with_cause = ApplicationError("no")
    with_cause.__cause__ = CancelledError()
    for error in (with_cause, ValueError(), exceptions.TerminatedError("x"), KeyboardInterrupt()):
        assert not is_cancelled_exception(error)


# Errors of workflow code ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [NondeterminismError, NonDeterministicCall, ReadOnlyContextError])
def test_what_errors_of_workflow_code_say(kind: Any) -> None:
    error = kind("not allowed")
    assert (str(error), error.message) == ("not allowed", "not allowed")


def test_outside_a_workflow() -> None:
    error = NotInWorkflowEventLoopError("whatever")
    assert (str(error), error.message) == ("Not in workflow event loop",) * 2


def test_continuing_as_new_is_not_raised_by_hand() -> None:
    with pytest.raises(RuntimeError, match=r"call workflow\.continue_as_new instead"):
        ContinueAsNewError()

    class Own(ContinueAsNewError):
        pass

    assert Own("a", 1).args == ("a", 1)
