"""Signals and cancel requests to other workflows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from perdure import workflow
from perdure.common.signatures import UNSET, arg_or_args
from perdure.replay import commands
from perdure.worker.host import waiting
from perdure.worker.interceptors.workflow import (
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
)
from perdure.workflow._handler_definitions import signal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.worker.host.state import RunState
    from perdure.worker.interceptors.workflow import WorkflowOutboundInterceptor


class HostedExternal(workflow.ExternalWorkflowHandle[Any]):
    """The handle that workflow code gets."""

    def __init__(
        self,
        state: RunState,
        workflow_id: str,
        run_id: str | None,
        outbound: WorkflowOutboundInterceptor,
    ) -> None:
        self._state = state
        self._id = workflow_id
        self._run_id = run_id
        self._outbound = outbound

    @property
    @override
    def id(self) -> str:
        return self._id

    @property
    @override
    def run_id(self) -> str | None:
        return self._run_id

    @override
    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
    ) -> None:
        self._state.check_mutable("signal external handle")
        await self._outbound.signal_external_workflow(
            SignalExternalWorkflowInput(
                signal=signal_name(signal),
                args=arg_or_args(arg, args),
                namespace=self._state.run.namespace,
                workflow_id=self._id,
                workflow_run_id=self._run_id,
                headers={},
            )
        )

    @override
    async def cancel(self, *, reason: str = "") -> None:
        state = self._state
        state.check_mutable("cancel external handle")
        seq = state.next_seq("external_cancel")
        state.issue(
            commands.RequestCancelExternal(
                seq=seq,
                namespace=state.run.namespace,
                workflow_id=self._id,
                run_id=self._run_id or "",
                reason=reason,
                site=state.site(),
            )
        )
        done: asyncio.Future[None] = state.loop.create_future()
        state.external_cancels[seq] = (done, self._id)
        # A cancel request cannot be withdrawn, so cancelling the task only stops the wait.
        await done


async def signal_external(
    state: RunState, input: SignalExternalWorkflowInput | SignalChildWorkflowInput
) -> None:
    """Signal another workflow and wait until the server has recorded the signal."""
    child = isinstance(input, SignalChildWorkflowInput)
    target = (
        input.child_workflow_id
        if isinstance(input, SignalChildWorkflowInput)
        else input.workflow_id
    )
    arguments = state.converters.for_workflow(target).payloads(input.args)
    state.check_mutable("signal external workflow")
    seq = state.next_seq("external_signal")
    state.issue(
        commands.SignalExternal(
            seq=seq,
            namespace=state.run.namespace,
            workflow_id=target,
            run_id=""
            if isinstance(input, SignalChildWorkflowInput)
            else input.workflow_run_id or "",
            child_workflow_only=child,
            signal_name=input.signal,
            args=arguments,
            headers=state.headers_of(input.headers),
            site=state.site(),
        )
    )
    done: asyncio.Future[None] = state.loop.create_future()
    state.external_signals[seq] = (done, target)

    def cancel(_error: asyncio.CancelledError) -> None:
        state.issue(commands.CancelSignalExternal(seq=seq, site=state.site()))

    await waiting.operation(state, done, cancel)
