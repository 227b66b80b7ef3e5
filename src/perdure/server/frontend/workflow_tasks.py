"""Workflow tasks: poll, complete, fail, and resetting stickiness."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.core.ids import QueueKey, QueueKind
from perdure.core.limits import COMPLETION_BYTES_MAX
from perdure.history import transitions
from perdure.history.draft.replies import CompletionReply, WorkflowTaskReply
from perdure.history.draft.tokens import WorkflowTaskToken
from perdure.history.draft.transition import RunTransition
from perdure.server.frontend import checks, task_replies, task_tokens, workers
from perdure.server.owners.messages import WriteQueryTask, WriteWorkflowTask
from perdure.server.pending.queries import QueryTask
from perdure.server.pending.updates import TaskCompleted, TaskRefused
from perdure.server.shards.entities import Raised
from perdure.wire.api import enums, workflowservice
from perdure.wire.errors import InvalidArgument, RpcError, Unavailable, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from perdure.entity.env import Env
    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services
    from perdure.server.pending.updates import Updates

_STICKY = enums.TaskQueueKind.TASK_QUEUE_KIND_STICKY


async def poll_workflow_task_queue(
    services: Services, call: Call, request: workflowservice.PollWorkflowTaskQueueRequest
) -> workflowservice.PollWorkflowTaskQueueResponse | bytes:
    namespace_id = services.namespace_id(request.namespace)
    name = checks.queue_name(request.task_queue, services.limits)
    checks.optional_text(request.identity, "Identity", services.limits)
    checks.build_id(request.worker_version_capabilities.build_id, services.limits)
    checks.deployment_options(request.deployment_options, services.limits)
    is_sticky = request.task_queue.kind == _STICKY
    queue = QueueKey(namespace_id, name, QueueKind.WORKFLOW)
    until_ns = services.clock.monotonic_ns() + call.long_poll_ns()
    while True:
        result = await services.matching.poll(
            queue,
            identity=request.identity,
            wait_ns=max(until_ns - services.clock.monotonic_ns(), 0),
            instance_key=request.worker_instance_key,
            normal_queue=request.task_queue.normal_name if is_sticky else "",
            build_id=workers.build_id(request) or request.binary_checksum,
        )
        if not isinstance(result, WorkflowTaskReply | QueryTask):
            return workflowservice.PollWorkflowTaskQueueResponse()
        try:
            # The owner of the run writes the response: history, queries and updates are there.
            written = await _written(services, result, is_sticky=is_sticky)
        except (asyncio.CancelledError, Unavailable):
            # The caller has gone, or the history cannot be read. The task is ours until the response is written.
            services.matching.unsent(queue, result)
            raise
        if written:
            return written
        # The caller of this query no longer waits.


def _written(
    services: Services, result: WorkflowTaskReply | QueryTask, *, is_sticky: bool
) -> Awaitable[bytes]:
    if isinstance(result, QueryTask):
        return services.owners.ask(result.entity, WriteQueryTask(result, is_sticky))
    return services.owners.ask(result.token.entity, WriteWorkflowTask(result))


async def respond_workflow_task_completed(
    services: Services, call: Call, request: workflowservice.RespondWorkflowTaskCompletedRequest
) -> workflowservice.RespondWorkflowTaskCompletedResponse | bytes:
    # The transport refuses it before it is decoded. An embedded engine has no transport, and the same limit.
    encoded = checks.encoded(request)
    if len(encoded) > COMPLETION_BYTES_MAX:
        raise too_large(len(encoded), COMPLETION_BYTES_MAX)
    token, _ = task_tokens.opened(services, request, WorkflowTaskToken)
    checks.optional_text(request.identity, "Identity", services.limits)
    checks.build_id(request.worker_version_stamp.build_id, services.limits)
    checks.deployment_options(request.deployment_options, services.limits)
    if request.sticky_attributes.worker_task_queue.name:
        checks.queue_name(request.sticky_attributes.worker_task_queue, services.limits)
    entity = token.entity
    try:
        reply = await services.engine.update(
            entity,
            complete,
            services.updates,
            token,
            request,
            token=b"completed" + checks.fingerprint(encoded),
        )
    except RpcError:
        services.queries.reroute(entity)
        raise
    services.queries.answered(entity, request.query_results.items())
    if reply.workflow_task is None:
        services.queries.reroute(entity)
    return await task_replies.completion(services, reply, request.namespace)


def complete(
    state: RunState,
    updates: Updates,
    token: WorkflowTaskToken,
    request: workflowservice.RespondWorkflowTaskCompletedRequest,
    env: Env,
) -> RunTransition:
    """The transition of a completed workflow task, with its note for waiting updates."""
    refused = TaskRefused(token.started_event_id)
    try:
        transition = transitions.complete_workflow_task(
            state, token, request, env, updates.of_task(state)
        )
    except InvalidArgument as error:
        # A repeated attempt: nothing is written, and its updates fail like those of the first one (S-7 and S-20).
        return RunTransition(key=token.entity, reply=Raised(error), notes=(refused,))
    reply = transition.reply
    is_completed = isinstance(reply, CompletionReply)
    note = TaskCompleted(token.started_event_id, reply) if is_completed else refused
    transition.notes = (note,)
    return transition


async def respond_workflow_task_failed(
    services: Services, call: Call, request: workflowservice.RespondWorkflowTaskFailedRequest
) -> workflowservice.RespondWorkflowTaskFailedResponse:
    token, _ = task_tokens.opened(services, request, WorkflowTaskToken)
    checks.optional_text(request.identity, "Identity", services.limits)
    reply = await services.engine.update(
        token.entity,
        transitions.fail_workflow_task,
        token,
        request,
        token=b"failed" + checks.fingerprint(checks.encoded(request)),
    )
    services.queries.reroute(token.entity)
    return reply


async def reset_sticky_task_queue(
    services: Services, call: Call, request: workflowservice.ResetStickyTaskQueueRequest
) -> workflowservice.ResetStickyTaskQueueResponse:
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.execution, services.limits)
    await services.runs.update_current(namespace_id, workflow_id, run_id, transitions.reset_sticky)
    return workflowservice.ResetStickyTaskQueueResponse()
