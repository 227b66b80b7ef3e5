"""One run and what a database would hold of it, in memory: the store of transcripts, properties and unit tests.

`commit` writes a transition as a shard would (through the encodings of disk), and then holds the engine to D-3: the
state folded again from what was written equals the state in memory, and no deadline is lost. So every test that drives
the engine through a `StoredRun` also tests this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from perdure.core.ids import QueueKind, TaskRowId
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.entity.env import Env
from perdure.entity.transition import FactChange, Task
from perdure.history import transitions
from perdure.history.draft.deadlines import live_deadlines
from perdure.history.draft.transition import RunTransition
from perdure.history.entity_types import RUNS
from perdure.history.loader import load_run
from perdure.history.state.facts import FACT_TYPES
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import RunState
from perdure.wire.api import history
from perdure.wire.events import parse_rows
from tests.harness.soundness import assert_sound
from tests.harness.values import START_NS


class StoredRun:
    """A run, its store, its queues and its clock. Subclasses add verbs and say what to do with a run that follows."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, now_ns: int = START_NS) -> None:
        self.limits = limits
        self.now_ns = now_ns
        self.state_or_none: RunState | None = None
        self.rows: list[bytes] = []
        self.facts: dict[tuple[int, str], bytes] = {}
        self.tasks: dict[TaskRowId, Task] = {}
        self.offered: list[Task] = []
        """All tasks that were ever made."""
        self.wake_at_ns = 0
        self.delete_at_ns = 0
        self.current: CurrentRun | None = None
        self.last: RunTransition | None = None
        self.fact_kinds_seen: set[int] = set()
        self.new_id: Callable[[], str] = numbered_ids()
        self._sequence = 0
        self._event_count = 0

    @property
    def env(self) -> Env:
        return Env(now_ns=self.now_ns, new_id=self.new_id, limits=self.limits)

    @property
    def state(self) -> RunState:
        assert self.state_or_none is not None, "start the run first"
        return self.state_or_none

    @property
    def history(self) -> history.History:
        return parse_rows(self.rows)

    def queue(self, kind: QueueKind, name: str | None = None) -> list[tuple[TaskRowId, Task]]:
        """The task rows of a kind of queue, oldest first."""
        return [
            (row, task)
            for row, task in self.tasks.items()
            if task.queue.kind is kind and name in (None, task.queue.name)
        ]

    # Writing.

    def commit(self, transition: RunTransition, *, is_wake: bool = False) -> RunTransition:
        """Write a transition; its reply may be an error value, which the caller raises."""
        self.write(transition, is_wake=is_wake)
        self.check()
        for other in transition.also:
            self.follow_with(other)
        return transition

    def follow_with(self, transition: RunTransition) -> None:
        """A run that follows begins in the same commit."""
        raise AssertionError(f"nobody takes the run that follows: {transition.key}")

    def write(self, transition: RunTransition, *, is_wake: bool = False) -> None:
        self.last = transition
        if transition.state is not None:
            self.state_or_none = transition.state
        if transition.events is not None:
            row = transition.events
            assert row.first_event_id == self._event_count + 1
            assert row.count == len(parse_rows([row.data]).events)
            self._event_count += row.count
            self.rows.append(row.data)
        for change in transition.facts:
            self._write_fact(change)
        for row in transition.finished_tasks:
            del self.tasks[row]
        for task in transition.tasks:
            assert task.entity == self.state.key
            self._sequence += 1
            self.tasks[TaskRowId(task.queue, 1, self._sequence)] = task
        self.offered += transition.tasks
        if self.state_or_none is not None:
            self.wake_at_ns = RUNS.wake_bound_ns(
                self.state, transition, self.wake_at_ns, is_wake=is_wake
            )
        self.current = transition.current or self.current
        self.delete_at_ns = transition.delete_at_ns or self.delete_at_ns

    def _write_fact(self, change: FactChange) -> None:
        self.fact_kinds_seen.add(change.kind)
        if change.value is None:
            self.facts.pop((change.kind, change.key), None)
        else:
            assert type(change.value) is FACT_TYPES[change.kind]
            self.facts[change.kind, change.key] = msgspec.msgpack.encode(change.value)

    def make_room(self) -> None:
        """Another run takes the place of this one."""
        self.rows, self.facts, self.tasks, self.wake_at_ns = [], {}, {}, 0
        self._event_count = 0

    # Time.

    def wake(self) -> RunTransition:
        transition = self.commit(transitions.wake(self.state, self.env), is_wake=True)
        assert self.wake_at_ns == 0 or self.wake_at_ns > self.now_ns, "a wake-up re-arms"
        return transition

    # Restarts.

    def load(self) -> RunState:
        """The run as another process would find it."""
        facts = [
            FactChange(kind, key, msgspec.msgpack.decode(data, type=FACT_TYPES[kind]))
            for (kind, key), data in self.facts.items()
        ]
        return load_run(self.state.key, self.rows, facts, self.now_ns)

    def reload(self) -> None:
        """The process died; another one carries on from what is stored."""
        self.state_or_none = self.load()

    def check(self) -> None:
        """What holds after every commit."""
        if self.state_or_none is None:
            return
        state, loaded = self.state, self.load()
        differ = differences(state.snapshot(), loaded.snapshot())
        assert not differ, differ
        assert state.journal.undo is None, "no draft is left open"
        assert loaded.deadlines == live_deadlines(loaded)
        _no_deadline_is_lost(state)
        earliest_ns = min((item.at_ns for item in live_deadlines(state)), default=0)
        if earliest_ns:
            assert 0 < self.wake_at_ns <= earliest_ns, "the stored wake-up is a lower bound"
        assert_sound(state, self.history)


def numbered_ids() -> Callable[[], str]:
    made = 0

    def new_id() -> str:
        nonlocal made
        made += 1
        return f"id-{made}"

    return new_id


def differences(memory: dict[str, Any], stored: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two snapshots, by name."""
    return {name: (memory[name], stored[name]) for name in memory if memory[name] != stored[name]}


def _no_deadline_is_lost(state: RunState) -> None:
    watched: dict[tuple[int, int], int] = {}
    for entry in state.deadlines:
        key = (entry.kind, entry.key)
        watched[key] = min(entry.at_ns, watched.get(key, entry.at_ns))
    for live in live_deadlines(state):
        assert watched.get((live.kind, live.key), live.at_ns + 1) <= live.at_ns, live
