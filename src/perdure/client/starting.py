"""Starting workflows: the part of `Client` with the most overloads."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Unpack, overload

from perdure.client import inputs
from perdure.client.config import ClientConfig
from perdure.client.interceptor import OutboundInterceptor
from perdure.client.names import workflow_target
from perdure.client.options import StartWorkflowOptions
from perdure.client.workflow_handle import WorkflowHandle
from perdure.common import TypedSearchAttributes
from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)


class StartsWorkflows:
    """Starts workflows through a chain of interceptors."""

    _outbound: OutboundInterceptor
    _config: ClientConfig

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
