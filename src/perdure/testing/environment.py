"""`WorkflowEnvironment`: a place for workflows to run in during a test.

Names, parameters and behaviour are the official ones; the servers are not downloaded but run in this process.
Invariant: what an environment started ends with it. Not here: what it runs on (`backend`; subclasses in `local` and
`time_skipping`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from perdure.client import Client
from perdure.converter import DataConverter
from perdure.testing.assertions import AssertionErrors
from perdure.testing.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType

    from perdure.client import Interceptor, Plugin, WorkflowHandle
    from perdure.common import QueryRejectCondition, SearchAttributeKey
    from perdure.service import RetryConfig


class WorkflowEnvironment:
    """Runs workflows for a test. Use `client`; end with `shutdown` or ``async with``.

    A failed ``assert`` inside a workflow fails the workflow here.

    Example:
        >>> async with await WorkflowEnvironment.start_time_skipping() as env:
        ...     async with Worker(env.client, task_queue="orders", workflows=[Order]):
        ...         await env.client.execute_workflow(Order.run, id="order-7", task_queue="orders")
    """

    def __init__(self, client: Client) -> None:
        self._backend = Backend(client)

    @classmethod
    def _on(cls, backend: Backend) -> Self:
        environment = cls(backend.client)
        environment._backend = backend
        return environment

    @classmethod
    def from_client(cls, client: Client) -> WorkflowEnvironment:
        """An environment over a client that is connected already; its time cannot be skipped.

        Args:
            client: It is not closed with the environment.
        """
        return cls(_with_interceptors(client, AssertionErrors()))

    @staticmethod
    async def start_local(
        *,
        namespace: str = "default",
        data_converter: DataConverter = DataConverter.default,
        interceptors: Sequence[Interceptor] = (),
        plugins: Sequence[Plugin] = (),
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        retry_config: RetryConfig | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        identity: str | None = None,
        ip: str = "127.0.0.1",
        port: int | None = None,
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        dev_server_database_filename: str | None = None,
        **_ignored: Any,
    ) -> WorkflowEnvironment:
        """An engine in this process, on real time.

        Args:
            namespace: Registered, and used by the client.
            data_converter: As for `Client.connect`, like the next six.
            interceptors: Earlier ones wrap later ones.
            plugins: Earlier ones wrap later ones.
            default_workflow_query_reject_condition: For queries that do not say.
            retry_config: How calls are tried again.
            rpc_metadata: Headers of all calls.
            identity: Who calls.
            ip: Where to listen, if `port` is given.
            port: Serve gRPC there as well, for other processes; 0 takes a free port, None listens nowhere.
            search_attributes: Registered in the namespace.
            dev_server_database_filename: A SQLite file to work on; memory unless given.
            _ignored: Options of a server that is downloaded; they mean nothing here.

        Raises:
            ServerStartError: Nobody can listen there, or the file cannot be used.
        """
        from perdure.testing.local import start_local

        backend = await start_local(
            ip=ip,
            port=port,
            database=dev_server_database_filename,
            search_attributes=search_attributes,
            config={
                "retry_config": retry_config,
                "rpc_metadata": rpc_metadata or {},
                "identity": identity or "",
            },
            client={
                "namespace": namespace,
                "data_converter": data_converter,
                "interceptors": interceptors,
                "plugins": plugins,
                "default_workflow_query_reject_condition": default_workflow_query_reject_condition,
            },
        )
        return WorkflowEnvironment._on(backend)

    @staticmethod
    async def start_time_skipping(
        *,
        data_converter: DataConverter = DataConverter.default,
        interceptors: Sequence[Interceptor] = (),
        plugins: Sequence[Plugin] = (),
        default_workflow_query_reject_condition: QueryRejectCondition | None = None,
        retry_config: RetryConfig | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        identity: str | None = None,
        namespace: str = "default",
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        **_ignored: Any,
    ) -> WorkflowEnvironment:
        """An engine in this process whose time is skipped while nothing runs.

        Time is locked at first. It is skipped while somebody waits in ``handle.result()`` (``execute_workflow`` does)
        or in `sleep`, and never while a workflow task or an activity runs: then it flows as on the wall.

        Args:
            data_converter: As for `Client.connect`, like the next six.
            interceptors: Earlier ones wrap later ones.
            plugins: Earlier ones wrap later ones.
            default_workflow_query_reject_condition: For queries that do not say.
            retry_config: How calls are tried again.
            rpc_metadata: Headers of all calls.
            identity: Who calls.
            namespace: Registered, and used by the client.
            search_attributes: Registered in the namespace.
            _ignored: Options of a server that is downloaded; they mean nothing here.
        """
        from perdure.testing.time_skipping import start_time_skipping

        backend = await start_time_skipping(
            search_attributes=search_attributes,
            config={
                "retry_config": retry_config,
                "rpc_metadata": rpc_metadata or {},
                "identity": identity or "",
            },
            client={
                "namespace": namespace,
                "data_converter": data_converter,
                "interceptors": interceptors,
                "plugins": plugins,
                "default_workflow_query_reject_condition": default_workflow_query_reject_condition,
            },
        )
        return WorkflowEnvironment._on(backend)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.shutdown()

    @property
    def client(self) -> Client:
        """A client of this environment; workers take it too."""
        return self._backend.client

    async def connect_client(self, **options: Any) -> Client:
        """Another client of this environment.

        Args:
            options: As for `Client.connect`; the namespace is that of `client` unless given.
        """
        return await self._backend.connect_client(**options)

    async def shutdown(self) -> None:
        """End what this environment started. Idempotent."""
        await self._backend.shutdown()

    async def sleep(self, duration: timedelta | float) -> None:
        """Sleep: in real time, or by skipping where time can be skipped.

        Args:
            duration: Seconds, or a timedelta.
        """
        await self._backend.sleep(duration)

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        """What time it is in this environment, in UTC.

        Args:
            handle: For compatibility; all workflows of an environment share one time.
        """
        return await self._backend.get_current_time(handle)

    @property
    def supports_time_skipping(self) -> bool:
        """Whether `sleep` and waiting for results skip time."""
        return self._backend.supports_time_skipping

    @property
    def supports_time_skipping_v1(self) -> bool:
        """The official name for a time that all workflows share."""
        return self.supports_time_skipping

    @property
    def supports_time_skipping_v2(self) -> bool:
        """A time for each workflow; not supported."""
        return False

    @contextmanager
    def auto_time_skipping_disabled(self) -> Generator[None]:
        """Within the block, waiting for results skips no time."""
        with self._backend.auto_time_skipping_disabled():
            yield


def _with_interceptors(client: Client, *interceptors: Interceptor) -> Client:
    config = client.config()
    config["interceptors"] = [*config["interceptors"], *interceptors]
    return Client(**config)
