"""The exceptions that workflows, activities and clients raise and catch.

```
TemporalError
└── FailureError                     has a wire form, a failure message
    ├── ApplicationError             raised by user code
    ├── CancelledError  TerminatedError  TimeoutError  ServerError
    ├── ActivityError  ChildWorkflowError  NexusOperationError      wrap a `cause`
    └── WorkflowAlreadyStartedError  ActivityAlreadyStartedError …  a start was refused
```
Enum numbers are those of the API. Attributes are to be read, not assigned. Not here: conversion to and from failure
messages (`perdure.converter`), and errors of calls (`RPCError` in `perdure.service`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

if TYPE_CHECKING:
    from perdure.wire.api import failure as failure_pb


class TemporalError(Exception):
    """Base of every public exception of this library. Copies and pickles keep the fields and the causes."""

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which are not what the constructors take, and drops the cause.
        return _recreated, (type(self), self.args, self.__dict__, _portable(self.__cause__))

    @property
    def cause(self) -> BaseException | None:
        """What caused this error: the same object as `__cause__`."""
        return self.__cause__


def _recreated(
    kind: type[TemporalError],
    args: tuple[Any, ...],
    fields: dict[str, Any],
    cause: BaseException | None,
) -> TemporalError:
    """An error from what `TemporalError.__reduce__` said."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    if cause is not None:
        error.__cause__ = cause
    return error


def _portable(cause: BaseException | None) -> BaseException | None:
    """The cause, if it can be pickled; otherwise its type and text, as a failure message would carry them."""
    if cause is None or isinstance(cause, TemporalError):
        return cause
    import pickle  # nearly no process pickles errors

    try:
        again = pickle.loads(pickle.dumps(cause))  # our own bytes  # noqa: S301
        is_same = type(again) is type(cause)
    except Exception:  # noqa: BLE001 - a user's exception may raise anything here
        is_same = False
    return cause if is_same else ApplicationError(str(cause), type=type(cause).__name__)


class FailureError(TemporalError):
    """Base of the errors that have a wire form. They are sent as failure messages and are recreated by the receiver.

    Args:
        message: The text, without a type prefix.
        failure: The failure message that the error was read from, if there is one.
        exc_args: The exception's `args`. Default: the message.

    Attributes:
        message: The text, without a type prefix.
        failure: The failure message that the error was read from, if there is one.
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
        """The text, without a type prefix."""
        return self._message


class WorkflowAlreadyStartedError(FailureError):
    """A start was refused because the workflow id is taken and the id policies do not allow another run.

    Attributes:
        workflow_id: The id that is taken.
        workflow_type: The type that was to be started.
        run_id: The run that holds the id. Only set by clients.
        first_run_id: The first run of that chain, if the server reported it.

    Example:
        ```python
        from perdure.exceptions import WorkflowAlreadyStartedError


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> None:
                await workflow.sleep(timedelta(days=1))


        await client.start_workflow(Order.run, id="order-7", task_queue="orders")
        try:
            await client.start_workflow(Order.run, id="order-7", task_queue="orders")
        except WorkflowAlreadyStartedError as error:
            assert error.workflow_id == "order-7"
        else:
            raise AssertionError("started twice")
        ```
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
    """A child could not start because its versioning override is not valid."""

    def __init__(self) -> None:
        super().__init__("Invalid versioning override")


class ActivityAlreadyStartedError(FailureError):
    """A standalone activity could not start because its id is taken.

    Attributes:
        activity_id: The id that is taken.
        activity_type: The type that was to be started.
        run_id: The run that holds the id, if the server reported it.
    """

    def __init__(self, activity_id: str, activity_type: str, *, run_id: str | None = None) -> None:
        super().__init__("Activity execution already started")
        self.activity_id = activity_id
        self.activity_type = activity_type
        self.run_id = run_id


class NexusOperationAlreadyStartedError(FailureError):
    """A standalone Nexus operation could not start because its id is taken.

    Attributes:
        operation_id: The id that is taken.
        run_id: The run that holds the id, if the server reported it.
    """

    def __init__(self, operation_id: str, *, run_id: str | None = None) -> None:
        super().__init__("Nexus operation execution already started")
        self.operation_id = operation_id
        self.run_id = run_id


class ApplicationErrorCategory(IntEnum):
    """How prominently an application error is reported.

    Attributes:
        UNSPECIFIED: An ordinary error.
        BENIGN: An expected error: logged at DEBUG and not counted as a failure in metrics.
    """

    UNSPECIFIED = 0
    BENIGN = 1


class ApplicationError(FailureError):
    """The error that user code raises to fail an activity or a workflow.

    Args:
        message: Text for people.
        details: Further values, of any type that the payload converter supports.
        type: A name that retry policies and callers match on.
        non_retryable: True forbids retries, whatever the retry policy allows.
        next_retry_delay: Replaces the policy's delay before the next attempt.
        category: `BENIGN` for errors that are part of normal work.

    Example:
        ```python
        from perdure.client import WorkflowFailureError
        from perdure.exceptions import ApplicationError


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> None:
                raise ApplicationError(
                    "card declined", 4242, type="CardDeclined", non_retryable=True
                )


        async with Worker(client, task_queue="orders", workflows=[Order]):
            try:
                await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
            except WorkflowFailureError as error:
                assert isinstance(error.cause, ApplicationError)
                assert (error.cause.type, error.cause.details[0]) == ("CardDeclined", 4242)
            else:
                raise AssertionError("the order succeeded")
        ```
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
        """The further values of the error."""
        return self._details

    @property
    def type(self) -> str | None:
        """The name to match on."""
        return self._type

    @property
    def non_retryable(self) -> bool:
        """Whether the code that raised it forbade retries. A retry policy may forbid them too."""
        return self._non_retryable

    @property
    def next_retry_delay(self) -> timedelta | None:
        """The delay before the next attempt, if the code that raised it chose one."""
        return self._next_retry_delay

    @property
    def category(self) -> ApplicationErrorCategory:
        """How prominently it is reported."""
        return self._category


class CancelledError(FailureError):
    """A workflow or an activity was cancelled. Not a subclass of `asyncio.CancelledError`.

    Attributes:
        message: Text for people.
        details: The values that came with the cancellation.
    """

    def __init__(self, message: str = "Cancelled", *details: Any) -> None:
        super().__init__(message)
        self.details: Sequence[Any] = details


class TerminatedError(FailureError):
    """A workflow was terminated.

    Attributes:
        message: The reason.
        details: The values that came with the termination.
    """

    def __init__(self, message: str, *details: Any) -> None:
        super().__init__(message)
        self.details: Sequence[Any] = details


class TimeoutType(IntEnum):
    """Which time-out has passed.

    Attributes:
        START_TO_CLOSE: The limit for one attempt, or the limit for a workflow.
        SCHEDULE_TO_START: The limit for an attempt's wait for a worker.
        SCHEDULE_TO_CLOSE: The limit for all attempts together.
        HEARTBEAT: The limit for the time between two heartbeats.
    """

    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4


class TimeoutError(FailureError):
    """A time-out has passed. Not a subclass of the builtin of the same name.

    Attributes:
        message: Text for people.
        type: Which time-out.
        last_heartbeat_details: The values of the last heartbeat.
    """

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
    """The server itself created this failure.

    Attributes:
        message: Text for people.
        non_retryable: Whether retries are forbidden.
    """

    def __init__(self, message: str, *, non_retryable: bool = False) -> None:
        super().__init__(message)
        self.non_retryable = non_retryable


class RetryState(IntEnum):
    """Why there was no further attempt.

    Attributes:
        IN_PROGRESS: Attempts go on.
        NON_RETRYABLE_FAILURE: The failure forbids retries, or the policy does for its type.
        TIMEOUT: The next attempt would be too late for a time-out.
        MAXIMUM_ATTEMPTS_REACHED: The policy allows no further attempt.
        RETRY_POLICY_NOT_SET: There is no retry policy.
        INTERNAL_SERVER_ERROR: The server could not retry.
        CANCEL_REQUESTED: Cancellation was requested.
    """

    IN_PROGRESS = 1
    NON_RETRYABLE_FAILURE = 2
    TIMEOUT = 3
    MAXIMUM_ATTEMPTS_REACHED = 4
    RETRY_POLICY_NOT_SET = 5
    INTERNAL_SERVER_ERROR = 6
    CANCEL_REQUESTED = 7


class ActivityError(FailureError):
    """An activity did not complete. Its `cause` is the reason.

    Attributes:
        message: Text for people; the cause has the details.
        scheduled_event_id: The event that scheduled the activity.
        started_event_id: The event of its start.
        identity: The worker of the last attempt.
        activity_type: The name of the activity's type.
        activity_id: The activity's id.
        retry_state: Why there was no further attempt.

    Example:
        ```python
        from perdure.exceptions import ActivityError, ApplicationError


        @activity.defn
        async def charge(order_id: str) -> None:
            raise ApplicationError("card declined", non_retryable=True)


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self, order_id: str) -> str:
                try:
                    await workflow.execute_activity(
                        charge, order_id, start_to_close_timeout=timedelta(seconds=30)
                    )
                except ActivityError as error:
                    return f"{error.activity_type}: {error.cause}"
                return "paid"


        async with Worker(client, task_queue="orders", workflows=[Order], activities=[charge]):
            result = await client.execute_workflow(Order.run, "o-7", id="o-7", task_queue="orders")
        assert result == "charge: card declined"
        ```
    """

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
    """A child workflow did not complete. Its `cause` is the reason.

    Attributes:
        message: Text for people; the cause has the details.
        namespace: The child's namespace.
        workflow_id: The child's workflow id.
        run_id: The child's run id.
        workflow_type: The name of the child's type.
        initiated_event_id: The event with which the parent asked for the start.
        started_event_id: The event of the start.
        retry_state: Why there was no further run.

    Example:
        ```python
        from perdure.exceptions import ApplicationError, ChildWorkflowError


        @workflow.defn
        class Shipment:
            @workflow.run
            async def run(self) -> None:
                raise ApplicationError("no address")


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                try:
                    await workflow.execute_child_workflow(Shipment.run)
                except ChildWorkflowError as error:
                    return f"{error.workflow_type}: {error.cause}"
                return "shipped"


        async with Worker(client, task_queue="orders", workflows=[Order, Shipment]):
            result = await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
        assert result == "Shipment: no address"
        ```
    """

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
    """A Nexus operation that a workflow started did not complete. Its `cause` is the reason.

    Attributes:
        message: Text for people; the cause has the details.
        scheduled_event_id: The event that scheduled the operation.
        endpoint: The endpoint that was called.
        service: The service.
        operation: The operation.
        operation_token: The token of the started operation; empty if it did not start.
    """

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
    """Whether an exception means that something was cancelled.

    True for `asyncio.CancelledError`, for `CancelledError`, and for an activity error, child workflow error or Nexus
    error whose cause is a `CancelledError`. Of an exception group, as a `TaskGroup` raises, all members must be such.

    Args:
        exception: The exception.

    Example:
        ```python
        from perdure.exceptions import ApplicationError, CancelledError, is_cancelled_exception

        assert is_cancelled_exception(asyncio.CancelledError())
        assert is_cancelled_exception(CancelledError("by the customer"))
        assert not is_cancelled_exception(ApplicationError("card declined"))
        ```
    """
    waiting: list[BaseException] = [exception]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(cast("BaseExceptionGroup[BaseException]", each).exceptions)
        elif not _is_cancellation(each):
            return False
    return True


def _is_cancellation(exception: BaseException) -> bool:
    if isinstance(exception, ActivityError | ChildWorkflowError | NexusOperationError):
        return isinstance(exception.cause, CancelledError)
    return isinstance(exception, asyncio.CancelledError | CancelledError)
