"""The client as handles see it.

`OutboundInterceptor` returns handles, so handles must not import it. They call the interceptors through `Outbound`,
a protocol with the calls that handles and iterators make. `Client` and `OutboundInterceptor` satisfy the protocols.
"""

from __future__ import annotations

from typing import Any, Protocol

from perdure.client import inputs
from perdure.client.caller import CallingClient
from perdure.client.executions import WorkflowExecutionDescription
from perdure.client.history import WorkflowHistoryEventAsyncIterator
from perdure.client.update_handle import WorkflowUpdateHandle
from perdure.common import QueryRejectCondition
from perdure.converter import DataConverter


class Outbound(Protocol):
    """The outermost interceptor. `OutboundInterceptor` describes its methods."""

    async def cancel_workflow(self, input: inputs.CancelWorkflowInput) -> None: ...
    async def describe_workflow(
        self, input: inputs.DescribeWorkflowInput
    ) -> WorkflowExecutionDescription: ...
    def fetch_workflow_history_events(
        self, input: inputs.FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator: ...
    async def query_workflow(self, input: inputs.QueryWorkflowInput) -> Any: ...
    async def signal_workflow(self, input: inputs.SignalWorkflowInput) -> None: ...
    async def terminate_workflow(self, input: inputs.TerminateWorkflowInput) -> None: ...
    async def start_workflow_update(
        self, input: inputs.StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]: ...
    async def heartbeat_async_activity(self, input: inputs.HeartbeatAsyncActivityInput) -> None: ...
    async def complete_async_activity(self, input: inputs.CompleteAsyncActivityInput) -> None: ...
    async def fail_async_activity(self, input: inputs.FailAsyncActivityInput) -> None: ...
    async def report_cancellation_async_activity(
        self, input: inputs.ReportCancellationAsyncActivityInput
    ) -> None: ...


class HandleClient(CallingClient, Protocol):
    """A client whose handles call through its interceptors."""

    @property
    def outbound(self) -> Outbound:
        """The chain of interceptors."""
        ...

    @property
    def data_converter(self) -> DataConverter:
        """How values and errors travel."""
        ...

    @property
    def default_workflow_query_reject_condition(self) -> QueryRejectCondition | None:
        """For queries that do not say."""
        ...
