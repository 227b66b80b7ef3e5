"""Inputs of the client's calls, as interceptors see them: plain dataclasses that they may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from perdure.client.enums import WorkflowHistoryEventFilterType, WorkflowUpdateStage
from perdure.common import (
    Priority,
    QueryRejectCondition,
    RetryPolicy,
    SearchAttributes,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.converter import DataConverter
from perdure.wire.api import common as common_pb

Headers: TypeAlias = Mapping[str, common_pb.Payload]
Metadata: TypeAlias = Mapping[str, str | bytes]


def _no_headers() -> Headers:
    return {}


def _no_metadata() -> Metadata:
    return {}


@dataclass
class StartWorkflowInput:
    """Input of `OutboundInterceptor.start_workflow`. With `start_signal` it is a signal-with-start.

    Attributes:
        workflow: The workflow type.
        args: The arguments.
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
        headers: Headers, as payloads by name.
        start_signal: Name of a signal to send. The workflow is started if it is not open.
        start_signal_args: The signal's arguments.
        static_summary: One line to show in the UI and on the command line.
        static_details: A text to show there; Markdown is allowed.
        ret_type: Type to convert the result to, if known.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
        request_eager_start: Ask for the first workflow task in the answer, if a worker of the same connection has a
            free slot for it.
        priority: Priority and fairness of the workflow's tasks.
        versioning_override: Replaces the versioning behaviour of the worker.
    """

    workflow: str
    args: Sequence[Any]
    id: str
    task_queue: str
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    id_conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED
    retry_policy: RetryPolicy | None = None
    cron_schedule: str = ""
    memo: Mapping[str, Any] | None = None
    search_attributes: TypedSearchAttributes | SearchAttributes | None = None
    start_delay: timedelta | None = None
    headers: Headers = field(default_factory=_no_headers)
    start_signal: str | None = None
    start_signal_args: Sequence[Any] = ()
    static_summary: str | None = None
    static_details: str | None = None
    ret_type: type | None = None
    rpc_metadata: Metadata = field(default_factory=_no_metadata)
    rpc_timeout: timedelta | None = None
    request_eager_start: bool = False
    priority: Priority = Priority.default
    versioning_override: VersioningOverride | None = None


@dataclass
class CancelWorkflowInput:
    """Input of `OutboundInterceptor.cancel_workflow`.

    Attributes:
        id: The workflow id.
        run_id: One run of it. None: the current one.
        first_execution_run_id: The first run of the chain. The call is refused if the current run belongs to another
            chain.
        reason: Recorded with the request.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    id: str
    run_id: str | None
    first_execution_run_id: str | None
    reason: str
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class DescribeWorkflowInput:
    """Input of `OutboundInterceptor.describe_workflow`.

    Attributes:
        id: The workflow id.
        run_id: One run of it. None: the current one.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    id: str
    run_id: str | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class FetchWorkflowHistoryEventsInput:
    """Input of `OutboundInterceptor.fetch_workflow_history_events`.

    Attributes:
        id: The workflow id.
        run_id: One run of it. None: the current one.
        page_size: Largest number of entries of a page. None: the service chooses.
        next_page_token: Where to begin. None: at the start.
        wait_new_event: Wait for further events until the run has closed.
        event_filter_type: Which events.
        skip_archival: Do not read archives.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    id: str
    run_id: str | None
    page_size: int | None
    next_page_token: bytes | None
    wait_new_event: bool
    event_filter_type: WorkflowHistoryEventFilterType
    skip_archival: bool
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class ListWorkflowsInput:
    """Input of `OutboundInterceptor.list_workflows`.

    Attributes:
        query: The list filter. None: all workflows.
        page_size: Largest number of entries of a page.
        next_page_token: Where to begin. None: at the start.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
        limit: Largest number of entries in all. None: no limit.
    """

    query: str | None
    page_size: int
    next_page_token: bytes | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    limit: int | None


@dataclass
class CountWorkflowsInput:
    """Input of `OutboundInterceptor.count_workflows`.

    Attributes:
        query: The list filter. None: all workflows.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    query: str | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class QueryWorkflowInput:
    """Input of `OutboundInterceptor.query_workflow`.

    Attributes:
        id: The workflow id.
        run_id: One run of it. None: the current one.
        query: The query's name.
        args: The arguments.
        reject_condition: The states in which the query is refused. None: the service's default.
        headers: Headers, as payloads by name.
        ret_type: Type to convert the result to, if known.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    id: str
    run_id: str | None
    query: str
    args: Sequence[Any]
    reject_condition: QueryRejectCondition | None
    headers: Headers
    ret_type: type | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class SignalWorkflowInput:
    """Input of `OutboundInterceptor.signal_workflow`.

    Attributes:
        id: The workflow id.
        run_id: One run of it. None: the current one.
        signal: The signal's name.
        args: The arguments.
        headers: Headers, as payloads by name.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    id: str
    run_id: str | None
    signal: str
    args: Sequence[Any]
    headers: Headers
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class TerminateWorkflowInput:
    """Input of `OutboundInterceptor.terminate_workflow`.

    Attributes:
        id: The workflow id.
        run_id: One run of it. None: the current one.
        first_execution_run_id: The first run of the chain. The call is refused if the current run belongs to another
            chain.
        args: Values to record.
        reason: Recorded with the termination.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    id: str
    run_id: str | None
    first_execution_run_id: str | None
    args: Sequence[Any]
    reason: str | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class StartWorkflowUpdateInput:
    """Input of `OutboundInterceptor.start_workflow_update`.

    Attributes:
        id: The workflow id.
        run_id: One run of it. None: the current one.
        first_execution_run_id: The first run of the chain. The call is refused if the current run belongs to another
            chain.
        update_id: The update's id. None: a new one.
        update: The update's name.
        args: The arguments.
        wait_for_stage: How far the update must have come.
        headers: Headers, as payloads by name.
        ret_type: Type to convert the result to, if known.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
    """

    id: str
    run_id: str | None
    first_execution_run_id: str | None
    update_id: str | None
    update: str
    args: Sequence[Any]
    wait_for_stage: WorkflowUpdateStage
    headers: Headers
    ret_type: type | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass(frozen=True)
class AsyncActivityIDReference:
    """An activity, identified by its ids. Without a workflow it is a standalone activity.

    Attributes:
        workflow_id: The workflow that scheduled it, or None.
        run_id: The run of the workflow, or of the standalone activity. None: the current one.
        activity_id: The activity's id.
    """

    workflow_id: str | None
    run_id: str | None
    activity_id: str


@dataclass
class HeartbeatAsyncActivityInput:
    """Input of `OutboundInterceptor.heartbeat_async_activity`.

    Attributes:
        id_or_token: The activity: its ids, or the task token of an attempt.
        details: Values that the next attempt finds in `activity.Info.heartbeat_details`.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
        data_converter_override: Used instead of the client's data converter.
    """

    id_or_token: AsyncActivityIDReference | bytes
    details: Sequence[Any]
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None


@dataclass
class CompleteAsyncActivityInput:
    """Input of `OutboundInterceptor.complete_async_activity`.

    Attributes:
        id_or_token: The activity: its ids, or the task token of an attempt.
        result: The result.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
        data_converter_override: Used instead of the client's data converter.
    """

    id_or_token: AsyncActivityIDReference | bytes
    result: Any
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None


@dataclass
class FailAsyncActivityInput:
    """Input of `OutboundInterceptor.fail_async_activity`.

    Attributes:
        id_or_token: The activity: its ids, or the task token of an attempt.
        error: The error.
        last_heartbeat_details: The values of a last heartbeat.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
        data_converter_override: Used instead of the client's data converter.
    """

    id_or_token: AsyncActivityIDReference | bytes
    error: Exception
    last_heartbeat_details: Sequence[Any]
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None


@dataclass
class ReportCancellationAsyncActivityInput:
    """Input of `OutboundInterceptor.report_cancellation_async_activity`.

    Attributes:
        id_or_token: The activity: its ids, or the task token of an attempt.
        details: Values to record.
        rpc_metadata: Headers of the call. They override the client's.
        rpc_timeout: Time limit of one attempt of the call. None: the connection's default.
        data_converter_override: Used instead of the client's data converter.
    """

    id_or_token: AsyncActivityIDReference | bytes
    details: Sequence[Any]
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None
