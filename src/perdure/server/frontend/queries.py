"""Queries: validate the request, choose a route, return the answer (S-39)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.core.ids import EntityKey, QueueKey, QueueKind
from perdure.core.units import SECOND_NS
from perdure.history import transitions
from perdure.history.draft.tokens import QueryToken
from perdure.server.frontend import checks, task_tokens
from perdure.server.pending.queries import PendingQuery, QueryAnswer, TaskAttempt
from perdure.wire.api import enums, errordetails, failure, query, workflowservice
from perdure.wire.errors import DeadlineExceeded, InvalidArgument, RpcError, not_found

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services
    from perdure.server.pending.queries import QueryTask

_Reject = enums.QueryRejectCondition
_Status = enums.WorkflowExecutionStatus
_Result = enums.QueryResultType

LOOK_AGAIN_NS = 2 * SECOND_NS
"""How often an attached query checks that its workflow task is still coming; the run may have closed."""
STICKY_TRY_NS = 5 * SECOND_NS
"""How long the worker with the cached run has to fetch a query, and to answer it, before other workers may."""


async def query_workflow(
    services: Services, call: Call, request: workflowservice.QueryWorkflowRequest
) -> workflowservice.QueryWorkflowResponse:
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.execution, services.limits)
    if not request.query.query_type:
        raise InvalidArgument("QueryType is not set on request.")
    size_bytes, limit_bytes = (
        request.query.query_args.ByteSize(),
        services.limits.blob_size_bytes_max,
    )
    if size_bytes > limit_bytes:
        raise InvalidArgument(
            f"Blob data size exceeds limit. The query's arguments have {size_bytes} bytes; the limit is {limit_bytes}."
        )
    entity, status = await services.runs.read_current(
        namespace_id, workflow_id, run_id, _who_and_how
    )
    if _is_rejected(request.query_reject_condition, status):
        return workflowservice.QueryWorkflowResponse(
            query_rejected=query.QueryRejected(status=status)
        )
    until_ns = services.clock.now_ns() + call.timeout_ns
    try:
        async with asyncio.timeout(call.timeout_ns / SECOND_NS):
            answer = await _answer(services, entity, request, until_ns)
    except TimeoutError:
        raise DeadlineExceeded(
            "The query was not answered in time: no worker polls the task queue of the run, its "
            "workers are too busy, or its first workflow task is still to come."
        ) from None
    if answer.result.answer.ByteSize() > services.limits.blob_size_bytes_max:
        raise _too_large(answer.result.answer.ByteSize(), services.limits.blob_size_bytes_max)
    if answer.is_failed:
        result = answer.result
        why = result.failure if result.HasField("failure") else None
        message = result.error_message or (why.message if why is not None else "")
        raise InvalidArgument(message, errordetails.QueryFailedFailure(failure=why))
    given = answer.result
    return workflowservice.QueryWorkflowResponse(
        query_result=given.answer if given.HasField("answer") else None
    )


def _too_large(size_bytes: int, limit_bytes: int) -> RpcError:
    message = (
        f"Blob data size exceeds limit. The query result has {size_bytes} bytes; the limit is "
        f"{limit_bytes}."
    )
    said = failure.Failure(
        message=message,
        source="Server",
        server_failure_info=failure.ServerFailureInfo(non_retryable=True),
    )
    return InvalidArgument(message, errordetails.QueryFailedFailure(failure=said))


def _who_and_how(
    state: RunState, env: Env
) -> tuple[EntityKey, enums.WorkflowExecutionStatus.ValueType]:
    return state.key, _Status.ValueType(int(state.status))


def _is_rejected(
    condition: enums.QueryRejectCondition.ValueType, status: enums.WorkflowExecutionStatus.ValueType
) -> bool:
    if condition == _Reject.QUERY_REJECT_CONDITION_NOT_OPEN:
        return status != _Status.WORKFLOW_EXECUTION_STATUS_RUNNING
    if condition == _Reject.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY:
        return status not in (
            _Status.WORKFLOW_EXECUTION_STATUS_RUNNING,
            _Status.WORKFLOW_EXECUTION_STATUS_COMPLETED,
        )
    return False


async def _answer(
    services: Services,
    entity: EntityKey,
    request: workflowservice.QueryWorkflowRequest,
    until_ns: int,
) -> QueryAnswer:
    is_waiting = False
    while True:
        route, begun = await _route_and_begun(services, entity, until_ns, is_waiting=is_waiting)
        is_waiting = True
        pending = PendingQuery(services.new_id(), entity, request.query, not_with=begun)
        try:
            if route is transitions.QueryRoute.DIRECT:
                answer = await _ask_directly(services, pending)
            else:
                services.queries.attach(pending, services.limits.buffered_queries_max)
                answer = await _ask_with_task(services, pending, until_ns)
        finally:
            services.queries.forget(pending)
        if answer is not None:
            return answer


async def _route_and_begun(
    services: Services, entity: EntityKey, until_ns: int, *, is_waiting: bool
) -> tuple[transitions.QueryRoute, TaskAttempt | None]:
    """The route, and the workflow task that a worker has now."""

    def look(state: RunState) -> tuple[transitions.QueryRoute, TaskAttempt | None]:
        task = state.workflow_task
        is_begun = task is not None and task.started_event_id
        begun = TaskAttempt(task.started_event_id, task.attempt) if task and is_begun else None
        return transitions.query_route(state, until_ns, is_waiting=is_waiting), begun

    return await services.engine.read(entity, look)


async def _ask_with_task(
    services: Services, pending: PendingQuery, until_ns: int
) -> QueryAnswer | None:
    """Wait for the answer with the run's next workflow task. Returns None if there will be no such task."""
    while True:
        await asyncio.wait(
            (pending.answer, pending.stirred),
            timeout=LOOK_AGAIN_NS / SECOND_NS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not pending.is_waiting:
            return pending.answer.result()
        pending.calm()
        route, _ = await _route_and_begun(services, pending.entity, until_ns, is_waiting=True)
        if not pending.is_waiting:
            return pending.answer.result()
        if route is transitions.QueryRoute.DIRECT:
            return None


async def _ask_directly(services: Services, pending: PendingQuery) -> QueryAnswer | None:
    """Send the query to a polling worker: first the one that has the run cached, then any."""
    sticky, normal = await services.engine.read(pending.entity, _queues)
    services.queries.add_direct(pending)
    matching = services.matching
    if sticky is not None and await matching.serves(sticky):
        await matching.ask_poller(sticky, pending.task)
        try:
            await asyncio.wait((pending.taken,), timeout=STICKY_TRY_NS / SECOND_NS)
        finally:
            matching.withdraw(sticky, pending.query_id)
        if pending.taken.done():
            # If the worker dies while it has the query, other workers must get their turn.
            await asyncio.wait((pending.answer,), timeout=STICKY_TRY_NS / SECOND_NS)
            if pending.answer.done():
                return pending.answer.result()
    await matching.ask_poller(normal, pending.task)
    try:
        return await pending.answer
    finally:
        matching.withdraw(normal, pending.query_id)


async def give_back(services: Services, queue: QueueKey, task: QueryTask) -> None:
    """The poller that took a query from `queue` has gone: offer it to the next one, if its caller still waits."""
    pending = services.queries.find_direct(task.query_id)
    if pending is not None and pending.is_waiting:
        await services.matching.ask_poller(queue, pending.task)


def _queues(state: RunState) -> tuple[QueueKey | None, QueueKey]:
    normal = QueueKey(state.key.namespace_id, state.info.task_queue, QueueKind.WORKFLOW)
    sticky = normal._replace(name=state.sticky.queue_name) if state.sticky is not None else None
    return sticky, normal


async def respond_query_task_completed(
    services: Services, call: Call, request: workflowservice.RespondQueryTaskCompletedRequest
) -> workflowservice.RespondQueryTaskCompletedResponse:
    token, _ = task_tokens.opened(services, request, QueryToken)
    pending = services.queries.find_direct(token.query_id)
    if pending is None or not pending.is_waiting:
        raise not_found("Query task not found, or its caller has gone.")
    kind = request.completed_type
    if kind not in (_Result.QUERY_RESULT_TYPE_ANSWERED, _Result.QUERY_RESULT_TYPE_FAILED):
        raise InvalidArgument("CompletedType must say whether the query was answered or failed.")
    result = query.WorkflowQueryResult(
        result_type=kind,
        answer=request.query_result if request.HasField("query_result") else None,
        error_message=request.error_message,
        failure=request.failure if request.HasField("failure") else None,
    )
    pending.settle(QueryAnswer(result))
    return workflowservice.RespondQueryTaskCompletedResponse()
