"""Turns reply plans of the engine into responses for workers: tasks with their history as stored bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import EntityKey
from perdure.history.draft.replies import (
    ActivityTaskReply,
    CompletionReply,
    EagerStartReply,
    WorkflowTaskReply,
)
from perdure.history.draft.tokens import QueryToken
from perdure.server.frontend import task_tokens
from perdure.server.frontend.pages import HistoryToken, cut, encode_token, tail_bytes
from perdure.server.pending.queries import TaskAttempt
from perdure.wire.api import common, enums, history, taskqueue, workflowservice
from perdure.wire.splice import field_bytes, with_field
from perdure.wire.times import set_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.services import Services
    from perdure.server.pending.queries import QueryTask

_NORMAL = enums.TaskQueueKind.TASK_QUEUE_KIND_NORMAL


async def workflow_task(services: Services, reply: WorkflowTaskReply) -> bytes:
    """The encoding of the PollWorkflowTaskQueueResponse for a started task, with queries that wait for one."""
    head = _head(services, reply)
    head.task_token = task_tokens.issue(services, reply.token)
    data, token = await _first_page(
        services,
        reply.token.entity,
        reply.first_event_id,
        reply.last_event_id,
        tail_bytes(reply.transient_events),
    )
    if token:
        head.next_page_token = token
    return with_field(head, "history", data)


def inline_task(
    services: Services, reply: WorkflowTaskReply, rows: Sequence[bytes]
) -> workflowservice.PollWorkflowTaskQueueResponse:
    """A started task for a worker in this process, without a token.

    Args:
        services: The services of this node.
        reply: The reply of the task's start.
        rows: The task's history, each row a serialised `History`.
    """
    task = _head(services, reply)
    for row in rows:
        task.history.MergeFromString(row)
    task.history.events.extend(reply.transient_events)
    return task


def _head(
    services: Services, reply: WorkflowTaskReply
) -> workflowservice.PollWorkflowTaskQueueResponse:
    """The response for a started task, without its token and history."""
    entity = reply.token.entity
    # Set field by field, because keyword arguments are slower in protobuf.
    head = workflowservice.PollWorkflowTaskQueueResponse()
    head.workflow_execution.workflow_id = entity.name
    head.workflow_execution.run_id = entity.run_id
    head.workflow_type.name = reply.workflow_type
    head.previous_started_event_id = reply.previous_started_event_id
    head.started_event_id = reply.started_event_id
    head.attempt = reply.attempt
    queue = head.workflow_execution_task_queue
    queue.name = reply.queue_name
    queue.kind = _NORMAL
    set_timestamp(head.scheduled_time, reply.scheduled_ns)
    set_timestamp(head.started_time, reply.started_ns)
    task = TaskAttempt(reply.started_event_id, reply.attempt)
    for query_id, question in services.queries.for_task(entity, task).items():
        head.queries[query_id].CopyFrom(question)
    head.messages.extend(services.updates.messages(reply))
    return head


async def eager_start(services: Services, reply: EagerStartReply) -> bytes:
    """The encoding of the StartWorkflowExecutionResponse with the first workflow task (S-34)."""
    head = reply.response
    task = await workflow_task(services, reply.task)
    return head.SerializeToString() + field_bytes(type(head), "eager_workflow_task", task)


async def query_task(services: Services, task: QueryTask, *, is_sticky: bool) -> bytes:
    """The encoding of the response that carries one query on its own; empty if its caller no longer waits.

    A worker that has the run cached gets no history (S-12). If it has evicted the run since, it fetches the history.
    """
    pending = services.queries.find_direct(task.query_id)
    if pending is None or not pending.is_waiting:
        return b""
    pending.mark_taken()
    entity = pending.entity

    def describe(state: RunState) -> tuple[str, str, int, int]:
        info = state.info
        started = state.last_started_event_id
        return info.workflow_type, info.task_queue, started, state.next_event_id - 1

    workflow_type, queue_name, started, last = await services.engine.read(entity, describe)
    head = workflowservice.PollWorkflowTaskQueueResponse(
        task_token=task_tokens.issue(
            services, QueryToken(entity.namespace_id, pending.query_id, entity.name)
        ),
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
    """(serialised History, token of the next page or empty) for these events and those after them."""
    if first > last:
        return tail, b""
    events_max = services.limits.history_page_events_max
    read_to = min(last, first + events_max - 1)
    page = cut(await services.engine.history(entity, first, read_to), first, read_to)
    if page.next_event_id > last:
        return page.data + tail, b""
    next_page = HistoryToken(entity.run_id, page.next_event_id, last, tail)
    key = services.token_key(entity.namespace_id)
    return page.data, encode_token(next_page, key)


def activity_task(
    services: Services, reply: ActivityTaskReply, namespace: str
) -> workflowservice.PollActivityTaskQueueResponse:
    """The response for a started activity attempt."""
    entity = reply.token.entity
    scheduled = history.ActivityTaskScheduledEventAttributes.FromString(reply.attributes)
    response = workflowservice.PollActivityTaskQueueResponse()
    response.task_token = task_tokens.issue(services, reply.token)
    response.workflow_namespace = namespace
    response.workflow_type.name = reply.workflow_type
    response.workflow_execution.workflow_id = entity.name
    response.workflow_execution.run_id = entity.run_id
    response.activity_id = scheduled.activity_id
    response.attempt = reply.attempt
    set_timestamp(response.scheduled_time, reply.scheduled_ns)
    set_timestamp(response.current_attempt_scheduled_time, reply.current_attempt_scheduled_ns)
    set_timestamp(response.started_time, reply.started_ns)
    response.activity_type.CopyFrom(scheduled.activity_type)
    response.schedule_to_close_timeout.CopyFrom(scheduled.schedule_to_close_timeout)
    response.start_to_close_timeout.CopyFrom(scheduled.start_to_close_timeout)
    response.heartbeat_timeout.CopyFrom(scheduled.heartbeat_timeout)
    if scheduled.HasField("header"):
        response.header.CopyFrom(scheduled.header)
    if scheduled.HasField("input"):
        response.input.CopyFrom(scheduled.input)
    if scheduled.HasField("retry_policy"):
        response.retry_policy.CopyFrom(scheduled.retry_policy)
    if reply.run_priority:
        response.priority.ParseFromString(reply.run_priority)
    if scheduled.HasField("priority"):
        response.priority.MergeFrom(scheduled.priority)
    if reply.heartbeat_details:
        response.heartbeat_details.ParseFromString(reply.heartbeat_details)
    return response


def eager_activities(
    services: Services, reply: CompletionReply, namespace: str
) -> workflowservice.RespondWorkflowTaskCompletedResponse:
    """The response to a completed workflow task, without the next task."""
    return workflowservice.RespondWorkflowTaskCompletedResponse(
        activity_tasks=[activity_task(services, one, namespace) for one in reply.activities],
    )


async def completion(
    services: Services, reply: CompletionReply, namespace: str
) -> workflowservice.RespondWorkflowTaskCompletedResponse | bytes:
    """The response to a completed workflow task: eager activities, and the next task when there is one."""
    head = eager_activities(services, reply, namespace)
    if reply.workflow_task is None:
        return head
    task = await workflow_task(services, reply.workflow_task)
    return head.SerializeToString() + field_bytes(type(head), "workflow_task", task)
