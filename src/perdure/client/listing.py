"""Lists of workflow executions, fetched page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

from perdure.client.enums import WorkflowHistoryEventFilterType
from perdure.client.executions import WorkflowExecution, execution_from_info
from perdure.client.history import WorkflowHistory
from perdure.client.inputs import FetchWorkflowHistoryEventsInput, ListWorkflowsInput
from perdure.client.outbound import HandleClient
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE


class WorkflowExecutionAsyncIterator:
    """An async iterator of workflow executions. Pages are fetched as needed; most callers need only `async for`.

    Args:
        client: Makes the calls.
        input: What to list.
    """

    def __init__(self, client: HandleClient, input: ListWorkflowsInput) -> None:
        self._client = client
        self._input = input
        self._next_page_token = input.next_page_token
        self._current_page: Sequence[WorkflowExecution] | None = None
        self._current_page_index = 0
        self._yielded = 0

    @property
    def current_page_index(self) -> int:
        """The index of the next entry in the current page."""
        return self._current_page_index

    @property
    def current_page(self) -> Sequence[WorkflowExecution] | None:
        """The page that was fetched last; None before the first."""
        return self._current_page

    @property
    def next_page_token(self) -> bytes | None:
        """The token of the next page; None if there is none."""
        return self._next_page_token

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page.

        Args:
            page_size: Largest number of entries of the page. None: that of the input.

        Raises:
            RPCError: The service refused the call, or could not be reached.
        """
        input, caller = self._input, self._client.caller
        size = page_size or input.page_size
        if input.limit is not None:
            size = min(size, input.limit - self._yielded)
        response: pb.ListWorkflowExecutionsResponse = await self._client.service_client.call(
            WORKFLOW_SERVICE["ListWorkflowExecutions"],
            pb.ListWorkflowExecutionsRequest(
                namespace=caller.namespace,
                page_size=size,
                next_page_token=self._next_page_token or b"",
                query=input.query or "",
            ),
            metadata=input.rpc_metadata,
            timeout=input.rpc_timeout,
        )
        self._current_page = [
            execution_from_info(info, caller.namespace, caller.data_converter)
            for info in response.executions
        ]
        self._current_page_index = 0
        self._next_page_token = response.next_page_token or None

    def __aiter__(self) -> WorkflowExecutionAsyncIterator:
        return self

    async def __anext__(self) -> WorkflowExecution:
        if self._input.limit is not None and self._yielded >= self._input.limit:
            raise StopAsyncIteration
        while self._current_page is None or self._current_page_index >= len(self._current_page):
            if self._current_page is not None and self._next_page_token is None:
                raise StopAsyncIteration
            await self.fetch_next_page()
        execution = self._current_page[self._current_page_index]
        self._current_page_index += 1
        self._yielded += 1
        return execution

    async def map_histories(
        self,
        *,
        event_filter_type: WorkflowHistoryEventFilterType = WorkflowHistoryEventFilterType.ALL_EVENT,
        skip_archival: bool = False,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> AsyncIterator[WorkflowHistory]:
        """Fetch the history of each execution, one after the other.

        Args:
            event_filter_type: Which events.
            skip_archival: Do not read archives.
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            An async iterator of histories, for instance for `Replayer.replay_workflows`.

        Raises:
            RPCError: The service refused the call, or could not be reached.
        """
        async for execution in self:
            events = self._client.outbound.fetch_workflow_history_events(
                FetchWorkflowHistoryEventsInput(
                    id=execution.id,
                    run_id=execution.run_id,
                    page_size=None,
                    next_page_token=None,
                    wait_new_event=False,
                    event_filter_type=event_filter_type,
                    skip_archival=skip_archival,
                    rpc_metadata=rpc_metadata or {},
                    rpc_timeout=rpc_timeout,
                )
            )
            yield WorkflowHistory(execution.id, [event async for event in events])
