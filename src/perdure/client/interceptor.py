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
    """Makes the interceptors of client calls. Give instances to `Client.connect`.

    Example:
        ```python
        from typing import Any

        from perdure.client import Client, Interceptor, OutboundInterceptor, StartWorkflowInput


        class Prefixing(OutboundInterceptor):
            async def start_workflow(self, input: StartWorkflowInput) -> Any:
                input.id = f"shop-{input.id}"
                return await super().start_workflow(input)


        class Prefix(Interceptor):
            def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
                return Prefixing(super().intercept_client(next))


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                return "paid"


        async with await Client.connect("memory:", interceptors=[Prefix()]) as client:
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            assert order.id == "shop-order-7"
        ```
    """

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap the chain of client calls.

        Args:
            next: The rest of the chain.

        Returns:
            The chain to use. Without an override: `next`.
        """
        return next


class OutboundInterceptor:
    """Calls of the client. Override methods as needed, and delegate to `self.next`.

    Args:
        next: The rest of the chain.
    """

    def __init__(self, next: OutboundInterceptor) -> None:
        self.next = next

    async def start_workflow(self, input: inputs.StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        """Called by `Client.start_workflow` and `Client.execute_workflow`.

        Args:
            input: The call.

        Returns:
            The handle.
        """
        return await self.next.start_workflow(input)

    async def cancel_workflow(self, input: inputs.CancelWorkflowInput) -> None:
        """Called by `WorkflowHandle.cancel`.

        Args:
            input: The call.
        """
        await self.next.cancel_workflow(input)

    async def describe_workflow(
        self, input: inputs.DescribeWorkflowInput
    ) -> WorkflowExecutionDescription:
        """Called by `WorkflowHandle.describe`.

        Args:
            input: The call.

        Returns:
            The description.
        """
        return await self.next.describe_workflow(input)

    def fetch_workflow_history_events(
        self, input: inputs.FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        """Called by `WorkflowHandle.fetch_history_events`, and by waiting for a result.

        Args:
            input: The call.

        Returns:
            An iterator of the events.
        """
        return self.next.fetch_workflow_history_events(input)

    def list_workflows(self, input: inputs.ListWorkflowsInput) -> WorkflowExecutionAsyncIterator:
        """Called by `Client.list_workflows`.

        Args:
            input: The call.

        Returns:
            An iterator of the workflows.
        """
        return self.next.list_workflows(input)

    async def count_workflows(self, input: inputs.CountWorkflowsInput) -> WorkflowExecutionCount:
        """Called by `Client.count_workflows`.

        Args:
            input: The call.

        Returns:
            The counts.
        """
        return await self.next.count_workflows(input)

    async def query_workflow(self, input: inputs.QueryWorkflowInput) -> Any:
        """Called by `WorkflowHandle.query`.

        Args:
            input: The call.

        Returns:
            The converted result.
        """
        return await self.next.query_workflow(input)

    async def signal_workflow(self, input: inputs.SignalWorkflowInput) -> None:
        """Called by `WorkflowHandle.signal`.

        Args:
            input: The call.
        """
        await self.next.signal_workflow(input)

    async def terminate_workflow(self, input: inputs.TerminateWorkflowInput) -> None:
        """Called by `WorkflowHandle.terminate`.

        Args:
            input: The call.
        """
        await self.next.terminate_workflow(input)

    async def start_workflow_update(
        self, input: inputs.StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        """Called by `WorkflowHandle.start_update` and `WorkflowHandle.execute_update`.

        Args:
            input: The call.

        Returns:
            The handle of the update.
        """
        return await self.next.start_workflow_update(input)

    async def heartbeat_async_activity(self, input: inputs.HeartbeatAsyncActivityInput) -> None:
        """Called by `AsyncActivityHandle.heartbeat`.

        Args:
            input: The call.
        """
        await self.next.heartbeat_async_activity(input)

    async def complete_async_activity(self, input: inputs.CompleteAsyncActivityInput) -> None:
        """Called by `AsyncActivityHandle.complete`.

        Args:
            input: The call.
        """
        await self.next.complete_async_activity(input)

    async def fail_async_activity(self, input: inputs.FailAsyncActivityInput) -> None:
        """Called by `AsyncActivityHandle.fail`.

        Args:
            input: The call.
        """
        await self.next.fail_async_activity(input)

    async def report_cancellation_async_activity(
        self, input: inputs.ReportCancellationAsyncActivityInput
    ) -> None:
        """Called by `AsyncActivityHandle.report_cancellation`.

        Args:
            input: The call.
        """
        await self.next.report_cancellation_async_activity(input)
