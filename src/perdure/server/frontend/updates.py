"""Updates of workflows: send one and wait for it, or only wait (S-19 and S-20).

Waiters are woken, not answered: each wake-up reads the durable history again. So an answer that was computed but never
written is never returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from perdure.core.ids import EntityKey, run_key
from perdure.history import transitions
from perdure.server.frontend import checks
from perdure.server.pending.updates import UpdateAdmitted
from perdure.wire.api import enums, update, workflowservice
from perdure.wire.errors import (
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
    not_found,
    shown,
    workflow_not_ready,
)
from perdure.wire.events import execution_of, parse_rows

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.draft.update_values import UpdateAdmission, UpdateView
    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

Stage = enums.UpdateWorkflowExecutionLifecycleStage
_ADMITTED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
_ACCEPTED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
_COMPLETED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED

ABORTED = "workflow update was aborted by closing workflow"


class Reached(NamedTuple):
    """The stage that an update has reached. `is_aborted`: its run closed before a worker accepted it."""

    stage: Stage.ValueType
    outcome: update.Outcome | None = None
    is_aborted: bool = False


async def update_workflow_execution(
    services: Services, call: Call, request: workflowservice.UpdateWorkflowExecutionRequest
) -> workflowservice.UpdateWorkflowExecutionResponse:
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.workflow_execution, services.limits)
    update_request = checked_update(services, request)
    update_id = update_request.meta.update_id
    stage = request.wait_policy.lifecycle_stage or _COMPLETED
    waits = patience(services, call)

    def change(state: RunState, env: Env) -> RunTransition:
        waiting = services.updates.count_others(state, update_id)
        transition = transitions.request_update(
            state, update_id, request.first_execution_run_id, waiting, env
        )
        return admitted(transition, transition.reply, update_request, state.last_started_event_id)

    while True:
        admission: UpdateAdmission = await services.runs.update_current(
            namespace_id, workflow_id, run_id, change
        )
        key = run_key(namespace_id, workflow_id, admission.run_id)
        reached = await wait_for_update(services, key, update_id, stage, waits)
        if not reached.is_aborted:
            break
        if run_id or not await _goes_on(services, key):
            raise not_found(ABORTED)
        # S-20: the next run takes the update instead.
    return workflowservice.UpdateWorkflowExecutionResponse(
        update_ref=reference(key, update_id), outcome=reached.outcome, stage=reached.stage
    )


async def poll_workflow_execution_update(
    services: Services, call: Call, request: workflowservice.PollWorkflowExecutionUpdateRequest
) -> workflowservice.PollWorkflowExecutionUpdateResponse:
    namespace_id = services.namespace_id(request.namespace)
    if not request.HasField("update_ref"):
        raise InvalidArgument("UpdateRef is not set on request.")
    execution = request.update_ref.workflow_execution
    workflow_id, run_id = checks.execution(execution, services.limits)
    update_id = checks.text(request.update_ref.update_id, "UpdateId", services.limits)

    def look(state: RunState, env: Env) -> tuple[EntityKey, bool]:
        return state.key, update_id in state.updates

    key, is_accepted = await services.runs.read_current(namespace_id, workflow_id, run_id, look)
    if not is_accepted and services.updates.find(key, update_id) is None:
        raise not_found(f'update "{shown(update_id)}" not found')
    stage = request.wait_policy.lifecycle_stage
    waits = patience(services, call)
    reached = await wait_for_update(services, key, update_id, stage, waits)
    if reached.is_aborted:
        raise not_found(ABORTED)
    return workflowservice.PollWorkflowExecutionUpdateResponse(
        outcome=reached.outcome, stage=reached.stage, update_ref=reference(key, update_id)
    )


def checked_update(
    services: Services, request: workflowservice.UpdateWorkflowExecutionRequest
) -> update.Request:
    """The validated update, with an id."""
    update_request, limits = request.request, services.limits
    if not update_request.HasField("meta"):
        raise InvalidArgument("Update meta is not set on request.")
    if not update_request.HasField("input"):
        raise InvalidArgument("Update input is not set on request.")
    if update_request.completion_callbacks:
        raise checks.not_supported("CompletionCallbacks")
    if not update_request.input.name:
        raise InvalidArgument("Update name is not set on request.")
    checks.optional_text(update_request.meta.update_id, "UpdateId", limits)
    if update_request.ByteSize() > limits.blob_size_bytes_max:
        raise InvalidArgument(
            f"The update has {update_request.ByteSize()} bytes; the limit is {limits.blob_size_bytes_max}: "
            "keep large values elsewhere and pass references."
        )
    if request.wait_policy.lifecycle_stage == _ADMITTED:
        raise PermissionDenied(
            "Waiting for the stage ADMITTED is not supported: wait for ACCEPTED or COMPLETED."
        )
    result = update.Request()
    result.CopyFrom(update_request)
    if not result.meta.update_id:
        result.meta.update_id = services.new_id()
    return result


def admitted(
    transition: RunTransition,
    admission: UpdateAdmission,
    update_request: update.Request,
    last_started_event_id: int,
) -> RunTransition:
    """The transition with a note of the update that it lets in, if it is a new one."""
    if not admission.is_new:
        return transition
    note = UpdateAdmitted(update_request.meta.update_id, update_request, last_started_event_id)
    return msgspec.structs.replace(transition, notes=(note,))


class Patience(NamedTuple):
    """How long a call waits for an update."""

    until_ns: int
    is_the_callers: bool
    """Whether the time of the caller ends first. Then there is no answer: an early one would look like the server's."""


def patience(services: Services, call: Call) -> Patience:
    """Until the limit of the server, or the deadline of the caller."""
    limit_ns = services.limits.long_poll_ns
    until_ns = services.clock.monotonic_ns() + min(call.timeout_ns, limit_ns)
    return Patience(until_ns, call.timeout_ns < limit_ns)


def reference(key: EntityKey, update_id: str) -> update.UpdateRef:
    return update.UpdateRef(workflow_execution=execution_of(key), update_id=update_id)


async def wait_for_update(
    services: Services, key: EntityKey, update_id: str, stage: Stage.ValueType, waits: Patience
) -> Reached:
    """Wait until the update has reached the stage or has failed, or until the limit of the server.

    Raises:
        DeadlineExceeded: The caller's time was up before that.
    """
    with services.updates.awaited(key, update_id):
        return await _wait_for_update(services, key, update_id, stage, waits)


async def _wait_for_update(
    services: Services, key: EntityKey, update_id: str, stage: Stage.ValueType, waits: Patience
) -> Reached:
    while True:
        view = await services.engine.read(
            key, lambda state: transitions.update_view(state, update_id)
        )
        reached = await _look(services, key, update_id, view)
        left_ns = waits.until_ns - services.clock.monotonic_ns()
        if reached.is_aborted or reached.stage == _COMPLETED or reached.stage >= stage:
            return reached
        if left_ns <= 0:
            if waits.is_the_callers:
                raise DeadlineExceeded("The update did not reach the stage in time. It goes on.")
            return reached
        await services.engine.wait_for_events(key, view.last_event_id, left_ns)


async def _look(services: Services, key: EntityKey, update_id: str, view: UpdateView) -> Reached:
    if view.completed_event_id:
        event_id = view.completed_event_id
        (event,) = parse_rows(await services.engine.history(key, event_id, event_id)).events
        attributes = event.workflow_execution_update_completed_event_attributes
        return Reached(_COMPLETED, attributes.outcome)
    if view.is_accepted:
        services.updates.forget(key, update_id)
        if view.is_running:
            return Reached(_ACCEPTED)
        return Reached(_COMPLETED, update.Outcome(failure=transitions.closed_before_completion()))
    pending = services.updates.find(key, update_id)
    if pending is None and view.is_running:
        raise Unavailable(
            f"update {shown(update_id)} was lost before a worker accepted it; try again"
        )
    if pending is not None and pending.failed_in:
        raise workflow_not_ready(
            "Unable to perform workflow execution update due to unexpected workflow task failure."
        )
    if pending is not None and pending.is_answered(view.last_started_event_id):
        return Reached(_COMPLETED, update.Outcome(failure=pending.failure))
    if not view.is_running:
        services.updates.forget(key, update_id)
        return Reached(_ADMITTED, is_aborted=True)
    return Reached(_ADMITTED)


async def _goes_on(services: Services, closed: EntityKey) -> bool:
    """Whether another run follows the closed one and is open."""

    def look(state: RunState, env: Env) -> bool:
        return state.is_running

    return await services.runs.read_current(closed.namespace_id, closed.name, "", look)
