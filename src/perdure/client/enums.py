"""Enumerations that inputs, results and errors share. Their numbers are those of the API."""

from __future__ import annotations

from enum import IntEnum


class WorkflowExecutionStatus(IntEnum):
    """The status of a workflow execution.

    Attributes:
        RUNNING: Open.
        COMPLETED: It returned.
        FAILED: It raised, and is not retried.
        CANCELED: It was cancelled.
        TERMINATED: It was terminated.
        CONTINUED_AS_NEW: A new run continues it.
        TIMED_OUT: A time-out has passed.
    """

    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    CONTINUED_AS_NEW = 6
    TIMED_OUT = 7


def status_or_none(number: int) -> WorkflowExecutionStatus | None:
    """The status of that number; None for "unspecified" and for numbers of later versions."""
    known = {int(status): status for status in WorkflowExecutionStatus}
    return known.get(number)


class WorkflowHistoryEventFilterType(IntEnum):
    """Which events of a history to fetch.

    Attributes:
        ALL_EVENT: All of them.
        CLOSE_EVENT: Only the last one, once the run has closed.
    """

    ALL_EVENT = 1
    CLOSE_EVENT = 2


class WorkflowUpdateStage(IntEnum):
    """How far an update has come.

    Attributes:
        ADMITTED: The service has it.
        ACCEPTED: The validator has accepted it.
        COMPLETED: The handler has returned or failed.
    """

    ADMITTED = 1
    ACCEPTED = 2
    COMPLETED = 3
