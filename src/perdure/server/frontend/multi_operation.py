"""ExecuteMultiOperation: exactly [Start, Update] of one workflow id (S-21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import run_key
from perdure.history import transitions
from perdure.server.frontend.search_attributes import check_search_attributes
from perdure.server.frontend.updates import (
    ABORTED,
    Reached,
    admitted,
    checked_update,
    patience,
    reference,
    wait_for_update,
)
from perdure.server.frontend.workflows import check_start
from perdure.wire.api import enums, workflowservice
from perdure.wire.errors import (
    Aborted,
    InvalidArgument,
    RpcError,
    aborted_operation,
    multi_operation,
    not_found,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.draft.update_values import UpdateAdmission
    from perdure.history.run.update_with_start import StartedAndAdmitted
    from perdure.history.state.pointer import CurrentRun
    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services
    from perdure.wire.api import update

_Request = workflowservice.ExecuteMultiOperationRequest
_Response = workflowservice.ExecuteMultiOperationResponse
_Start = workflowservice.StartWorkflowExecutionRequest
_Update = workflowservice.UpdateWorkflowExecutionRequest
_COMPLETED = (
    enums.UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
)
_OTHER_NAMESPACE = "Operation namespace did not match request's namespace."
_TRIES = 2
"""If the run closes before it accepts the update, the operation is tried once more with a new run."""


async def execute_multi_operation(services: Services, call: Call, request: _Request) -> _Response:
    namespace = services.namespace(request.namespace)
    start, updating = _operations(request)
    update_request = _both(
        lambda: _check_start(services, request, start),
        lambda: _check_update(services, request, start, updating),
    )
    check_search_attributes(namespace, start.search_attributes, services.limits)
    stage = updating.wait_policy.lifecycle_stage or _COMPLETED
    waits = patience(services, call)
    update_id = update_request.meta.update_id
    for attempt in range(1, _TRIES + 1):
        made = await _start_and_admit(services, namespace.namespace_id, start, update_request)
        key = run_key(namespace.namespace_id, start.workflow_id, made.admission.run_id)
        of_start = None if made.started.started else aborted_operation()
        try:
            reached = await wait_for_update(services, key, update_id, stage, waits)
        except RpcError as error:
            raise _failed(of_start, error) from None
        if not reached.is_aborted:
            return _response(made, reached, reference(key, update_id))
        if made.started.started:
            raise _failed(None, not_found(ABORTED))
        if attempt == _TRIES:
            raise _failed(of_start, Aborted(ABORTED))
    raise AssertionError("the last attempt answers")


async def _start_and_admit(
    services: Services, namespace_id: str, start: _Start, update_request: update.Request
) -> StartedAndAdmitted:
    update_id = update_request.meta.update_id

    def change(
        current: CurrentRun | None, existing: RunState | None, env: Env
    ) -> tuple[RunTransition, ...]:
        waiting: int | None = 0
        if existing is not None:
            waiting = services.updates.count_others(existing, update_id)
            if services.updates.find(existing.key, update_id) is not None:
                waiting = None
        made = transitions.update_with_start(
            current, existing, start, update_id, waiting, namespace_id, env
        )
        admission: UpdateAdmission = made[-1].reply.admission
        key = run_key(namespace_id, start.workflow_id, admission.run_id)
        is_same = existing is not None and existing.key == key
        last = existing.last_started_event_id if existing is not None and is_same else 0
        return (*made[:-1], admitted(made[-1], admission, update_request, last))

    return await services.runs.start_with(namespace_id, start.workflow_id, lambda _: True, change)


def _response(made: StartedAndAdmitted, reached: Reached, to: update.UpdateRef) -> _Response:
    updated = workflowservice.UpdateWorkflowExecutionResponse(
        update_ref=to, outcome=reached.outcome, stage=reached.stage
    )
    return _Response(
        responses=[
            _Response.Response(start_workflow=made.started),
            _Response.Response(update_workflow=updated),
        ]
    )


# Checks.


def _operations(request: _Request) -> tuple[_Start, _Update]:
    kinds = [each.WhichOneof("operation") for each in request.operations]
    if kinds != ["start_workflow", "update_workflow"]:
        raise InvalidArgument("Operations have to be exactly [Start, Update].")
    start = _Start()
    start.CopyFrom(request.operations[0].start_workflow)
    start.namespace = start.namespace or request.namespace
    return start, request.operations[1].update_workflow


def _both(
    check_start: Callable[[], None], check_update: Callable[[], update.Request]
) -> update.Request:
    """Run both checks. An error names the operation that caused it."""
    try:
        check_start()
    except RpcError as error:
        raise _failed(error, aborted_operation()) from None
    try:
        return check_update()
    except RpcError as error:
        raise _failed(aborted_operation(), error) from None


def _check_start(services: Services, request: _Request, start: _Start) -> None:
    if start.namespace != request.namespace:
        raise InvalidArgument(_OTHER_NAMESPACE)
    check_start(services, start)
    if start.request_eager_execution:
        raise InvalidArgument("RequestEagerExecution is not supported.")
    if start.HasField("workflow_start_delay"):
        raise InvalidArgument("WorkflowStartDelay is not supported.")
    start.request_id = start.request_id or services.new_id()


def _check_update(
    services: Services, request: _Request, start: _Start, updating: _Update
) -> update.Request:
    if updating.namespace not in ("", request.namespace):
        raise InvalidArgument(_OTHER_NAMESPACE)
    if updating.first_execution_run_id:
        raise InvalidArgument("FirstExecutionRunId is not allowed.")
    if updating.workflow_execution.run_id:
        raise InvalidArgument("RunId is not allowed.")
    if updating.workflow_execution.workflow_id != start.workflow_id:
        raise InvalidArgument("WorkflowId is not consistent with previous operation(s).")
    return checked_update(services, updating)


def _failed(start: RpcError | None, updating: RpcError | None) -> RpcError:
    return multi_operation(transitions.UPDATE_WITH_START_FAILED, start, updating)
