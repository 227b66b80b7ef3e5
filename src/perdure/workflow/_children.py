"""Child workflows: `start_child_workflow` and `execute_child_workflow`.

Options are the keys of `ChildWorkflowConfig`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, overload

from typing_extensions import Unpack

from perdure.common import Priority, WorkflowIDReusePolicy
from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)
from perdure.workflow import _context, _runtime
from perdure.workflow._options import (
    NO_ARGS,
    ChildOptions,
    ChildWorkflowCancellationType,
    ChildWorkflowConfig,
    ParentClosePolicy,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.workflow._handles import ChildWorkflowHandle


def _options(result_type: type | None, given: ChildWorkflowConfig) -> ChildOptions:
    return ChildOptions(
        # The id must not differ on replay, so it is drawn from the workflow's own randomness.
        id=given.get("id") or str(_context.uuid4()),
        task_queue=given.get("task_queue"),
        result_type=result_type,
        cancellation_type=given.get(
            "cancellation_type", ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED
        ),
        parent_close_policy=given.get("parent_close_policy", ParentClosePolicy.TERMINATE),
        execution_timeout=given.get("execution_timeout"),
        run_timeout=given.get("run_timeout"),
        task_timeout=given.get("task_timeout"),
        id_reuse_policy=given.get("id_reuse_policy", WorkflowIDReusePolicy.ALLOW_DUPLICATE),
        retry_policy=given.get("retry_policy"),
        cron_schedule=given.get("cron_schedule", ""),
        memo=given.get("memo"),
        search_attributes=given.get("search_attributes"),
        versioning_intent=given.get("versioning_intent"),
        static_summary=given.get("static_summary"),
        static_details=given.get("static_details"),
        priority=given.get("priority", Priority.default),
        versioning_override=given.get("versioning_override"),
    )


def _check_names(options: ChildWorkflowConfig) -> None:
    unknown = [name for name in options if name not in ChildWorkflowConfig.__annotations__]
    if unknown:
        message = f"start_child_workflow() got an unexpected keyword argument {unknown[0]!r}"
        raise TypeError(message)


@overload
async def start_child_workflow(
    workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ChildWorkflowConfig]
) -> ChildWorkflowHandle[SelfType, ReturnType]: ...
@overload
async def start_child_workflow(
    workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ChildWorkflowConfig],
) -> ChildWorkflowHandle[SelfType, ReturnType]: ...
@overload
async def start_child_workflow(
    workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ChildWorkflowConfig],
) -> ChildWorkflowHandle[SelfType, ReturnType]: ...
@overload
async def start_child_workflow(
    workflow: str,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ChildWorkflowConfig],
) -> ChildWorkflowHandle[Any, Any]: ...
async def start_child_workflow(
    workflow: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ChildWorkflowConfig],
) -> ChildWorkflowHandle[Any, Any]:
    """Start a child workflow and return its handle once the server has started it.

    Args:
        workflow: The child's `@workflow.run` method, or its type name.
        arg: Its argument, when it takes one.
        args: Its arguments, when it takes several; not together with `arg`.
        result_type: Type hint of the result, for workflows given by name.
        options: The keys of `ChildWorkflowConfig`:
            id: Workflow id; a deterministic random UUID by default.
            task_queue: Queue; the parent's own by default.
            cancellation_type: What cancelling the handle does.
            parent_close_policy: What happens to the child when this workflow closes.
            execution_timeout, run_timeout, task_timeout: Limits of the chain, one run, one task.
            id_reuse_policy: Whether the id of a closed workflow may be used.
            retry_policy, cron_schedule, memo, search_attributes: As on start.
            static_summary, static_details: Texts for UI and command line.
            priority, versioning_override, versioning_intent: Advanced.

    Raises:
        WorkflowAlreadyStartedError: The id is taken.
    """
    _check_names(options)
    return await _runtime.current().start_child_workflow(
        workflow, arg_or_args(arg, args), _options(result_type, options)
    )


@overload
async def execute_child_workflow(
    workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[ChildWorkflowConfig]
) -> ReturnType: ...
@overload
async def execute_child_workflow(
    workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    **options: Unpack[ChildWorkflowConfig],
) -> ReturnType: ...
@overload
async def execute_child_workflow(
    workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
    *,
    args: Sequence[Any],
    **options: Unpack[ChildWorkflowConfig],
) -> ReturnType: ...
@overload
async def execute_child_workflow(
    workflow: str,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ChildWorkflowConfig],
) -> Any: ...
async def execute_child_workflow(
    workflow: Any,
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    result_type: type | None = None,
    **options: Unpack[ChildWorkflowConfig],
) -> Any:
    """Start a child workflow and wait for its result; arguments as `start_child_workflow`.

    Raises:
        ChildWorkflowError: The child failed, timed out, was cancelled or terminated.
        WorkflowAlreadyStartedError: The id is taken.
    """
    _check_names(options)
    handle = await _runtime.current().start_child_workflow(
        workflow, arg_or_args(arg, args), _options(result_type, options)
    )
    return await handle
