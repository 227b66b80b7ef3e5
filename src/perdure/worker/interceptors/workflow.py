"""Interceptors of workflows: inputs and chains. Names and fields as in the official package.

Inbound: the worker calls the workflow. Outbound: the workflow calls the worker. A chain ends in the host
(`perdure.worker.host.roots`); each link delegates to `self.next`.

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
    """Input of `Interceptor.workflow_interceptor_class`.

    Attributes:
        unsafe_extern_functions: Functions that workflow code finds in `workflow.extern_functions`, by name.
    """

    unsafe_extern_functions: MutableMapping[str, Callable[..., Any]]


@dataclass
class ExecuteWorkflowInput:
    """Input of `WorkflowInboundInterceptor.execute_workflow`.

    Attributes:
        type: The workflow class.
        run_fn: Its `@workflow.run` method, unbound.
        args: The converted arguments.
        headers: Headers of the start, as payloads by name.
    """

    type: type
    run_fn: Callable[..., Awaitable[Any]]
    args: Sequence[Any]
    headers: Headers


@dataclass
class HandleSignalInput:
    """Input of `WorkflowInboundInterceptor.handle_signal`.

    Attributes:
        signal: The signal's name.
        args: The converted arguments.
        headers: Headers of the signal, as payloads by name.
    """

    signal: str
    args: Sequence[Any]
    headers: Headers


@dataclass
class HandleQueryInput:
    """Input of `WorkflowInboundInterceptor.handle_query`.

    Attributes:
        id: The id of this query.
        query: The query's name.
        args: The converted arguments.
        headers: Headers of the query, as payloads by name.
    """

    id: str
    query: str
    args: Sequence[Any]
    headers: Headers


@dataclass
class HandleUpdateInput:
    """Input of `handle_update_validator` and `handle_update_handler` of `WorkflowInboundInterceptor`.

    Attributes:
        id: The update's id.
        update: The update's name.
        args: The converted arguments.
        headers: Headers of the update, as payloads by name.
    """

    id: str
    update: str
    args: Sequence[Any]
    headers: Headers


@dataclass
class ContinueAsNewInput:
    """Input of `WorkflowOutboundInterceptor.continue_as_new`. None in a field: as the current run.

    Attributes:
        workflow: The workflow type to continue as.
        args: The arguments of the new run.
        task_queue: Queue of the new run's tasks.
        run_timeout: Limit for the new run.
        task_timeout: Limit for one workflow task.
        backoff_start_interval: Delay before the first workflow task.
        retry_policy: How failed runs are retried.
        memo: Values to show beside the workflow, by key.
        search_attributes: Values to find the workflow by.
        headers: Headers of the new run, as payloads by name.
        versioning_intent: Deprecated.
        initial_versioning_behavior: How the first task picks its deployment version. Experimental.
        arg_types: Types of the parameters, if known.
    """

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
    """Input of `WorkflowOutboundInterceptor.signal_child_workflow`.

    Attributes:
        signal: The signal's name.
        args: The arguments.
        child_workflow_id: The child's workflow id.
        headers: Headers of the signal, as payloads by name.
    """

    signal: str
    args: Sequence[Any]
    child_workflow_id: str
    headers: Headers


@dataclass
class SignalExternalWorkflowInput:
    """Input of `WorkflowOutboundInterceptor.signal_external_workflow`.

    Attributes:
        signal: The signal's name.
        args: The arguments.
        namespace: The other workflow's namespace.
        workflow_id: Its workflow id.
        workflow_run_id: One run of it. None: the current one.
        headers: Headers of the signal, as payloads by name.
    """

    signal: str
    args: Sequence[Any]
    namespace: str
    workflow_id: str
    workflow_run_id: str | None
    headers: Headers


@dataclass
class StartActivityInput:
    """Input of `WorkflowOutboundInterceptor.start_activity`.

    Attributes:
        activity: The activity type.
        args: The arguments.
        activity_id: The id in the history. None: a number.
        task_queue: Queue of the activity's tasks. None: the workflow's own.
        schedule_to_close_timeout: Limit for the whole activity.
        schedule_to_start_timeout: Limit for an attempt's wait for a worker.
        start_to_close_timeout: Limit for one attempt.
        heartbeat_timeout: Limit for the time between two heartbeats.
        retry_policy: How failures are retried. None: the server's default.
        cancellation_type: What cancelling the handle does.
        headers: Headers of the activity, as payloads by name.
        disable_eager_execution: Never run the activity with the answer to the workflow task.
        versioning_intent: Deprecated.
        summary: One line to show in the UI and on the command line.
        priority: Priority and fairness of the task.
        arg_types: Types of the parameters, if known.
        ret_type: Type of the result, if known.
    """

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
    """Input of `WorkflowOutboundInterceptor.start_local_activity`.

    Attributes:
        activity: The activity type.
        args: The arguments.
        activity_id: The id in the history. None: a number.
        schedule_to_close_timeout: Limit for the whole activity.
        schedule_to_start_timeout: Limit for the wait for a free slot.
        start_to_close_timeout: Limit for one attempt.
        retry_policy: How failures are retried. None: the default.
        local_retry_threshold: Longest back-off inside the workflow task. None: one minute.
        cancellation_type: What cancelling the handle does.
        headers: Headers of the activity, as payloads by name.
        summary: One line to show in the UI and on the command line.
        arg_types: Types of the parameters, if known.
        ret_type: Type of the result, if known.
    """

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
    """Input of `WorkflowOutboundInterceptor.start_child_workflow`.

    Attributes:
        workflow: The workflow type.
        args: The arguments.
        id: The child's workflow id.
        task_queue: Queue of the child's tasks. None: the parent's own.
        cancellation_type: What cancelling the handle does.
        parent_close_policy: What happens to the child when the parent closes.
        execution_timeout: Limit for all runs of the chain.
        run_timeout: Limit for one run.
        task_timeout: Limit for one workflow task.
        id_reuse_policy: Whether the id of a closed workflow may be used again.
        retry_policy: How failed runs are retried. None: not at all.
        cron_schedule: Cron expression for repeated runs.
        memo: Values to show beside the child, by key.
        search_attributes: Values to find the child by.
        headers: Headers of the child, as payloads by name.
        versioning_intent: Deprecated.
        static_summary: One line to show in the UI and on the command line.
        static_details: A text to show there.
        priority: Priority and fairness of the child's tasks.
        arg_types: Types of the parameters, if known.
        ret_type: Type of the result, if known.
        versioning_override: Replaces the versioning behaviour of the child's worker.
    """

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
    """Calls to the workflow. Override methods as needed, and delegate to `self.next`.

    Args:
        next: The rest of the chain.
    """

    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        self.next = next

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Set up the outbound chain. Called once. Override it to wrap `outbound`.

        Args:
            outbound: The chain of the calls that the workflow makes.
        """
        self.next.init(outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Run the workflow.

        Args:
            input: Class, method and arguments.

        Returns:
            The workflow's result.
        """
        return await self.next.execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Handle a signal.

        Args:
            input: Name and arguments.
        """
        await self.next.handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """Answer a query.

        Args:
            input: Name and arguments.

        Returns:
            The query's result.
        """
        return await self.next.handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """Validate an update. Raising rejects it.

        Args:
            input: Name and arguments.
        """
        self.next.handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """Handle an accepted update.

        Args:
            input: Name and arguments.

        Returns:
            The update's result.
        """
        return await self.next.handle_update_handler(input)


class WorkflowOutboundInterceptor:
    """Calls that the workflow makes. Override methods as needed, and delegate to `self.next`.

    Args:
        next: The rest of the chain.
    """

    def __init__(self, next: WorkflowOutboundInterceptor) -> None:
        self.next = next

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """Called by `workflow.continue_as_new`. Never returns.

        Args:
            input: The new run.
        """
        self.next.continue_as_new(input)

    def info(self) -> workflow.Info:
        """Called by `workflow.info`."""
        return self.next.info()

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        """Called by `ChildWorkflowHandle.signal`.

        Args:
            input: The child and the signal.
        """
        await self.next.signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        """Called by `ExternalWorkflowHandle.signal`.

        Args:
            input: The workflow and the signal.
        """
        await self.next.signal_external_workflow(input)

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        """Called by `workflow.start_activity` and its variants.

        Args:
            input: The activity.

        Returns:
            The handle.
        """
        return self.next.start_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        """Called by `workflow.start_child_workflow` and `workflow.execute_child_workflow`.

        Args:
            input: The child.

        Returns:
            The handle.
        """
        return await self.next.start_child_workflow(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        """Called by `workflow.start_local_activity` and its variants.

        Args:
            input: The local activity.

        Returns:
            The handle.
        """
        return self.next.start_local_activity(input)
