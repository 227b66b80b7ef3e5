"""Interceptors of client calls: a chain around `impl`, the earlier ones outside."""

from __future__ import annotations

from typing import Any

from perdure.client import inputs
from perdure.client.executions import WorkflowExecutionCount, WorkflowExecutionDescription
from perdure.client.history import WorkflowHistoryEventAsyncIterator
from perdure.client.listing import WorkflowExecutionAsyncIterator
from perdure.client.update_handle import WorkflowUpdateHandle
from perdure.client.workflow_handle import WorkflowHandle


class Interceptor:
    """Makes outbound interceptors. Give instances to `Client.connect`.

    Example:
        >>> class Tracing(Interceptor):
        ...     def intercept_client(self, next):
        ...         return TracingOutbound(super().intercept_client(next))
    """

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap `next`; unless overridden, leave it as it is."""
        return next


class OutboundInterceptor:
    """Passes every call on to `next`: override what is of interest."""

    def __init__(self, next: OutboundInterceptor) -> None:
        self.next = next

    async def start_workflow(self, input: inputs.StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        """`Client.start_workflow` and `Client.execute_workflow`."""
        return await self.next.start_workflow(input)

    async def cancel_workflow(self, input: inputs.CancelWorkflowInput) -> None:
        """`WorkflowHandle.cancel`."""
        await self.next.cancel_workflow(input)

    async def describe_workflow(
        self, input: inputs.DescribeWorkflowInput
    ) -> WorkflowExecutionDescription:
        """`WorkflowHandle.describe`."""
        return await self.next.describe_workflow(input)

    def fetch_workflow_history_events(
        self, input: inputs.FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        """`WorkflowHandle.fetch_history_events`, and waiting for results."""
        return self.next.fetch_workflow_history_events(input)

    def list_workflows(self, input: inputs.ListWorkflowsInput) -> WorkflowExecutionAsyncIterator:
        """`Client.list_workflows`."""
        return self.next.list_workflows(input)

    async def count_workflows(self, input: inputs.CountWorkflowsInput) -> WorkflowExecutionCount:
        """`Client.count_workflows`."""
        return await self.next.count_workflows(input)

    async def query_workflow(self, input: inputs.QueryWorkflowInput) -> Any:
        """`WorkflowHandle.query`."""
        return await self.next.query_workflow(input)

    async def signal_workflow(self, input: inputs.SignalWorkflowInput) -> None:
        """`WorkflowHandle.signal`."""
        await self.next.signal_workflow(input)

    async def terminate_workflow(self, input: inputs.TerminateWorkflowInput) -> None:
        """`WorkflowHandle.terminate`."""
        await self.next.terminate_workflow(input)

    async def start_workflow_update(
        self, input: inputs.StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        """`WorkflowHandle.start_update` and `WorkflowHandle.execute_update`."""
        return await self.next.start_workflow_update(input)

    async def heartbeat_async_activity(self, input: inputs.HeartbeatAsyncActivityInput) -> None:
        """`AsyncActivityHandle.heartbeat`."""
        await self.next.heartbeat_async_activity(input)

    async def complete_async_activity(self, input: inputs.CompleteAsyncActivityInput) -> None:
        """`AsyncActivityHandle.complete`."""
        await self.next.complete_async_activity(input)

    async def fail_async_activity(self, input: inputs.FailAsyncActivityInput) -> None:
        """`AsyncActivityHandle.fail`."""
        await self.next.fail_async_activity(input)

    async def report_cancellation_async_activity(
        self, input: inputs.ReportCancellationAsyncActivityInput
    ) -> None:
        """`AsyncActivityHandle.report_cancellation`."""
        await self.next.report_cancellation_async_activity(input)
