"""Applies outbox effects at their destination and reports the outcome to their source (D-9).

Role: for each effect, the transition of the destination, then, if the source waits for it, the one that records the
outcome. Each is durable before the next and recognises a repetition, so an interrupted delivery simply starts again.

Invariants: an error that a retry cannot fix is an outcome (recorded as a Failed event, or ignored when nobody waits
for it); all others are raised, and the outbox retries. Not here: order and retries (`outbox`), decisions (`history`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from perdure.core.ids import EntityKey
from perdure.history import transitions
from perdure.history.child.command import ChildStart
from perdure.history.draft.effects import (
    CancelExternal,
    ChildClosed,
    ParentClosed,
    SignalExternal,
    StartChild,
    decode_body,
)
from perdure.history.run.start import Parent
from perdure.history.workflow_task.steps import SERVER_IDENTITY
from perdure.wire.api import common, enums, workflowservice
from perdure.wire.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from perdure.wire.events import parse_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.entity.env import Env
    from perdure.entity.transition import Effect
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.pointer import CurrentRun
    from perdure.history.state.run_state import RunState
    from perdure.server.engine import Engine
    from perdure.server.runs import Runs
    from perdure.wire.api import history

log = logging.getLogger(__name__)

_SignalCause = enums.SignalExternalWorkflowExecutionFailedCause
_CancelCause = enums.CancelExternalWorkflowExecutionFailedCause
_StartCause = enums.StartChildWorkflowExecutionFailedCause
_SIGNAL_NOWHERE = _SignalCause.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
_SIGNAL_NO_NAMESPACE = (
    _SignalCause.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND
)
_SIGNAL_TOO_MANY = (
    _SignalCause.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED
)
_CANCEL_NOWHERE = _CancelCause.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
_CANCEL_NO_NAMESPACE = (
    _CancelCause.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND
)
_CHILD_EXISTS = _StartCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
_CHILD_NO_NAMESPACE = _StartCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND
_CHILD_REFUSED = _StartCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_UNSPECIFIED

PARENT_CLOSED_REASON = "by parent close policy"


class Deliveries:
    """Applies effects at their destination and records the outcome at their source. Call `open` after wiring."""

    engine: Engine
    runs: Runs

    def open(self, engine: Engine, runs: Runs) -> None:
        """Connect the deliveries to the engine and its runs."""
        self.engine, self.runs = engine, runs

    async def deliver(self, source: EntityKey, effect: Effect) -> None:
        """Apply an effect of `source` at its destination, and record the outcome at `source`."""
        body = decode_body(effect)
        match body:
            case SignalExternal():
                await self._signal(source, effect, body.initiated_event_id)
            case CancelExternal():
                await self._cancel(source, effect, body.initiated_event_id)
            case StartChild():
                await self._start_child(source, effect, body.initiated_event_id)
            case ChildClosed():
                await self._child_closed(source, body)
            case ParentClosed():
                await self._parent_closed(source, effect, body)

    # Signals and cancel requests.

    async def _signal(self, source: EntityKey, effect: Effect, event_id: int) -> None:
        if await self._is_answered(source, event_id):
            return
        event = await self._event(source, event_id)
        said = event.signal_external_workflow_execution_initiated_event_attributes
        cause = None
        if self.engine.namespaces.by_id(said.namespace_id) is None:
            cause = _SIGNAL_NO_NAMESPACE
        elif _is_self(source, said.namespace_id, said.workflow_execution):
            cause = _SIGNAL_NOWHERE
        else:
            request = workflowservice.SignalWorkflowExecutionRequest(
                signal_name=said.signal_name,
                input=said.input if said.HasField("input") else None,
                header=said.header if said.HasField("header") else None,
                identity=SERVER_IDENTITY,
                request_id=effect.request_id,
            )
            try:
                await self.runs.update_current(
                    said.namespace_id,
                    said.workflow_execution.workflow_id,
                    said.workflow_execution.run_id,
                    lambda state, env: transitions.signal(
                        state, request, env, sender=source, child_only=said.child_workflow_only
                    ),
                )
            except NotFound:
                cause = _SIGNAL_NOWHERE
            except InvalidArgument:
                cause = _SIGNAL_TOO_MANY
        await self._tell(
            source,
            lambda state, env: transitions.external_signaled(state, event_id, said, cause, env),
        )

    async def _cancel(self, source: EntityKey, effect: Effect, event_id: int) -> None:
        if await self._is_answered(source, event_id):
            return
        event = await self._event(source, event_id)
        said = event.request_cancel_external_workflow_execution_initiated_event_attributes
        cause = None
        if self.engine.namespaces.by_id(said.namespace_id) is None:
            cause = _CANCEL_NO_NAMESPACE
        elif _is_self(source, said.namespace_id, said.workflow_execution):
            cause = _CANCEL_NOWHERE
        else:
            request = workflowservice.RequestCancelWorkflowExecutionRequest(
                identity=SERVER_IDENTITY, request_id=effect.request_id, reason=said.reason
            )
            try:
                await self.runs.update_current(
                    said.namespace_id,
                    said.workflow_execution.workflow_id,
                    said.workflow_execution.run_id,
                    lambda state, env: transitions.request_cancel(
                        state,
                        request,
                        env,
                        sender=source,
                        sender_event_id=event_id,
                        child_only=said.child_workflow_only,
                    ),
                )
            except NotFound:
                cause = _CANCEL_NOWHERE
        await self._tell(
            source,
            lambda state, env: transitions.external_cancel_requested(
                state, event_id, said, cause, env
            ),
        )

    async def _is_answered(self, source: EntityKey, event_id: int) -> bool:
        """Whether the outcome is already recorded. A later run under the same workflow id must not receive it."""
        return await self.engine.read(
            source, lambda state: transitions.is_external_answered(state, event_id)
        )

    # Children.

    async def _start_child(self, source: EntityKey, effect: Effect, event_id: int) -> None:
        """The handshake of S-38: create the child, record it, release it; or undo what the parent cannot record."""
        event = await self._event(source, event_id)
        said = event.start_child_workflow_execution_initiated_event_attributes
        start, parent = await self.engine.read(source, lambda state: _view(state, event_id))
        if start is ChildStart.WANTED:
            cause, run_id = await self._create(effect, said, parent)
            if cause is not None:
                await self._tell(
                    source,
                    lambda state, env: transitions.child_start_failed(
                        state, event_id, said, cause, env
                    ),
                )
                return
            is_recorded = await self._tell(
                source,
                lambda state, env: transitions.child_started(state, event_id, run_id, env),
            )
            start = ChildStart.RECORDED if is_recorded else ChildStart.GONE
        if start is ChildStart.RECORDED:
            await self._tell_current(
                said.namespace_id,
                said.workflow_id,
                lambda state, env: transitions.release_child(state, source, effect.request_id, env),
            )
        else:
            await self._tell_current(
                said.namespace_id,
                said.workflow_id,
                lambda state, env: transitions.discard_child(state, source, effect.request_id, env),
            )

    async def _create(
        self,
        effect: Effect,
        said: history.StartChildWorkflowExecutionInitiatedEventAttributes,
        parent: Parent,
    ) -> tuple[_StartCause.ValueType | None, str]:
        """Create the child. Returns the cause of a failure, or the child's run id."""
        namespace_id = said.namespace_id
        if self.engine.namespaces.by_id(namespace_id) is None:
            return _CHILD_NO_NAMESPACE, ""
        home = self.engine.namespaces.by_id(parent.key.namespace_id)
        parent = parent._replace(namespace=home.name if home else "")
        request = transitions.child_request(said, effect.request_id)

        def change(
            current: CurrentRun | None, existing: RunState | None, env: Env
        ) -> tuple[RunTransition, ...]:
            return transitions.start_child(current, existing, request, namespace_id, parent, env)

        try:
            reply = await self.runs.start_with(
                namespace_id,
                said.workflow_id,
                lambda current: transitions.needs_existing(current, request),
                change,
            )
        except AlreadyExists:
            return _CHILD_EXISTS, ""
        except (InvalidArgument, FailedPrecondition) as error:
            log.warning("child workflow %s cannot be started: %s", said.workflow_id, error)
            return _CHILD_REFUSED, ""
        return None, reply.run_id

    async def _child_closed(self, source: EntityKey, body: ChildClosed) -> None:
        closing = await self._event(source, body.close_event_id)
        await self._tell(
            body.parent,
            lambda state, env: transitions.child_closed(
                state, body.initiated_event_id, source, body.first_run_id, closing, env
            ),
        )

    async def _parent_closed(self, source: EntityKey, effect: Effect, body: ParentClosed) -> None:
        to = effect.destination
        if body.terminates:
            ending = workflowservice.TerminateWorkflowExecutionRequest(
                first_execution_run_id=body.first_run_id,
                reason=PARENT_CLOSED_REASON,
                identity=SERVER_IDENTITY,
            )
            await self._tell_current(
                to.namespace_id,
                to.name,
                lambda state, env: transitions.terminate(state, ending, env),
            )
            return
        request = workflowservice.RequestCancelWorkflowExecutionRequest(
            first_execution_run_id=body.first_run_id,
            identity=SERVER_IDENTITY,
            request_id=effect.request_id,
        )
        await self._tell_current(
            to.namespace_id,
            to.name,
            lambda state, env: transitions.request_cancel(state, request, env, sender=source),
        )

    # Helpers.

    async def _tell(
        self, key: EntityKey, change: Callable[[RunState, Env], RunTransition]
    ) -> object | None:
        """Change a run. If the run no longer exists, there is nothing to do."""
        try:
            return await self.engine.update(key, change)
        except NotFound:
            return None

    async def _tell_current(
        self, namespace_id: str, workflow_id: str, change: Callable[[RunState, Env], RunTransition]
    ) -> None:
        try:
            await self.runs.update_current(namespace_id, workflow_id, "", change)
        except NotFound:
            return

    async def _event(self, source: EntityKey, event_id: int) -> history.HistoryEvent:
        """An event of the source. The source is kept while it has effects to deliver."""
        (event,) = parse_rows(await self.engine.history(source, event_id, event_id)).events
        return event


def _is_self(source: EntityKey, namespace_id: str, to: common.WorkflowExecution) -> bool:
    """Whether a workflow targets itself. As on the reference server, it is not found, whichever run it names."""
    return (source.namespace_id, source.name) == (namespace_id, to.workflow_id)


def _view(state: RunState, initiated_event_id: int) -> tuple[ChildStart, Parent]:
    """The parts of the parent that the delivery of a child's start needs."""
    info = state.info
    parent = Parent(
        key=state.key,
        namespace="",
        initiated_event_id=initiated_event_id,
        root_workflow_id=info.root_workflow_id,
        root_run_id=info.root_run_id,
    )
    return transitions.child_start_of(state, initiated_event_id), parent
