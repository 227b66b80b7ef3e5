"""Other workflows seen from a workflow (`get_external_workflow_handle`), and `continue_as_new`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, overload

from typing_extensions import Unpack

from perdure.common.signatures import UNSET, arg_or_args
from perdure.types import (
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    SelfType,
)
from perdure.workflow import _runtime
from perdure.workflow._options import NO_ARGS, ContinueAsNewConfig, ContinueOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.workflow._handles import ExternalWorkflowHandle


def get_external_workflow_handle(
    workflow_id: str, *, run_id: str | None = None
) -> ExternalWorkflowHandle[Any]:
    """A handle to any workflow of this namespace. Nothing is checked until it is used."""
    return _runtime.current().external_workflow_handle(workflow_id, run_id=run_id)


def get_external_workflow_handle_for(
    workflow: MethodAsyncNoParam[SelfType, Any] | MethodAsyncSingleParam[SelfType, Any, Any],  # noqa: ARG001
    workflow_id: str,
    *,
    run_id: str | None = None,
) -> ExternalWorkflowHandle[SelfType]:
    """Like `get_external_workflow_handle`, typed by the other workflow's `@workflow.run` method."""
    return _runtime.current().external_workflow_handle(workflow_id, run_id=run_id)


@overload
def continue_as_new(
    arg: Any = UNSET, *, args: Sequence[Any] = NO_ARGS, **options: Unpack[ContinueAsNewConfig]
) -> NoReturn: ...
@overload
def continue_as_new(
    *, workflow: MethodAsyncNoParam[SelfType, Any], **options: Unpack[ContinueAsNewConfig]
) -> NoReturn: ...
@overload
def continue_as_new(
    arg: ParamType,
    *,
    workflow: MethodAsyncSingleParam[SelfType, ParamType, Any],
    **options: Unpack[ContinueAsNewConfig],
) -> NoReturn: ...
@overload
def continue_as_new(
    *,
    workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[Any]],
    args: Sequence[Any],
    **options: Unpack[ContinueAsNewConfig],
) -> NoReturn: ...
@overload
def continue_as_new(
    *, workflow: str, args: Sequence[Any] = NO_ARGS, **options: Unpack[ContinueAsNewConfig]
) -> NoReturn: ...
def continue_as_new(
    arg: Any = UNSET,
    *,
    args: Sequence[Any] = NO_ARGS,
    workflow: Callable[..., Any] | str | None = None,
    **options: Unpack[ContinueAsNewConfig],
) -> NoReturn:
    """End this run and go on in a new one with an empty history. Never returns.

    Args:
        arg: Argument of the new run, when it takes one.
        args: Its arguments, when it takes several; not together with `arg`.
        workflow: Another workflow to go on as; by default this one.
        options: The keys of `ContinueAsNewConfig`; what is not given is inherited. Durations:
            `run_timeout`, `task_timeout`, and `backoff_start_interval` before the first task.

    Raises:
        ContinueAsNewError: Always; it unwinds the workflow and must not be swallowed.
    """
    _runtime.current().continue_as_new(workflow, arg_or_args(arg, args), ContinueOptions(**options))
