"""The client's enumerations, which inputs, results and errors share.

Numbers are those of the wire.
"""

from __future__ import annotations

from enum import IntEnum


class WorkflowExecutionStatus(IntEnum):
    """Where a workflow execution stands. Numbers are those of the wire."""

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
    """Which events of a history to fetch. Numbers are those of the wire."""

    ALL_EVENT = 1
    CLOSE_EVENT = 2
    """Only the last one, once the workflow has closed."""


class WorkflowUpdateStage(IntEnum):
    """How far an update has come. Numbers are those of the wire."""

    ADMITTED = 1
    ACCEPTED = 2
    COMPLETED = 3
