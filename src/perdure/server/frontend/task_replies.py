"""Reply plans of the engine turned into responses for workers: tasks with their history as stored bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import EntityKey
from perdure.history.replies import (
    ActivityTaskReply,
    CompletionReply,
    EagerStartReply,
    WorkflowTaskReply,
)
from perdure.history.tokens import QueryToken, encode_token
from perdure.server.frontend.pages import HistoryToken, cut, tail_bytes
from perdure.server.frontend.pages import encode_token as encode_page_token
from perdure.wire.api import common, enums, history, taskqueue, workflowservice
from perdure.wire.splice import field_bytes, with_field
from perdure.wire.times import timestamp

if TYPE_CHECKING:
    from perdure.history.state import RunState
    from perdure.server.frontend.services import Services
    from perdure.server.queries import PendingQuery

_NORMAL = enums.TaskQueueKind.TASK_QUEUE_KIND_NORMAL


async def workflow_task(services: Services, reply: WorkflowTaskReply) -> bytes:
    """The encoding of the PollWorkflowTaskQueueResponse for a started task, with queries that wait for one."""
    entity = reply.token.entity
    head = workflowservice.PollWorkflowTaskQueueResponse(
        task_token=encode_token(reply.token),
        workflow_execution=common.WorkflowExecution(workflow_id=entity.name, run_id=entity.run_id),
        workflow_type=common.WorkflowType(name=reply.workflow_type),
        previous_started_event_id=reply.previous_started_event_id,
        started_event_id=reply.started_event_id,
        attempt=reply.attempt,
        workflow_execution_task_queue=taskqueue.TaskQueue(name=reply.queue_name, kind=_NORMAL),
        scheduled_time=timestamp(reply.scheduled_ns),
        started_time=timestamp(reply.started_ns),
        queries=services.queries.for_task(entity, reply.started_event_id),
        messages=services.updates.messages(reply),
    )
    data, token = await _first_page(
        services,
        entity,
        reply.first_event_id,
        reply.last_event_id,
        tail_bytes(reply.transient_events),
    )
    head.next_page_token = token
    return with_field(head, "history", data)


async def eager_start(services: Services, reply: EagerStartReply) -> bytes:
    """The encoding of the StartWorkflowExecutionResponse with the first workflow task (rule 34)."""
    head = reply.response
    task = await workflow_task(services, reply.task)
    return head.SerializeToString() + field_bytes(type(head), "eager_workflow_task", task)


async def query_task(services: Services, pending: PendingQuery, *, is_sticky: bool) -> bytes:
    """The encoding of the response that carries one query on its own.

    A worker that has the run cached gets no history (rule 12); if it lost it meanwhile, it reads it.
    """
    entity = pending.entity

    def describe(state: RunState) -> tuple[str, str, int, int]:
        info = state.info
        started = state.last_started_event_id
        return info.workflow_type, info.task_queue, started, state.next_event_id - 1

    workflow_type, queue_name, started, last = await services.engine.read(entity, describe)
    head = workflowservice.PollWorkflowTaskQueueResponse(
        task_token=encode_token(QueryToken(entity.namespace_id, pending.query_id)),
        workflow_execution=common.WorkflowExecution(workflow_id=entity.name, run_id=entity.run_id),
        workflow_type=common.WorkflowType(name=workflow_type),
        previous_started_event_id=started,
        attempt=1,
        workflow_execution_task_queue=taskqueue.TaskQueue(name=queue_name, kind=_NORMAL),
        query=pending.question,
    )
    if is_sticky:
        head.history.SetInParent()
        return head.SerializeToString()
    data, token = await _first_page(services, entity, 1, last, b"")
    head.next_page_token = token
    return with_field(head, "history", data)


async def _first_page(
    services: Services, entity: EntityKey, first: int, last: int, tail: bytes
) -> tuple[bytes, bytes]:
    """(a serialised History, token of the next page or empty) for these events and what follows them."""
    if first > last:
        return tail, b""
    events_max = services.limits.history_page_events_max
    read_to = min(last, first + events_max - 1)
    page = cut(await services.engine.history(entity, first, read_to), first, read_to)
    if page.next_event_id > last:
        return page.data + tail, b""
    return page.data, encode_page_token(HistoryToken(entity.run_id, page.next_event_id, last, tail))


def activity_task(
    reply: ActivityTaskReply, namespace: str
) -> workflowservice.PollActivityTaskQueueResponse:
    """The response for a started activity attempt."""
    entity = reply.token.entity
    scheduled = history.ActivityTaskScheduledEventAttributes.FromString(reply.attributes)
    response = workflowservice.PollActivityTaskQueueResponse(
        task_token=encode_token(reply.token),
        workflow_namespace=namespace,
        workflow_type=common.WorkflowType(name=reply.workflow_type),
        workflow_execution=common.WorkflowExecution(workflow_id=entity.name, run_id=entity.run_id),
        activity_type=scheduled.activity_type,
        activity_id=scheduled.activity_id,
        header=scheduled.header if scheduled.HasField("header") else None,
        input=scheduled.input if scheduled.HasField("input") else None,
        scheduled_time=timestamp(reply.scheduled_ns),
        current_attempt_scheduled_time=timestamp(reply.current_attempt_scheduled_ns),
        started_time=timestamp(reply.started_ns),
        attempt=reply.attempt,
        schedule_to_close_timeout=scheduled.schedule_to_close_timeout,
        start_to_close_timeout=scheduled.start_to_close_timeout,
        heartbeat_timeout=scheduled.heartbeat_timeout,
        retry_policy=scheduled.retry_policy if scheduled.HasField("retry_policy") else None,
        priority=scheduled.priority if scheduled.HasField("priority") else None,
    )
    if reply.heartbeat_details:
        response.heartbeat_details.ParseFromString(reply.heartbeat_details)
    return response


async def completion(
    services: Services, reply: CompletionReply, namespace: str
) -> workflowservice.RespondWorkflowTaskCompletedResponse | bytes:
    """The response to a completed workflow task: eager activities, and the next task when there is one."""
    head = workflowservice.RespondWorkflowTaskCompletedResponse(
        activity_tasks=[activity_task(activity, namespace) for activity in reply.activities],
        reset_history_event_id=reply.reset_history_event_id,
    )
    if reply.workflow_task is None:
        return head
    task = await workflow_task(services, reply.workflow_task)
    return head.SerializeToString() + field_bytes(type(head), "workflow_task", task)
