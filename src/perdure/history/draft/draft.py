"""A draft: one atomic change of a run, built step by step.

`add` gives an event its id and time, folds it at once and keeps its bytes; `buffer_or_add` obeys S-2; `fact` folds
and keeps a row. `done` turns what was collected into a `Transition`; `abandon` restores the state as it was, in time
proportional to what changed. A draft is used once: exactly one of the two ends it (or `with` does, on an exception).

Invariant: no reader sees a state between the draft's start and its end, because nothing awaits in between.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from perdure.core.ids import EntityKey, TaskRowId
from perdure.core.units import END_OF_TIME_NS
from perdure.entity.transition import Effect, EventRow, FactChange, Task, VisibilityRow
from perdure.history.draft.deadlines import arm, compact
from perdure.history.draft.flush import buffered_event
from perdure.history.draft.transition import RunTransition
from perdure.history.state.facts import FactKind
from perdure.history.state.fold.evolve import evolve
from perdure.history.state.fold.facts import apply
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import DeadlineKind
from perdure.wire.api import common, history, sdk
from perdure.wire.events import event as build_event
from perdure.wire.events import frame
from perdure.wire.times import timestamp_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec
    from google.protobuf.message import Message

    from perdure.entity.env import Env
    from perdure.history.state.run_state import RunState

BRANCH = 0


class Draft:
    """The open change of `state`. Exactly one of `done` and `abandon` ends it."""

    __slots__ = (
        "_also", "_current", "_delete_at_ns", "_effects", "_facts", "_finished", "_first_event_id", "_frames",
        "_open", "_tasks", "_visibility", "_wake_at_ns", "env", "now_ns", "owes_workflow_task",
        "postpones_workflow_task", "state",
    )  # fmt: skip

    def __init__(self, state: RunState, env: Env) -> None:
        self.state = state
        self.env = env
        self.now_ns = max(env.now_ns, state.last_event_ns)
        state.open_draft()
        self._first_event_id = state.next_event_id
        self._frames: list[bytes] = []
        self._facts: dict[tuple[int, str], FactChange] = {}
        self._tasks: list[Task] = []
        self._finished: list[TaskRowId] = []
        self._effects: list[Effect] = []
        self._wake_at_ns: int | None = None
        self._visibility: VisibilityRow | None = None
        self._delete_at_ns: int | None = None
        self._current: CurrentRun | None = None
        self._also: list[RunTransition] = []
        self.postpones_workflow_task = False
        """While set, `schedule_workflow_task` only sets the next: several events make one task, after them all."""
        self.owes_workflow_task = False
        self._open = True

    # Events.

    def add(
        self,
        attributes: Message,
        *,
        user_metadata: sdk.UserMetadata | None = None,
        links: Sequence[common.Link] = (),
    ) -> int:
        """Append the event with these attributes now; its id."""
        now_ns = self.now_ns
        event = build_event(
            attributes,
            event_id=self.state.next_event_id,
            time_ns=now_ns,
            user_metadata=user_metadata,
            links=links,
        )
        return self._append(event, now_ns)

    def add_event(self, event: history.HistoryEvent) -> int:
        """Append an event that may have waited in the buffer: it has a time, and gets its id."""
        event_id = self.state.next_event_id
        event.event_id = event_id
        event.task_id = event_id
        return self._append(event, timestamp_ns(event.event_time))

    def _append(self, event: history.HistoryEvent, time_ns: int) -> int:
        state = self.state
        event_id = state.next_event_id
        data = frame(event.SerializeToString())
        evolve(state, event)
        assert state.next_event_id == event_id, "evolve functions do not touch the event counter"
        state.count_event(time_ns, len(data))
        self._frames.append(data)
        return event_id

    def buffer_or_add(self, attributes: Message, *, links: Sequence[common.Link] = ()) -> int:
        """Append, or while a workflow task is started keep for its end (S-2); the id, 0 when buffered."""
        event = build_event(attributes, time_ns=self.now_ns, links=links)
        if not self.state.workflow_task_is_started:
            return self.add_event(event)
        self.buffer(event)
        return 0

    def buffer(self, event: history.HistoryEvent) -> None:
        """Keep an event, which has a time and no id, until `flush` appends it (S-2 and S-3)."""
        self.fact(FactKind.BUFFERED, str(self.state.next_buffered), buffered_event(event))

    # Everything else.

    def fact(self, kind: FactKind, key: str, value: msgspec.Struct | None) -> None:
        """Write (or with None remove) a fact row, and fold it."""
        change = FactChange(kind, key, value)
        apply(self.state, change)
        self._facts[kind, key] = change

    def task(self, task: Task) -> None:
        self._tasks.append(task)

    def finish_task(self, row: TaskRowId | None) -> None:
        """Remove the task's row with this transition; None if the task never became a row."""
        if row is not None:
            self._finished.append(row)

    def effect(self, effect: Effect) -> None:
        self._effects.append(effect)

    def wake_at(self, at_ns: int) -> None:
        """Wake the run no later than this. The shell keeps the earlier of this and the stored wake-up."""
        so_far_ns = self._wake_at_ns
        self._wake_at_ns = min(at_ns, END_OF_TIME_NS if so_far_ns is None else so_far_ns)

    def visible(self, row: VisibilityRow) -> None:
        self._visibility = row

    def delete_at(self, at_ns: int) -> None:
        self._delete_at_ns = min(at_ns, END_OF_TIME_NS)

    def current(self, value: CurrentRun) -> None:
        """Set the new value of the workflow id's pointer."""
        self._current = value

    def also(self, transition: RunTransition) -> None:
        """Another entity's change, to be written in the same transaction."""
        self._also.append(transition)

    # The end.

    def done(self, reply: Any = None) -> RunTransition:
        """Close the draft: its changes are now the state's, and the transition says what to write."""
        self._end()
        if self._frames:
            self.note_history_limit()
        compact(self.state)
        events = None
        if self._frames:
            events = EventRow(
                BRANCH, self._first_event_id, len(self._frames), b"".join(self._frames)
            )
        return RunTransition(
            key=self.state.key,
            state=self.state,
            events=events,
            facts=tuple(self._facts.values()),
            tasks=tuple(self._tasks),
            finished_tasks=tuple(self._finished),
            effects=tuple(self._effects),
            wake_at_ns=self._wake_at_ns,
            visibility=self._visibility,
            delete_at_ns=self._delete_at_ns,
            reply=reply,
            current=self._current,
            also=tuple(self._also),
        )

    def note_history_limit(self) -> None:
        """S-43: a change that makes the history too large is kept, and the run is terminated right after it.

        The note is in memory only. Another process finds the wake-up, and notes it again.
        """
        state = self.state
        if (
            state.passed_history_limit(self.env.limits)
            and state.is_running
            and not state.history_limit_ns
        ):
            state.history_limit_ns = self.now_ns
            arm(self, DeadlineKind.HISTORY_LIMIT, state.history_limit_ns)

    def abandon(self) -> None:
        """Restore the state as it was when the draft was opened."""
        assert self._open, "a draft is used once"
        self._open = False
        self.state.roll_back()

    def _end(self) -> None:
        assert self._open, "a draft is used once"
        self._open = False
        self.state.close_draft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            self.abandon()


def nothing(key: EntityKey, reply: Any) -> RunTransition:
    """A transition that writes nothing; its reply still waits for the entity's earlier commits."""
    return RunTransition(key=key, reply=reply)
