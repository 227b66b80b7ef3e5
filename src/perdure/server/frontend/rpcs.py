"""The one table of RPCs: which exist, who may call them, which node answers, and how long they may take.

A method that is not in the table is answered with UNIMPLEMENTED and its name. gRPC, the embedded engine and the
simulator all go through this table (`Frontend.dispatch`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure.core.units import SECOND_NS
from perdure.server.frontend import (
    activity_tasks,
    empty_lists,
    history_reads,
    lists,
    multi_operation,
    namespaces,
    queries,
    search_attributes,
    system,
    updates,
    workers,
    workflow_tasks,
    workflows,
)
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE, Method, Waits

if TYPE_CHECKING:
    from google.protobuf.message import Message

Handler = Callable[[Any, Any, Any], Awaitable["Message | bytes"]]


class Access(Enum):
    """What a caller must be allowed to do."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"
    WORK = "work"
    """Fetch and answer tasks."""
    ADMIN = "admin"


class Routing(Enum):
    """Which node answers; `routing` finds it."""

    ANY = "any"
    WORKFLOW = "workflow"
    """The owner of the run that the request names."""
    TASK = "task"
    """The owner of the run that the task token names."""
    QUEUE = "queue"
    """The owner of the task queue."""
    NAMESPACE = "namespace"
    """One node for each name, so that changes of a namespace come one after the other."""
    EVERY = "every"
    """All nodes, each for what it owns. The node that is called answers."""


class Rpc(NamedTuple):
    """One row."""

    method: Method
    access: Access
    routing: Routing
    handler: Handler
    default_timeout_ns: int
    """For callers in this process that set no timeout. Over gRPC, a poll without a deadline is refused (S-40)."""


_TIMEOUTS_NS = {
    Waits.FOR_NOTHING: 10 * SECOND_NS,
    Waits.FOR_WORKER: 10 * SECOND_NS,
    Waits.FOR_CHANGE: 30 * SECOND_NS,
    Waits.FOR_TASK: 70 * SECOND_NS,
}


def _row(
    table: dict[str, Method],
    name: str,
    access: Access,
    routing: Routing,
    handler: Handler,
) -> Rpc:
    method = table[name]
    return Rpc(method, access, routing, handler, _TIMEOUTS_NS[method.waits])


def _workflow_service() -> list[Rpc]:
    w, read, write, work = WORKFLOW_SERVICE, Access.READ, Access.WRITE, Access.WORK
    one, token, queue, any_node = Routing.WORKFLOW, Routing.TASK, Routing.QUEUE, Routing.ANY
    tasks, acts = workflow_tasks, activity_tasks
    return [
        _row(w, "GetSystemInfo", Access.OPEN, any_node, system.get_system_info),
        _row(w, "GetClusterInfo", Access.OPEN, any_node, system.get_cluster_info),
        _row(w, "StartWorkflowExecution", write, one, workflows.start_workflow_execution),
        _row(w, "SignalWorkflowExecution", write, one, workflows.signal_workflow_execution),
        _row(
            w,
            "RequestCancelWorkflowExecution",
            write,
            one,
            workflows.request_cancel_workflow_execution,
        ),
        _row(
            w,
            "SignalWithStartWorkflowExecution",
            write,
            one,
            workflows.signal_with_start_workflow_execution,
        ),
        _row(w, "TerminateWorkflowExecution", write, one, workflows.terminate_workflow_execution),
        _row(w, "DescribeWorkflowExecution", read, one, workflows.describe_workflow_execution),
        _row(
            w,
            "GetWorkflowExecutionHistory",
            read,
            one,
            history_reads.get_workflow_execution_history,
        ),
        _row(
            w,
            "GetWorkflowExecutionHistoryReverse",
            read,
            one,
            history_reads.get_workflow_execution_history_reverse,
        ),
        _row(w, "QueryWorkflow", read, one, queries.query_workflow),
        _row(w, "RespondQueryTaskCompleted", work, token, queries.respond_query_task_completed),
        _row(w, "ListWorkflowExecutions", read, any_node, lists.list_workflow_executions),
        _row(w, "CountWorkflowExecutions", read, any_node, lists.count_workflow_executions),
        _row(w, "DescribeTaskQueue", read, queue, system.describe_task_queue),
        _row(w, "PollWorkflowTaskQueue", work, queue, tasks.poll_workflow_task_queue),
        _row(w, "RespondWorkflowTaskCompleted", work, token, tasks.respond_workflow_task_completed),
        _row(w, "RespondWorkflowTaskFailed", work, token, tasks.respond_workflow_task_failed),
        _row(w, "ResetStickyTaskQueue", work, one, tasks.reset_sticky_task_queue),
        _row(w, "ShutdownWorker", work, Routing.EVERY, workers.shutdown_worker),
        _row(w, "PollNexusTaskQueue", work, queue, workers.poll_nexus_task_queue),
        _row(w, "PollActivityTaskQueue", work, queue, acts.poll_activity_task_queue),
        _row(w, "RespondActivityTaskCompleted", work, token, acts.respond_activity_task_completed),
        _row(w, "RespondActivityTaskFailed", work, token, acts.respond_activity_task_failed),
        _row(w, "RespondActivityTaskCanceled", work, token, acts.respond_activity_task_canceled),
        _row(w, "RecordActivityTaskHeartbeat", work, token, acts.record_activity_task_heartbeat),
        *_namespaces(),
        *_updates(),
        *_activities_by_id(),
        *_activities_by_choice(),
    ]


def _namespaces() -> list[Rpc]:
    w, read, admin = WORKFLOW_SERVICE, Access.READ, Access.ADMIN
    any_node, named = Routing.ANY, Routing.NAMESPACE
    return [
        _row(w, "DescribeNamespace", read, any_node, namespaces.describe_namespace),
        _row(w, "ListNamespaces", read, any_node, namespaces.list_namespaces),
        _row(w, "RegisterNamespace", admin, named, namespaces.register_namespace),
        _row(w, "UpdateNamespace", admin, named, namespaces.update_namespace),
    ]


def _updates() -> list[Rpc]:
    w, one = WORKFLOW_SERVICE, Routing.WORKFLOW
    both = multi_operation.execute_multi_operation
    send, poll = updates.update_workflow_execution, updates.poll_workflow_execution_update
    return [
        _row(w, "UpdateWorkflowExecution", Access.WRITE, one, send),
        _row(w, "PollWorkflowExecutionUpdate", Access.READ, one, poll),
        _row(w, "ExecuteMultiOperation", Access.WRITE, one, both),
    ]


def _activities_by_id() -> list[Rpc]:
    handlers: dict[str, Handler] = {
        "RespondActivityTaskCompletedById": activity_tasks.respond_activity_task_completed_by_id,
        "RespondActivityTaskFailedById": activity_tasks.respond_activity_task_failed_by_id,
        "RespondActivityTaskCanceledById": activity_tasks.respond_activity_task_canceled_by_id,
        "RecordActivityTaskHeartbeatById": activity_tasks.record_activity_task_heartbeat_by_id,
    }
    return [
        _row(WORKFLOW_SERVICE, name, Access.WORK, Routing.WORKFLOW, handler)
        for name, handler in handlers.items()
    ]


def _activities_by_choice() -> list[Rpc]:
    handlers: dict[str, Handler] = {
        "PauseActivity": activity_tasks.pause_activity,
        "UnpauseActivity": activity_tasks.unpause_activity,
        "ResetActivity": activity_tasks.reset_activity,
        "ResetActivityExecution": activity_tasks.reset_activity_execution,
        "PauseActivityExecution": activity_tasks.pause_activity_execution,
        "UnpauseActivityExecution": activity_tasks.unpause_activity_execution,
    }
    return [
        _row(WORKFLOW_SERVICE, name, Access.WRITE, Routing.WORKFLOW, handler)
        for name, handler in handlers.items()
    ]


def _operator_service() -> list[Rpc]:
    o, attributes = OPERATOR_SERVICE, search_attributes
    admin, named = Access.ADMIN, Routing.NAMESPACE
    return [
        _row(o, "AddSearchAttributes", admin, named, attributes.add_search_attributes),
        _row(o, "RemoveSearchAttributes", admin, named, attributes.remove_search_attributes),
        _row(
            o, "ListSearchAttributes", Access.READ, Routing.ANY, attributes.list_search_attributes
        ),
    ]


def _empty_lists() -> list[Rpc]:
    return [
        Rpc(
            method,
            Access.READ,
            Routing.ANY,
            empty_lists.answering_empty(method),
            _TIMEOUTS_NS[method.waits],
        )
        for method in empty_lists.EMPTY_LISTS
    ]


RPCS: dict[str, Rpc] = {
    row.method.path: row for row in (*_workflow_service(), *_operator_service(), *_empty_lists())
}
"""Full method name -> row."""
