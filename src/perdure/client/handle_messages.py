"""Queries and signals: the part of `WorkflowHandle` that talks to the workflow's handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Generic, overload

from perdure.client import inputs
from perdure.client.names import handler_target
from perdure.common import QueryRejectCondition
from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
    LocalReturnType,
    MethodSyncOrAsyncNoParam,
    MethodSyncOrAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    SelfType,
)

if TYPE_CHECKING:
    from perdure.client.client import Client


class HandleMessages(Generic[SelfType]):
    """Asks and tells a workflow."""

    _client: Client
    _id: str
    _run_id: str | None

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

    # ── signals ──────────────────────────────────────────────────────────────────────────────────────

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
