"""Options of starting a workflow: one list for the overloads of all methods that start one."""

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
        id: The workflow id: what the workflow is about, in the terms of the application.
        task_queue: The queue that its workers poll.
        execution_timeout: Limit for all runs of the chain together. None: no limit.
        run_timeout: Limit for one run. None: no limit.
        task_timeout: Limit for one workflow task. None: the server's default, 10 seconds.
        id_reuse_policy: What to do when a closed workflow has the id.
        id_conflict_policy: What to do when an open workflow has the id.
        retry_policy: How failed runs are retried. None: not at all.
        cron_schedule: Cron expression for repeated runs.
        memo: Values to show beside the workflow, by key.
        search_attributes: Values to find the workflow by.
        start_delay: Delay before the first workflow task.
        start_signal: Name of a signal to send. The workflow is started if it is not open.
        start_signal_args: The signal's arguments.
        static_summary: One line to show in the UI and on the command line.
        static_details: A text to show there; Markdown is allowed.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
        request_eager_start: Ask for the first workflow task in the answer, if a worker of the same connection has a
            free slot for it.
        priority: Priority and fairness of the workflow's tasks.
        versioning_override: Replaces the versioning behaviour of the worker.
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
