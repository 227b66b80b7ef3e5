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
    """Get a handle to another workflow of this namespace. Nothing is sent or checked until the handle is used.

    Args:
        workflow_id: Its workflow id.
        run_id: One run of it. None: the run that is current when the handle is used.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Order:
            def __init__(self) -> None:
                self.paid = False

            @workflow.signal
            def pay(self) -> None:
                self.paid = True

            @workflow.run
            async def run(self) -> str:
                await workflow.wait_condition(lambda: self.paid)
                return "paid"


        @workflow.defn
        class Payment:
            @workflow.run
            async def run(self, order_id: str) -> None:
                await workflow.get_external_workflow_handle(order_id).signal(Order.pay)


        async with Worker(client, task_queue="orders", workflows=[Order, Payment]):
            order = await client.start_workflow(Order.run, id="order-7", task_queue="orders")
            await client.execute_workflow(
                Payment.run, "order-7", id="payment-7", task_queue="orders"
            )
            assert await order.result() == "paid"
        ```
    """
    return _runtime.current().external_workflow_handle(workflow_id, run_id=run_id)


def get_external_workflow_handle_for(
    workflow: MethodAsyncNoParam[SelfType, Any] | MethodAsyncSingleParam[SelfType, Any, Any],  # noqa: ARG001
    workflow_id: str,
    *,
    run_id: str | None = None,
) -> ExternalWorkflowHandle[SelfType]:
    """Like `get_external_workflow_handle`, with the types of the other workflow.

    Args:
        workflow: The `@workflow.run` method of the other workflow.
        workflow_id: Its workflow id.
        run_id: One run of it. None: the run that is current when the handle is used.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.
    """
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
    """End this run and continue in a new one with an empty history. Never returns.

    Args:
        arg: Argument of the new run, if it takes exactly one.
        args: Its arguments, if it takes several. Do not give both.
        workflow: Another workflow to continue as. None: this one.
        options: The keys of `ContinueAsNewConfig`. Options that are not given are inherited from this run.

    Raises:
        ContinueAsNewError: Always. It unwinds the workflow and must not be caught.
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Countdown:
            @workflow.run
            async def run(self, days: int) -> str:
                if days == 0:
                    return "lift-off"
                await workflow.sleep(timedelta(days=1))
                workflow.continue_as_new(days - 1)


        async with Worker(client, task_queue="rockets", workflows=[Countdown]):
            last = await client.execute_workflow(
                Countdown.run, 3, id="rocket-7", task_queue="rockets"
            )
        assert last == "lift-off"
        ```
    """
    _runtime.current().continue_as_new(workflow, arg_or_args(arg, args), ContinueOptions(**options))
