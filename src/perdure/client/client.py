"""`Client`: the entry point to everything except running workflows and activities."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, Self, Unpack, overload

from perdure.client import inputs
from perdure.client.async_activity import AsyncActivityHandle
from perdure.client.caller import Caller
from perdure.client.config import ClientConfig, Plugin
from perdure.client.executions import WorkflowExecutionCount
from perdure.client.impl import ClientImpl
from perdure.client.interceptor import Interceptor, OutboundInterceptor
from perdure.client.listing import WorkflowExecutionAsyncIterator
from perdure.client.names import workflow_target
from perdure.client.options import StartWorkflowOptions
from perdure.client.workflow_handle import WorkflowHandle
from perdure.common import HeaderCodecBehavior, QueryRejectCondition, TypedSearchAttributes
from perdure.common.signatures import UNSET, arg_or_args
from perdure.converter import DataConverter
from perdure.service import (
    ConnectConfig,
    Connection,
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    OperatorService,
    PayloadLimitsConfig,
    RetryConfig,
    ServiceClient,
    TestService,
    TLSConfig,
    WorkflowService,
)
from perdure.types import (
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)


class Client:
    """A client of a server, or of an engine in this process. It belongs to the event loop in which it was connected.

    Args:
        service_client: The connection.
        namespace: The namespace of all calls.
        data_converter: Converts values and errors.
        plugins: Earlier ones wrap later ones.
        interceptors: Earlier ones wrap later ones.
        default_workflow_query_reject_condition: For queries that give none.
        header_codec_behavior: Whether headers pass through the payload codec.

    Example:
        ```python
        from perdure.client import Client


        @workflow.defn
        class Greeting:
            @workflow.run
            async def run(self, name: str) -> str:
                return f"Hello, {name}!"


        async with (
            await Client.connect("memory:") as client,
            Worker(client, task_queue="greetings", workflows=[Greeting]),
        ):
            text = await client.execute_workflow(
                Greeting.run, "Ada", id="greeting-1", task_queue="greetings"
            )
        assert text == "Hello, Ada!"
        ```
    """

    @classmethod
    async def connect(
        cls,
        target_host: str,
        *,
        namespace: str = "default",
        api_key: str | None = None,
        data_converter: DataConverter = DataConverter.default,
        plugins: Sequence[Plugin] = (),
        interceptors: Sequence[Interceptor] = (),
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        tls: bool | TLSConfig | None = None,
        retry_config: RetryConfig | None = None,
        keep_alive_config: KeepAliveConfig | None = KeepAliveConfig.default,
        connect_timeout: timedelta | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        identity: str | None = None,
        lazy: bool = False,
        runtime: Any = None,
        http_connect_proxy_config: HttpConnectProxyConfig | None = None,
        dns_load_balancing_config: DnsLoadBalancingConfig | None = None,
        grpc_compression: GrpcCompression = GrpcCompression.NONE,
        payload_limits: PayloadLimitsConfig | None = None,
        header_codec_behavior: HeaderCodecBehavior = HeaderCodecBehavior.NO_CODEC,
        retention: timedelta | None = None,
    ) -> Self:
        """Connect to a server, or open an engine in this process.

        Args:
            target_host: `"localhost:7233"`, `"sqlite:orders.db"` or `"memory:"`.
            namespace: The namespace of all calls.
            api_key: Sent as `authorization: Bearer …`, unless `rpc_metadata` has that key. It turns TLS on.
            data_converter: Converts values and errors.
            plugins: Earlier ones wrap later ones.
            interceptors: Earlier ones wrap later ones.
            default_workflow_query_reject_condition: For queries that give none.
            tls: True: TLS with the system's certificates. A `TLSConfig`: TLS with these options. False: no TLS, even
                with an API key.
            retry_config: How failed calls are retried.
            keep_alive_config: Pings that notice a dead connection. None: no pings.
            connect_timeout: Time limit of one attempt to connect. None: 5 seconds.
            rpc_metadata: Headers of all calls.
            identity: Name shown in histories and logs. Default: `"{pid}@{host}"`.
            lazy: Connect with the first call. Workers cannot use such a client.
            runtime: Accepted for compatibility; not used.
            http_connect_proxy_config: An HTTP proxy to tunnel through.
            dns_load_balancing_config: Distribute calls over all addresses of the host's name.
            grpc_compression: Compression of requests.
            payload_limits: Sizes, in bytes, above which values that are sent cause a warning in the log.
            header_codec_behavior: Whether headers pass through the payload codec.
            retention: How long an engine in this process keeps closed runs of the namespace. It is stored in the
                database. Default: what is stored. A new database keeps them forever, as `timedelta.max` does.

        Returns:
            The connected client.

        Raises:
            RuntimeError: The service does not answer, or the database cannot be opened.
            ValueError: The target is malformed, or a retention was given for a server.

        Example:
            ```python
            from perdure.client import Client

            async with await Client.connect("memory:", namespace="default") as client:
                assert client.namespace == "default"
            ```
        """
        config = ConnectConfig(
            target_host=target_host,
            api_key=api_key,
            tls=tls,
            retry_config=retry_config,
            keep_alive_config=keep_alive_config,
            connect_timeout=connect_timeout,
            rpc_metadata=rpc_metadata or {},
            identity=identity or "",
            lazy=lazy,
            runtime=runtime,
            http_connect_proxy_config=http_connect_proxy_config,
            dns_load_balancing_config=dns_load_balancing_config,
            grpc_compression=grpc_compression,
            payload_limits=payload_limits or PayloadLimitsConfig(),
            retention=retention,
            namespace=namespace,
        )
        connect: Callable[[ConnectConfig], Awaitable[ServiceClient]] = ServiceClient.connect
        for plugin in reversed(plugins):
            connect = _wrapped(plugin, connect)
        return cls(
            await connect(config),
            namespace=namespace,
            data_converter=data_converter,
            plugins=plugins,
            interceptors=interceptors,
            default_workflow_query_reject_condition=default_workflow_query_reject_condition,
            header_codec_behavior=header_codec_behavior,
        )

    def __init__(
        self,
        service_client: ServiceClient,
        *,
        namespace: str = "default",
        data_converter: DataConverter = DataConverter.default,
        plugins: Sequence[Plugin] = (),
        interceptors: Sequence[Interceptor] = (),
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        header_codec_behavior: HeaderCodecBehavior = HeaderCodecBehavior.NO_CODEC,
    ) -> None:
        config = ClientConfig(
            service_client=service_client,
            namespace=namespace,
            data_converter=data_converter,
            plugins=plugins,
            interceptors=interceptors,
            default_workflow_query_reject_condition=default_workflow_query_reject_condition,
            header_codec_behavior=header_codec_behavior,
        )
        self._initial_config = config.copy()
        for plugin in plugins:
            config = plugin.configure_client(config)
        self._config = config
        self._caller: Caller | None = None
        outbound: OutboundInterceptor = ClientImpl(self)
        for interceptor in reversed(config["interceptors"]):
            outbound = interceptor.intercept_client(outbound)
        self._outbound = outbound

    def config(self, *, active_config: bool = False) -> ClientConfig:
        """A copy of the client's parameters, to make another client.

        Args:
            active_config: The parameters as the plugins have changed them. False: as they were given.
        """
        config = (self._config if active_config else self._initial_config).copy()
        config["interceptors"] = list(config["interceptors"])
        return config

    async def close(self) -> None:
        """Close the connection. An embedded engine shuts down with its last client."""
        await self.service_client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # ── properties ────────────────────────────────────────────────────────────────────────────────

    @property
    def service_client(self) -> ServiceClient:
        """The service client, for calls with the API's own messages."""
        return self._config["service_client"]

    @property
    def connection(self) -> Connection:
        """The connection underneath, as workers use it.

        Raises:
            RuntimeError: The client is lazy and has not connected yet.
        """
        return self.service_client.connection

    @property
    def workflow_service(self) -> WorkflowService:
        """The calls of the workflow service, with the API's own messages."""
        return self.service_client.workflow_service

    @property
    def operator_service(self) -> OperatorService:
        """The calls of the operator service, with the API's own messages."""
        return self.service_client.operator_service

    @property
    def test_service(self) -> TestService:
        """The calls of the test service, with the API's own messages."""
        return self.service_client.test_service

    @property
    def namespace(self) -> str:
        """The namespace of all calls."""
        return self._config["namespace"]

    @property
    def identity(self) -> str:
        """Name shown in histories and logs."""
        return self.service_client.config.identity

    @property
    def data_converter(self) -> DataConverter:
        """The converter of values and errors."""
        return self._config["data_converter"]

    @property
    def default_workflow_query_reject_condition(self) -> QueryRejectCondition | None:
        """The reject condition of queries that give none."""
        return self._config["default_workflow_query_reject_condition"]

    @property
    def rpc_metadata(self) -> Mapping[str, str | bytes]:
        """Headers of all calls. Assign a new mapping to change them."""
        return self.service_client.config.rpc_metadata

    @rpc_metadata.setter
    def rpc_metadata(self, value: Mapping[str, str | bytes]) -> None:
        self.service_client.update_rpc_metadata(value)

    @property
    def api_key(self) -> str | None:
        """The API key. Assign a new one to change it."""
        return self.service_client.config.api_key

    @api_key.setter
    def api_key(self, value: str | None) -> None:
        self.service_client.update_api_key(value)

    @property
    def outbound(self) -> OutboundInterceptor:
        """The chain of interceptors. For the library only."""
        return self._outbound

    @property
    def caller(self) -> Caller:
        """What requests are made from. For the library only."""
        known, identity = self._caller, self.identity
        if known is None or known.identity is not identity:
            # Made once: it is asked for three times per workflow. Only the identity can be assigned later.
            known = self._caller = Caller(
                namespace=self.namespace,
                identity=identity,
                data_converter=self.data_converter,
                encodes_headers=self._config["header_codec_behavior"] is HeaderCodecBehavior.CODEC
                and self.data_converter.payload_codec is not None,
            )
        return known

    # ── starting workflows ────────────────────────────────────────────────────────────────────────

    # Overloads generated by scripts/generate_overloads.py.
    @overload
    async def start_workflow(
        self,
        workflow: MethodAsyncNoParam[SelfType, ReturnType],
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[SelfType, ReturnType]: ...
    @overload
    async def start_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[SelfType, ReturnType]: ...
    @overload
    async def start_workflow(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[SelfType, ReturnType]: ...
    @overload
    async def start_workflow(
        self,
        workflow: str | type,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[Any, Any]: ...
    async def start_workflow(
        self,
        workflow: str | type | Callable[..., Awaitable[Any]],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[Any, Any]:
        """Start a workflow. With `start_signal`, signal it, and start it if it is not open.

        Args:
            workflow: The `@workflow.run` method, the workflow class, or the workflow type as a string.
            arg: Its argument, if it takes exactly one.
            args: Its arguments, if it takes several. Do not give both.
            result_type: Type to convert the result to, for a workflow given by name. Otherwise it is the method's.
            **options: The keys of `perdure.client.options.StartWorkflowOptions`. `id` and `task_queue` are required.

        Returns:
            A handle to the workflow.

        Raises:
            WorkflowAlreadyStartedError: The id is taken, and the id policies do not allow another run.
            RPCError: The service refused the call, or could not be reached.
            TypeError: The number or types of arguments are wrong (checked if the method or class is given), or an
                option is unknown.
            ValueError: `workflow` is not decorated, or `arg` and `args` were both given.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.run
                async def run(self, order_id: str) -> str:
                    await workflow.sleep(timedelta(days=1))
                    return f"{order_id} paid"


            async with Worker(client, task_queue="orders", workflows=[Order]):
                order = await client.start_workflow(
                    Order.run, "o-7", id="order-7", task_queue="orders"
                )
                assert order.id == "order-7"
                assert await order.result() == "o-7 paid"
            ```
        """
        target = workflow_target(workflow)
        arguments = arg_or_args(arg, args)
        target.check(arguments, "Workflow", self._config["data_converter"].payload_converter)
        attributes = options.get("search_attributes")
        if attributes and not isinstance(attributes, TypedSearchAttributes):
            warnings.warn(
                "Dictionary-based search attributes are deprecated",
                DeprecationWarning,
                stacklevel=2,
            )
        if options.get("rpc_metadata") is None:
            options["rpc_metadata"] = {}
        return await self._outbound.start_workflow(
            inputs.StartWorkflowInput(
                workflow=target.name,
                args=arguments,
                ret_type=result_type or target.ret_type,
                **options,
            )
        )

    # Overloads generated by scripts/generate_overloads.py.
    @overload
    async def execute_workflow(
        self,
        workflow: MethodAsyncNoParam[SelfType, ReturnType],
        **options: Unpack[StartWorkflowOptions],
    ) -> ReturnType: ...
    @overload
    async def execute_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[StartWorkflowOptions],
    ) -> ReturnType: ...
    @overload
    async def execute_workflow(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> ReturnType: ...
    @overload
    async def execute_workflow(
        self,
        workflow: str | type,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> Any: ...
    async def execute_workflow(
        self,
        workflow: Any,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> Any:
        """Start a workflow and wait for its result.

        Args:
            workflow: The `@workflow.run` method, the workflow class, or the workflow type as a string.
            arg: Its argument, if it takes exactly one.
            args: Its arguments, if it takes several. Do not give both.
            result_type: Type to convert the result to, for a workflow given by name. Otherwise it is the method's.
            **options: The keys of `perdure.client.options.StartWorkflowOptions`. `id` and `task_queue` are required.

        Returns:
            The workflow's result.

        Raises:
            WorkflowFailureError: The workflow did not complete. Its cause says why.
            WorkflowAlreadyStartedError: The id is taken, and the id policies do not allow another run.
            RPCError: The service refused the call, or could not be reached.
            TypeError: The number or types of arguments are wrong (checked if the method or class is given), or an
                option is unknown.
            ValueError: `workflow` is not decorated, or `arg` and `args` were both given.

        Example:
            ```python
            @workflow.defn
            class Total:
                @workflow.run
                async def run(self, prices: list[int], shipping: int) -> int:
                    return sum(prices) + shipping


            async with Worker(client, task_queue="totals", workflows=[Total]):
                total = await client.execute_workflow(
                    Total.run, args=[[30, 10], 2], id="total-7", task_queue="totals"
                )
            assert total == 42
            ```
        """
        handle: WorkflowHandle[Any, Any] = await self.start_workflow(
            workflow, arg, args=args, result_type=result_type, **options
        )
        return await handle.result()

    # ── handles and lists ─────────────────────────────────────────────────────────────────────────

    def get_workflow_handle(
        self,
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: type | None = None,
    ) -> WorkflowHandle[Any, Any]:
        """Get a handle to a workflow that was started before. Nothing is sent.

        Args:
            workflow_id: Its workflow id.
            run_id: One run of it, to which all calls go. None: the run that is current at each call.
            first_execution_run_id: The first run of the chain. `cancel` and `terminate` then refuse another chain with
                the same id.
            result_type: Type to convert the result to.

        Returns:
            The handle.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> str:
                    return "paid"


            async with Worker(client, task_queue="orders", workflows=[Order]):
                await client.start_workflow(Order.run, id="order-7", task_queue="orders")
                assert await client.get_workflow_handle("order-7").result() == "paid"
            ```
        """
        return WorkflowHandle(
            self,
            workflow_id,
            run_id=run_id,
            result_run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=result_type,
        )

    def get_workflow_handle_for(
        self,
        workflow: MethodAsyncNoParam[SelfType, ReturnType]
        | MethodAsyncSingleParam[SelfType, Any, ReturnType],
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> WorkflowHandle[SelfType, ReturnType]:
        """Get a handle with the types of a `@workflow.run` method. Nothing is sent.

        Args:
            workflow: The method. It gives the type of the result, and of the handle's signals and queries.
            workflow_id: The workflow id.
            run_id: One run of it, to which all calls go. None: the run that is current at each call.
            first_execution_run_id: The first run of the chain. `cancel` and `terminate` then refuse another chain with
                the same id.

        Returns:
            The handle.

        Raises:
            ValueError: `workflow` is not decorated.

        Example:
            ```python
            from dataclasses import dataclass


            @dataclass
            class Receipt:
                total: int


            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> Receipt:
                    return Receipt(total=42)


            async with Worker(client, task_queue="orders", workflows=[Order]):
                await client.start_workflow(Order.run, id="order-7", task_queue="orders")
                receipt = await client.get_workflow_handle_for(Order.run, "order-7").result()
            assert receipt == Receipt(total=42)
            ```
        """
        return self.get_workflow_handle(
            workflow_id,
            run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=workflow_target(workflow).ret_type,
        )

    @overload
    def get_async_activity_handle(
        self, *, activity_id: str, run_id: str | None = None
    ) -> AsyncActivityHandle: ...
    @overload
    def get_async_activity_handle(
        self, *, workflow_id: str, run_id: str | None, activity_id: str
    ) -> AsyncActivityHandle: ...
    @overload
    def get_async_activity_handle(self, *, task_token: bytes) -> AsyncActivityHandle: ...
    def get_async_activity_handle(
        self,
        *,
        workflow_id: str | None = None,
        run_id: str | None = None,
        activity_id: str | None = None,
        task_token: bytes | None = None,
    ) -> AsyncActivityHandle:
        """Get a handle to an activity that is completed from outside. Nothing is sent.

        Args:
            workflow_id: The workflow that scheduled the activity. None: a standalone activity.
            run_id: The run of the workflow, or of the standalone activity. None: the current one.
            activity_id: The activity's id.
            task_token: `activity.Info.task_token`, instead of all ids.

        Returns:
            The handle.

        Raises:
            ValueError: Token and ids are mixed, or neither is complete.

        Example:
            ```python
            requested = asyncio.Event()


            @activity.defn
            async def ask_for_approval() -> str:
                requested.set()
                activity.raise_complete_async()


            @workflow.defn
            class Purchase:
                @workflow.run
                async def run(self) -> str:
                    return await workflow.execute_activity(
                        ask_for_approval,
                        activity_id="approval",
                        start_to_close_timeout=timedelta(days=3),
                    )


            async with Worker(
                client, task_queue="orders", workflows=[Purchase], activities=[ask_for_approval]
            ):
                purchase = await client.start_workflow(Purchase.run, id="p-7", task_queue="orders")
                await requested.wait()
                approval = client.get_async_activity_handle(
                    workflow_id="p-7", run_id=None, activity_id="approval"
                )
                await approval.complete("by Ada")
                assert await purchase.result() == "by Ada"
            ```
        """
        if task_token is not None:
            if workflow_id is not None or run_id is not None or activity_id is not None:
                raise ValueError("Task token cannot be present with other IDs")
            return AsyncActivityHandle(self, task_token)
        if activity_id is None:
            raise ValueError(
                "Task token or activity ID (with its workflow ID and run ID) must be given"
            )
        return AsyncActivityHandle(
            self, inputs.AsyncActivityIDReference(workflow_id, run_id, activity_id)
        )

    def list_workflows(
        self,
        query: str | None = None,
        *,
        limit: int | None = None,
        page_size: int = 1000,
        next_page_token: bytes | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionAsyncIterator:
        """List the workflows that match a filter. Pages are fetched during the iteration.

        Args:
            query: A list filter, such as `"WorkflowType = 'Order'"`. None: all workflows.
            limit: Largest number of entries in all. None: no limit.
            page_size: Largest number of entries of a page.
            next_page_token: Where to begin. None: at the start.
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            An async iterator of `WorkflowExecution`. It raises `RPCError` if the filter is malformed.

        Raises:
            RPCError: The service refused the call, or could not be reached.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> str:
                    return "paid"


            async with Worker(client, task_queue="orders", workflows=[Order]):
                await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
                await client.execute_workflow(Order.run, id="order-8", task_queue="orders")
            orders = client.list_workflows("WorkflowType = 'Order' AND WorkflowId = 'order-7'")
            assert [order.id async for order in orders] == ["order-7"]
            ```
        """
        return self._outbound.list_workflows(
            inputs.ListWorkflowsInput(
                query=query,
                page_size=page_size,
                next_page_token=next_page_token,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
                limit=limit,
            )
        )

    async def count_workflows(
        self,
        query: str | None = None,
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionCount:
        """Count the workflows that match a filter.

        Args:
            query: A list filter, optionally with `GROUP BY`. None: all workflows.
            rpc_metadata: Headers of the call. They override the client's.
            rpc_timeout: Time limit of one attempt of the call. None: the connection's default, 30 seconds over gRPC.

        Returns:
            The count, and the counts of the groups.

        Raises:
            RPCError: The service refused the call, or could not be reached.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> str:
                    return "paid"


            async with Worker(client, task_queue="orders", workflows=[Order]):
                for number in range(3):
                    await client.execute_workflow(
                        Order.run, id=f"order-{number}", task_queue="orders"
                    )
            assert (await client.count_workflows("ExecutionStatus = 'Completed'")).count == 3
            ```
        """
        return await self._outbound.count_workflows(
            inputs.CountWorkflowsInput(
                query=query, rpc_metadata=rpc_metadata or {}, rpc_timeout=rpc_timeout
            )
        )


def _wrapped(
    plugin: Plugin, connect: Callable[[ConnectConfig], Awaitable[ServiceClient]]
) -> Callable[[ConnectConfig], Awaitable[ServiceClient]]:
    async def through_plugin(config: ConnectConfig) -> ServiceClient:
        return await plugin.connect_service_client(config, connect)

    return through_plugin
