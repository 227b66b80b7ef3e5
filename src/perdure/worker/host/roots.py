"""The ends of the interceptor chains: from the last interceptor to user code, and to the host."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NoReturn

from typing_extensions import override

from perdure.core.user_code import quiet_logger
from perdure.exceptions import ApplicationError
from perdure.worker.host import children, external, handles, outcome
from perdure.worker.interceptors.workflow import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perdure import workflow
    from perdure.worker.host.state import RunState
    from perdure.workflow._handler_definitions import HandlerDefinition


def _handler(known: Mapping[str | None, HandlerDefinition], name: str) -> HandlerDefinition:
    found = known.get(name) or known.get(None)
    if found is None:  # an interceptor changed the name, and no handler has the new one
        message = f"There is no handler for '{name}'"
        raise RuntimeError(message)
    return found


_log = quiet_logger(__name__)


async def _call(handler: Callable[..., Any], args: Sequence[Any]) -> Any:
    if inspect.iscoroutinefunction(handler):
        return await handler(*args)
    return handler(*args)


class InboundRoot(WorkflowInboundInterceptor):
    """Calls user code."""

    outbound: WorkflowOutboundInterceptor

    def __init__(self, state: RunState) -> None:
        # The root has no next interceptor, so it does not call the constructor of the base.
        self._state = state

    @override
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self.outbound = outbound

    @override
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        return await input.run_fn(self._state.instance, *input.args)

    @override
    async def handle_signal(self, input: HandleSignalInput) -> None:
        state = self._state
        definition = _handler(state.signals, input.signal)
        if (misfit := definition.misfit(input.args)) is not None:
            # Treated like a signal whose arguments cannot be decoded: no sender can correct it, so it must not block.
            _log.error(
                "Dropped the signal %s of workflow %s (id %s, run %s): %s",
                input.signal,
                state.run.workflow_type,
                state.run.workflow_id,
                state.run.run_id,
                misfit,
            )
            return
        await _call(definition.bind(state.instance), input.args)

    @override
    async def handle_query(self, input: HandleQueryInput) -> Any:
        state = self._state
        return await _call(_handler(state.queries, input.query).bind(state.instance), input.args)

    @override
    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        state = self._state
        definition = state.updates.get(input.update) or state.updates.get(None)
        validator = definition.bind_validator(state.instance) if definition else None
        if validator is not None:
            validator(*input.args)

    @override
    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        state = self._state
        definition = _handler(state.updates, input.update)
        if (misfit := definition.misfit(input.args)) is not None:
            raise ApplicationError(misfit, type="TypeError", non_retryable=True)
        return await _call(definition.bind(state.instance), input.args)


class OutboundRoot(WorkflowOutboundInterceptor):
    """Issues commands."""

    def __init__(self, state: RunState) -> None:
        self._state = state

    @override
    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        raise outcome.ContinueAsNewRequested(input)

    @override
    def info(self) -> workflow.Info:
        return self._state.info

    @override
    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        await external.signal_external(self._state, input)

    @override
    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        await external.signal_external(self._state, input)

    @override
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        return handles.start_activity(self._state, input)

    @override
    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        # The handle sends signals through the whole chain.
        return await children.start_child(self._state, input, self._state.outbound)

    @override
    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        return handles.start_activity(self._state, input)
