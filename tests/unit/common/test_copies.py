"""Public errors and values survive pickling and copying: programs hand them to other processes and to caches."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import activity, client, common, exceptions, service, testing, worker, workflow
from perdure.client import (
    RPCError,
    RPCStatusCode,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    RetryState,
    ServerError,
    TemporalError,
    TerminatedError,
    TimeoutType,
    WorkflowAlreadyStartedError,
)
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "oldest pickle": lambda value: pickle.loads(pickle.dumps(value, 2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}

APPLICATION = ApplicationError(
    "no funds",
    {"amount": 7},
    type="NoFunds",
    non_retryable=True,
    next_retry_delay=timedelta(seconds=3),
)


class OrderRefused(ApplicationError):
    """A user's own error, with other parameters than its base."""

    def __init__(self, order: str, *, reason: str) -> None:
        super().__init__(f"{order}: {reason}", order, type="OrderRefused")
        self.order = order
        self.reason = reason


class Unpicklable(Exception):
    """Its parameters are not its `args`."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.handler = lambda: number


def activity_error(cause: BaseException | None) -> ActivityError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=5,
        started_event_id=6,
        identity="worker",
        activity_type="charge",
        activity_id="1",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    error.__cause__ = cause
    return error


def child_error(cause: BaseException) -> ChildWorkflowError:
    error = ChildWorkflowError(
        "Child Workflow execution failed",
        namespace="default",
        workflow_id="order-7-parcel",
        run_id="run",
        workflow_type="Parcel",
        initiated_event_id=5,
        started_event_id=6,
        retry_state=None,
    )
    error.__cause__ = cause
    return error


ERRORS: list[BaseException] = [
    TemporalError("plain"),
    APPLICATION,
    OrderRefused("order-7", reason="no funds"),
    CancelledError("cancelled", 1),
    TerminatedError("terminated", "by hand"),
    exceptions.TimeoutError("late", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[1, "two"]),
    ServerError("server", non_retryable=True),
    WorkflowAlreadyStartedError("order-7", "Order", run_id="run"),
    activity_error(APPLICATION),
    activity_error(ValueError("bad card")),
    child_error(activity_error(APPLICATION)),
    WorkflowFailureError(cause=child_error(activity_error(APPLICATION))),
    WorkflowUpdateFailedError(OrderRefused("order-7", reason="closed")),
    WorkflowContinuedAsNewError("next-run"),
    WorkflowQueryRejectedError(client.WorkflowExecutionStatus.COMPLETED),
    WorkflowQueryFailedError("no such query"),
    RPCError("gone", RPCStatusCode.NOT_FOUND, b"\x08\x05"),
    workflow.NondeterminismError("other commands"),
    workflow.ReadOnlyContextError("in a query"),
]


def facts(error: BaseException | None) -> Any:
    """All that tells one error from another."""
    if error is None:
        return None
    fields = {name: value for name, value in vars(error).items() if name != "failure"}
    return type(error), str(error), error.args, fields, facts(error.__cause__)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_keep_their_fields_and_causes(error: BaseException, how: str) -> None:
    made = COPIES[how](error)
    assert facts(made) == facts(error)
    assert repr(made) == repr(error)


def test_the_failure_message_is_kept() -> None:
    error = ApplicationError("x", type="T")
    error.failure = failure_pb.Failure(message="x", source="PythonSDK")
    for how in COPIES.values():
        assert how(error).failure == error.failure


def test_a_cause_that_cannot_be_pickled_becomes_its_type_and_text() -> None:
    error = activity_error(Unpicklable(1, "the gateway is down"))
    made = pickle.loads(pickle.dumps(error))
    assert isinstance(made.cause, ApplicationError)
    assert (made.cause.type, made.cause.message) == ("Unpicklable", "the gateway is down")
    assert facts(made)[:4] == facts(error)[:4]


def test_every_public_error_is_in_the_table_or_says_nothing_of_its_own() -> None:
    modules = [activity, client, common, exceptions, service, testing, worker, workflow]
    found = {
        value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, TemporalError) and not name.startswith("_")
    }
    tried = {type(error) for error in ERRORS}
    for kind in found - tried:
        made = kind.__new__(kind, "text")
        assert facts(pickle.loads(pickle.dumps(made))) == facts(made), kind


VALUES: list[Any] = [
    common.RetryPolicy(non_retryable_error_types=["A"], maximum_attempts=3),
    common.Priority(priority_key=2),
    common.TypedSearchAttributes(
        [
            common.SearchAttributePair(common.SearchAttributeKey.for_int("a"), 1),
            common.SearchAttributePair(
                common.SearchAttributeKey.for_datetime("d"), datetime(2026, 1, 1, tzinfo=UTC)
            ),
        ]
    ),
    common.SearchAttributeKey.for_keyword_list("k"),
    common.WorkerDeploymentVersion("orders", "build-1"),
    common.RawValue(common_pb.Payload(data=b"x")),
    client.WorkflowHistory("w", []),
]


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_keep_their_fields(value: Any, how: str) -> None:
    made = COPIES[how](value)
    assert type(made) is type(value)
    assert made == value
    if dataclasses.is_dataclass(value):
        assert repr(made) == repr(value)
