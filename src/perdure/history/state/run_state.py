"""The state of a workflow run: immutable values in journaled slots and tables.

Role: the one picture of a run that transitions read. Only `evolve` (events) and `apply` (facts) write it. While a draft
is open its old values are kept: those of the scalar slots are copied when it opens (they are few), tables journal what
is changed, so that abandoning a draft costs what it changed.

Invariants: everything reachable from here is an immutable value (frozen structs, tuples, bytes), except the tables
themselves; `snapshot()` of a state folded again from storage equals that of the state in memory after every commit.
Not here: events and payloads of the past (they are bytes in storage), waiters, queries in flight (memory of the shell).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from heapq import heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from perdure.core.ids import EntityKey
from perdure.history.state.buffer import EMPTY_BUFFER, Buffer
from perdure.history.state.table import EMPTY, Journal, K, Table, V
from perdure.wire.api import common

if TYPE_CHECKING:
    from perdure.core.limits import Limits
    from perdure.history.state.facts import ActivityProgress, Sticky, WorkflowTask


class RunStatus(IntEnum):
    """As `WorkflowExecutionStatus` of the API."""

    UNSPECIFIED = 0
    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    CONTINUED_AS_NEW = 6
    TIMED_OUT = 7


class RetryPolicy(msgspec.Struct, frozen=True):
    """Durations in ns; `maximum_attempts` 0 means unlimited, `maximum_interval_ns` 0 means 100 × initial."""

    initial_interval_ns: int
    backoff_coefficient: float
    maximum_interval_ns: int
    maximum_attempts: int
    non_retryable_error_types: tuple[str, ...] = ()


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What WorkflowExecutionStarted says, less payloads that only history needs."""

    workflow_type: str = ""
    task_queue: str = ""
    first_run_id: str = ""
    continued_run_id: str = ""
    attempt: int = 1
    cron_schedule: str = ""
    retry_policy: RetryPolicy | None = None
    execution_timeout_ns: int = 0
    run_timeout_ns: int = 0
    workflow_task_timeout_ns: int = 0
    start_ns: int = 0
    execution_expiration_ns: int = 0
    """When the whole chain times out; 0 for never."""
    first_task_backoff_ns: int = 0
    identity: str = ""
    parent: EntityKey | None = None
    parent_namespace: str = ""
    parent_initiated_event_id: int = 0
    root_workflow_id: str = ""
    root_run_id: str = ""
    priority: bytes = b""
    """A serialised `common.Priority`."""
    eager_execution_accepted: bool = False
    user_metadata: bytes = b""
    """A serialised `sdk.UserMetadata`: summary and details that describe shows."""
    started_attributes: bytes = b""
    """The serialised attributes of WorkflowExecutionStarted, kept only when a retry will need its input."""

    @property
    def priority_key(self) -> int:
        """Of the run's tasks; 0 when the run says nothing about it."""
        return common.Priority.FromString(self.priority).priority_key if self.priority else 0


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """A pending activity as its ActivityTaskScheduled event says. Its progress is a fact (`ActivityProgress`)."""

    scheduled_event_id: int
    activity_id: str
    activity_type: str
    queue_name: str
    scheduled_ns: int
    schedule_to_close_ns: int
    schedule_to_start_ns: int
    start_to_close_ns: int
    heartbeat_ns: int
    retry_policy: RetryPolicy | None
    attributes: bytes
    """The serialised attributes of the event: input and header for the worker, kept while the activity is pending."""
    priority: int = 3
    """Priority key of its tasks: its own, else the run's, else the middle."""
    started_event_id: int = 0
    cancel_requested_event_id: int = 0


class Timer(msgspec.Struct, frozen=True):
    timer_id: str
    started_event_id: int
    fire_ns: int


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A child workflow from Initiated to its end. `started_event_id` 0: its start is not recorded yet."""

    initiated_event_id: int
    namespace_id: str
    namespace: str
    workflow_id: str
    workflow_type: str
    parent_close_policy: int
    started_event_id: int = 0
    run_id: str = ""
    """Of its first run."""


class Update(msgspec.Struct, frozen=True):
    """An update that the workflow accepted. `completed_event_id` 0: it is still under way."""

    accepted_event_id: int
    completed_event_id: int = 0


class ResetPoint(msgspec.Struct, frozen=True):
    """The first workflow task that a build completed: resetting to it undoes what the build did."""

    run_id: str
    completed_event_id: int
    created_ns: int
    build_id: str = ""
    binary_checksum: str = ""
    expires_ns: int = 0
    """When the run may be deleted; 0: the run is open, or is kept forever."""


class DeadlineKind(IntEnum):
    """What a deadline is about, and what its key means. Never stored: deadlines are derived from the state."""

    RUN_TIMEOUT = 1
    EXECUTION_TIMEOUT = 2
    FIRST_TASK = 3
    WORKFLOW_TASK_SCHEDULE_TO_START = 4
    WORKFLOW_TASK_START_TO_CLOSE = 5
    TIMER = 6
    """Key: the id of TimerStarted."""
    ACTIVITY_SCHEDULE_TO_START = 7
    """Key of this and the following: the id of ActivityTaskScheduled."""
    ACTIVITY_SCHEDULE_TO_CLOSE = 8
    ACTIVITY_START_TO_CLOSE = 9
    ACTIVITY_HEARTBEAT = 10
    ACTIVITY_RETRY = 11
    HISTORY_LIMIT = 12


class Deadline(NamedTuple):
    """Something that may be due: checked against the state when it is, so stale entries are harmless."""

    at_ns: int
    kind: DeadlineKind
    key: int


_TOO_LARGE = "Workflow history size exceeds limit."
_TOO_LONG = "Workflow history count exceeds limit."

_OUTSIDE: Final = {"outside": True}
"""Marks what is not of the draft: the run's name, the journal itself, and what is derived or memory only."""


def _empty_buffer() -> Buffer:
    return EMPTY_BUFFER


@dataclass(slots=True, eq=False, repr=False)
class RunState:
    """A run. Scalars are replaced, collections are tables.

    A field that begins as an empty table journals its own changes. Any other is a scalar, which a draft copies, unless
    it is marked as outside of drafts.
    """

    key: EntityKey = field(metadata=_OUTSIDE)
    journal: Journal = field(default_factory=Journal, metadata=_OUTSIDE)
    status: RunStatus = RunStatus.UNSPECIFIED
    info: RunInfo = field(default_factory=RunInfo)
    next_event_id: int = 1
    last_event_ns: int = 0
    history_size_bytes: int = 0
    close_ns: int = 0
    close_event_id: int = 0
    workflow_task: WorkflowTask | None = None
    last_started_event_id: int = 0
    """The started id of the last completed workflow task (previous_started_event_id of polls)."""
    completed_workflow_tasks: int = 0
    build_id: str = ""
    """Of the worker that completed the last workflow task."""
    reset_points: tuple[ResetPoint, ...] = ()
    """The latest builds of the run and of those before it in the chain, oldest first."""
    cancel_requested_event_id: int = 0
    signal_count: int = 0
    memo: tuple[tuple[str, bytes], ...] = ()
    """Sorted (key, serialised Payload)."""
    search_attributes: tuple[tuple[str, bytes], ...] = ()
    activities: Table[int, Activity] = EMPTY
    activity_bytes: int = 0
    """Of the attributes of all pending activities: their inputs may be large."""
    activity_ids: Table[str, int] = EMPTY
    timers: Table[str, Timer] = EMPTY
    timers_by_event: Table[int, str] = EMPTY
    children: Table[int, Child] = EMPTY
    """Those that run. A closed run keeps them: the delivery of their start may be repeated."""
    external_signals: Table[int, str] = EMPTY
    """Initiated event id -> workflow id, of signals on their way to others; the same for cancel requests. A closed
    run keeps them: they are still delivered."""
    external_cancels: Table[int, str] = EMPTY
    updates: Table[str, Update] = EMPTY
    open_updates: int = 0
    """How many of them are not completed."""
    request_ids: Table[str, int] = EMPTY
    """Request ids that events carry (signals, pause) -> event id."""
    # Facts.
    activity_progress: Table[int, ActivityProgress] = EMPTY
    started_activities: int = 0
    """How many of them a worker has."""
    buffered: Buffer = field(default_factory=_empty_buffer)
    next_buffered: int = 1
    create_request_id: str = ""
    cancel_request_id: str = ""
    sticky: Sticky | None = None
    # Derived, never compared: entries are tested against the state when they come up.
    deadlines: list[Deadline] = field(default_factory=list, metadata=_OUTSIDE)
    history_limit_ns: int = field(default=0, metadata=_OUTSIDE)
    """When a change was seen to pass a limit of the history; 0: none did."""
    # Liveness is memory (D-48): heartbeats that said nothing new are not written.
    heard_ns: dict[int, int] = field(default_factory=dict, metadata=_OUTSIDE)
    """Scheduled event id of an activity -> when its worker was heard last."""
    loaded_ns: int = field(default=0, metadata=_OUTSIDE)
    """When the state was folded from storage: heartbeat clocks restart then."""

    @property
    def is_running(self) -> bool:
        return self.status is RunStatus.RUNNING

    @property
    def workflow_task_is_started(self) -> bool:
        return self.workflow_task is not None and self.workflow_task.started_event_id != 0

    def owned(self, table: Table[K, V]) -> Table[K, V]:
        """This table, to put something new into it: a new one of this run in place of the empty one of all."""
        return Table(self.journal) if table is EMPTY else table

    def open_draft(self) -> None:
        """From now on every change can be taken back."""
        journal = self.journal
        assert journal.undo is None, f"{self.key} has an open draft"
        journal.undo = []
        journal.scalars = _scalars(self)

    def close_draft(self) -> None:
        """What was changed stays."""
        journal = self.journal
        journal.undo = None
        journal.scalars = ()

    def roll_back(self) -> None:
        """Everything is as it was when the draft was opened; it is closed."""
        journal = self.journal
        for step, arguments in reversed(journal.undo or ()):
            step(*arguments)
        for name, value in zip(_SCALARS, journal.scalars, strict=True):
            setattr(self, name, value)
        self.close_draft()

    def count_event(self, time_ns: int, size_bytes: int) -> None:
        """One more event: its id is used up."""
        self.next_event_id += 1
        if time_ns > self.last_event_ns:  # noqa: PLR1730  # a call for each event
            self.last_event_ns = time_ns
        self.history_size_bytes += size_bytes

    def passed_history_limit(self, limits: Limits) -> str:
        """Why the server has to terminate the run: its history is too large or too long. Empty while it is not."""
        if self.history_size_bytes > limits.history_size_bytes_max:
            return _TOO_LARGE
        if self.next_event_id - 1 > limits.history_count_max:
            return _TOO_LONG
        return ""

    def drop_activity(self, scheduled_event_id: int) -> None:
        """The activity is pending no more. Its id may already name a later activity."""
        activity = self.activities.remove(scheduled_event_id)
        if activity is None:
            return
        self.activity_bytes -= len(activity.attributes)
        if self.activity_ids.get(activity.activity_id) == scheduled_event_id:
            self.activity_ids.remove(activity.activity_id)

    def drop_timer(self, started_event_id: int) -> None:
        """The timer is pending no more. Its id may already name a later timer."""
        timer_id = self.timers_by_event.remove(started_event_id)
        if timer_id is not None and self.timers[timer_id].started_event_id == started_event_id:
            self.timers.remove(timer_id)

    def drop_step(self, event_id: int) -> None:
        """Whatever began with this event is pending no more."""
        self.drop_activity(event_id)
        self.drop_timer(event_id)
        self.children.remove(event_id)
        self.external_signals.remove(event_id)
        self.external_cancels.remove(event_id)

    def add_deadline(self, deadline: Deadline) -> None:
        """Note that something may be due then. An entry that outlives its reason is ignored when it comes up."""
        heappush(self.deadlines, deadline)

    def snapshot(self) -> dict[str, Any]:
        """Everything durable, for comparison with a state folded again from storage."""
        return {each.name: _plain(getattr(self, each.name)) for each in _DURABLE}


_DURABLE = tuple(each for each in fields(RunState) if not each.metadata)
_SCALARS = tuple(
    each.name
    for each in _DURABLE
    if each.default is not EMPTY and each.default_factory is not _empty_buffer
)
_scalars = attrgetter(*_SCALARS)


def _plain(value: Any) -> Any:
    return dict(cast("Table[Any, Any]", value)) if isinstance(value, Table) else value
