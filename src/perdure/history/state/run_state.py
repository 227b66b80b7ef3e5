"""The state of a workflow run: immutable values in journaled slots and tables.

Role: the one picture of a run that transitions read. Only `evolve` (events) and `apply` (facts) write it. While a draft
is open its old values are kept: those of the scalar slots are copied when it opens (they are few), tables journal what
is changed, so that abandoning a draft costs what it changed.

Invariants: everything reachable from here is an immutable value (frozen structs, tuples, bytes), except the tables
themselves; `snapshot()` of a state folded again from storage equals that of the state in memory after every commit.
Not here: events and payloads of the past (they are bytes in storage), waiters, queries in flight (memory of the shell).
"""

from __future__ import annotations

from enum import IntEnum
from heapq import heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from perdure.core.ids import EntityKey
from perdure.history.state.buffer import EMPTY_BUFFER
from perdure.history.state.table import EMPTY, Journal, K, Table, V
from perdure.wire.api import common

if TYPE_CHECKING:
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


class Deadline(NamedTuple):
    """Something that may be due: checked against the state when it is, so stale entries are harmless."""

    at_ns: int
    kind: DeadlineKind
    key: int


class RunState:
    """A run. Scalars are replaced, collections are tables."""

    __slots__ = (
        "activities",
        "activity_bytes",
        "activity_ids",
        "activity_progress",
        "buffered",
        "cancel_request_id",
        "cancel_requested_event_id",
        "children",
        "close_event_id",
        "close_ns",
        "completed_workflow_tasks",
        "create_request_id",
        "deadlines",
        "external_cancels",
        "external_signals",
        "heard_ns",
        "history_size_bytes",
        "info",
        "journal",
        "key",
        "last_event_ns",
        "last_started_event_id",
        "loaded_ns",
        "memo",
        "next_buffered",
        "next_event_id",
        "open_updates",
        "request_ids",
        "search_attributes",
        "signal_count",
        "started_activities",
        "status",
        "sticky",
        "timers",
        "timers_by_event",
        "updates",
        "workflow_task",
    )

    def __init__(self, key: EntityKey) -> None:
        self.journal = Journal()
        self.key = key
        self.status = RunStatus.UNSPECIFIED
        self.info = RunInfo()
        self.next_event_id = 1
        self.last_event_ns = 0
        self.history_size_bytes = 0
        self.close_ns = 0
        self.close_event_id = 0
        self.workflow_task: WorkflowTask | None = None
        self.last_started_event_id = 0
        """The started id of the last completed workflow task (previous_started_event_id of polls)."""
        self.completed_workflow_tasks = 0
        self.cancel_requested_event_id = 0
        self.signal_count = 0
        self.memo: tuple[tuple[str, bytes], ...] = ()
        """Sorted (key, serialised Payload)."""
        self.search_attributes: tuple[tuple[str, bytes], ...] = ()
        self.activities: Table[int, Activity] = EMPTY
        self.activity_bytes = 0
        """Of the attributes of all pending activities: their inputs may be large."""
        self.activity_ids: Table[str, int] = EMPTY
        self.timers: Table[str, Timer] = EMPTY
        self.timers_by_event: Table[int, str] = EMPTY
        self.children: Table[int, Child] = EMPTY
        """Those that run. A closed run keeps them: the delivery of their start may be repeated."""
        self.external_signals: Table[int, str] = EMPTY
        """Initiated event id -> workflow id, of signals on their way to others; the same for cancel requests. A closed
        run keeps them: they are still delivered."""
        self.external_cancels: Table[int, str] = EMPTY
        self.updates: Table[str, Update] = EMPTY
        self.open_updates = 0
        """How many of them are not completed."""
        self.request_ids: Table[str, int] = EMPTY
        """Request ids that events carry (signals, pause) -> event id."""
        # Facts.
        self.activity_progress: Table[int, ActivityProgress] = EMPTY
        self.started_activities = 0
        """How many of them a worker has."""
        self.buffered = EMPTY_BUFFER
        self.next_buffered = 1
        self.create_request_id = ""
        self.cancel_request_id = ""
        self.sticky: Sticky | None = None
        # Derived, never compared: entries are tested against the state when they come up.
        self.deadlines: list[Deadline] = []
        # Liveness is memory (D-48): heartbeats that said nothing new are not written.
        self.heard_ns: dict[int, int] = {}
        """Scheduled event id of an activity -> when its worker was heard last."""
        self.loaded_ns = 0
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
        self.last_event_ns = max(self.last_event_ns, time_ns)
        self.history_size_bytes += size_bytes

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

    def watch(self, deadline: Deadline) -> None:
        """Note that something may be due then. An entry that outlives its reason is ignored when it comes up."""
        heappush(self.deadlines, deadline)

    def snapshot(self) -> dict[str, Any]:
        """Everything durable, for comparison with a state folded again from storage."""
        durable = (name for name in self.__slots__ if name not in _UNJOURNALED)
        return {name: _plain(getattr(self, name)) for name in durable}


_TABLES = frozenset(
    {
        "activities",
        "activity_ids",
        "activity_progress",
        "buffered",
        "children",
        "external_cancels",
        "external_signals",
        "request_ids",
        "timers",
        "timers_by_event",
        "updates",
    }
)
# Not of the draft: the run's name, the journal itself, and what is derived or memory only.
_UNJOURNALED = frozenset({"deadlines", "heard_ns", "journal", "key", "loaded_ns"})
_SCALARS = tuple(
    name for name in RunState.__slots__ if name not in _TABLES and name not in _UNJOURNALED
)
_scalars = attrgetter(*_SCALARS)


def _plain(value: Any) -> Any:
    return dict(cast("Table[Any, Any]", value)) if isinstance(value, Table) else value
