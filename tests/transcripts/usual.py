"""What transcripts leave out because it is the usual value in their world, as their scripts show it.

A field with another value is shown, and a field of a message that is not set is `unset`: `identity=unset`. So a change
of any field changes the line, and the line says what matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Same(NamedTuple):
    """Usual is the text of another field."""

    field: str


_QUEUE = "(name=q kind=NORMAL)"
_NAMESPACE: Mapping[str, str | Same] = {"namespace": "default", "namespace_id": "ns"}
_CHILD: Mapping[str, str | Same] = {**_NAMESPACE, "workflow_type": "(name=Sub)"}
_CHILD_RUN: Mapping[str, str | Same] = {
    **_CHILD,
    "workflow_execution": "(workflow_id=child run_id=c1)",
}
_BY_WORKER: Mapping[str, str | Same] = {"identity": "worker"}

USUAL: Mapping[str, Mapping[str, str | Same]] = {
    # Events, by the name that transcripts give them.
    "WorkflowExecutionStarted": {
        "workflow_id": "w",
        "workflow_type": "(name=Order)",
        "task_queue": "(name=q)",
        "workflow_task_timeout": "10s",
        "first_execution_run_id": Same("original_execution_run_id"),
        "attempt": "1",
        "identity": "client",
    },
    "WorkflowExecutionSignaled": {"identity": "client"},
    "WorkflowExecutionTerminated": {"identity": "history-service"},
    "WorkflowExecutionContinuedAsNew": {
        "workflow_type": "(name=Order)",
        "task_queue": _QUEUE,
        "workflow_task_timeout": "10s",
        "initiator": "WORKFLOW",
        "backoff_start_interval": "0s",
    },
    "WorkflowTaskScheduled": {
        "task_queue": _QUEUE,
        "start_to_close_timeout": "10s",
        "attempt": "1",
    },
    "WorkflowTaskStarted": _BY_WORKER,
    "WorkflowTaskCompleted": _BY_WORKER,
    "WorkflowTaskFailed": _BY_WORKER,
    "ActivityTaskScheduled": {
        "activity_type": "(name=Work)",
        "task_queue": _QUEUE,
        "schedule_to_close_timeout": "0s",
        "schedule_to_start_timeout": Same("schedule_to_close_timeout"),
        "start_to_close_timeout": "10s",
        "heartbeat_timeout": "0s",
        "retry_policy": "(initial_interval=1s backoff_coefficient=2.0 maximum_interval=100s)",
    },
    "ActivityTaskStarted": {**_BY_WORKER, "attempt": "1"},
    "ActivityTaskCompleted": _BY_WORKER,
    "ActivityTaskFailed": _BY_WORKER,
    "ActivityTaskCanceled": _BY_WORKER,
    "TimerCanceled": _BY_WORKER,
    "StartChildWorkflowExecutionInitiated": {
        **_CHILD,
        "task_queue": _QUEUE,
        "workflow_task_timeout": "10s",
        "parent_close_policy": "TERMINATE",
        "workflow_id_reuse_policy": "ALLOW_DUPLICATE",
    },
    "StartChildWorkflowExecutionFailed": _CHILD,
    **{
        f"ChildWorkflowExecution{step}": _CHILD_RUN
        for step in ("Started", "Completed", "Failed", "Canceled", "TimedOut", "Terminated")
    },
    **{
        f"{request}ExternalWorkflowExecution{step}": _NAMESPACE
        for request in ("Signal", "RequestCancel")
        for step in ("Initiated", "Failed")
    },
    "ExternalWorkflowExecutionSignaled": _NAMESPACE,
    "ExternalWorkflowExecutionCancelRequested": _NAMESPACE,
    # Structs.
    "WorkflowTask": {"queue_name": "q", "start_to_close_ns": "10s", "kind": "1", "stamp": "1"},
    "CurrentRun": {"first_run_id": Same("run_id")},
    "VisibilityRow": {
        "namespace_id": "ns",
        "workflow_id": "w",
        "workflow_type": "Order",
        "task_queue": "q",
        "execution_ns": Same("start_ns"),
        "root_workflow_id": "w",
        "root_run_id": Same("run_id"),
    },
    # Replies.
    "StartWorkflowExecutionResponse": {
        "first_execution_run_id": Same("run_id"),
        "started": "True",
        "status": "RUNNING",
    },
}


def unusual(kind: str, fields: Mapping[str, str]) -> list[str]:
    """The fields of a value to show, as `name=text`.

    Args:
        kind: The name of its type.
        fields: The texts of the fields that are set, in order.
    """
    usual = USUAL.get(kind, {})
    words: list[str] = []
    for name, text in fields.items():
        expected = usual.get(name)
        if isinstance(expected, Same):
            expected = fields.get(expected.field)
        if text != expected:
            words.append(f"{name}={text}")
    return words + [f"{name}=unset" for name in usual if name not in fields]
