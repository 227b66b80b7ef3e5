"""What never enters history and must survive kill -9: one typed row each (entity, kind, key).

A row without a value removes the fact. New fields of a struct are additive with defaults; kinds are stored and never
reused. Not here: how facts change the state (`fold.facts`).
"""

from __future__ import annotations

from enum import IntEnum

import msgspec


class FactKind(IntEnum):
    """The kinds of facts of a run. Numbers are stored: never reuse one."""

    CREATE = 1
    WORKFLOW_TASK = 2
    STICKY = 3
    ACTIVITY = 4
    BUFFERED = 5
    CANCEL_REQUEST = 6


class CreateFact(msgspec.Struct, frozen=True):
    """How the run was created: a repeated start with this request id is answered with this run."""

    request_id: str


class CancelRequestFact(msgspec.Struct, frozen=True):
    request_id: str


class WorkflowTaskKind(IntEnum):
    NORMAL = 0
    TRANSIENT = 1
    """Attempt > 1: its Scheduled and Started are shown to the worker but not in history (S-8)."""


class WorkflowTask(msgspec.Struct, frozen=True, kw_only=True):
    """The pending workflow task. `started_event_id` 0 means that no worker has it yet."""

    kind: WorkflowTaskKind = WorkflowTaskKind.NORMAL
    scheduled_event_id: int
    started_event_id: int = 0
    attempt: int = 1
    queue_name: str
    is_sticky: bool = False
    scheduled_ns: int
    original_scheduled_ns: int = 0
    started_ns: int = 0
    start_to_close_ns: int
    request_id: str = ""
    identity: str = ""
    follows_close: bool = False
    """The one before tried to close the run in vain, since something had happened meanwhile: once this one is started,
    the run takes no more signals and updates, which could keep it from closing indefinitely."""
    stamp: int = 0
    """0: the task is as its events say. Otherwise a fact row holds it, and tells it from others of the same id."""
    build_id: str = ""
    """Of the worker that has it."""

    @property
    def is_a_fact(self) -> bool:
        return self.stamp != 0


class Sticky(msgspec.Struct, frozen=True):
    """The queue of the worker that has the run in its cache (S-10)."""

    queue_name: str
    schedule_to_start_ns: int


class ActivityPause(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused an activity, and why."""

    paused_ns: int
    identity: str = ""
    reason: str = ""
    request_id: str = ""
    """A repeat of the request is answered as the first one was."""


class ActivityReset(msgspec.Struct, frozen=True):
    """A running attempt is to end: its successor begins with the first attempt's rights."""

    drops_heartbeat: bool = False
    """The successor is not given the heartbeat's details."""


class ActivityProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a pending activity that changes without events (S-28 to S-32, S-35)."""

    attempt: int = 1
    stamp: int = 0
    is_started: bool = False
    started_ns: int = 0
    started_request_id: str = ""
    started_identity: str = ""
    scheduled_ns: int = 0
    """When the current attempt was or will be put on the queue; 0: as the activity itself."""
    next_attempt_ns: int = 0
    """Set while backing off."""
    retry_interval_ns: int = 0
    last_failure: bytes = b""
    """A serialised `failure.Failure`."""
    last_worker_identity: str = ""
    last_attempt_complete_ns: int = 0
    heartbeat_details: bytes = b""
    """Serialised `common.Payloads`."""
    last_heartbeat_ns: int = 0
    cancel_requested: bool = False
    pause: ActivityPause | None = None
    reset: ActivityReset | None = None
    """Of the running attempt."""
    started_build_id: str = ""


class BufferedEvent(msgspec.Struct, frozen=True):
    """An event that waits for the started workflow task to end (S-2); it has no id yet."""

    event: bytes
    """A serialised `HistoryEvent`."""
    event_type: int = 0
    ends_event_id: int = 0
    """The Scheduled, Started or Initiated event that it ends: that step is pending no more, though no event says so."""
    request_id: str = ""
    """Of a signal: a repeat is answered while the first still waits."""
    starts_event_id: int = 0
    """The StartChildWorkflowExecutionInitiated whose child has started: known, though no event says so."""


FACT_TYPES: dict[int, type[msgspec.Struct]] = {
    FactKind.CREATE: CreateFact,
    FactKind.WORKFLOW_TASK: WorkflowTask,
    FactKind.STICKY: Sticky,
    FactKind.ACTIVITY: ActivityProgress,
    FactKind.BUFFERED: BufferedEvent,
    FactKind.CANCEL_REQUEST: CancelRequestFact,
}
"""The struct of each kind."""
