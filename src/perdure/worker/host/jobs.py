"""What each job of an activation does to the run.

A table maps job types to functions. No user code runs here: it runs when the host drains the loop. Decoding payloads
may raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from perdure.common import RawValue
from perdure.common.signatures import types_of_arguments
from perdure.replay import jobs
from perdure.worker.host import outcome
from perdure.worker.interceptors.workflow import ExecuteWorkflowInput

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from perdure.wire.api import failure as failure_pb
    from perdure.worker.host.handlers import Handlers
    from perdure.worker.host.state import RunState
    from perdure.worker.interceptors.workflow import WorkflowInboundInterceptor

    Failure = failure_pb.Failure


class UnknownOperationError(RuntimeError):
    """A job resolves an operation that this run never started: a bug in the engine, or a run that was lost."""

    def __init__(self, what: str, seq: int) -> None:
        super().__init__(f"Failed finding {what} for sequence {seq}")


class Jobs:
    """Applies jobs to one run."""

    __slots__ = ("_handlers", "_inbound", "_state")

    def __init__(
        self, state: RunState, inbound: WorkflowInboundInterceptor, handlers: Handlers
    ) -> None:
        self._state = state
        self._inbound = inbound
        self._handlers = handlers

    def apply(self, job: jobs.Job) -> None:
        """Apply one job. Errors of decoding are raised."""
        apply = _TABLE.get(type(job))
        if apply is None:
            message = f"This worker cannot handle {type(job).__name__} yet"
            raise RuntimeError(message)
        apply(self, job)

    def prepare(self, job: jobs.InitializeWorkflow) -> None:
        """Decode the arguments first, because constructors need them."""
        state = self._state
        definition = state.definition
        converters = state.converters
        types = types_of_arguments(definition.run_fn, definition.arg_types, len(job.arguments))
        if definition.name is None:
            types = cast("list[type]", [RawValue] * len(job.arguments))
        args = converters.decode(job.arguments, types, converters.workflow)
        state.workflow_input = ExecuteWorkflowInput(
            type=definition.cls,
            run_fn=definition.run_fn,
            args=args if definition.name is not None else [args],
            headers=state.start.headers,
        )

    def has_patch(self, job: jobs.NotifyHasPatch) -> None:
        """History has a marker of this patch."""
        self._state.patches_notified.add(job.patch_id)

    def reseed(self, job: jobs.UpdateRandomSeed) -> None:
        """The run was reset."""
        self._state.reseed(job.randomness_seed)

    def signal(self, job: jobs.SignalWorkflow) -> None:
        """A signal arrived."""
        self._handlers.signal(job)

    def update(self, job: jobs.DoUpdate) -> None:
        """An update arrived."""
        self._handlers.update(job)

    def query(self, job: jobs.QueryWorkflow) -> None:
        """A query arrived."""
        self._handlers.query(job)

    def fire_timer(self, job: jobs.FireTimer) -> None:
        """A timer fired."""
        self._state.loop.fire_timer(job.seq)

    def initialize(self, _job: jobs.InitializeWorkflow) -> None:
        """Start the workflow's main task."""
        state = self._state
        input = state.workflow_input
        assert input is not None  # prepare() ran before

        async def run() -> None:
            outcome.complete_workflow(state, await self._inbound.execute_workflow(input))

        state.primary_task = state.loop.create_task(outcome.top_level(state, run), name="run")
        if state.cancel_pending:
            state.cancel_pending = False
            state.loop.call_soon(state.primary_task.cancel)

    def cancel(self, job: jobs.CancelWorkflow) -> None:
        """The workflow's cancellation was requested."""
        state = self._state
        state.cancel_reason = job.reason
        if state.primary_task is not None:
            # Before its first step the task could not observe the cancellation, so let it take that step first.
            state.loop.call_soon(state.primary_task.cancel)
        elif state.single_batch:
            state.cancel_pending = True

    def resolve_activity(self, job: jobs.ResolveActivity) -> None:
        """An activity ended."""
        handle = self._state.activities.pop(job.seq, None)
        if handle is None:
            raise UnknownOperationError("activity handle", job.seq)
        handle.resolve(job.result)

    def resolve_child_start(self, job: jobs.ResolveChildStart) -> None:
        """A child started, or could not."""
        handle = self._state.children.get(job.seq)
        if handle is None:
            raise UnknownOperationError("child workflow handle", job.seq)
        if not handle.resolve_start(job.outcome):
            self._state.children.pop(job.seq)

    def resolve_child(self, job: jobs.ResolveChild) -> None:
        """A child ended."""
        handle = self._state.children.pop(job.seq, None)
        if handle is None:
            raise UnknownOperationError("child workflow handle", job.seq)
        handle.resolve(job.result)

    def resolve_signal(self, job: jobs.ResolveSignalExternal) -> None:
        """A signal to another workflow arrived, or did not."""
        pending = self._state.external_signals.pop(job.seq, None)
        if pending is None:
            raise UnknownOperationError("pending external signal", job.seq)
        self._settle(*pending, job.failure)

    def resolve_cancel(self, job: jobs.ResolveCancelExternal) -> None:
        """A cancel request to another workflow arrived, or did not."""
        pending = self._state.external_cancels.pop(job.seq, None)
        if pending is None:
            raise UnknownOperationError("pending external cancel", job.seq)
        self._settle(*pending, job.failure)

    def _settle(
        self, future: asyncio.Future[None], workflow_id: str, failure: Failure | None
    ) -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(None)
        else:
            converters = self._state.converters.for_workflow(workflow_id)
            future.set_exception(converters.from_failure(failure))


_TABLE: dict[type, Callable[[Jobs, Any], None]] = {
    jobs.InitializeWorkflow: Jobs.initialize,
    jobs.NotifyHasPatch: Jobs.has_patch,
    jobs.UpdateRandomSeed: Jobs.reseed,
    jobs.SignalWorkflow: Jobs.signal,
    jobs.DoUpdate: Jobs.update,
    jobs.QueryWorkflow: Jobs.query,
    jobs.CancelWorkflow: Jobs.cancel,
    jobs.FireTimer: Jobs.fire_timer,
    jobs.ResolveActivity: Jobs.resolve_activity,
    jobs.ResolveChildStart: Jobs.resolve_child_start,
    jobs.ResolveChild: Jobs.resolve_child,
    jobs.ResolveSignalExternal: Jobs.resolve_signal,
    jobs.ResolveCancelExternal: Jobs.resolve_cancel,
}
