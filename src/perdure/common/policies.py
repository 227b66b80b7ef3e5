"""Enumerations of starting, querying and headers. Their numbers are those of the API, and a test compares them."""

from __future__ import annotations

from enum import IntEnum


class WorkflowIDReusePolicy(IntEnum):
    """Whether a workflow id may be used again after its last run has closed.

    Attributes:
        ALLOW_DUPLICATE: It may.
        ALLOW_DUPLICATE_FAILED_ONLY: It may unless the last run completed.
        REJECT_DUPLICATE: It may not.
        TERMINATE_IF_RUNNING: It may, and an open run is terminated. Deprecated: use
            `WorkflowIDConflictPolicy.TERMINATE_EXISTING`.
    """

    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3
    TERMINATE_IF_RUNNING = 4


class WorkflowIDConflictPolicy(IntEnum):
    """What a start does when a run with the workflow id is open.

    Attributes:
        UNSPECIFIED: The server's default, which is `FAIL`.
        FAIL: The start is refused with `WorkflowAlreadyStartedError`.
        USE_EXISTING: The start returns a handle to the open run.
        TERMINATE_EXISTING: The open run is terminated, and a new one starts.

    Example:
        ```python
        from perdure.common import WorkflowIDConflictPolicy


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> None:
                await workflow.sleep(timedelta(days=1))


        first = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
        second = await client.start_workflow(
            Order.run,
            id="order-7",
            task_queue="orders",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        assert second.result_run_id == first.result_run_id
        ```
    """

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2
    TERMINATE_EXISTING = 3


class ActivityIDReusePolicy(IntEnum):
    """Whether the id of a closed standalone activity may be used again.

    Attributes:
        UNSPECIFIED: The server's default.
        ALLOW_DUPLICATE: It may.
        ALLOW_DUPLICATE_FAILED_ONLY: It may unless the activity completed.
        REJECT_DUPLICATE: It may not.
    """

    UNSPECIFIED = 0
    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3


class ActivityIDConflictPolicy(IntEnum):
    """What a start does when a standalone activity with the id is open.

    Attributes:
        UNSPECIFIED: The server's default.
        FAIL: The start is refused.
        USE_EXISTING: The start returns a handle to the open one.
    """

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2


class NexusOperationIDReusePolicy(IntEnum):
    """Whether the id of a closed standalone Nexus operation may be used again.

    Attributes:
        UNSPECIFIED: The server's default.
        ALLOW_DUPLICATE: It may.
        ALLOW_DUPLICATE_FAILED_ONLY: It may unless the operation completed.
        REJECT_DUPLICATE: It may not.
    """

    UNSPECIFIED = 0
    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3


class NexusOperationIDConflictPolicy(IntEnum):
    """What a start does when a standalone Nexus operation with the id is open.

    Attributes:
        UNSPECIFIED: The server's default.
        FAIL: The start is refused.
        USE_EXISTING: The start returns a handle to the open one.
    """

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2


class NexusOperationExecutionStatus(IntEnum):
    """The status of a standalone Nexus operation.

    Attributes:
        UNSPECIFIED: Not reported.
        RUNNING: Open.
        COMPLETED: It returned a result.
        FAILED: It failed.
        CANCELED: It was cancelled.
        TERMINATED: It was terminated.
        TIMED_OUT: A time-out has passed.
    """

    UNSPECIFIED = 0
    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    TIMED_OUT = 6


class PendingNexusOperationExecutionState(IntEnum):
    """The state of an open Nexus operation in detail.

    Attributes:
        UNSPECIFIED: Not reported.
        SCHEDULED: It waits to be sent.
        BACKING_OFF: It waits before the next attempt.
        STARTED: It was started and has not closed.
        BLOCKED: Attempts are suspended.
    """

    UNSPECIFIED = 0
    SCHEDULED = 1
    BACKING_OFF = 2
    STARTED = 3
    BLOCKED = 4


class NexusOperationCancellationState(IntEnum):
    """The state of the request to cancel a Nexus operation.

    Attributes:
        UNSPECIFIED: Not reported.
        SCHEDULED: It waits to be sent.
        BACKING_OFF: It waits before the next attempt.
        SUCCEEDED: It was delivered.
        FAILED: It was refused.
        TIMED_OUT: A time-out has passed.
        BLOCKED: Attempts are suspended.
    """

    UNSPECIFIED = 0
    SCHEDULED = 1
    BACKING_OFF = 2
    SUCCEEDED = 3
    FAILED = 4
    TIMED_OUT = 5
    BLOCKED = 6


class QueryRejectCondition(IntEnum):
    """The states of a workflow in which a query is refused instead of answered.

    Attributes:
        NONE: No state: closed workflows answer queries too.
        NOT_OPEN: The workflow has closed.
        NOT_COMPLETED_CLEANLY: The workflow has closed without completing.
    """

    NONE = 1
    NOT_OPEN = 2
    NOT_COMPLETED_CLEANLY = 3


class HeaderCodecBehavior(IntEnum):
    """Whether header payloads pass through the payload codec.

    Attributes:
        NO_CODEC: They do not.
        CODEC: They do.
        WORKFLOW_ONLY_CODEC: Only on their way into and out of workflow code.
    """

    NO_CODEC = 1
    CODEC = 2
    WORKFLOW_ONLY_CODEC = 3
