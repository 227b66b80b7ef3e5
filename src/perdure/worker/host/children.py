"""Child workflows from the parent's side.

Invariants: starting a child waits for the server's answer, and the handle's own task waits for the child to close.
The two waits, for the start and for the close, are resolved by two jobs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from perdure import workflow
from perdure.common.signatures import UNSET, arg_or_args
from perdure.converter import encode_search_attributes
from perdure.exceptions import InvalidVersioningOverrideError, WorkflowAlreadyStartedError
from perdure.replay import commands, jobs
from perdure.wire.api import common as common_pb
from perdure.wire.api import enums
from perdure.worker.host import waiting
from perdure.worker.host.handles import nanoseconds, priority, retry_policy, versioning_intent
from perdure.worker.interceptors.workflow import SignalChildWorkflowInput
from perdure.workflow._handler_definitions import signal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from perdure.common import SearchAttributes, TypedSearchAttributes
    from perdure.worker.host.state import RunState
    from perdure.worker.interceptors.workflow import (
        StartChildWorkflowInput,
        WorkflowOutboundInterceptor,
    )

    Payload = common_pb.Payload

_ALREADY_EXISTS = enums.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
# Older versions of the API's enum lack this value.
_INVALID_OVERRIDE = getattr(
    enums, "START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_INVALID_VERSIONING_OVERRIDE", -1
)


def search_attributes(
    attributes: SearchAttributes | TypedSearchAttributes | None,
) -> common_pb.SearchAttributes | None:
    """Search attributes for a command; None if there are none."""
    if not attributes:
        return None
    made = common_pb.SearchAttributes()
    encode_search_attributes(attributes, made)
    return made


class HostedChild(workflow.ChildWorkflowHandle[Any, Any]):
    """The handle that workflow code gets when the child has started."""

    _run_id: str

    def __init__(
        self,
        state: RunState,
        seq: int,
        input: StartChildWorkflowInput,
        outbound: WorkflowOutboundInterceptor,
    ) -> None:
        self._run_state = state
        self.seq = seq
        self.input = input
        self._outbound = outbound
        self._converters = state.converters.for_workflow(input.id)
        self.started: asyncio.Future[None] = state.loop.create_future()
        self._outcome: asyncio.Future[Any] = state.loop.create_future()
        run: Coroutine[Any, Any, Any] = self._run()
        super().__init__(run, loop=state.loop, name=f"child: {input.workflow}")
        state.loop.adopt_task(self)

    async def _run(self) -> Any:
        return await waiting.operation(self._run_state, self._outcome, self.request_cancel)

    def request_cancel(self, error: asyncio.CancelledError) -> None:
        """Issue the cancel command. A message passed to `cancel` becomes the reason."""
        reason = error.args[0] if error.args and isinstance(error.args[0], str) else ""
        self._run_state.issue(
            commands.CancelChildWorkflow(seq=self.seq, reason=reason, site=self._run_state.site())
        )

    @property
    @override
    def id(self) -> str:
        return self.input.id

    @property
    @override
    def first_execution_run_id(self) -> str | None:
        return self._run_id

    @override
    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
    ) -> None:
        self._run_state.check_mutable("signal child handle")
        await self._outbound.signal_child_workflow(
            SignalChildWorkflowInput(
                signal=signal_name(signal),
                args=arg_or_args(arg, args),
                child_workflow_id=self.input.id,
                headers={},
            )
        )

    def schedule(self, arguments: Sequence[Payload]) -> None:
        """Issue the start command."""
        input, converters = self.input, self._converters
        memo: Mapping[str, Payload] = {
            key: converters.one_payload(value) for key, value in (input.memo or {}).items()
        }
        self._run_state.issue(
            commands.StartChildWorkflow(
                seq=self.seq,
                namespace=self._run_state.run.namespace,
                workflow_id=input.id,
                workflow_type=input.workflow,
                task_queue=input.task_queue or self._run_state.run.task_queue,
                input=arguments,
                workflow_execution_timeout_ns=nanoseconds(input.execution_timeout),
                workflow_run_timeout_ns=nanoseconds(input.run_timeout),
                workflow_task_timeout_ns=nanoseconds(input.task_timeout),
                parent_close_policy=int(input.parent_close_policy),
                workflow_id_reuse_policy=int(input.id_reuse_policy),
                retry_policy=retry_policy(input.retry_policy),
                cron_schedule=input.cron_schedule,
                headers=self._run_state.headers_of(input.headers),
                memo=memo,
                search_attributes=search_attributes(input.search_attributes),
                cancellation_type=commands.ChildWorkflowCancellationType(
                    int(input.cancellation_type)
                ),
                versioning_intent=versioning_intent(input.versioning_intent),
                priority=priority(input.priority),
                versioning_override=input.versioning_override.to_proto()
                if input.versioning_override
                else None,
                summary=converters.text(input.static_summary),
                details=converters.text(input.static_details),
                site=self._run_state.site(),
            )
        )

    def resolve_start(self, outcome: jobs.ChildStartOutcome) -> bool:
        """Handle the server's answer to the start. Returns False if the child did not start, so it will never close."""
        if isinstance(outcome, jobs.ChildStarted):
            self._run_id = outcome.run_id
            self.started.set_result(None)
            return True
        if isinstance(outcome, jobs.Cancelled):
            self._fail(self._converters.from_failure(outcome.failure))
        elif outcome.cause == _ALREADY_EXISTS:
            self._fail(WorkflowAlreadyStartedError(outcome.workflow_id, outcome.workflow_type))
        elif outcome.cause == _INVALID_OVERRIDE:
            self._fail(InvalidVersioningOverrideError())
        else:
            self._fail(RuntimeError(f"Unknown child start fail cause: {outcome.cause}"))
        return False

    def resolve(self, result: jobs.ChildOutcome) -> None:
        """Handle the close of the child. Raises if its result cannot be decoded."""
        if not isinstance(result, jobs.Completed):
            self._fail(self._converters.from_failure(result.failure))
            return
        value: Any = None
        if result.result is not None:
            types = [self.input.ret_type] if self.input.ret_type else None
            decoded = self._run_state.converters.decode([result.result], types, self._converters)
            value = decoded[0]
        self._outcome.set_result(value)

    def _fail(self, error: BaseException) -> None:
        if self.started.done():
            self._outcome.set_exception(error)
        else:
            self.started.set_exception(error)
            # End the handle's own task without an error, because the start already raises it.
            self._outcome.set_result(None)


async def start_child(
    state: RunState, input: StartChildWorkflowInput, outbound: WorkflowOutboundInterceptor
) -> HostedChild:
    """Start a child and wait until the server has started it."""
    state.check_mutable("start child workflow")
    seq = state.next_seq("child_workflow")
    arguments = state.converters.for_workflow(input.id).payloads(input.args)
    handle = HostedChild(state, seq, input, outbound)
    handle.schedule(arguments)
    state.children[seq] = handle
    await waiting.operation(
        state, handle.started, handle.request_cancel, reraise_on_workflow_cancel=True
    )
    return handle
