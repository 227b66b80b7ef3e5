"""Workflow runs: start, signal, request to cancel, terminate, describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from perdure.history import transitions
from perdure.history.commands.search_attributes import name_types
from perdure.history.draft.replies import EagerStartReply
from perdure.server.frontend import checks, task_replies
from perdure.server.frontend.search_attributes import (
    check_search_attributes,
)
from perdure.wire.api import enums, workflowservice
from perdure.wire.errors import InvalidArgument
from perdure.wire.times import duration_ns

if TYPE_CHECKING:
    from perdure.history.state.pointer import CurrentRun
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

_PINNED = enums.VERSIONING_BEHAVIOR_PINNED
_StartsT = TypeVar(
    "_StartsT",
    workflowservice.StartWorkflowExecutionRequest,
    workflowservice.SignalWithStartWorkflowExecutionRequest,
)


async def start_workflow_execution(
    services: Services, call: Call, request: workflowservice.StartWorkflowExecutionRequest
) -> workflowservice.StartWorkflowExecutionResponse | bytes:
    namespace = services.namespace(request.namespace)
    check_start(services, request)
    check_search_attributes(namespace, request.search_attributes, services.limits)
    request = _completed(services, request)
    reply = await services.runs.start(namespace.namespace_id, request)
    if isinstance(reply, EagerStartReply):
        return await task_replies.eager_start(services, reply)
    return reply


def _completed(services: Services, request: _StartsT) -> _StartsT:
    """The request with an id, which callers may omit.

    A request without an id is served, but a repetition of it cannot be recognised (S-24).
    """
    if request.request_id:
        return request
    completed = type(request)()
    completed.CopyFrom(request)
    completed.request_id = services.new_id()
    return completed


def check_start(services: Services, request: workflowservice.StartWorkflowExecutionRequest) -> None:
    """Check a start request for missing, oversized or contradictory values."""
    limits = services.limits
    checks.workflow_id(request.workflow_id, limits)
    checks.text(request.workflow_type.name, "WorkflowType", limits)
    checks.queue_name(request.task_queue, limits)
    checks.optional_text(request.request_id, "RequestId", limits)
    for field, value in (
        ("WorkflowExecutionTimeout", request.workflow_execution_timeout),
        ("WorkflowRunTimeout", request.workflow_run_timeout),
        ("WorkflowTaskTimeout", request.workflow_task_timeout),
        ("WorkflowStartDelay", request.workflow_start_delay),
    ):
        if duration_ns(value) < 0:
            raise InvalidArgument(f"{field} must not be negative.")
    if request.cron_schedule and request.HasField("workflow_start_delay"):
        raise InvalidArgument("CronSchedule and WorkflowStartDelay may not be used together.")
    checks.priority(request, limits)
    checks.links(request.links, limits)
    _check_features(request)
    transitions.check_policies(request)


def _check_features(request: workflowservice.StartWorkflowExecutionRequest) -> None:
    """Refuse what is not built: a callback that is never made would be missed by its caller without an error."""
    if request.cron_schedule:
        raise checks.not_supported("CronSchedule")
    # Not in the request of a signal with start.
    if getattr(request, "completion_callbacks", ()):
        raise checks.not_supported("CompletionCallbacks")
    override = request.versioning_override
    if override.WhichOneof("override") in {"pinned", "one_time"} or override.behavior == _PINNED:
        raise checks.not_supported("VersioningOverride")
    if request.time_skipping_config.enabled:
        raise checks.not_supported("TimeSkippingConfig")


async def signal_workflow_execution(
    services: Services, call: Call, request: workflowservice.SignalWorkflowExecutionRequest
) -> workflowservice.SignalWorkflowExecutionResponse:
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.workflow_execution, services.limits)
    checks.text(request.signal_name, "SignalName", services.limits)
    checks.optional_text(request.request_id, "RequestId", services.limits)
    checks.links(request.links, services.limits)
    return await services.runs.update_current(
        namespace_id,
        workflow_id,
        run_id,
        lambda state, env: transitions.signal(state, request, env),
    )


async def signal_with_start_workflow_execution(
    services: Services,
    call: Call,
    request: workflowservice.SignalWithStartWorkflowExecutionRequest,
) -> workflowservice.SignalWithStartWorkflowExecutionResponse:
    namespace = services.namespace(request.namespace)
    check_start(services, transitions.start_part(request))
    if request.workflow_id_conflict_policy == enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL:
        # A running workflow is what the signal is for.
        raise InvalidArgument(
            "Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported "
            "for this operation."
        )
    checks.text(request.signal_name, "SignalName", services.limits)
    check_search_attributes(namespace, request.search_attributes, services.limits)
    request = _completed(services, request)
    namespace_id = namespace.namespace_id
    return await services.runs.start_with(
        namespace_id,
        request.workflow_id,
        _always,
        lambda current, existing, env: transitions.signal_with_start(
            current, existing, request, namespace_id, env
        ),
    )


def _always(_: CurrentRun) -> bool:
    return True


async def request_cancel_workflow_execution(
    services: Services, call: Call, request: workflowservice.RequestCancelWorkflowExecutionRequest
) -> workflowservice.RequestCancelWorkflowExecutionResponse:
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.workflow_execution, services.limits)
    checks.links(request.links, services.limits)
    # A first execution run id names the chain. The current run must belong to it; the run id is ignored.
    run_id = "" if request.first_execution_run_id else run_id
    return await services.runs.update_current(
        namespace_id,
        workflow_id,
        run_id,
        lambda state, env: transitions.request_cancel(state, request, env),
    )


async def terminate_workflow_execution(
    services: Services, call: Call, request: workflowservice.TerminateWorkflowExecutionRequest
) -> workflowservice.TerminateWorkflowExecutionResponse:
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.workflow_execution, services.limits)
    checks.links(request.links, services.limits)
    run_id = "" if request.first_execution_run_id else run_id
    return await services.runs.update_current(
        namespace_id,
        workflow_id,
        run_id,
        lambda state, env: transitions.terminate(state, request, env),
    )


async def describe_workflow_execution(
    services: Services, call: Call, request: workflowservice.DescribeWorkflowExecutionRequest
) -> workflowservice.DescribeWorkflowExecutionResponse:
    namespace = services.namespace(request.namespace)
    workflow_id, run_id = checks.execution(request.execution, services.limits)
    response = await services.runs.read_current(
        namespace.namespace_id, workflow_id, run_id, transitions.describe
    )
    name_types(response.workflow_execution_info.search_attributes, namespace.search_attributes)
    return response
