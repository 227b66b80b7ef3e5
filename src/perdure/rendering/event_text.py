"""What each kind of history event says, as tables. Pure.

Role: `OPENING` begins a step that takes time, `NOTES` adds to an open one, `CLOSING` ends it, `INSTANT` stands alone.
An event type that is in none of them is shown under its own name by `steps.py`.

Invariant: an event type is in at most one table (a test holds this).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from perdure.rendering.durations import show_exact
from perdure.rendering.payloads import failure_text, texts, value
from perdure.wire.api import enums
from perdure.wire.times import duration_ns

if TYPE_CHECKING:
    from perdure.wire.api import common, history


class Closed(Enum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


_E = enums.EventType
_Type = enums.EventType.ValueType


def _call(arguments: common.Payloads) -> str:
    return f"({texts(arguments.payloads)})" if arguments.payloads else ""


def _result(result: common.Payloads) -> str:
    return f"→ {texts(result.payloads)}" if result.payloads else ""


def _words(enum_name: str, prefix: str) -> str:
    return enum_name.removeprefix(prefix).replace("_", " ").lower()


# ── steps that take time ──────────────────────────────────────────────────────────────────────────


def _activity_scheduled(event: history.HistoryEvent) -> tuple[str, str]:
    a = event.activity_task_scheduled_event_attributes
    return f"activity {a.activity_type.name}", _call(a.input)


def _timer_started(event: history.HistoryEvent) -> tuple[str, str]:
    a = event.timer_started_event_attributes
    return f"timer {show_exact(duration_ns(a.start_to_fire_timeout))}", ""


def _child_initiated(event: history.HistoryEvent) -> tuple[str, str]:
    a = event.start_child_workflow_execution_initiated_event_attributes
    return f"child {a.workflow_type.name}", f"{a.workflow_id} {_call(a.input)}".strip()


def _signal_initiated(event: history.HistoryEvent) -> tuple[str, str]:
    a = event.signal_external_workflow_execution_initiated_event_attributes
    return f"signal {a.signal_name} to {a.workflow_execution.workflow_id}", _call(a.input)


def _cancel_initiated(event: history.HistoryEvent) -> tuple[str, str]:
    a = event.request_cancel_external_workflow_execution_initiated_event_attributes
    return f"cancel {a.workflow_execution.workflow_id}", a.reason


def _update_accepted(event: history.HistoryEvent) -> tuple[str, str]:
    request = event.workflow_execution_update_accepted_event_attributes.accepted_request
    return f"update {request.input.name}", _call(request.input.args)


def _nexus_scheduled(event: history.HistoryEvent) -> tuple[str, str]:
    a = event.nexus_operation_scheduled_event_attributes
    return f"nexus {a.service}.{a.operation}", f"({texts([a.input])})" if a.HasField(
        "input"
    ) else ""


OPENING: dict[_Type, Callable[[history.HistoryEvent], tuple[str, str]]] = {
    _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: _activity_scheduled,
    _E.EVENT_TYPE_TIMER_STARTED: _timer_started,
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: _child_initiated,
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: _signal_initiated,
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: _cancel_initiated,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: _update_accepted,
    _E.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED: _nexus_scheduled,
}

# ── on the way ────────────────────────────────────────────────────────────────────────────────────


def _activity_started(event: history.HistoryEvent) -> str:
    a = event.activity_task_started_event_attributes
    if a.attempt <= 1:
        return ""
    after = f" after {failure_text(a.last_failure)}" if a.HasField("last_failure") else ""
    return f"attempt {a.attempt}{after}"


NOTES: dict[_Type, Callable[[history.HistoryEvent], str]] = {
    _E.EVENT_TYPE_ACTIVITY_TASK_STARTED: _activity_started,
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED: lambda _: "cancel requested",
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: lambda _: "",
    _E.EVENT_TYPE_NEXUS_OPERATION_STARTED: lambda _: "",
    _E.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED: lambda _: "cancel requested",
}

# ── how they end ──────────────────────────────────────────────────────────────────────────────────


def _activity_timed_out(event: history.HistoryEvent) -> tuple[Closed, str]:
    return Closed.FAILED, failure_text(event.activity_task_timed_out_event_attributes.failure)


def _update_completed(event: history.HistoryEvent) -> tuple[Closed, str]:
    outcome = event.workflow_execution_update_completed_event_attributes.outcome
    if outcome.HasField("failure"):
        return Closed.FAILED, failure_text(outcome.failure)
    return Closed.DONE, _result(outcome.success)


def _child_start_failed(event: history.HistoryEvent) -> tuple[Closed, str]:
    cause = event.start_child_workflow_execution_failed_event_attributes.cause
    name = enums.name_of(enums.StartChildWorkflowExecutionFailedCause.Name, cause)
    return (
        Closed.FAILED,
        f"not started: {_words(name, 'START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_')}",
    )


def _signal_failed(event: history.HistoryEvent) -> tuple[Closed, str]:
    cause = event.signal_external_workflow_execution_failed_event_attributes.cause
    name = enums.name_of(enums.SignalExternalWorkflowExecutionFailedCause.Name, cause)
    return Closed.FAILED, _words(name, "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_")


def _cancel_failed(event: history.HistoryEvent) -> tuple[Closed, str]:
    cause = event.request_cancel_external_workflow_execution_failed_event_attributes.cause
    name = enums.name_of(enums.CancelExternalWorkflowExecutionFailedCause.Name, cause)
    return Closed.FAILED, _words(name, "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_")


def _nexus_completed(event: history.HistoryEvent) -> tuple[Closed, str]:
    return Closed.DONE, f"→ {texts([event.nexus_operation_completed_event_attributes.result])}"


CLOSING: dict[_Type, Callable[[history.HistoryEvent], tuple[Closed, str]]] = {
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: lambda e: (
        Closed.DONE,
        _result(e.activity_task_completed_event_attributes.result),
    ),
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: lambda e: (
        Closed.FAILED,
        failure_text(e.activity_task_failed_event_attributes.failure),
    ),
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: _activity_timed_out,
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: lambda _: (Closed.CANCELED, "canceled"),
    _E.EVENT_TYPE_TIMER_FIRED: lambda _: (Closed.DONE, "fired"),
    _E.EVENT_TYPE_TIMER_CANCELED: lambda _: (Closed.CANCELED, "canceled"),
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: _child_start_failed,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: lambda e: (
        Closed.DONE,
        _result(e.child_workflow_execution_completed_event_attributes.result),
    ),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: lambda e: (
        Closed.FAILED,
        failure_text(e.child_workflow_execution_failed_event_attributes.failure),
    ),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: lambda _: (Closed.CANCELED, "canceled"),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: lambda _: (Closed.FAILED, "timed out"),
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: lambda _: (Closed.FAILED, "terminated"),
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: lambda _: (Closed.DONE, "delivered"),
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _signal_failed,
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: lambda _: (
        Closed.DONE,
        "delivered",
    ),
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: _cancel_failed,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED: _update_completed,
    _E.EVENT_TYPE_NEXUS_OPERATION_COMPLETED: _nexus_completed,
    _E.EVENT_TYPE_NEXUS_OPERATION_FAILED: lambda e: (
        Closed.FAILED,
        failure_text(e.nexus_operation_failed_event_attributes.failure),
    ),
    _E.EVENT_TYPE_NEXUS_OPERATION_CANCELED: lambda _: (Closed.CANCELED, "canceled"),
    _E.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT: lambda _: (Closed.FAILED, "timed out"),
}

# ── moments ───────────────────────────────────────────────────────────────────────────────────────

_Instant = tuple[str, str, Closed | None]


def _started(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_execution_started_event_attributes
    parts = [f"{a.workflow_type.name}{_call(a.input) or '()'}"]
    if a.attempt > 1:
        parts.append(f"attempt {a.attempt}")
    if a.continued_execution_run_id:
        parts.append(f"continues {a.continued_execution_run_id}")
    if a.HasField("parent_workflow_execution"):
        parts.append(f"child of {a.parent_workflow_execution.workflow_id}")
    if a.cron_schedule:
        parts.append(f"cron {a.cron_schedule}")
    return "workflow started", "  ".join(parts), None


def _signaled(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_execution_signaled_event_attributes
    return f"signal {a.signal_name}", _call(a.input), None


def _cancel_requested(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_execution_cancel_requested_event_attributes
    return "cancel requested", a.cause, None


def _task_failed(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_task_failed_event_attributes
    cause = _words(
        enums.name_of(enums.WorkflowTaskFailedCause.Name, a.cause), "WORKFLOW_TASK_FAILED_CAUSE_"
    )
    why = f": {failure_text(a.failure)}" if a.HasField("failure") else ""
    return "workflow task failed", f"{cause}{why}", Closed.FAILED


def _task_timed_out(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_task_timed_out_event_attributes
    if a.timeout_type == enums.TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
        # It waited for the worker that had the run in its cache; not an error, only a delay.
        return "worker gone", "the worker that had it did not take its task; any worker may", None
    kind = _words(enums.name_of(enums.TimeoutType.Name, a.timeout_type), "TIMEOUT_TYPE_")
    return "workflow task timed out", f"{kind}; it is given out again", Closed.FAILED


def _marker(event: history.HistoryEvent) -> _Instant:
    a = event.marker_recorded_event_attributes
    shown = {
        key: texts(details.payloads)
        for key, details in sorted(a.details.items())
        if key in {"patch-id", "patch_id", "type", "result", "side-effect-id"}
    }
    if a.HasField("failure"):
        return f"marker {a.marker_name}", failure_text(a.failure), Closed.FAILED
    return (
        f"marker {a.marker_name}",
        "  ".join(f"{key} {text}" for key, text in shown.items()),
        None,
    )


def _search_attributes(event: history.HistoryEvent) -> _Instant:
    a = event.upsert_workflow_search_attributes_event_attributes
    return "search attributes", _fields(a.search_attributes.indexed_fields), None


def _properties(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_properties_modified_event_attributes
    return "memo changed", _fields(a.upserted_memo.fields), None


def _fields(fields: object) -> str:
    items: list[tuple[str, common.Payload]] = sorted(getattr(fields, "items", list)())
    return ", ".join(f"{key}={value(payload)!r}" for key, payload in items)


def _update_admitted(event: history.HistoryEvent) -> _Instant:
    request = event.workflow_execution_update_admitted_event_attributes.request
    return f"update {request.input.name} admitted", _call(request.input.args), None


def _completed(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_execution_completed_event_attributes
    return "workflow completed", _result(a.result), Closed.DONE


def _failed(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_execution_failed_event_attributes
    again = f"  goes on as run {a.new_execution_run_id}" if a.new_execution_run_id else ""
    return "workflow failed", failure_text(a.failure) + again, Closed.FAILED


def _continued(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_execution_continued_as_new_event_attributes
    return "continued as new", f"run {a.new_execution_run_id} {_call(a.input)}".strip(), Closed.DONE


def _terminated(event: history.HistoryEvent) -> _Instant:
    a = event.workflow_execution_terminated_event_attributes
    by = f" by {a.identity}" if a.identity else ""
    return "workflow terminated", f"{a.reason}{by}".strip(), Closed.FAILED


INSTANT: dict[_Type, Callable[[history.HistoryEvent], _Instant]] = {
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: _started,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _signaled,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _cancel_requested,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED: _update_admitted,
    _E.EVENT_TYPE_WORKFLOW_TASK_FAILED: _task_failed,
    _E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: _task_timed_out,
    _E.EVENT_TYPE_MARKER_RECORDED: _marker,
    _E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _search_attributes,
    _E.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED: _properties,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: _completed,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: _failed,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: lambda _: ("workflow timed out", "", Closed.FAILED),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: lambda _: ("workflow canceled", "", Closed.CANCELED),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: _terminated,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: _continued,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED: lambda e: (
        "workflow paused",
        e.workflow_execution_paused_event_attributes.reason,
        None,
    ),
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED: lambda _: ("workflow unpaused", "", None),
}
