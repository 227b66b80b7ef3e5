"""`WorkflowEnvironment`: runs workflows during a test.

Names, parameters and behaviour are the official ones. The servers are not downloaded; they run in this process.
Invariant: what an environment starts ends with it. Not here: what it runs on (`backend`; subclasses in `local` and
`time_skipping`).
"""

from __future__ import annotations

import difflib
import inspect
import logging
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


log = logging.getLogger("perdure.testing")

_OF_ANY_DOWNLOAD = ("download_dest_dir", "runtime")
_OF_A_DOWNLOADED_SERVER = frozenset(
    {
        *_OF_ANY_DOWNLOAD, "tls", "ui", "ui_port",
        *(
            f"dev_server_{name}"
            for name in (
                "existing_path", "log_format", "log_level", "download_version", "extra_args", "download_ttl",
                "startup_timeout",
            )
        ),
    }
)  # fmt: skip
_OF_A_DOWNLOADED_TEST_SERVER = frozenset(
    {
        *_OF_ANY_DOWNLOAD, "port",
        *(
            f"test_server_{name}"
            for name in (
                "existing_path", "download_version", "extra_args", "download_ttl", "startup_timeout",
            )
        ),
    }
)  # fmt: skip


class WorkflowEnvironment:
    """Runs workflows for a test. Use its `client`, and end it with `shutdown` or `async with`.

    A failed `assert` in a workflow fails the workflow. Outside of tests it fails only the workflow task.

    Args:
        client: The client to use. Prefer `start_time_skipping`, `start_local` or `from_client`.

    Example:
        ```python
        from perdure.testing import WorkflowEnvironment


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                await workflow.sleep(timedelta(days=365))
                return "paid"


        async with await WorkflowEnvironment.start_time_skipping() as env:
            async with Worker(env.client, task_queue="orders", workflows=[Order]):
                result = await env.client.execute_workflow(Order.run, id="o-7", task_queue="orders")
        assert result == "paid"
        ```
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
        """Make an environment from a client that is already connected. Its time cannot be skipped.

        Args:
            client: The client. It is not closed with the environment.
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
        **options: Any,
    ) -> WorkflowEnvironment:
        """Start an engine in this process, in real time.

        Args:
            namespace: Registered, and used by the client.
            data_converter: As for `Client.connect`, like the next six.
            interceptors: Client interceptors. Earlier ones wrap later ones.
            plugins: Client plugins. Earlier ones wrap later ones.
            default_workflow_query_reject_condition: For queries that give none.
            retry_config: How failed calls are retried.
            rpc_metadata: Headers of all calls.
            identity: Name shown in histories and logs. Default: `"{pid}@{host}"`.
            ip: Address to listen on, if `port` is given.
            port: Also serve gRPC on this port, for other processes. 0: a free port. None: do not listen.
            search_attributes: Registered in the namespace.
            dev_server_database_filename: A SQLite file to work on. None: memory.
            options: The official options of a downloaded server (paths, versions, logging, ...). They have no effect.

        Returns:
            The environment.

        Raises:
            ServerStartError: The address cannot be used, or the file cannot.
            TypeError: An option does not exist.
            ValueError: TLS is asked for.

        Example:
            ```python
            from perdure.testing import WorkflowEnvironment


            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> str:
                    return "paid"


            async with await WorkflowEnvironment.start_local() as env:
                async with Worker(env.client, task_queue="orders", workflows=[Order]):
                    result = await env.client.execute_workflow(
                        Order.run, id="o-7", task_queue="orders"
                    )
            assert result == "paid"
            assert not env.supports_time_skipping
            ```
        """
        from perdure.testing.local import start_local

        _check_without_effect("start_local", options, _OF_A_DOWNLOADED_SERVER)
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
        **options: Any,
    ) -> WorkflowEnvironment:
        """Start an engine in this process whose time is skipped while nothing runs.

        Time is skipped while the test waits in `handle.result()` (as `execute_workflow` does) or in `sleep`, except
        while a workflow task or an activity runs. At all other moments it passes in real time.

        Args:
            data_converter: As for `Client.connect`, like the next six.
            interceptors: Client interceptors. Earlier ones wrap later ones.
            plugins: Client plugins. Earlier ones wrap later ones.
            default_workflow_query_reject_condition: For queries that give none.
            retry_config: How failed calls are retried.
            rpc_metadata: Headers of all calls.
            identity: Name shown in histories and logs. Default: `"{pid}@{host}"`.
            namespace: Registered, and used by the client.
            search_attributes: Registered in the namespace.
            options: The official options of a downloaded server (paths, versions, logging, ...). They have no effect.

        Returns:
            The environment.

        Example:
            ```python
            from perdure.testing import WorkflowEnvironment


            @workflow.defn
            class Trial:
                @workflow.run
                async def run(self) -> str:
                    await workflow.sleep(timedelta(days=30))
                    return "expired"


            async with await WorkflowEnvironment.start_time_skipping() as env:
                began = await env.get_current_time()
                async with Worker(env.client, task_queue="trials", workflows=[Trial]):
                    await env.client.execute_workflow(Trial.run, id="trial-7", task_queue="trials")
                assert await env.get_current_time() - began >= timedelta(days=30)
            ```
        """
        from perdure.testing.time_skipping import start_time_skipping

        _check_without_effect("start_time_skipping", options, _OF_A_DOWNLOADED_TEST_SERVER)
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
        """A client of this environment. Workers use it too."""
        return self._backend.client

    async def connect_client(self, **options: Any) -> Client:
        """Connect another client to this environment.

        Args:
            options: Those of `Client.connect`. Default of `namespace`: that of `client`.

        Returns:
            The client.
        """
        return await self._backend.connect_client(**options)

    async def shutdown(self) -> None:
        """End everything that this environment started. Further calls have no effect."""
        await self._backend.shutdown()

    async def sleep(self, duration: timedelta | float) -> None:
        """Sleep: by skipping time where that is possible, in real time otherwise.

        Args:
            duration: Seconds, or a timedelta.

        Example:
            ```python
            from perdure.testing import WorkflowEnvironment

            async with await WorkflowEnvironment.start_time_skipping() as env:
                before = await env.get_current_time()
                await env.sleep(timedelta(hours=8))
                assert await env.get_current_time() - before >= timedelta(hours=8)
            ```
        """
        await self._backend.sleep(duration)

    async def get_current_time(self, handle: WorkflowHandle[Any, Any] | None = None) -> datetime:
        """The current time of this environment, in UTC.

        Args:
            handle: Accepted for compatibility. All workflows of an environment share one time.
        """
        return await self._backend.get_current_time(handle)

    @property
    def supports_time_skipping(self) -> bool:
        """Whether `sleep` and waiting for results skip time."""
        return self._backend.supports_time_skipping

    @property
    def supports_time_skipping_v1(self) -> bool:
        """Whether all workflows share one time that is skipped. The official name."""
        return self.supports_time_skipping

    @property
    def supports_time_skipping_v2(self) -> bool:
        """Whether each workflow has a time of its own. Not supported: always False."""
        return False

    @contextmanager
    def auto_time_skipping_disabled(self) -> Generator[None]:
        """Do not skip time while waiting for results, for the length of a block."""
        with self._backend.auto_time_skipping_disabled():
            yield


def _with_interceptors(client: Client, *interceptors: Interceptor) -> Client:
    config = client.config()
    config["interceptors"] = [*config["interceptors"], *interceptors]
    return Client(**config)


def _check_without_effect(function: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse options that do not exist, and those whose effect would be missed."""
    for name in options.keys() - known:
        similar = difflib.get_close_matches(name, [*known, *_parameters(function)], n=1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
    if options.get("tls"):
        raise ValueError(f"{function}() serves without TLS: the engine runs in this process")
    if options.get("port") is not None:
        raise ValueError(
            f"{function}() listens nowhere, so it takes no port: "
            "`perdure server start-test --port` serves an engine whose time can be skipped"
        )
    if options.get("ui"):
        log.warning("%s() has no web UI; ui=True has no effect", function)


def _parameters(function: str) -> list[str]:
    return list(inspect.signature(getattr(WorkflowEnvironment, function)).parameters)
