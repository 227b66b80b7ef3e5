"""Handles of workflows: everything that a client can do with a workflow that was started."""

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
    """A workflow, identified by its id and possibly its run. `Client.start_workflow` and `get_workflow_handle` make it.

    Args:
        client: Makes the calls.
        id: The workflow id.
        run_id: One run of it, to which all calls go. None: the run that is current at each call.
        result_run_id: The run with which `result` begins.
        first_execution_run_id: The first run of the chain.
        result_type: Type to convert the result to.
        start_workflow_response: The answer to the start that made the handle.
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
        """The workflow id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run to which all calls go; None for the current one. Starting a workflow does not set it."""
        return self._run_id

    @property
    def result_run_id(self) -> str | None:
        """The run with which `result` begins; None for the current one."""
        return self._result_run_id

    @property
    def first_execution_run_id(self) -> str | None:
        """The first run of the chain. If it is set, `cancel` and `terminate` refuse another chain with the same id."""
        return self._first_execution_run_id

    @property
    def start_workflow_response(
        self,
    ) -> pb.StartWorkflowExecutionResponse | pb.SignalWithStartWorkflowExecutionResponse | None:
        """The answer to the start that made this handle; None for other handles."""
        return self._start_workflow_response

    async def result(
        self,
        *,
        follow_runs: bool = True,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> ReturnType:
        """Wait until the workflow has closed. The wait survives restarts of the service.

        Args:
            follow_runs: Whether to continue with the run that a continue-as-new, a retry or a cron schedule started.
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of each call, not of all together; `asyncio.timeout` limits those.

        Returns:
            The workflow's result.

        Raises:
            WorkflowFailureError: The workflow did not complete. The cause says why.
            WorkflowContinuedAsNewError: The run continued as new, and runs are not followed.
            RPCError: The service refused the call, or could not be reached.

        Example:
            ```python
            @workflow.defn
            class Countdown:
                @workflow.run
                async def run(self, days: int) -> str:
                    if days == 0:
                        return "lift-off"
                    workflow.continue_as_new(days - 1)


            async with Worker(client, task_queue="rockets", workflows=[Countdown]):
                handle = await client.start_workflow(
                    Countdown.run, 3, id="rocket-7", task_queue="rockets"
                )
                assert await handle.result() == "lift-off"
            ```
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
        """Request cancellation of the workflow. Returns when the request is recorded.

        The workflow gets an `asyncio.CancelledError` and decides what to do.

        Args:
            reason: Recorded with the request; the workflow finds it in `workflow.cancellation_reason`.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist or has closed.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.query
                def state(self) -> str:
                    return "unpaid"

                @workflow.run
                async def run(self) -> str:
                    try:
                        await workflow.sleep(timedelta(days=1))
                    except asyncio.CancelledError:
                        return f"cancelled: {workflow.cancellation_reason()}"
                    return "paid"


            async with Worker(client, task_queue="orders", workflows=[Order]):
                order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
                assert await order.query(Order.state) == "unpaid"  # it has begun
                await order.cancel(reason="out of stock")
                assert await order.result() == "cancelled: out of stock"
            ```
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
        """Close the workflow at once, without running its code.

        Args:
            args: Values to record with the termination.
            reason: Recorded with the termination.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist or has closed.

        Example:
            ```python
            from perdure.client import WorkflowExecutionStatus


            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> None:
                    await workflow.sleep(timedelta(days=1))


            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await order.terminate(reason="test order")
            assert (await order.describe()).status is WorkflowExecutionStatus.TERMINATED
            ```
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
        """Describe the workflow: status, times, memo, pending activities.

        Args:
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            The description of the handle's run, or of the current one.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist.

        Example:
            ```python
            from perdure.client import WorkflowExecutionStatus


            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> None:
                    await workflow.sleep(timedelta(days=1))


            order = await client.start_workflow(
                Order.run, id="order-7", task_queue="orders", memo={"customer": "Ada"}
            )
            description = await order.describe()
            assert description.status is WorkflowExecutionStatus.RUNNING
            assert await description.memo_value("customer") == "Ada"
            ```
        """
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
        """Fetch all events.

        Args:
            event_filter_type: Which events.
            skip_archival: Do not read archives.
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            The events of the handle's run, or of the current one, as one value.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> str:
                    return "paid"


            async with Worker(client, task_queue="orders", workflows=[Order]):
                order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
                await order.result()
            history = await order.fetch_history()
            assert len(history.events) == 5
            assert '"eventId": "1"' in history.to_json()
            ```
        """
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
        """Fetch the events. Pages are fetched during the iteration.

        Args:
            page_size: Largest number of events of a page. None: the service chooses.
            next_page_token: Where to begin. None: at the start.
            wait_new_event: Whether to wait for further events until the run has closed.
            event_filter_type: Which events.
            skip_archival: Do not read archives.
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            An async iterator of events.

        Raises:
            RPCError: From the iterator, when the service refuses a call.
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
        """Query the workflow.

        Args:
            query: The `@workflow.query` method, or the query's name.
            arg: Its argument, if it takes exactly one.
            args: Its arguments, if it takes several. Do not give both.
            result_type: Type to convert the result to, for a query given by name. Otherwise it is the method's.
            reject_condition: The states of the workflow in which the query is refused. None: the client's default.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            The query's result.

        Raises:
            WorkflowQueryFailedError: The handler raised, or there is none.
            WorkflowQueryRejectedError: The reject condition was met.
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.query
                def price(self, currency: str) -> str:
                    return f"42 {currency}"

                @workflow.run
                async def run(self) -> None:
                    await workflow.sleep(timedelta(days=1))


            async with Worker(client, task_queue="orders", workflows=[Order]):
                order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
                assert await order.query(Order.price, "EUR") == "42 EUR"
            ```
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
        """Signal the workflow. Returns when the signal is recorded, which may be before it is handled.

        Args:
            signal: The `@workflow.signal` method, or the signal's name.
            arg: Its argument, if it takes exactly one.
            args: Its arguments, if it takes several. Do not give both.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Raises:
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist or has closed.

        Example:
            ```python
            @workflow.defn
            class Order:
                def __init__(self) -> None:
                    self.paid_by = ""

                @workflow.signal
                def pay(self, customer: str) -> None:
                    self.paid_by = customer

                @workflow.run
                async def run(self) -> str:
                    await workflow.wait_condition(lambda: self.paid_by != "")
                    return self.paid_by


            async with Worker(client, task_queue="orders", workflows=[Order]):
                order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
                await order.signal(Order.pay, "Ada")
                assert await order.result() == "Ada"
            ```
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
        """Send an update and wait for its result.

        Args:
            update: The `@workflow.update` method, or the update's name.
            arg: Its argument, if it takes exactly one.
            args: Its arguments, if it takes several. Do not give both.
            id: The update's id. Calls with the same id are one update. None: a new id.
            result_type: Type to convert the result to, for an update given by name. Otherwise it is the method's.
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            The update's result.

        Raises:
            WorkflowUpdateFailedError: The update was rejected or failed. The cause says why.
            WorkflowUpdateRPCTimeoutOrCancelledError: A call timed out or was cancelled. The update continues.
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist or has closed.

        Example:
            ```python
            @workflow.defn
            class Cart:
                def __init__(self) -> None:
                    self.items: list[str] = []

                @workflow.update
                async def add(self, item: str) -> int:
                    self.items.append(item)
                    return len(self.items)

                @workflow.run
                async def run(self) -> None:
                    await workflow.sleep(timedelta(days=1))


            async with Worker(client, task_queue="carts", workflows=[Cart]):
                cart = await client.start_workflow(Cart.run, id="cart-7", task_queue="carts")
                assert await cart.execute_update(Cart.add, "book") == 1
                assert await cart.execute_update(Cart.add, "pen") == 2
            ```
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
        """Send an update and wait until it has reached a stage.

        Args:
            update: The `@workflow.update` method, or the update's name.
            arg: Its argument, if it takes exactly one.
            args: Its arguments, if it takes several. Do not give both.
            wait_for_stage: `ACCEPTED` or `COMPLETED`.
            id: The update's id. Calls with the same id are one update. None: a new id.
            result_type: Type to convert the result to, for an update given by name. Otherwise it is the method's.
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            The handle of the update.

        Raises:
            ValueError: `wait_for_stage` is `ADMITTED`.
            WorkflowUpdateRPCTimeoutOrCancelledError: A call timed out or was cancelled. The update continues.
            RPCError: The service refused the call: NOT_FOUND when the workflow does not exist or has closed.

        Example:
            ```python
            from perdure.client import WorkflowUpdateStage


            @workflow.defn
            class Order:
                @workflow.update
                async def ship(self, address: str) -> str:
                    await workflow.sleep(timedelta(days=2))
                    return f"delivered to {address}"

                @workflow.run
                async def run(self) -> None:
                    await workflow.sleep(timedelta(days=30))


            async with Worker(client, task_queue="orders", workflows=[Order]):
                order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
                shipping = await order.start_update(
                    Order.ship,
                    "Main Street 1",
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                    id="ship-7",
                )
                assert shipping.id == "ship-7"
            ```
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
        """Get a handle to an update that was sent before. Nothing is sent.

        Args:
            id: The update's id.
            workflow_run_id: The run that it was sent to. None: the handle's run.
            result_type: Type to convert the result to.

        Returns:
            The handle of the update.
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
        """Get a handle with the result type of a `@workflow.update` method. Nothing is sent.

        Args:
            update: The method.
            id: The update's id.
            workflow_run_id: The run that it was sent to. None: the handle's run.

        Returns:
            The handle of the update.
        """
        target = handler_target("update", update)
        return self.get_update_handle(
            id, workflow_run_id=workflow_run_id, result_type=target.ret_type
        )
