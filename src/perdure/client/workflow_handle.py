"""Handles of workflows: everything one can do with one that was started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Generic, cast, overload

from perdure.client import inputs, results
from perdure.client.enums import WorkflowHistoryEventFilterType, WorkflowUpdateStage
from perdure.client.executions import WorkflowExecutionDescription
from perdure.client.history import WorkflowHistory, WorkflowHistoryEventAsyncIterator
from perdure.client.names import handler_target
from perdure.client.outbound import HandleClient
from perdure.client.update_handle import WorkflowUpdateHandle
from perdure.common import QueryRejectCondition
from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
    LocalReturnType,
    MethodSyncOrAsyncNoParam,
    MethodSyncOrAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)
from perdure.wire.api import workflowservice as pb

if TYPE_CHECKING:
    from perdure.workflow import UpdateMethodMultiParam


class WorkflowHandle(Generic[SelfType, ReturnType]):
    """A workflow by its id, and possibly its run. `Client.start_workflow` and `get_workflow_handle` make these.

    Every method takes ``rpc_metadata`` (headers that win over the client's) and ``rpc_timeout`` (for one try of one
    call), and may raise `perdure.service.RPCError`.
    """

    def __init__(
        self,
        client: HandleClient,
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
        return await results.of_chain(
            self._client,
            inputs.FetchWorkflowHistoryEventsInput(
                id=self._id,
                run_id=self._result_run_id,
                page_size=None,
                next_page_token=None,
                wait_new_event=True,
                event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT,
                skip_archival=True,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            ),
            follow_runs=follow_runs,
            result_type=self._result_type,
        )

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
        return self._client.outbound.fetch_workflow_history_events(
            inputs.FetchWorkflowHistoryEventsInput(
                id=self._id,
                run_id=self._run_id,
                page_size=page_size,
                next_page_token=next_page_token,
                wait_new_event=wait_new_event,
                event_filter_type=event_filter_type,
                skip_archival=skip_archival,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )

    # ── queries and signals ───────────────────────────────────────────────────────────────────────

    # Overloads generated by scripts/generate_overloads.py.
    @overload
    async def query(
        self,
        query: MethodSyncOrAsyncNoParam[SelfType, LocalReturnType],
        *,
        reject_condition: QueryRejectCondition | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> LocalReturnType: ...
    @overload
    async def query(
        self,
        query: MethodSyncOrAsyncSingleParam[SelfType, ParamType, LocalReturnType],
        arg: ParamType,
        *,
        reject_condition: QueryRejectCondition | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> LocalReturnType: ...
    @overload
    async def query(
        self,
        query: Callable[
            Concatenate[SelfType, MultiParamSpec], Awaitable[LocalReturnType] | LocalReturnType
        ],
        *,
        args: Sequence[Any],
        reject_condition: QueryRejectCondition | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> LocalReturnType: ...
    @overload
    async def query(
        self,
        query: str,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        reject_condition: QueryRejectCondition | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any: ...
    async def query(
        self,
        query: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        reject_condition: QueryRejectCondition | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Ask the workflow something.

        Args:
            query: The decorated method, or the query's name.
            arg: Its only argument.
            args: Its arguments, when there are several.
            result_type: What to convert the result to; taken from the method otherwise.
            reject_condition: When not to ask; the client's default unless given.
            rpc_metadata: Headers of the call.
            rpc_timeout: For one try.

        Raises:
            WorkflowQueryFailedError: The handler raised.
            WorkflowQueryRejectedError: The reject condition held.
        """
        target = handler_target("query", query)
        arguments = arg_or_args(arg, args)
        target.check(arguments, "Query", self._client.data_converter.payload_converter)
        return await self._client.outbound.query_workflow(
            inputs.QueryWorkflowInput(
                id=self._id,
                run_id=self._run_id,
                query=target.name,
                args=arguments,
                reject_condition=reject_condition
                or self._client.default_workflow_query_reject_condition,
                headers={},
                ret_type=result_type or target.ret_type,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )

    # Overloads generated by scripts/generate_overloads.py.
    @overload
    async def signal(
        self,
        signal: MethodSyncOrAsyncNoParam[SelfType, None],
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: MethodSyncOrAsyncSingleParam[SelfType, ParamType, None],
        arg: ParamType,
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[None] | None],
        *,
        args: Sequence[Any],
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: str,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Tell the workflow something. Returns when it is recorded.

        Args:
            signal: The decorated method, or the signal's name.
            arg: Its only argument.
            args: Its arguments, when there are several.
            rpc_metadata: Headers of the call.
            rpc_timeout: For one try.
        """
        target = handler_target("signal", signal)
        arguments = arg_or_args(arg, args)
        target.check(arguments, "Signal", self._client.data_converter.payload_converter)
        await self._client.outbound.signal_workflow(
            inputs.SignalWorkflowInput(
                id=self._id,
                run_id=self._run_id,
                signal=target.name,
                args=arguments,
                headers={},
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )

    # ── updates ───────────────────────────────────────────────────────────────────────────────────

    # Overloads generated by scripts/generate_overloads.py.
    @overload
    async def execute_update(
        self,
        update: UpdateMethodMultiParam[[SelfType], LocalReturnType],
        *,
        id: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> LocalReturnType: ...
    @overload
    async def execute_update(
        self,
        update: UpdateMethodMultiParam[[SelfType, ParamType], LocalReturnType],
        arg: ParamType,
        *,
        id: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> LocalReturnType: ...
    @overload
    async def execute_update(
        self,
        update: UpdateMethodMultiParam[MultiParamSpec, LocalReturnType],
        *,
        args: Sequence[Any],
        id: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> LocalReturnType: ...
    @overload
    async def execute_update(
        self,
        update: str,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any: ...
    async def execute_update(
        self,
        update: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Send an update and wait for its result. Parameters as in `start_update`.

        Raises:
            WorkflowUpdateFailedError: It was rejected, or failed.
            WorkflowUpdateRPCTimeoutOrCancelledError: A call timed out or was cancelled; the update goes on.
        """
        handle: WorkflowUpdateHandle[Any] = await self.start_update(
            cast("Any", update),
            arg,
            args=args,
            wait_for_stage=WorkflowUpdateStage.COMPLETED,
            id=id,
            result_type=result_type,
            rpc_metadata=rpc_metadata,
            rpc_timeout=rpc_timeout,
        )
        return await handle.result()

    # Overloads generated by scripts/generate_overloads.py.
    @overload
    async def start_update(
        self,
        update: UpdateMethodMultiParam[[SelfType], LocalReturnType],
        *,
        wait_for_stage: WorkflowUpdateStage,
        id: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...
    @overload
    async def start_update(
        self,
        update: UpdateMethodMultiParam[[SelfType, ParamType], LocalReturnType],
        arg: ParamType,
        *,
        wait_for_stage: WorkflowUpdateStage,
        id: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...
    @overload
    async def start_update(
        self,
        update: UpdateMethodMultiParam[MultiParamSpec, LocalReturnType],
        *,
        args: Sequence[Any],
        wait_for_stage: WorkflowUpdateStage,
        id: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowUpdateHandle[LocalReturnType]: ...
    @overload
    async def start_update(
        self,
        update: str,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        wait_for_stage: WorkflowUpdateStage,
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowUpdateHandle[Any]: ...
    async def start_update(
        self,
        update: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        wait_for_stage: WorkflowUpdateStage,
        id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowUpdateHandle[Any]:
        """Send an update and wait until it has come as far as `wait_for_stage`.

        Args:
            update: The decorated method, or the update's name.
            arg: Its only argument.
            args: Its arguments, when there are several.
            wait_for_stage: ``ACCEPTED`` or ``COMPLETED``.
            id: Makes repeated calls one update; a new one unless given.
            result_type: What to convert the result to; taken from the method otherwise.
            rpc_metadata: Headers of each call.
            rpc_timeout: For one try.

        Raises:
            ValueError: `wait_for_stage` is ``ADMITTED``.
            WorkflowUpdateRPCTimeoutOrCancelledError: A call timed out or was cancelled.
        """
        arguments = arg_or_args(arg, args)
        if wait_for_stage is WorkflowUpdateStage.ADMITTED:
            raise ValueError("ADMITTED wait stage not supported")
        target = handler_target("update", update)
        target.check(arguments, "Update", self._client.data_converter.payload_converter)
        return await self._client.outbound.start_workflow_update(
            inputs.StartWorkflowUpdateInput(
                id=self._id,
                run_id=self._run_id,
                first_execution_run_id=self._first_execution_run_id,
                update_id=id,
                update=target.name,
                args=arguments,
                wait_for_stage=wait_for_stage,
                headers={},
                ret_type=result_type or target.ret_type,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
            )
        )

    def get_update_handle(
        self, id: str, *, workflow_run_id: str | None = None, result_type: type | None = None
    ) -> WorkflowUpdateHandle[Any]:
        """A handle of an update that was sent before; nothing is sent now.

        Args:
            id: The update's id.
            workflow_run_id: Its run; this handle's unless given.
            result_type: What to convert the result to.
        """
        return WorkflowUpdateHandle(
            self._client,
            id,
            self._id,
            workflow_run_id=workflow_run_id or self._run_id,
            result_type=result_type,
        )

    def get_update_handle_for(
        self,
        update: UpdateMethodMultiParam[Any, LocalReturnType],
        id: str,
        *,
        workflow_run_id: str | None = None,
    ) -> WorkflowUpdateHandle[LocalReturnType]:
        """`get_update_handle` with the result type of a decorated method."""
        target = handler_target("update", update)
        return self.get_update_handle(
            id, workflow_run_id=workflow_run_id, result_type=target.ret_type
        )
