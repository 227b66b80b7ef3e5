"""Facts about history events: type numbers, which ones record a command, and which operation the others belong to.

Each type is named once, with what it is: an event of the run itself, an event that records a command, or a later event
of an operation. The sets that the engine asks are made from these lines.

Invariants: numbers are those of the API; the tables are complete for the pinned API version, and
an event of a type that is not in `ATTRIBUTES` counts as unspecified (only ignorable when the
server says so).

What is not here: what an event does to a machine (`machines`).
"""

from __future__ import annotations

from typing import Final

from perdure.wire.api import enums, history

_E = enums.EventType

_commands: set[int] = set()
_finals: set[int] = set()
_parents: dict[int, str] = {}


def _command(event_type: int) -> int:
    """An event that exists because of a command of the workflow task completed just before it."""
    _commands.add(event_type)
    return event_type


def _final(event_type: int) -> int:
    """An event that ends the run."""
    _finals.add(event_type)
    return event_type


def _of_scheduled(event_type: int) -> int:
    """A later event of an operation or a workflow task; its `scheduled_event_id` names the first."""
    _parents[event_type] = "scheduled_event_id"
    return event_type


def _of_started(event_type: int) -> int:
    """A later event of an operation; its `started_event_id` names the first."""
    _parents[event_type] = "started_event_id"
    return event_type


def _of_initiated(event_type: int) -> int:
    """A later event of an operation; its `initiated_event_id` names the first."""
    _parents[event_type] = "initiated_event_id"
    return event_type


WORKFLOW_EXECUTION_STARTED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
WORKFLOW_EXECUTION_COMPLETED: Final[int] = _command(
    _final(_E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
)
WORKFLOW_EXECUTION_FAILED: Final[int] = _command(_final(_E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED))
WORKFLOW_EXECUTION_TIMED_OUT: Final[int] = _final(_E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT)
WORKFLOW_EXECUTION_CANCEL_REQUESTED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
WORKFLOW_EXECUTION_CANCELED: Final[int] = _command(
    _final(_E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED)
)
WORKFLOW_EXECUTION_SIGNALED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
WORKFLOW_EXECUTION_TERMINATED: Final[int] = _final(_E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
WORKFLOW_EXECUTION_CONTINUED_AS_NEW: Final[int] = _command(
    _final(_E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
)
WORKFLOW_TASK_SCHEDULED: Final[int] = _E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
WORKFLOW_TASK_STARTED: Final[int] = _of_scheduled(_E.EVENT_TYPE_WORKFLOW_TASK_STARTED)
WORKFLOW_TASK_COMPLETED: Final[int] = _of_scheduled(_E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
WORKFLOW_TASK_TIMED_OUT: Final[int] = _of_scheduled(_E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
WORKFLOW_TASK_FAILED: Final[int] = _of_scheduled(_E.EVENT_TYPE_WORKFLOW_TASK_FAILED)
ACTIVITY_TASK_SCHEDULED: Final[int] = _command(_E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
ACTIVITY_TASK_STARTED: Final[int] = _of_scheduled(_E.EVENT_TYPE_ACTIVITY_TASK_STARTED)
ACTIVITY_TASK_COMPLETED: Final[int] = _of_scheduled(_E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
ACTIVITY_TASK_FAILED: Final[int] = _of_scheduled(_E.EVENT_TYPE_ACTIVITY_TASK_FAILED)
ACTIVITY_TASK_TIMED_OUT: Final[int] = _of_scheduled(_E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
ACTIVITY_TASK_CANCEL_REQUESTED: Final[int] = _command(_E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
ACTIVITY_TASK_CANCELED: Final[int] = _of_scheduled(_E.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
TIMER_STARTED: Final[int] = _command(_E.EVENT_TYPE_TIMER_STARTED)
TIMER_FIRED: Final[int] = _of_started(_E.EVENT_TYPE_TIMER_FIRED)
TIMER_CANCELED: Final[int] = _command(_E.EVENT_TYPE_TIMER_CANCELED)
MARKER_RECORDED: Final[int] = _command(_E.EVENT_TYPE_MARKER_RECORDED)
CANCEL_EXTERNAL_INITIATED: Final[int] = _command(
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
)
CANCEL_EXTERNAL_FAILED: Final[int] = _of_initiated(
    _E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
)
EXTERNAL_CANCEL_REQUESTED: Final[int] = _of_initiated(
    _E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED
)
SIGNAL_EXTERNAL_INITIATED: Final[int] = _command(
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
)
SIGNAL_EXTERNAL_FAILED: Final[int] = _of_initiated(
    _E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
)
EXTERNAL_SIGNALED: Final[int] = _of_initiated(_E.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED)
CHILD_INITIATED: Final[int] = _command(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
CHILD_START_FAILED: Final[int] = _of_initiated(_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
CHILD_STARTED: Final[int] = _of_initiated(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED)
CHILD_COMPLETED: Final[int] = _of_initiated(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED)
CHILD_FAILED: Final[int] = _of_initiated(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)
CHILD_CANCELED: Final[int] = _of_initiated(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED)
CHILD_TIMED_OUT: Final[int] = _of_initiated(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT)
CHILD_TERMINATED: Final[int] = _of_initiated(_E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED)
UPSERT_SEARCH_ATTRIBUTES: Final[int] = _command(_E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
PROPERTIES_MODIFIED: Final[int] = _command(_E.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED)
UPDATE_ADMITTED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED
UPDATE_ACCEPTED: Final[int] = _command(_E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
UPDATE_REJECTED: Final[int] = _command(_E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_REJECTED)
UPDATE_COMPLETED: Final[int] = _command(_E.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
NEXUS_SCHEDULED: Final[int] = _command(_E.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED)
NEXUS_STARTED: Final[int] = _of_scheduled(_E.EVENT_TYPE_NEXUS_OPERATION_STARTED)
NEXUS_COMPLETED: Final[int] = _of_scheduled(_E.EVENT_TYPE_NEXUS_OPERATION_COMPLETED)
NEXUS_FAILED: Final[int] = _of_scheduled(_E.EVENT_TYPE_NEXUS_OPERATION_FAILED)
NEXUS_CANCELED: Final[int] = _of_scheduled(_E.EVENT_TYPE_NEXUS_OPERATION_CANCELED)
NEXUS_TIMED_OUT: Final[int] = _of_scheduled(_E.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT)
NEXUS_CANCEL_REQUESTED: Final[int] = _command(_E.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED)
NEXUS_CANCEL_REQUEST_COMPLETED: Final[int] = _of_scheduled(
    _E.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED
)
NEXUS_CANCEL_REQUEST_FAILED: Final[int] = _of_scheduled(
    _E.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUEST_FAILED
)
OPTIONS_UPDATED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
PAUSED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED
UNPAUSED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED
TIME_SKIPPING_TRANSITIONED: Final[int] = _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED

COMMAND_EVENTS: Final = frozenset(_commands)
FINAL_EVENTS: Final = frozenset(_finals)
PARENT_ID_FIELD: Final[dict[int, str]] = _parents
"""Event type → the attribute that names the event whose machine (or workflow task) handles it."""

UNSTARTS_TASK: Final = frozenset(
    {
        WORKFLOW_TASK_FAILED,
        WORKFLOW_TASK_TIMED_OUT,
        WORKFLOW_EXECUTION_TIMED_OUT,
        WORKFLOW_EXECUTION_TERMINATED,
        WORKFLOW_EXECUTION_CANCELED,
    }
)
"""Right after WorkflowTaskStarted these mean that the started task produced nothing (R-41)."""

IGNORABLE: Final = frozenset({OPTIONS_UPDATED, PAUSED, UNPAUSED, TIME_SKIPPING_TRANSITIONED})
"""Types that are skipped when the server marks the event `worker_may_ignore`."""

_SHORT_NAMES: Final[dict[int, str]] = {
    number: "".join(part.capitalize() for part in name.removeprefix("EVENT_TYPE_").split("_"))
    for name, number in _E.items()
}

ATTRIBUTES: Final[dict[int, str]] = {
    number: f"{name.removeprefix('EVENT_TYPE_').lower()}_event_attributes"
    for name, number in _E.items()
    if f"{name.removeprefix('EVENT_TYPE_').lower()}_event_attributes"
    in history.HistoryEvent.DESCRIPTOR.fields_by_name
}
"""Event type → the name of its attributes field; unspecified and unknown types are absent."""


def type_name(event_type: int) -> str:
    """The event type as people write it, `ActivityTaskScheduled`."""
    return _SHORT_NAMES.get(event_type, f"event type {event_type}")
