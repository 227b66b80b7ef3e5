"""Handles of workflows: everything one can do with one that was started.

Queries and signals are in `handle_messages`, updates in `handle_updates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic

from perdure.client import inputs, results
from perdure.client.errors import WorkflowContinuedAsNewError, WorkflowFailureError
from perdure.client.handle_messages import HandleMessages
from perdure.client.handle_updates import HandleUpdates
from perdure.client.history import (
    WorkflowHistory,
    WorkflowHistoryEventAsyncIterator,
    WorkflowHistoryEventFilterType,
)
from perdure.types import ReturnType, SelfType
from perdure.wire.api import workflowservice as pb

if TYPE_CHECKING:
    from perdure.client.client import Client
    from perdure.client.executions import WorkflowExecutionDescription


class WorkflowHandle(
    HandleMessages[SelfType], HandleUpdates[SelfType], Generic[SelfType, ReturnType]
):
    """A workflow by its id, and possibly its run. `Client.start_workflow` and `get_workflow_handle` make these.

    Every method takes ``rpc_metadata`` (headers that win over the client's) and ``rpc_timeout`` (for one try of one
    call), and may raise `perdure.service.RPCError`.
    """

    def __init__(
        self,
        client: Client,
        id: str,
        *,
        run_id: str | None = None,
        result_run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: type | None = None,
        start_workflow_response: pb.StartWorkflowExecutionResponse
        | pb.SignalWithStartWorkflowExecutionResponse
        | None = None,
    ) -> None:
        self._client = client
        self._id = id
        self._run_id = run_id
        self._result_run_id = result_run_id
        self._first_execution_run_id = first_execution_run_id
        self._result_type = result_type
        self._start_workflow_response = start_workflow_response

    @property
    def id(self) -> str:
        """The workflow's id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run that every call goes to; None for the current one. A start does not set it."""
        return self._run_id

    @property
    def result_run_id(self) -> str | None:
        """The run that `result` begins with."""
        return self._result_run_id

    @property
    def first_execution_run_id(self) -> str | None:
        """The first run of the chain; `cancel` and `terminate` refuse another chain of the same id."""
        return self._first_execution_run_id

    @property
    def start_workflow_response(
        self,
    ) -> pb.StartWorkflowExecutionResponse | pb.SignalWithStartWorkflowExecutionResponse | None:
        """What the service answered to the start that made this handle."""
        return self._start_workflow_response

    async def result(
        self,
        *,
        follow_runs: bool = True,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> ReturnType:
        """Wait until the workflow has closed. Outlives restarts of the service.

        Args:
            follow_runs: Go on with the run that a continue-as-new, retry or cron schedule led to.
            rpc_metadata: Headers of each call.
            rpc_timeout: For each call, not for all together (``asyncio.timeout`` does that).

        Raises:
            WorkflowFailureError: It did not complete; the cause says why.
            WorkflowContinuedAsNewError: It continued as new, and runs are not followed.
        """
        converter = self._client.caller.converter_for(self._id)
        run_id = self._result_run_id
        while True:
            event = await results.close_event(
                self._fetch_events(
                    run_id,
                    wait_new_event=True,
                    event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT,
                    skip_archival=True,
                    rpc_metadata=rpc_metadata,
                    rpc_timeout=rpc_timeout,
                )
            )
            successor = results.successor_run_id(event)
            if successor and follow_runs:
                run_id = successor
                continue
            if event.HasField("workflow_execution_continued_as_new_event_attributes"):
                raise WorkflowContinuedAsNewError(successor)
            cause = await results.failure_cause(event, converter)
            if cause is not None:
                raise WorkflowFailureError(cause=cause)
            return await results.value(event, converter, self._result_type)

    async def cancel(
        self,
        *,
        reason: str = "",
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Ask the workflow to cancel itself.

        Args:
            reason: Recorded, and visible inside the workflow.
            rpc_metadata: Headers of the call.
            rpc_timeout: For one try.
        """
        await self._client.outbound.cancel_workflow(
            inputs.CancelWorkflowInput(
                id=self._id,
                run_id=self._run_id,
                first_execution_run_id=self._first_execution_run_id,
                reason=reason,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )

    async def terminate(
        self,
        *args: Any,
        reason: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Close the workflow at once, without asking it.

        Args:
            args: Details to record.
            reason: Recorded.
            rpc_metadata: Headers of the call.
            rpc_timeout: For one try.
        """
        await self._client.outbound.terminate_workflow(
            inputs.TerminateWorkflowInput(
                id=self._id,
                run_id=self._run_id,
                first_execution_run_id=self._first_execution_run_id,
                args=args,
                reason=reason,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )

    async def describe(
        self,
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionDescription:
        """Where the workflow stands."""
        return await self._client.outbound.describe_workflow(
            inputs.DescribeWorkflowInput(
                id=self._id,
                run_id=self._run_id,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )

    async def fetch_history(
        self,
        *,
        event_filter_type: WorkflowHistoryEventFilterType = WorkflowHistoryEventFilterType.ALL_EVENT,
        skip_archival: bool = False,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowHistory:
        """All events as one value; parameters as in `fetch_history_events`."""
        events = self.fetch_history_events(
            event_filter_type=event_filter_type,
            skip_archival=skip_archival,
            rpc_metadata=rpc_metadata,
            rpc_timeout=rpc_timeout,
        )
        return WorkflowHistory(self._id, [event async for event in events])

    def fetch_history_events(
        self,
        *,
        page_size: int | None = None,
        next_page_token: bytes | None = None,
        wait_new_event: bool = False,
        event_filter_type: WorkflowHistoryEventFilterType = WorkflowHistoryEventFilterType.ALL_EVENT,
        skip_archival: bool = False,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowHistoryEventAsyncIterator:
        """The events, fetched as they are iterated over.

        Args:
            page_size: Most events of a page; None for the service's choice.
            next_page_token: Where to begin.
            wait_new_event: Wait for further events until the workflow has closed.
            event_filter_type: Which events.
            skip_archival: Do not look into archives.
            rpc_metadata: Headers of each call.
            rpc_timeout: For each call.
        """
        return self._fetch_events(
            self._run_id,
            page_size=page_size,
            next_page_token=next_page_token,
            wait_new_event=wait_new_event,
            event_filter_type=event_filter_type,
            skip_archival=skip_archival,
            rpc_metadata=rpc_metadata,
            rpc_timeout=rpc_timeout,
        )

    def _fetch_events(
        self,
        run_id: str | None,
        *,
        page_size: int | None = None,
        next_page_token: bytes | None = None,
        wait_new_event: bool,
        event_filter_type: WorkflowHistoryEventFilterType,
        skip_archival: bool,
        rpc_metadata: Mapping[str, str | bytes] | None,
        rpc_timeout: timedelta | None,
    ) -> WorkflowHistoryEventAsyncIterator:
        return self._client.outbound.fetch_workflow_history_events(
            inputs.FetchWorkflowHistoryEventsInput(
                id=self._id,
                run_id=run_id,
                page_size=page_size,
                next_page_token=next_page_token,
                wait_new_event=wait_new_event,
                event_filter_type=event_filter_type,
                skip_archival=skip_archival,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )
