"""The options of starting a workflow: one list for all the overloads of all the verbs that start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Required, TypedDict

from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributes,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)


class StartWorkflowOptions(TypedDict, total=False):
    """Keyword arguments of `Client.start_workflow` and `Client.execute_workflow`.

    Attributes:
        id: The workflow's id: what it is about, in your own terms.
        task_queue: Where its workers poll.
        execution_timeout: For all runs of the chain.
        run_timeout: For one run.
        task_timeout: For one workflow task.
        id_reuse_policy: When a closed workflow has the id.
        id_conflict_policy: When an open workflow has the id.
        retry_policy: Try the whole workflow again when it fails.
        cron_schedule: Start again and again.
        memo: Values to show beside it.
        search_attributes: Values to find it by.
        start_delay: Wait before the first task.
        start_signal: Signal the workflow; start it when it is not open.
        start_signal_args: The signal's arguments.
        static_summary: A line for people.
        static_details: A text for people.
        rpc_metadata: Headers of the call.
        rpc_timeout: For one try of the call.
        request_eager_start: Ask for the first task in the answer, if a worker over the same connection has a slot
            free for it.
        priority: Order within a backlog.
        versioning_override: Instead of the worker's versioning behaviour.
    """

    id: Required[str]
    task_queue: Required[str]
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    id_conflict_policy: WorkflowIDConflictPolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: TypedSearchAttributes | SearchAttributes | None
    start_delay: timedelta | None
    start_signal: str | None
    start_signal_args: Sequence[Any]
    static_summary: str | None
    static_details: str | None
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None
    request_eager_start: bool
    priority: Priority
    versioning_override: VersioningOverride | None
