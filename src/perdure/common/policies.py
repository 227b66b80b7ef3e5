"""The enumerations of starting, querying and headers. Numbers are those of the wire (a test compares them)."""

from __future__ import annotations

from enum import IntEnum


class WorkflowIDReusePolicy(IntEnum):
    """May a workflow id be used again after its last run has closed?"""

    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3
    TERMINATE_IF_RUNNING = 4


class WorkflowIDConflictPolicy(IntEnum):
    """What happens when a run with the workflow id is open."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2
    TERMINATE_EXISTING = 3


class ActivityIDReusePolicy(IntEnum):
    """May the id of a closed standalone activity be used again?"""

    UNSPECIFIED = 0
    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3


class ActivityIDConflictPolicy(IntEnum):
    """What happens when a standalone activity with the id is open."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2


class NexusOperationIDReusePolicy(IntEnum):
    """May the id of a closed standalone Nexus operation be used again?"""

    UNSPECIFIED = 0
    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3


class NexusOperationIDConflictPolicy(IntEnum):
    """What happens when a standalone Nexus operation with the id is open."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2


class NexusOperationExecutionStatus(IntEnum):
    """Where a standalone Nexus operation stands."""

    UNSPECIFIED = 0
    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    TIMED_OUT = 6


class PendingNexusOperationExecutionState(IntEnum):
    """Where a running Nexus operation stands in detail."""

    UNSPECIFIED = 0
    SCHEDULED = 1
    BACKING_OFF = 2
    STARTED = 3
    BLOCKED = 4


class NexusOperationCancellationState(IntEnum):
    """Where the request to cancel a Nexus operation stands."""

    UNSPECIFIED = 0
    SCHEDULED = 1
    BACKING_OFF = 2
    SUCCEEDED = 3
    FAILED = 4
    TIMED_OUT = 5
    BLOCKED = 6


class QueryRejectCondition(IntEnum):
    """For which states of the workflow a query is refused instead of answered."""

    NONE = 1
    NOT_OPEN = 2
    NOT_COMPLETED_CLEANLY = 3


class HeaderCodecBehavior(IntEnum):
    """Whether header payloads pass through the payload codec."""

    NO_CODEC = 1
    CODEC = 2
    WORKFLOW_ONLY_CODEC = 3
    """Only on their way into and out of workflow code."""
