"""`Client`: the entry to everything that is not running workflows and activities."""

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
    """Talks to a service, or to an engine in this process. Belongs to the event loop that it was connected in.

    Example:
        >>> async with await Client.connect("localhost:7233") as client:
        ...     result = await client.execute_workflow(
        ...         Greeting.run, "Ada", id="greeting-1", task_queue="greetings"
        ...     )
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
        """Connect to a server or open an engine in this process.

        Args:
            target_host: ``"localhost:7233"``, ``"sqlite:orders.db"`` or ``"memory:"``.
            namespace: For all calls.
            api_key: Sent as ``authorization: Bearer …`` unless `rpc_metadata` has that key; turns TLS on.
            data_converter: How values and errors travel.
            plugins: Earlier ones wrap later ones.
            interceptors: Earlier ones wrap later ones.
            default_workflow_query_reject_condition: For queries that do not say.
            tls: True for the system's certificates, options for others, False for none in any case.
            retry_config: How calls are tried again.
            keep_alive_config: Pings; None for none.
            connect_timeout: For one attempt to connect.
            rpc_metadata: Headers of all calls.
            identity: Name shown in histories and logs. Default: `"{pid}@{host}"`.
            lazy: Connect with the first call. Such clients are not for workers.
            runtime: Accepted for compatibility; not used.
            http_connect_proxy_config: A proxy to tunnel through.
            dns_load_balancing_config: Spread calls over all addresses of the host's name.
            grpc_compression: Of requests.
            payload_limits: Sizes in bytes above which values that are sent cause a warning in the log.
            header_codec_behavior: Whether headers pass through the codec.
            retention: For how long an engine in this process keeps closed runs of the namespace. It is stored in the
                database. Default: what is stored; a new database keeps them forever, as `timedelta.max` does.

        Raises:
            RuntimeError: The service does not answer.
            ValueError: The target means nothing, or a server is to be given a retention.
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
        outbound: OutboundInterceptor = ClientImpl(self)
        for interceptor in reversed(config["interceptors"]):
            outbound = interceptor.intercept_client(outbound)
        self._outbound = outbound

    def config(self, *, active_config: bool = False) -> ClientConfig:
        """A copy of the parameters, for making another client.

        Args:
            active_config: After the plugins have changed them.
        """
        config = (self._config if active_config else self._initial_config).copy()
        config["interceptors"] = list(config["interceptors"])
        return config

    async def close(self) -> None:
        """Release the connection (an embedded engine is shut down with its last client)."""
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
        """The raw service client."""
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
        """The workflow service's calls with the API's own messages."""
        return self.service_client.workflow_service

    @property
    def operator_service(self) -> OperatorService:
        """The operator service's calls with the API's own messages."""
        return self.service_client.operator_service

    @property
    def test_service(self) -> TestService:
        """The test service's calls with the API's own messages."""
        return self.service_client.test_service

    @property
    def namespace(self) -> str:
        """The namespace of all calls."""
        return self._config["namespace"]

    @property
    def identity(self) -> str:
        """Who calls."""
        return self.service_client.config.identity

    @property
    def data_converter(self) -> DataConverter:
        """How values and errors travel."""
        return self._config["data_converter"]

    @property
    def default_workflow_query_reject_condition(self) -> QueryRejectCondition | None:
        """For queries that do not say."""
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
        """The API key. Assign another to change it."""
        return self.service_client.config.api_key

    @api_key.setter
    def api_key(self, value: str | None) -> None:
        self.service_client.update_api_key(value)

    @property
    def outbound(self) -> OutboundInterceptor:
        """The chain of interceptors. For the library's own use."""
        return self._outbound

    @property
    def caller(self) -> Caller:
        """What requests are made from. For the library's own use."""
        return Caller(
            namespace=self.namespace,
            identity=self.identity,
            data_converter=self.data_converter,
            encodes_headers=self._config["header_codec_behavior"] is HeaderCodecBehavior.CODEC
            and self.data_converter.payload_codec is not None,
        )

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
        """Start a workflow; with ``start_signal``, signal it and start it if it is not open.

        Args:
            workflow: The ``@workflow.run`` method, the class, or the workflow type as a string.
            arg: Its only argument.
            args: Its arguments, when there are several.
            result_type: What to convert the result to; taken from the method otherwise.
            **options: See `perdure.client.options.StartWorkflowOptions`: ``id`` and ``task_queue`` are required.

        Raises:
            WorkflowAlreadyStartedError: The id is taken, and the policies do not allow another run.
            RPCError: The service refused.
            TypeError: Wrong number or types of arguments (checked when given the method or class), unknown options.
            ValueError: `workflow` is not decorated, or `arg` and `args` are both given.

        Example:
            >>> handle = await client.start_workflow(
            ...     Greeting.run, "Ada", id="greeting-1", task_queue="greetings"
            ... )
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
        """`start_workflow`, then `WorkflowHandle.result`."""
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
        """A handle of a workflow that was started before; nothing is sent.

        Args:
            workflow_id: Its id.
            run_id: For calls to this very run; the current one unless given.
            first_execution_run_id: Lets `cancel` and `terminate` refuse another chain of the same id.
            result_type: What to convert the result to.
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
        """`get_workflow_handle` with the types of a ``@workflow.run`` method."""
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
        """A handle that completes an activity from outside.

        Args:
            workflow_id: The activity's workflow; None for a standalone activity.
            run_id: The workflow's run (or the standalone activity's).
            activity_id: The activity's id.
            task_token: `activity.Info.task_token`; instead of all ids.

        Raises:
            ValueError: Token and ids are mixed, or neither is complete.
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
        """The workflows that match, fetched as they are iterated over.

        Args:
            query: A list filter, ``"WorkflowType = 'Greeting'"``; all unless given.
            limit: Most entries in all.
            page_size: Most entries of a page.
            next_page_token: Where to begin.
            rpc_metadata: Headers of each call.
            rpc_timeout: For each call.
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
        """How many workflows match.

        Args:
            query: A list filter, possibly with ``GROUP BY``; all unless given.
            rpc_metadata: Headers of the call.
            rpc_timeout: For one try.
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
