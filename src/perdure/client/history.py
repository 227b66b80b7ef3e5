"""Histories as values, and fetching them page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perdure.client.caller import CallingClient
from perdure.client.inputs import FetchWorkflowHistoryEventsInput
from perdure.wire import history_json
from perdure.wire.api import common as common_pb
from perdure.wire.api import history as history_pb
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE


@dataclass(frozen=True)
class WorkflowHistory:
    """A workflow id with the events of one run.

    Attributes:
        workflow_id: The workflow id.
        events: The events, in order.

    Example:
        ```python
        from perdure.client import WorkflowHistory


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                return "paid"


        async with Worker(client, task_queue="orders", workflows=[Order]):
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await order.result()
        history = await order.fetch_history()
        assert WorkflowHistory.from_json("order-7", history.to_json()) == history
        ```
    """

    workflow_id: str
    events: Sequence[history_pb.HistoryEvent]

    @property
    def run_id(self) -> str:
        """The run id, as in the first event.

        Raises:
            RuntimeError: The first event is missing, or is not the start.
        """
        if not self.events:
            raise RuntimeError("No events")
        first = self.events[0]
        if not first.HasField("workflow_execution_started_event_attributes"):
            raise RuntimeError("First event is not workflow start")
        return first.workflow_execution_started_event_attributes.original_execution_run_id

    @staticmethod
    def from_json(workflow_id: str, history: str | dict[str, Any]) -> WorkflowHistory:
        """Read JSON as `to_json`, the command lines and the web UI write it.

        Args:
            workflow_id: The workflow id, which JSON does not contain.
            history: JSON text, or a JSON-like dictionary.

        Raises:
            ValueError: It is not a history.
        """
        return WorkflowHistory(workflow_id, list(history_json.history_from_json(history).events))

    def to_json(self) -> str:
        """The events as JSON text, without the workflow id."""
        return history_json.history_to_json(history_pb.History(events=self.events))

    def to_json_dict(self) -> dict[str, Any]:
        """The events as a JSON-like dictionary, without the workflow id."""
        return history_json.history_to_dict(history_pb.History(events=self.events))


class WorkflowHistoryEventAsyncIterator:
    """An async iterator of events. Pages are fetched as needed; most callers need only `async for`.

    Args:
        client: Makes the calls.
        input: What to fetch.
    """

    def __init__(self, client: CallingClient, input: FetchWorkflowHistoryEventsInput) -> None:
        self._client = client
        self._input = input
        self._next_page_token = input.next_page_token
        self._current_page: Sequence[history_pb.HistoryEvent] | None = None
        self._current_page_index = 0

    @property
    def current_page_index(self) -> int:
        """The index of the next event in the current page."""
        return self._current_page_index

    @property
    def current_page(self) -> Sequence[history_pb.HistoryEvent] | None:
        """The page that was fetched last; None before the first."""
        return self._current_page

    @property
    def next_page_token(self) -> bytes | None:
        """The token of the next page; None if there is none."""
        return self._next_page_token

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page.

        Args:
            page_size: Largest number of events of the page. None: that of the input.

        Raises:
            RPCError: The service refused the call, or could not be reached.
        """
        input = self._input
        request = pb.GetWorkflowExecutionHistoryRequest(
            namespace=self._client.caller.namespace,
            execution=common_pb.WorkflowExecution(workflow_id=input.id, run_id=input.run_id or ""),
            maximum_page_size=page_size or input.page_size or 0,
            next_page_token=self._next_page_token or b"",
            wait_new_event=input.wait_new_event,
            history_event_filter_type=int(input.event_filter_type),  # pyright: ignore[reportArgumentType]
            skip_archival=input.skip_archival,
        )
        response: pb.GetWorkflowExecutionHistoryResponse = await self._client.service_client.call(
            WORKFLOW_SERVICE["GetWorkflowExecutionHistory"],
            request,
            metadata=input.rpc_metadata,
            timeout=input.rpc_timeout,
        )
        assert not response.raw_history, "raw history is for servers"
        self._current_page = list(response.history.events)
        self._current_page_index = 0
        self._next_page_token = response.next_page_token or None

    def __aiter__(self) -> WorkflowHistoryEventAsyncIterator:
        return self

    async def __anext__(self) -> history_pb.HistoryEvent:
        while self._current_page is None or self._current_page_index >= len(self._current_page):
            if self._current_page is not None and self._next_page_token is None:
                raise StopAsyncIteration
            await self.fetch_next_page()
        event = self._current_page[self._current_page_index]
        self._current_page_index += 1
        return event
