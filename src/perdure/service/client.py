"""The raw service client: calls with retries and public errors, over any `Connection`."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol, cast, runtime_checkable

from google.protobuf.message import Message

from perdure.core.ids import new_id
from perdure.core.loop import DeterministicLoop
from perdure.core.units import SECOND_NS
from perdure.service.calls import call_kind, retry_delay_ns
from perdure.service.config import ConnectConfig, RetryConfig
from perdure.service.eager_starts import EagerStarts
from perdure.service.errors import RPCError, RPCStatusCode
from perdure.service.headers import validate_metadata
from perdure.service.payload_sizes import SizeWarnings
from perdure.service.targets import opener_for
from perdure.wire import errors
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import (
    OPERATOR_SERVICE,
    TEST_SERVICE,
    WORKFLOW_SERVICE,
    Connection,
    Method,
)

_logger = logging.getLogger(__name__)


# A long poll that keeps failing is logged as a warning from this attempt on, and then every so many attempts.
_WARN_EVERY_ATTEMPTS = 10


async def connect(target: str, config: ConnectConfig | None = None) -> Connection:
    """Open a connection to a target.

    Args:
        target: `host:port`, `sqlite:file.db` or `memory:`.
        config: Further options; its own target is ignored.

    Returns:
        The connection.

    Raises:
        ValueError: The target is malformed.

    Example:
        ```python
        from perdure.service import connect

        connection = await connect("memory:")
        assert connection.polls_are_free  # an engine in this process
        await connection.close()
        ```
    """
    config = config or ConnectConfig(target)
    config.target_host = target
    return await opener_for(target)(config)


@runtime_checkable
class _HasHeaders(Protocol):
    def update_headers(
        self, rpc_metadata: Mapping[str, str | bytes], api_key: str | None
    ) -> None: ...


class ServiceClient:
    """Calls the services directly, with the API's messages.

    Args:
        config: The options of the connection.
        connection: The connection. None: it is opened with the first call.

    Attributes:
        config: The options of the connection.
        workflow_service: Calls of the workflow service, such as
            `await service_client.workflow_service.start_workflow_execution(request)`.
        operator_service: Calls of the operator service.
        test_service: Calls of the test service.
        eager_starts: The workers that use this service client.
    """

    @staticmethod
    async def connect(config: ConnectConfig) -> ServiceClient:
        """Connect, and check that the service answers unless the client is lazy.

        Args:
            config: The options of the connection.

        Raises:
            RuntimeError: The service does not answer, or the caller is workflow code.
        """
        _refuse_in_workflow()
        if not config.lazy:
            try:
                connection = await connect(config.target_host, config)
            except errors.RpcError as error:
                # An engine in this process that cannot open its database.
                raise RuntimeError(
                    f"Failed client connect: {error.message}"
                ) from RPCError.from_wire(error)
            client = ServiceClient(config, connection)
            await client.check_connection()
            return client
        return ServiceClient(config)

    def __init__(self, config: ConnectConfig, connection: Connection | None = None) -> None:
        self.config = config
        self._connection = connection
        self.size_warnings = SizeWarnings(config.payload_limits)
        """Warns of large values in what this client and its workers send."""
        self._connecting = asyncio.Lock()
        # Spreads the load, hides nothing. Seeded from an id, so that a simulation which seeds ids repeats it.
        self._random = random.Random(new_id())  # noqa: S311
        self._retry_config = config.retry_config or RetryConfig()
        self.workflow_service = WorkflowService(self)
        self.operator_service = OperatorService(self)
        self.test_service = TestService(self)
        self.eager_starts = EagerStarts()

    @property
    def worker_service_client(self) -> ServiceClient:
        """The service client that workers use: this one."""
        return self

    @property
    def connection(self) -> Connection:
        """The connection underneath.

        Raises:
            RuntimeError: The client is lazy and has not connected yet.
        """
        if self._connection is None:
            raise RuntimeError(
                "The client is lazy and has not connected yet: make a call first, or connect without lazy=True"
            )
        return self._connection

    async def connected(self) -> Connection:
        """The connection underneath. It is opened if it was not.

        Raises:
            perdure.wire.errors.RpcError: It cannot be opened.
        """
        if self._connection is None:
            async with self._connecting:
                if self._connection is None:
                    self._connection = await connect(self.config.target_host, self.config)
        return self._connection

    async def check_connection(self) -> None:
        """Check that the service answers.

        Raises:
            RuntimeError: It does not answer, or refuses the call.
        """
        request = pb.GetSystemInfoRequest()
        try:
            await self.call(WORKFLOW_SERVICE["GetSystemInfo"], request)
        except RPCError as error:
            await self.close()
            raise RuntimeError(
                f"Failed client connect to {self.config.target_host}: {error.status.name}: {error.message}"
                f"{_what_to_do(self.config.target_host, error)}"
            ) from error

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        retry: bool = True,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> Any:
        """Call a method.

        Args:
            method: A row of the tables in `perdure.wire.seam`.
            request: The request. It is sent unchanged in every attempt.
            retry: Whether to retry after transient errors.
            metadata: Headers of the call. They override the client's.
            timeout: Time limit of one attempt. None: the connection's default.

        Returns:
            The response message.

        Raises:
            RPCError: The last attempt failed.
            RuntimeError: The caller is workflow code.
        """
        _refuse_in_workflow()
        try:
            connection = await self.connected()
        except errors.RpcError as error:
            # A lazy client of an embedded engine opens its database only now, and that may fail.
            raise RPCError.from_wire(error) from None
        self.size_warnings.check(method.name, request)
        timeout_ns = None if timeout is None else int(timeout.total_seconds() * SECOND_NS)
        kind = call_kind(method, request)
        began_ns = int(asyncio.get_running_loop().time() * SECOND_NS)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await connection.call(
                    method, request, metadata=metadata, timeout_ns=timeout_ns
                )
            except errors.RpcError as error:
                delay_ns = retry_delay_ns(
                    self._retry_config,
                    kind,
                    error,
                    attempt=attempt,
                    elapsed_ns=int(asyncio.get_running_loop().time() * SECOND_NS) - began_ns,
                    own_timeout=timeout is not None,
                    random=self._random.random(),
                )
                if not retry or delay_ns is None:
                    raise RPCError.from_wire(error) from None
                _log_retry(method, error, attempt)
                await asyncio.sleep(delay_ns / SECOND_NS)

    async def check_health(
        self,
        *,
        service: str = "temporal.api.workflowservice.v1.WorkflowService",
        retry: bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> bool:
        """Whether a service reports that it is serving.

        Args:
            service: The name of the service.
            retry: Whether to retry after transient errors.
            metadata: Headers of the call. They override the client's.
            timeout: Time limit of one attempt. None: the connection's default.

        Raises:
            RPCError: The service refused the call, or could not be reached.
        """
        # Not at the top: embedded use needs no health messages.
        from perdure.wire import health as messages

        method = Method(
            messages.SERVICE_NAME,
            "Check",
            messages.HealthCheckRequest,
            messages.HealthCheckResponse,
        )
        response = await self.call(
            method,
            messages.HealthCheckRequest(service=service),
            retry=retry,
            metadata=metadata,
            timeout=timeout,
        )
        return cast("messages.HealthCheckResponse", response).status == messages.SERVING

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        """Use other headers from the next call on.

        Args:
            metadata: The headers, by lower-case name.

        Raises:
            TypeError: The metadata is malformed.
        """
        validate_metadata(metadata)
        self.config.rpc_metadata = metadata
        self._update_headers()

    def update_api_key(self, api_key: str | None) -> None:
        """Use another API key from the next call on.

        Args:
            api_key: The key, or None.
        """
        self.config.api_key = api_key
        self._update_headers()

    def _update_headers(self) -> None:
        if isinstance(self._connection, _HasHeaders):
            self._connection.update_headers(self.config.rpc_metadata, self.config.api_key)

    async def close(self) -> None:
        """Close the connection. Calls in progress fail, and so do later ones."""
        if self._connection is not None:
            await self._connection.close()


def _log_retry(method: Method, error: errors.RpcError, attempt: int) -> None:
    if attempt % _WARN_EVERY_ATTEMPTS:
        _logger.debug("%s failed, trying again: %s", method.name, error.message)
    else:
        _logger.warning("%s failed %d times, trying again: %s", method.name, attempt, error.message)


class _Service:
    """One service's calls by their snake-case names."""

    _methods: Mapping[str, Method]

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def __init_subclass__(cls, *, methods: Mapping[str, Method]) -> None:
        cls._methods = {_snake_case(name): method for name, method in methods.items()}

    def __getattr__(self, name: str) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise AttributeError(f"{type(self).__name__} has no call {name!r}")

        async def call(
            req: Message,
            retry: bool = False,
            metadata: Mapping[str, str | bytes] | None = None,
            timeout: timedelta | None = None,
        ) -> Any:
            return await self._client.call(
                method, req, retry=retry, metadata=metadata, timeout=timeout
            )

        return call


def _snake_case(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")


class WorkflowService(_Service, methods=WORKFLOW_SERVICE):
    """The calls of the workflow service. Each takes `(req, retry=False, metadata=None, timeout=None)`."""


class OperatorService(_Service, methods=OPERATOR_SERVICE):
    """The calls of the operator service. Each takes `(req, retry=False, metadata=None, timeout=None)`."""


class TestService(_Service, methods=TEST_SERVICE):
    """The calls of the test service. Each takes `(req, retry=False, metadata=None, timeout=None)`."""


def _what_to_do(target: str, error: RPCError) -> str:
    if error.status is not RPCStatusCode.UNAVAILABLE:
        return ""
    port = "" if ":" in target else " The target has no port: give '<host>:<port>'."
    return (
        f".{port} Is a server running there? `perdure server start-dev` starts one on localhost:7233; 'sqlite:<file>'"
        " needs none"
    )


def _refuse_in_workflow() -> None:
    """A workflow's loop has no I/O: a call would wait forever, and its answer would differ on replay."""
    if isinstance(asyncio.get_running_loop(), DeterministicLoop):
        raise RuntimeError(  # noqa: TRY004 - the place is wrong, not a type
            "clients cannot be used in a workflow: do that in an activity, or use what the workflow itself has"
            " (start_child_workflow, get_external_workflow_handle)"
        )
