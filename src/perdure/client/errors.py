"""The errors of client calls, besides `RPCError`.

```
TemporalError
├── WorkflowFailureError (cause)      failed, cancelled, terminated or timed out: the cause says which
├── WorkflowContinuedAsNewError       only when runs are not followed
├── WorkflowQueryFailedError          the query handler raised
├── WorkflowQueryRejectedError        the reject condition was met
├── WorkflowUpdateFailedError (cause)
├── AsyncActivityCancelledError       the answer to a heartbeat
└── RPCTimeoutOrCancelledError
    └── WorkflowUpdateRPCTimeoutOrCancelledError   the call ended, the update did not
```
"""

from __future__ import annotations

from perdure.activity.cancellation import ActivityCancellationDetails
from perdure.client.enums import WorkflowExecutionStatus
from perdure.exceptions import TemporalError


class _CausedError(TemporalError):
    """An error that always has a cause."""

    def __init__(self, message: str, cause: BaseException) -> None:
        super().__init__(message)
        self.__cause__ = cause

    @property
    def cause(self) -> BaseException:
        """What went wrong."""
        cause = self.__cause__
        assert cause is not None
        return cause


class WorkflowFailureError(_CausedError):
    """A workflow did not complete.

    Args:
        cause: An `ApplicationError`, a `CancelledError` or another `FailureError`.

    Example:
        ```python
        from perdure.client import WorkflowFailureError
        from perdure.exceptions import CancelledError


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> None:
                await workflow.sleep(timedelta(days=1))


        async with Worker(client, task_queue="orders", workflows=[Order]):
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await order.cancel()
            try:
                await order.result()
            except WorkflowFailureError as error:
                assert isinstance(error.cause, CancelledError)
            else:
                raise AssertionError("the order completed")
        ```
    """

    def __init__(self, *, cause: BaseException) -> None:
        super().__init__("Workflow execution failed", cause)


class WorkflowContinuedAsNewError(TemporalError):
    """The run continued as a new run, and runs are not followed.

    Args:
        new_execution_run_id: The new run.
    """

    def __init__(self, new_execution_run_id: str) -> None:
        super().__init__("Workflow continued as new")
        self._new_execution_run_id = new_execution_run_id

    @property
    def new_execution_run_id(self) -> str:
        """The new run."""
        return self._new_execution_run_id


class WorkflowQueryRejectedError(TemporalError):
    """The query was refused because its reject condition was met.

    Args:
        status: The workflow's status.
    """

    def __init__(self, status: WorkflowExecutionStatus | None) -> None:
        super().__init__(f"Query rejected, status: {status}")
        self._status = status

    @property
    def status(self) -> WorkflowExecutionStatus | None:
        """The workflow's status."""
        return self._status


class WorkflowQueryFailedError(TemporalError):
    """The query handler raised, or the workflow has no such handler.

    Args:
        message: The worker's message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self._message = message

    @property
    def message(self) -> str:
        """The worker's message."""
        return self._message


class WorkflowUpdateFailedError(_CausedError):
    """The update was rejected, or its handler failed.

    Args:
        cause: The error of the validator or handler.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__("Workflow update failed", cause)


class RPCTimeoutOrCancelledError(TemporalError):
    """The call timed out or was cancelled."""


class WorkflowUpdateRPCTimeoutOrCancelledError(RPCTimeoutOrCancelledError):
    """Waiting for an update timed out or was cancelled. The update itself continues."""

    def __init__(self) -> None:
        super().__init__("Timeout or cancellation waiting for update")


class AsyncActivityCancelledError(TemporalError):
    """The activity was cancelled: the answer to a heartbeat of an activity that is completed from outside.

    Args:
        details: Why it was cancelled, if the service reported it.
    """

    def __init__(self, details: ActivityCancellationDetails | None = None) -> None:
        super().__init__("Activity cancelled")
        self.details = details
