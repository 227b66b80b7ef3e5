"""The inputs of the client's verbs: what interceptors see. Plain dataclasses, to be changed on the way."""

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
    """Input of `OutboundInterceptor.start_workflow`; with `start_signal`, a signal-with-start."""

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
    """Input of `OutboundInterceptor.cancel_workflow`."""

    id: str
    run_id: str | None
    first_execution_run_id: str | None
    reason: str
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class DescribeWorkflowInput:
    """Input of `OutboundInterceptor.describe_workflow`."""

    id: str
    run_id: str | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class FetchWorkflowHistoryEventsInput:
    """Input of `OutboundInterceptor.fetch_workflow_history_events`."""

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
    """Input of `OutboundInterceptor.list_workflows`."""

    query: str | None
    page_size: int
    next_page_token: bytes | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    limit: int | None


@dataclass
class CountWorkflowsInput:
    """Input of `OutboundInterceptor.count_workflows`."""

    query: str | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class QueryWorkflowInput:
    """Input of `OutboundInterceptor.query_workflow`."""

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
    """Input of `OutboundInterceptor.signal_workflow`."""

    id: str
    run_id: str | None
    signal: str
    args: Sequence[Any]
    headers: Headers
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class TerminateWorkflowInput:
    """Input of `OutboundInterceptor.terminate_workflow`."""

    id: str
    run_id: str | None
    first_execution_run_id: str | None
    args: Sequence[Any]
    reason: str | None
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None


@dataclass
class StartWorkflowUpdateInput:
    """Input of `OutboundInterceptor.start_workflow_update`."""

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
    """An activity by its ids; without a workflow, a standalone one."""

    workflow_id: str | None
    run_id: str | None
    activity_id: str


@dataclass
class HeartbeatAsyncActivityInput:
    """Input of `OutboundInterceptor.heartbeat_async_activity`."""

    id_or_token: AsyncActivityIDReference | bytes
    details: Sequence[Any]
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None


@dataclass
class CompleteAsyncActivityInput:
    """Input of `OutboundInterceptor.complete_async_activity`."""

    id_or_token: AsyncActivityIDReference | bytes
    result: Any
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None


@dataclass
class FailAsyncActivityInput:
    """Input of `OutboundInterceptor.fail_async_activity`."""

    id_or_token: AsyncActivityIDReference | bytes
    error: Exception
    last_heartbeat_details: Sequence[Any]
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None


@dataclass
class ReportCancellationAsyncActivityInput:
    """Input of `OutboundInterceptor.report_cancellation_async_activity`."""

    id_or_token: AsyncActivityIDReference | bytes
    details: Sequence[Any]
    rpc_metadata: Metadata
    rpc_timeout: timedelta | None
    data_converter_override: DataConverter | None = None
