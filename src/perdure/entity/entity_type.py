"""The registration of a kind of entity: an `EntityType` tells the server everything it needs to know about the kind.

Role: the engine, its cache, loader and steps, the audit, the clock of time-skipping tests and the store know no kinds.
They look an entity's type up in a `Registry` by the number in its key, and ask it. A small kind overrides what it
needs; each default is right for an entity that holds one fact, waits for nothing and lives until it is deleted.

Invariants: pure and synchronous; the state is the type's own value and opaque to everyone else.
Not here: requests and replies (the frontend), rows (`perdure.storage`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from perdure.entity.workers import IDLE
from perdure.wire import errors

if TYPE_CHECKING:
    import msgspec

    from perdure.core.ids import EntityKey, TaskRowId
    from perdure.entity.env import Env
    from perdure.entity.transition import (
        EventRow,
        FactChange,
        Task,
        Transition,
        VisibilityRow,
        WantedTask,
    )
    from perdure.entity.workers import Work

S = TypeVar("S")

StateOf = Callable[["EntityKey"], Any]
"""The state of another entity of the same shard that is in memory; None: there is none."""

SMALL_BYTES = 1_000
"""Measured with tracemalloc: an entity that is one small fact has 720 bytes."""


class Auditor(Protocol):
    """Checks invariants of one or more kinds, beyond those of every entity. Each audit creates one object."""

    def look(
        self, key: EntityKey, state: Any, facts: Sequence[FactChange]
    ) -> Iterator[tuple[str, str]]:
        """Findings about one entity: (check, what is wrong, to follow the entity's name)."""
        ...

    def end(self) -> Iterator[tuple[str, str]]:
        """Findings across entities, after `look` saw all of them: (check, what is wrong)."""
        ...


class EntityType(Generic[S]):
    """One kind of entity.

    Attributes:
        number: Of the kind, as in `EntityKey.kind`. Stored: never reuse one.
        name: What findings and errors call it.
        check: The check of an audit that counts entities of this kind.
        fact_types: The struct of each kind of fact.
        has_log: Whether it keeps events besides facts.
        auditor: Makes the judge of an audit, where more must hold than of every entity. Kinds with the same one share
            the object that it makes.

    Example:
        class Counters(EntityType[Counter]):
            number, name, check = 201, "counter", "counters"
            fact_types = {1: Counter}

        engine = Engine(store, clock, new_id, types=Registry(*BUILT_IN.types, Counters()))
    """

    number: int
    name: str
    check: str
    fact_types: ClassVar[Mapping[int, type[msgspec.Struct]]]
    has_log = False
    auditor: type[Auditor] | None = None

    # From rows to the state.

    def fold(
        self,
        key: EntityKey,
        events: Iterable[bytes],
        facts: Iterable[FactChange],
        now_ns: int,
    ) -> Generator[None, None, S]:
        """The state from what is stored, in steps. By default, the one fact.

        Args:
            key: The entity.
            events: Its rows of events in order, each a serialised `History`.
            facts: Its facts, in any order.
            now_ns: The time of the load.

        Raises:
            DamagedEntityError: The rows cannot be what a transition wrote.
        """
        yield from ()
        values = [change.value for change in facts]
        if len(values) != 1:
            raise DamagedEntityError("it has not exactly the one fact it should have")
        return cast("S", values[0])

    def gaps(self, events: Sequence[EventRow]) -> Iterator[str]:
        """What is wrong with the event numbers. An audit calls this before it folds the events."""
        if events:
            yield "it has events, which its kind does not keep"

    def abandon(self, state: S) -> None:
        """Undo what a failed change did to the state. Immutable states need nothing."""

    # Time.

    def wake(self, state: S, env: Env) -> Transition:
        """Do everything that is due; the stored wake-up then becomes `next_wake_ns`."""
        raise NotImplementedError(f"{self.name}: {state!r} asked for no wake-up at {env.now_ns}")

    def next_wake_ns(self, state: S) -> int:
        """When it is to be woken next; 0: never."""
        return 0

    def wake_reason(self, state: S) -> str:
        """What `next_wake_ns` is the time of, for findings."""
        return "wake-up"

    def is_wake_exact(self, state: S) -> bool:
        """Whether each change writes `next_wake_ns`. Otherwise a change only lowers the stored time, if it says so."""
        return True

    def wake_bound_ns(
        self, state: S, transition: Transition, stored_ns: int, *, is_wake: bool
    ) -> int:
        """The wake-up to store after a transition; 0: none.

        It is exact after a wake-up and whenever `is_wake_exact` asks for that; otherwise it is only lowered.
        """
        requested = transition.wake_at_ns
        if transition.delete_at_ns is not None or requested == 0:
            return 0
        if is_wake or self.is_wake_exact(state):
            return self.next_wake_ns(state)
        if requested is None:
            return stored_ns
        return min(requested, stored_ns) if stored_ns else requested

    # Memory.

    def size_bytes(self, state: S) -> int:
        """An estimate of the state's memory, without the tail of its events."""
        return SMALL_BYTES

    # Life.

    def is_closed(self, state: S) -> bool:
        """Whether it can no longer change. A closed entity may be deleted and is among the first to be evicted."""
        return False

    def neighbours(self, key: EntityKey) -> tuple[EntityKey, ...]:
        """Entities of the same shard that must be in memory when this one is changed."""
        return ()

    def is_left_alone(self, key: EntityKey, neighbour: Any) -> bool:
        """Whether a neighbour's state says that it means nothing without the entity of this key: both are deleted."""
        return False

    def companions(
        self, transition: Transition, state_of: StateOf, *, is_new: bool
    ) -> tuple[Transition, ...]:
        """Changes of neighbours that follow from this one, for the same transaction."""
        return ()

    def missing(self, key: EntityKey) -> errors.RpcError:
        """The error for a call that names an entity that does not exist."""
        return errors.not_found(f"{self.name} not found: {errors.shown(key.name)}")

    def label(self, key: EntityKey) -> str:
        """The entity's name in findings."""
        return f"{self.name} {key.name!r}"

    # Workers.

    def has_task_in_flight(self, state: S) -> bool:
        """Whether a task of the entity is in flight. If so, `time_out_orphans` changes the entity.

        It is called after every change, so it must be O(1).
        """
        return False

    def time_out_orphans(self, state: S, env: Env) -> Transition:
        """Handle the death of the process in which all workers ran: the tasks that they had time out."""
        raise NotImplementedError(f"{self.name}: {state!r} holds nothing at {env.now_ns}")

    def wanted_tasks(self, state: S) -> Iterable[WantedTask]:
        """The tasks that no worker has yet, and that a worker may take now: each must be in its queue."""
        return ()

    def is_stale(self, state: S, task: Task) -> bool:
        """Whether `task` can no longer be started."""
        wanted = (task.queue.kind, task.scheduled_event_id, task.stamp)
        return all(
            (one.queue.kind, one.scheduled_event_id, one.stamp) != wanted
            for one in self.wanted_tasks(state)
        )

    def work(self, state: S) -> Work:
        """What it is doing right now: time is not skipped while something works."""
        return IDLE

    def start_task(
        self, state: S, task: Task, row: TaskRowId | None, poll: Any, env: Env
    ) -> Transition:
        """Start a task for a worker. The reply is the worker's, or `StaleTask`."""
        raise NotImplementedError(f"{self.name} has no tasks: {task}")

    def is_redeliverable(self, reply: Any) -> bool:
        """Whether a started task whose poller has gone stays started, and the next poller gets it (`redeliver`)."""
        return False

    def undo_start(self, state: S, reply: Any, env: Env) -> Transition:
        """The worker for which a task was started, with this reply, has gone: it is as if it had not been started."""
        raise NotImplementedError(f"{self.name} has no tasks: {type(reply).__name__}")

    def redeliver(self, state: S, task: Task, env: Env) -> Any:
        """The reply of `start_task` for a task that is started already; None: it is over."""
        return None

    def unpolled(self, state: S, task: Task, row: TaskRowId, env: Env) -> Transition:
        """React to a task that waits in a queue without pollers."""
        raise NotImplementedError(f"{self.name} has no tasks: {task}")

    # For people.

    def visibility(self, state: S) -> VisibilityRow | None:
        """What lists show of it, with its search attributes; None: it is in no list."""
        return None


class Registry:
    """The kinds that a node knows.

    Args:
        types: One registration each.

    Raises:
        ValueError: Two registrations have the same number.
    """

    def __init__(self, *types: EntityType[Any]) -> None:
        self.types = types
        self._by_number: dict[int, EntityType[Any]] = {}
        for one in types:
            if one.number in self._by_number:
                other = self._by_number[one.number].name
                raise ValueError(f"{one.name} and {other} both have the number {one.number}")
            self._by_number[one.number] = one

    def of(self, key: EntityKey) -> EntityType[Any]:
        """The type of an entity.

        Raises:
            FailedPrecondition: The program that wrote it knew more kinds.
        """
        found = self._by_number.get(key.kind)
        if found is None:
            raise errors.FailedPrecondition(
                f"entities of kind {key.kind} are unknown here; a newer version of Perdure wrote them"
            )
        return found

    def find(self, number: int) -> EntityType[Any] | None:
        return self._by_number.get(number)


class DamagedEntityError(Exception):
    """The stored rows of an entity cannot have been written by a transition."""


class UnknownRowError(Exception):
    """A row has a kind or format unknown to this version, so a newer version wrote it."""
