"""Activity tasks: poll, heartbeat, complete, fail, cancel, each by token or by id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import QueueKey, QueueKind
from perdure.history import transitions
from perdure.history.activity.pause import pause_activity as pause
from perdure.history.activity.pause import unpause_activity as unpause
from perdure.history.activity.phase import progress_of
from perdure.history.activity.reset import reset_activity as reset
from perdure.history.draft.replies import ActivityTaskReply
from perdure.history.draft.tokens import ActivityTaskToken, not_issued
from perdure.server.frontend import checks, task_replies, task_tokens, workers
from perdure.wire.api import common, workflowservice
from perdure.wire.errors import (
    InvalidArgument,
    not_found,
    shown,
)
from perdure.wire.times import duration_ns

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

    Chooses = (
        workflowservice.PauseActivityRequest
        | workflowservice.UnpauseActivityRequest
        | workflowservice.ResetActivityRequest
    )
    ExecutionOf = (
        workflowservice.PauseActivityExecutionRequest
        | workflowservice.UnpauseActivityExecutionRequest
        | workflowservice.ResetActivityExecutionRequest
    )
    ByToken = Callable[[RunState, ActivityTaskToken, Any, Env], RunTransition]
    ByIdRequest = (
        workflowservice.RespondActivityTaskCompletedByIdRequest
        | workflowservice.RespondActivityTaskFailedByIdRequest
        | workflowservice.RespondActivityTaskCanceledByIdRequest
        | workflowservice.RecordActivityTaskHeartbeatByIdRequest
    )


async def poll_activity_task_queue(
    services: Services, call: Call, request: workflowservice.PollActivityTaskQueueRequest
) -> workflowservice.PollActivityTaskQueueResponse:
    namespace_id = services.namespace_id(request.namespace)
    name = checks.queue_name(request.task_queue, services.limits)
    checks.optional_text(request.identity, "Identity", services.limits)
    checks.build_id(request.worker_version_capabilities.build_id, services.limits)
    checks.deployment_options(request.deployment_options, services.limits)
    result = await services.matching.poll(
        QueueKey(namespace_id, name, QueueKind.ACTIVITY),
        identity=request.identity,
        wait_ns=call.long_poll_ns(),
        instance_key=request.worker_instance_key,
        build_id=workers.build_id(request),
    )
    if isinstance(result, ActivityTaskReply):
        return task_replies.activity_task(services, result, request.namespace)
    return workflowservice.PollActivityTaskQueueResponse()


_METHOD: dict[ByToken, bytes] = {
    transitions.complete_activity: b"activity completed",
    transitions.fail_activity: b"activity failed",
    transitions.cancel_activity: b"activity canceled",
}
"""Distinguishes answers to the same task token."""


async def _by_token(services: Services, transition: ByToken, request: Any) -> Any:
    token, started_until_ns = task_tokens.opened(services, request, ActivityTaskToken)
    _check_identity(services, transition, request)
    change = _of_early_attempt(transition, started_until_ns) if started_until_ns else transition
    # The answer to a heartbeat is not kept for repeated calls: it must reflect the present state.
    method = _METHOD.get(transition)
    kept = b"" if method is None else method + checks.fingerprint(checks.encoded(request))
    return await services.engine.update(token.entity, change, token, request, token=kept)


def _check_identity(services: Services, transition: ByToken, request: Any) -> None:
    """The identity becomes part of the history, except that of a heartbeat, which is not checked."""
    if transition in _METHOD:
        checks.optional_text(request.identity, "Identity", services.limits)


def _of_early_attempt(transition: ByToken, started_until_ns: int) -> ByToken:
    """The transition, for attempts that were started by that time."""

    def change(state: RunState, token: ActivityTaskToken, request: Any, env: Env) -> RunTransition:
        if progress_of(state, token.scheduled_event_id).started_ns > started_until_ns:
            raise not_issued()
        return transition(state, token, request, env)

    return change


async def _by_id(
    services: Services, transition: ByToken, request: ByIdRequest, by_token_request: Any
) -> Any:
    """Find the activity's current attempt in the same step that changes it."""
    namespace_id = services.namespace_id(request.namespace)
    workflow_id = checks.workflow_id(request.workflow_id, services.limits)
    run_id = checks.run_id(request.run_id)
    activity_id = checks.text(request.activity_id, "ActivityId", services.limits)
    _check_identity(services, transition, request)

    def change(state: RunState, env: Env) -> RunTransition:
        token = transitions.activity_token_by_id(state, activity_id)
        return transition(state, token, by_token_request, env)

    return await services.runs.update_current(
        namespace_id, workflow_id, run_id, change, is_report=True
    )


async def respond_activity_task_completed(
    services: Services, call: Call, request: workflowservice.RespondActivityTaskCompletedRequest
) -> workflowservice.RespondActivityTaskCompletedResponse:
    return await _by_token(services, transitions.complete_activity, request)


async def respond_activity_task_failed(
    services: Services, call: Call, request: workflowservice.RespondActivityTaskFailedRequest
) -> workflowservice.RespondActivityTaskFailedResponse:
    return await _by_token(services, transitions.fail_activity, request)


async def respond_activity_task_canceled(
    services: Services, call: Call, request: workflowservice.RespondActivityTaskCanceledRequest
) -> workflowservice.RespondActivityTaskCanceledResponse:
    return await _by_token(services, transitions.cancel_activity, request)


async def record_activity_task_heartbeat(
    services: Services, call: Call, request: workflowservice.RecordActivityTaskHeartbeatRequest
) -> workflowservice.RecordActivityTaskHeartbeatResponse:
    return await _by_token(services, transitions.heartbeat, request)


async def respond_activity_task_completed_by_id(
    services: Services,
    call: Call,
    request: workflowservice.RespondActivityTaskCompletedByIdRequest,
) -> workflowservice.RespondActivityTaskCompletedByIdResponse:
    # An activity that no worker has started can be completed by id, but not by token.
    return await _by_id(services, transitions.complete_activity, request, request)


async def respond_activity_task_failed_by_id(
    services: Services, call: Call, request: workflowservice.RespondActivityTaskFailedByIdRequest
) -> workflowservice.RespondActivityTaskFailedByIdResponse:
    details = request.last_heartbeat_details
    by_token = workflowservice.RespondActivityTaskFailedRequest(
        identity=request.identity,
        failure=request.failure if request.HasField("failure") else None,
        last_heartbeat_details=details if request.HasField("last_heartbeat_details") else None,
    )
    answer: workflowservice.RespondActivityTaskFailedResponse = await _by_id(
        services, transitions.fail_activity, request, by_token
    )
    return workflowservice.RespondActivityTaskFailedByIdResponse(failures=answer.failures)


async def respond_activity_task_canceled_by_id(
    services: Services, call: Call, request: workflowservice.RespondActivityTaskCanceledByIdRequest
) -> workflowservice.RespondActivityTaskCanceledByIdResponse:
    by_token = workflowservice.RespondActivityTaskCanceledRequest(
        identity=request.identity,
        details=request.details if request.HasField("details") else None,
    )
    await _by_id(services, transitions.cancel_activity, request, by_token)
    return workflowservice.RespondActivityTaskCanceledByIdResponse()


async def record_activity_task_heartbeat_by_id(
    services: Services, call: Call, request: workflowservice.RecordActivityTaskHeartbeatByIdRequest
) -> workflowservice.RecordActivityTaskHeartbeatByIdResponse:
    return await _by_id(services, transitions.heartbeat, request, request)


# Pauses and resets.


async def _by_choice(
    services: Services,
    transition: Callable[[RunState, Any, Env], RunTransition],
    request: Chooses,
) -> Any:
    """Change the activities that the request selects, in the current run unless it names another."""
    namespace_id = services.namespace_id(request.namespace)
    workflow_id = checks.workflow_id(request.execution.workflow_id, services.limits)
    run_id = checks.run_id(request.execution.run_id)
    if request.WhichOneof("activity") is None:
        raise InvalidArgument("Either Activity.Id or Activity.Type should be set on request.")
    return await services.runs.update_current(
        namespace_id, workflow_id, run_id, lambda state, env: transition(state, request, env)
    )


async def pause_activity(
    services: Services, call: Call, request: workflowservice.PauseActivityRequest
) -> workflowservice.PauseActivityResponse:
    return await _by_choice(services, pause, request)


async def unpause_activity(
    services: Services, call: Call, request: workflowservice.UnpauseActivityRequest
) -> workflowservice.UnpauseActivityResponse:
    return await _by_choice(services, unpause, request)


async def pause_activity_execution(
    services: Services, call: Call, request: workflowservice.PauseActivityExecutionRequest
) -> workflowservice.PauseActivityExecutionResponse:
    await _by_execution(services, pause, request, workflowservice.PauseActivityRequest)
    return workflowservice.PauseActivityExecutionResponse()


async def unpause_activity_execution(
    services: Services, call: Call, request: workflowservice.UnpauseActivityExecutionRequest
) -> workflowservice.UnpauseActivityExecutionResponse:
    await _by_execution(services, unpause, request, workflowservice.UnpauseActivityRequest)
    return workflowservice.UnpauseActivityExecutionResponse()


async def reset_activity(
    services: Services, call: Call, request: workflowservice.ResetActivityRequest
) -> workflowservice.ResetActivityResponse:
    return await _by_choice(services, reset, request)


async def reset_activity_execution(
    services: Services, call: Call, request: workflowservice.ResetActivityExecutionRequest
) -> workflowservice.ResetActivityExecutionResponse:
    await _by_execution(services, reset, request, workflowservice.ResetActivityRequest)
    return workflowservice.ResetActivityExecutionResponse()


async def _by_execution(
    services: Services,
    transition: Callable[[RunState, Any, Env], RunTransition],
    request: ExecutionOf,
    by_choice: type[Chooses],
) -> None:
    """As `_by_choice`, for a request that names one activity by ids. Both requests name what they share alike."""
    checks.text(request.activity_id, "ActivityId", services.limits)
    if not request.workflow_id:
        raise not_found(
            f"Activity {shown(request.activity_id)} was not found: activities without a workflow are not supported yet."
        )
    shared: dict[str, Any] = {
        field.name: value
        for field, value in request.ListFields()
        if field.name in by_choice.DESCRIPTOR.fields_by_name
    }
    if "jitter" in shared and duration_ns(shared["jitter"]) < 0:
        raise InvalidArgument("The jitter must not be negative.")
    execution = common.WorkflowExecution(workflow_id=request.workflow_id, run_id=request.run_id)
    chosen = by_choice(execution=execution, id=request.activity_id, **shared)
    await _by_choice(services, transition, chosen)
