"""Options of activities, children and continue-as-new: the public dictionaries and their inner form.

`ActivityConfig` and the other `…Config` types are the keyword arguments of the public functions as `TypedDict`s (the
overloads share them through `Unpack`). The `…Options` structs are what the runtime receives.

Not here: defaults that depend on the running workflow, such as its task queue. The host applies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any, TypedDict

import msgspec

from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributes,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDReusePolicy,
)
from perdure.workflow._errors import ContinueAsNewVersioningBehavior, VersioningIntent


class ActivityCancellationType(IntEnum):
    """What happens to a running activity whose handle is cancelled."""

    TRY_CANCEL = 0
    """Request cancellation and raise in the workflow at once (the default)."""
    WAIT_CANCELLATION_COMPLETED = 1
    """Request cancellation and wait for the activity's answer."""
    ABANDON = 2
    """Do not tell the activity; raise in the workflow at once."""


class ChildWorkflowCancellationType(IntEnum):
    """What happens to a child workflow whose handle is cancelled.

    The numbers differ from those of `ActivityCancellationType`.
    """

    ABANDON = 0
    """Do not tell the child; raise at once."""
    TRY_CANCEL = 1
    """Request cancellation and raise at once."""
    WAIT_CANCELLATION_COMPLETED = 2
    """Request cancellation and wait until the child has closed (the default)."""
    WAIT_CANCELLATION_REQUESTED = 3
    """Request cancellation and wait until the request is recorded."""


class ParentClosePolicy(IntEnum):
    """What happens to a child workflow when its parent closes.

    Attributes:
        UNSPECIFIED: The server's default, which is `TERMINATE`.
        TERMINATE: The child is terminated.
        ABANDON: The child continues.
        REQUEST_CANCEL: Cancellation of the child is requested.
    """

    UNSPECIFIED = 0
    TERMINATE = 1
    ABANDON = 2
    REQUEST_CANCEL = 3


class ActivityConfig(TypedDict, total=False):
    """Keyword options of `start_activity` and `execute_activity`.

    Attributes:
        task_queue: Queue of the activity's tasks. Default: the workflow's own.
        schedule_to_close_timeout: Limit for the whole activity, retries and waiting included.
        schedule_to_start_timeout: Limit for an attempt's wait for a worker.
        start_to_close_timeout: Limit for one attempt.
        heartbeat_timeout: Limit for the time between two heartbeats of an attempt.
        retry_policy: How failures are retried. Default: the server's policy, which has no limit of attempts.
        cancellation_type: What cancelling the handle does.
        activity_id: The id in the history. Default: a number.
        versioning_intent: Deprecated: use worker deployments.
        summary: One line to show in the UI and on the command line.
        priority: Priority and fairness of the task. Default: the workflow's own.
    """

    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    versioning_intent: VersioningIntent | None
    summary: str | None
    priority: Priority


class LocalActivityConfig(TypedDict, total=False):
    """Keyword options of `start_local_activity` and `execute_local_activity`.

    Attributes:
        schedule_to_close_timeout: Limit for the whole activity, retries included.
        schedule_to_start_timeout: Limit for the wait for a free slot of the worker.
        start_to_close_timeout: Limit for one attempt.
        retry_policy: How failures are retried.
        local_retry_threshold: Longest back-off that is spent inside the workflow task. A longer one becomes a timer.
            Default: one minute.
        cancellation_type: What cancelling the handle does.
        activity_id: The id in the history. Default: a number.
        summary: One line to show in the UI and on the command line.
    """

    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    local_retry_threshold: timedelta | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    summary: str | None


class ChildWorkflowConfig(TypedDict, total=False):
    """Keyword options of `start_child_workflow` and `execute_child_workflow`.

    Attributes:
        id: The child's workflow id. Default: a random UUID, the same on replay.
        task_queue: Queue of the child's tasks. Default: the parent's own.
        cancellation_type: What cancelling the handle does.
        parent_close_policy: What happens to the child when this workflow closes.
        execution_timeout: Limit for all runs of the child's chain.
        run_timeout: Limit for one run.
        task_timeout: Limit for one workflow task.
        id_reuse_policy: Whether the id of a closed workflow may be used again.
        retry_policy: How failed runs are retried. Default: not at all.
        cron_schedule: Cron expression for repeated runs.
        memo: Values to show beside the child, by key.
        search_attributes: Values to find the child by.
        versioning_intent: Deprecated: use worker deployments.
        static_summary: One line to show in the UI and on the command line.
        static_details: A text to show there; Markdown is allowed.
        priority: Priority and fairness of the child's tasks. Default: the parent's own.
        versioning_override: Replaces the versioning behaviour of the child's worker.
    """

    id: str | None
    task_queue: str | None
    cancellation_type: ChildWorkflowCancellationType
    parent_close_policy: ParentClosePolicy
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | TypedSearchAttributes | None
    versioning_intent: VersioningIntent | None
    static_summary: str | None
    static_details: str | None
    priority: Priority
    versioning_override: VersioningOverride | None


class ContinueAsNewConfig(TypedDict, total=False):
    """Keyword options of `continue_as_new`. Options that are not given are inherited from the current run.

    Attributes:
        task_queue: Queue of the new run's tasks.
        run_timeout: Limit for the new run.
        task_timeout: Limit for one workflow task.
        backoff_start_interval: Delay before the first workflow task of the new run.
        retry_policy: How failed runs are retried.
        memo: Values to show beside the workflow, by key.
        search_attributes: Values to find the workflow by.
        versioning_intent: Deprecated: use worker deployments.
        initial_versioning_behavior: How the first task picks its deployment version. Experimental.
    """

    task_queue: str | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    backoff_start_interval: timedelta | None
    retry_policy: RetryPolicy | None
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | TypedSearchAttributes | None
    versioning_intent: VersioningIntent | None
    initial_versioning_behavior: ContinueAsNewVersioningBehavior | None


class ActivityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime gets for one activity."""

    task_queue: str | None = None
    result_type: type | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    cancellation_type: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL
    activity_id: str | None = None
    versioning_intent: VersioningIntent | None = None
    summary: str | None = None
    priority: Priority = Priority.default


class LocalActivityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime gets for one local activity."""

    result_type: type | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    local_retry_threshold: timedelta | None = None
    cancellation_type: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL
    activity_id: str | None = None
    summary: str | None = None


class ChildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime gets for one child workflow."""

    id: str
    task_queue: str | None = None
    result_type: type | None = None
    cancellation_type: ChildWorkflowCancellationType = (
        ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED
    )
    parent_close_policy: ParentClosePolicy = ParentClosePolicy.TERMINATE
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    retry_policy: RetryPolicy | None = None
    cron_schedule: str = ""
    memo: Mapping[str, Any] | None = None
    search_attributes: SearchAttributes | TypedSearchAttributes | None = None
    versioning_intent: VersioningIntent | None = None
    static_summary: str | None = None
    static_details: str | None = None
    priority: Priority = Priority.default
    versioning_override: VersioningOverride | None = None


class ContinueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime gets for continue-as-new."""

    task_queue: str | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    backoff_start_interval: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    memo: Mapping[str, Any] | None = None
    search_attributes: SearchAttributes | TypedSearchAttributes | None = None
    versioning_intent: VersioningIntent | None = None
    initial_versioning_behavior: ContinueAsNewVersioningBehavior | None = None


NO_ARGS: Sequence[Any] = ()
