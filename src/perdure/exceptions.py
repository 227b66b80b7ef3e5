"""The exception tree that workflows, activities and clients raise and catch.

```
TemporalError
└── FailureError                     has a wire form (a failure message)
    ├── ApplicationError             raised by user code
    ├── CancelledError  TerminatedError  TimeoutError  ServerError
    ├── ActivityError  ChildWorkflowError  NexusOperationError      wrap a ``cause``
    └── WorkflowAlreadyStartedError  ActivityAlreadyStartedError …  a start was refused
```
Enum numbers are those of the wire. Conversion to and from failure messages is `perdure.converter`'s work, not this
module's; errors of the service (`RPCError`) live in `perdure.service`. Attributes are to be read, not assigned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.wire.api import failure as failure_pb


class TemporalError(Exception):
    """Base of every exception of this library that is part of the public API."""

    @property
    def cause(self) -> BaseException | None:
        """What caused this error: the same object as ``__cause__``."""
        return self.__cause__


class FailureError(TemporalError):
    """Base of the errors that can travel: they become failure messages and come back as themselves.

    Attributes:
        message: The text without any type prefix.
        failure: The failure message that this error was read from, if it was.
    """

    def __init__(
        self,
        message: str,
        *,
        failure: failure_pb.Failure | None = None,
        exc_args: tuple[Any, ...] | None = None,
    ) -> None:
        super().__init__(*((message,) if exc_args is None else exc_args))
        self._message = message
        self.failure = failure

    @property
    def message(self) -> str:
        """The text of the failure."""
        return self._message


class WorkflowAlreadyStartedError(FailureError):
    """A start was refused: the workflow id is taken (and the policies do not allow another run).

    Attributes:
        workflow_id: The id that is taken.
        workflow_type: Type that was asked to start.
        run_id: Run that holds the id, when a client raised this.
        first_run_id: First run of that chain, when the server said so.
    """

    def __init__(
        self,
        workflow_id: str,
        workflow_type: str,
        *,
        run_id: str | None = None,
        first_run_id: str | None = None,
    ) -> None:
        super().__init__(
            "Workflow execution already started"
        )  # `message`, as the official package has it
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.run_id = run_id
        self.first_run_id = first_run_id

    def __str__(self) -> str:
        run = f" (run {self.run_id})" if self.run_id else ""
        return f"{self.message}: {self.workflow_id!r}{run}"


class InvalidVersioningOverrideError(FailureError):
    """A child could not start because its versioning override was not valid."""

    def __init__(self) -> None:
        super().__init__("Invalid versioning override")


class ActivityAlreadyStartedError(FailureError):
    """A standalone activity could not start: its id is taken."""

    def __init__(self, activity_id: str, activity_type: str, *, run_id: str | None = None) -> None:
        super().__init__("Activity execution already started")
        self.activity_id = activity_id
        self.activity_type = activity_type
        self.run_id = run_id


class NexusOperationAlreadyStartedError(FailureError):
    """A standalone Nexus operation could not start: its id is taken."""

    def __init__(self, operation_id: str, *, run_id: str | None = None) -> None:
        super().__init__("Nexus operation execution already started")
        self.operation_id = operation_id
        self.run_id = run_id


class ApplicationErrorCategory(IntEnum):
    """How loudly an application error is reported."""

    UNSPECIFIED = 0
    BENIGN = 1
    """Expected: logged at DEBUG and not counted as a failure in metrics."""


class ApplicationError(FailureError):
    """The error that user code raises to fail an activity or a workflow.

    Args:
        message: Text for people.
        details: Any number of values that the payload converter can carry.
        type: A name that retry policies and callers match on.
        non_retryable: True forbids retries whatever the retry policy says.
        next_retry_delay: Replaces the policy's delay before the next attempt.
        category: ``BENIGN`` for errors that are part of normal work.

    Example:
        >>> raise ApplicationError("card declined", "4242", type="CardDeclined", non_retryable=True)
    """

    def __init__(
        self,
        message: str,
        *details: Any,
        type: str | None = None,
        non_retryable: bool = False,
        next_retry_delay: timedelta | None = None,
        category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
    ) -> None:
        super().__init__(message, exc_args=(f"{type}: {message}" if type else message,))
        self._details = details
        self._type = type
        self._non_retryable = non_retryable
        self._next_retry_delay = next_retry_delay
        self._category = category

    @property
    def details(self) -> Sequence[Any]:
        """The values given besides the message."""
        return self._details

    @property
    def type(self) -> str | None:
        """The name to match on."""
        return self._type

    @property
    def non_retryable(self) -> bool:
        """Whether the raiser forbade retries (a retry policy may forbid them too)."""
        return self._non_retryable

    @property
    def next_retry_delay(self) -> timedelta | None:
        """The delay that the raiser asked for before the next attempt."""
        return self._next_retry_delay

    @property
    def category(self) -> ApplicationErrorCategory:
        """How loudly to report."""
        return self._category


class CancelledError(FailureError):
    """A workflow or an activity was cancelled. Not a subclass of ``asyncio.CancelledError``."""

    def __init__(self, message: str = "Cancelled", *details: Any) -> None:
        super().__init__(message)
        self.details: Sequence[Any] = details


class TerminatedError(FailureError):
    """A workflow was terminated."""

    def __init__(self, message: str, *details: Any) -> None:
        super().__init__(message)
        self.details: Sequence[Any] = details


class TimeoutType(IntEnum):
    """Which of the four activity time-outs, or (``START_TO_CLOSE``) a workflow's, has passed."""

    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4


class TimeoutError(FailureError):
    """A time-out passed. Not a subclass of the builtin of the same name."""

    def __init__(
        self,
        message: str,
        *,
        type: TimeoutType | None,
        last_heartbeat_details: Sequence[Any],
    ) -> None:
        super().__init__(message)
        self.type = type
        self.last_heartbeat_details = last_heartbeat_details


class ServerError(FailureError):
    """The server itself made this failure."""

    def __init__(self, message: str, *, non_retryable: bool = False) -> None:
        super().__init__(message)
        self.non_retryable = non_retryable


class RetryState(IntEnum):
    """Why there was no further attempt."""

    IN_PROGRESS = 1
    NON_RETRYABLE_FAILURE = 2
    TIMEOUT = 3
    MAXIMUM_ATTEMPTS_REACHED = 4
    RETRY_POLICY_NOT_SET = 5
    INTERNAL_SERVER_ERROR = 6
    CANCEL_REQUESTED = 7


class ActivityError(FailureError):
    """An activity did not complete; ``cause`` says why."""

    def __init__(
        self,
        message: str,
        *,
        scheduled_event_id: int,
        started_event_id: int,
        identity: str,
        activity_type: str,
        activity_id: str,
        retry_state: RetryState | None,
    ) -> None:
        super().__init__(message)
        self.scheduled_event_id = scheduled_event_id
        self.started_event_id = started_event_id
        self.identity = identity
        self.activity_type = activity_type
        self.activity_id = activity_id
        self.retry_state = retry_state


class ChildWorkflowError(FailureError):
    """A child workflow did not complete; ``cause`` says why."""

    def __init__(
        self,
        message: str,
        *,
        namespace: str,
        workflow_id: str,
        run_id: str,
        workflow_type: str,
        initiated_event_id: int,
        started_event_id: int,
        retry_state: RetryState | None,
    ) -> None:
        super().__init__(message)
        self.namespace = namespace
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.workflow_type = workflow_type
        self.initiated_event_id = initiated_event_id
        self.started_event_id = started_event_id
        self.retry_state = retry_state


class NexusOperationError(FailureError):
    """A Nexus operation that a workflow started did not complete; ``cause`` says why."""

    def __init__(
        self,
        message: str,
        *,
        scheduled_event_id: int,
        endpoint: str,
        service: str,
        operation: str,
        operation_token: str,
    ) -> None:
        super().__init__(message)
        self.scheduled_event_id = scheduled_event_id
        self.endpoint = endpoint
        self.service = service
        self.operation = operation
        self.operation_token = operation_token


def is_cancelled_exception(exception: BaseException) -> bool:
    """Whether `exception` means "cancelled", whichever layer it comes from.

    True for ``asyncio.CancelledError``, for `CancelledError`, and for an activity, child workflow
    or Nexus error that a `CancelledError` caused.
    """
    if isinstance(exception, ActivityError | ChildWorkflowError | NexusOperationError):
        return isinstance(exception.cause, CancelledError)
    return isinstance(exception, asyncio.CancelledError | CancelledError)
