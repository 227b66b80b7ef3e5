"""Interceptors of workflows: inputs and chains. Names and fields as in the official package.

Inbound: the worker calls the workflow. Outbound: the workflow calls the worker. A chain ends in the host
(`perdure.worker.host.roots`); each link calls `self.next` for what it does not handle.

Not here: interceptors of activities (`interceptors.activity`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from datetime import timedelta

    from perdure import workflow
    from perdure.common import (
        Priority,
        RetryPolicy,
        SearchAttributes,
        TypedSearchAttributes,
        VersioningOverride,
        WorkflowIDReusePolicy,
    )
    from perdure.wire.api import common as common_pb

    Headers = Mapping[str, common_pb.Payload]


@dataclass
class WorkflowInterceptorClassInput:
    """What `Interceptor.workflow_interceptor_class` is asked with.

    Attributes:
        unsafe_extern_functions: Functions to put at the disposal of workflow code, by name.
    """

    unsafe_extern_functions: MutableMapping[str, Callable[..., Any]]


@dataclass
class ExecuteWorkflowInput:
    """Run the workflow. `run_fn` is the unbound method."""

    type: type
    run_fn: Callable[..., Awaitable[Any]]
    args: Sequence[Any]
    headers: Headers


@dataclass
class HandleSignalInput:
    """Handle a signal."""

    signal: str
    args: Sequence[Any]
    headers: Headers


@dataclass
class HandleQueryInput:
    """Answer a query."""

    id: str
    query: str
    args: Sequence[Any]
    headers: Headers


@dataclass
class HandleUpdateInput:
    """Validate or handle an update."""

    id: str
    update: str
    args: Sequence[Any]
    headers: Headers


@dataclass
class ContinueAsNewInput:
    """Continue as new."""

    workflow: str | None
    args: Sequence[Any]
    task_queue: str | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    backoff_start_interval: timedelta | None
    retry_policy: RetryPolicy | None
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | TypedSearchAttributes | None
    headers: Headers
    versioning_intent: workflow.VersioningIntent | None
    initial_versioning_behavior: workflow.ContinueAsNewVersioningBehavior | None
    arg_types: list[type] | None = None


@dataclass
class SignalChildWorkflowInput:
    """Signal a child."""

    signal: str
    args: Sequence[Any]
    child_workflow_id: str
    headers: Headers


@dataclass
class SignalExternalWorkflowInput:
    """Signal another workflow."""

    signal: str
    args: Sequence[Any]
    namespace: str
    workflow_id: str
    workflow_run_id: str | None
    headers: Headers


@dataclass
class StartActivityInput:
    """Schedule an activity."""

    activity: str
    args: Sequence[Any]
    activity_id: str | None
    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: workflow.ActivityCancellationType
    headers: Headers
    disable_eager_execution: bool
    versioning_intent: workflow.VersioningIntent | None
    summary: str | None
    priority: Priority
    arg_types: list[type] | None
    ret_type: type | None


@dataclass
class StartLocalActivityInput:
    """Schedule a local activity."""

    activity: str
    args: Sequence[Any]
    activity_id: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    local_retry_threshold: timedelta | None
    cancellation_type: workflow.ActivityCancellationType
    headers: Headers
    summary: str | None
    arg_types: list[type] | None = None
    ret_type: type | None = None


@dataclass
class StartChildWorkflowInput:
    """Start a child workflow."""

    workflow: str
    args: Sequence[Any]
    id: str
    task_queue: str | None
    cancellation_type: workflow.ChildWorkflowCancellationType
    parent_close_policy: workflow.ParentClosePolicy
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | TypedSearchAttributes | None
    headers: Headers
    versioning_intent: workflow.VersioningIntent | None
    static_summary: str | None
    static_details: str | None
    priority: Priority
    arg_types: list[type] | None
    ret_type: type | None
    versioning_override: VersioningOverride | None = None


class WorkflowInboundInterceptor:
    """Calls to the workflow. Override what is of interest; call `self.next` for the rest."""

    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        self.next = next

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Called once; wrap `outbound` before handing it on to add an outbound interceptor."""
        self.next.init(outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """The workflow runs."""
        return await self.next.execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """A signal is handled."""
        await self.next.handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """A query is answered."""
        return await self.next.handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """An update is validated; raising rejects it."""
        self.next.handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """An accepted update is handled."""
        return await self.next.handle_update_handler(input)


class WorkflowOutboundInterceptor:
    """Calls of the workflow. Override what is of interest; call `self.next` for the rest."""

    def __init__(self, next: WorkflowOutboundInterceptor) -> None:
        self.next = next

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """`workflow.continue_as_new`."""
        self.next.continue_as_new(input)

    def info(self) -> workflow.Info:
        """`workflow.info`."""
        return self.next.info()

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        """`ChildWorkflowHandle.signal`."""
        await self.next.signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        """`ExternalWorkflowHandle.signal`."""
        await self.next.signal_external_workflow(input)

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        """`workflow.start_activity` and everything that ends there."""
        return self.next.start_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        """`workflow.start_child_workflow` and `execute_child_workflow`."""
        return await self.next.start_child_workflow(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        """`workflow.start_local_activity` and everything that ends there."""
        return self.next.start_local_activity(input)
