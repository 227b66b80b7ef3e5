"""The result of a transition, as values. The shard performs them in this order, atomically and durably.

Events and facts and task rows and outbox effects and the wake-up are written in one transaction; only then is the reply
released, parked pollers get their tasks, and the outbox is woken. `Transition` never performs anything itself.
"""

from __future__ import annotations

from typing import Any, Self

import msgspec

from perdure.core.ids import EntityKey, QueueKey, TaskRowId

DEFAULT_PRIORITY = 3
"""The priority key of a task whose request names none; 1 comes first, 5 last."""


class FactChange(msgspec.Struct, frozen=True):
    """One row to write, or to remove when `value` is None."""

    kind: int
    """Stored: a number that means something to the entity's own kind only."""
    key: str
    value: msgspec.Struct | None


class Task(msgspec.Struct, frozen=True):
    """Work for a poller of `queue`. It is a row until the transition that starts it removes it.

    `stamp` is compared at start: a task whose stamp is not the current one is stale and only removed.
    `may_be_sticky` is false when the queue is known not to be sticky. It is not stored: nothing is known of a task that
    was read from its row.
    """

    queue: QueueKey
    entity: EntityKey
    scheduled_event_id: int
    stamp: int
    created_ns: int
    priority: int = DEFAULT_PRIORITY
    may_be_sticky: bool = True


class WantedTask(msgspec.Struct, frozen=True, gc=False):
    """A task that an entity wants in a queue, by its state alone. Its row (`Task`) says the same."""

    queue: QueueKey
    scheduled_event_id: int
    stamp: int
    visible_ns: int
    """Since when pollers may take it."""
    priority: int = DEFAULT_PRIORITY
    is_sticky: bool = False

    def row(self, entity: EntityKey, now_ns: int) -> Task:
        """The task as it is offered now."""
        return Task(
            queue=self.queue,
            entity=entity,
            scheduled_event_id=self.scheduled_event_id,
            stamp=self.stamp,
            created_ns=now_ns,
            priority=self.priority,
            may_be_sticky=self.is_sticky,
        )


class EventRow(msgspec.Struct, frozen=True):
    """The events of one transition: `data` is a serialised `History` message, so rows concatenate into one."""

    branch: int
    first_event_id: int
    count: int
    data: bytes


class Effect(msgspec.Struct, frozen=True):
    """A message to another entity, delivered at least once from the outbox, in order per destination.

    `request_id` derives from (run, event id), which makes the delivery idempotent.
    """

    destination: EntityKey
    kind: str
    request_id: str
    body: bytes


class VisibilityRow(msgspec.Struct, frozen=True):
    """What lists show of a run; written only when it changed."""

    namespace_id: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    status: int
    start_ns: int
    execution_ns: int
    close_ns: int = 0
    history_length: int = 0
    history_size_bytes: int = 0
    memo: bytes = b""
    search_attributes: bytes = b""
    parent_workflow_id: str = ""
    parent_run_id: str = ""
    root_workflow_id: str = ""
    root_run_id: str = ""


class Transition(msgspec.Struct):
    """One atomic change of one entity. `abandon()` of its draft undoes the change of the state in memory."""

    key: EntityKey
    state: Any = None
    """The entity's state after the change (a new one when the entity is new); None when nothing changed."""
    events: EventRow | None = None
    facts: tuple[FactChange, ...] = ()
    tasks: tuple[Task, ...] = ()
    finished_tasks: tuple[TaskRowId, ...] = ()
    effects: tuple[Effect, ...] = ()
    wake_at_ns: int | None = None
    """None: the stored bound is right. 0: no wake-up any more."""
    visibility: VisibilityRow | None = None
    delete_at_ns: int | None = None
    """Set when the run closed: retention may delete it then."""
    reply: Any = None
    """A response message, a plan or an error value: see `replies.py`."""
    also: tuple[Self, ...] = ()
    """Changes of other entities that belong to this one: written in the same transaction (the run that follows)."""
    notes: tuple[msgspec.Struct, ...] = ()
    """What the owner's memory has to know of this change: the shell notes it in the same step. Nothing is written."""

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to write: the reply still waits for the run's earlier commits."""
        return not (
            self.events
            or self.facts
            or self.tasks
            or self.finished_tasks
            or self.effects
            or self.visibility
            or self.wake_at_ns is not None
            or self.delete_at_ns is not None
            or self.also
        )
