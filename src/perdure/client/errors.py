"""What can go wrong for a caller, besides `RPCError`.

```
TemporalError
├── WorkflowFailureError (cause)      failed, cancelled, terminated or timed out: the cause says which
├── WorkflowContinuedAsNewError       only when runs are not followed
├── WorkflowQueryFailedError          the query handler raised
├── WorkflowQueryRejectedError        the reject condition held
├── WorkflowUpdateFailedError (cause)
├── AsyncActivityCancelledError       the answer to a heartbeat
└── RPCTimeoutOrCancelledError
    └── WorkflowUpdateRPCTimeoutOrCancelledError   the call gave up, the update did not
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
    """A workflow did not complete. `cause` is an `ApplicationError`, `CancelledError` or another of that tree."""

    def __init__(self, *, cause: BaseException) -> None:
        super().__init__("Workflow execution failed", cause)


class WorkflowContinuedAsNewError(TemporalError):
    """The run went on as another run, and the caller asked not to follow."""

    def __init__(self, new_execution_run_id: str) -> None:
        super().__init__("Workflow continued as new")
        self._new_execution_run_id = new_execution_run_id

    @property
    def new_execution_run_id(self) -> str:
        """The run that it went on as."""
        return self._new_execution_run_id


class WorkflowQueryRejectedError(TemporalError):
    """The query was not asked, because its reject condition held."""

    def __init__(self, status: WorkflowExecutionStatus | None) -> None:
        super().__init__(f"Query rejected, status: {status}")
        self._status = status

    @property
    def status(self) -> WorkflowExecutionStatus | None:
        """The workflow's status."""
        return self._status


class WorkflowQueryFailedError(TemporalError):
    """The query handler raised, or there is none of that name."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self._message = message

    @property
    def message(self) -> str:
        """What the worker said."""
        return self._message


class WorkflowUpdateFailedError(_CausedError):
    """The update was rejected, or its handler failed."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("Workflow update failed", cause)


class RPCTimeoutOrCancelledError(TemporalError):
    """The call timed out or was cancelled."""


class WorkflowUpdateRPCTimeoutOrCancelledError(RPCTimeoutOrCancelledError):
    """Waiting for an update timed out or was cancelled; the update itself goes on."""

    def __init__(self) -> None:
        super().__init__("Timeout or cancellation waiting for update")


class AsyncActivityCancelledError(TemporalError):
    """The activity is to stop: the answer to a heartbeat of an asynchronously completed activity."""

    def __init__(self, details: ActivityCancellationDetails | None = None) -> None:
        super().__init__("Activity cancelled")
        self.details = details
