"""One run, its store and its queues, all in memory: what transcripts and property tests drive.

`commit` writes a transition as a shard would (through the encodings of disk), and then holds the engine to D-3: the
state folded again from what was written equals the state in memory, and no deadline is lost.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.core.ids import QueueKind, TaskRowId
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import DAY_NS
from perdure.entity.env import Env
from perdure.entity.transition import FactChange, Task
from perdure.history.draft.deadlines import live_deadlines
from perdure.history.draft.transition import RunTransition
from perdure.history.loader import load_run
from perdure.history.run.start import Parent, start
from perdure.history.run.wake import wake
from perdure.history.state.facts import FACT_TYPES
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import RunState
from perdure.wire.api import history, workflowservice
from perdure.wire.errors import RpcError
from perdure.wire.events import parse_rows
from tests.transcripts.soundness import assert_sound
from tests.transcripts.values import START_NS

NAMESPACE_ID = "ns"
LIMITS = msgspec.structs.replace(DEFAULT_LIMITS, retention_default_ns=DAY_NS)
"""Closed runs are deleted after a day, so that transcripts show when."""


class World:
    """A run and everything around it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.now_ns = START_NS
        self._ids = 0
        self._sequence = 0
        self.state: RunState | None = None
        self.current: CurrentRun | None = None
        self.rows: list[bytes] = []
        self.facts: dict[tuple[int, str], bytes] = {}
        self.tasks: dict[TaskRowId, Task] = {}
        self.wake_at_ns = 0
        self.successor: RunTransition | None = None
        self.fact_kinds_seen: set[int] = set()

    @property
    def env(self) -> Env:
        return Env(
            now_ns=self.now_ns,
            new_id=self._new_id,
            limits=self.limits,
            namespace_id_of={"far": "far-id"}.get,  # pyright: ignore[reportArgumentType]
        )

    def _new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    @property
    def run(self) -> RunState:
        assert self.state is not None, "start a run first"
        return self.state

    @property
    def history(self) -> history.History:
        return parse_rows(self.rows)

    # Driving.

    def start(
        self, request: workflowservice.StartWorkflowExecutionRequest, parent: Parent | None = None
    ) -> list[RunTransition]:
        existing = self.state
        return self.commit_all(
            start(self.current, existing, request, NAMESPACE_ID, self.env, parent)
        )

    def commit_all(self, transitions: tuple[RunTransition, ...]) -> list[RunTransition]:
        """Transitions of one batch; a run that begins with one takes the place of the one before."""
        for transition in transitions:
            if transition.state is not None and transition.state is not self.state:
                self._make_room()
            self._write(transition)
        self.check()
        return list(transitions)

    def follow(self) -> None:
        """From now on the run is the one that followed in the same commit."""
        transition, self.successor = self.successor, None
        assert transition is not None, "no run follows"
        self._make_room()
        self.commit(transition)

    def _make_room(self) -> None:
        self.rows, self.facts, self.tasks, self.wake_at_ns = [], {}, {}, 0

    def wake(self) -> RunTransition:
        transition = self.commit(wake(self.run, self.env), woken=True)
        assert self.wake_at_ns == 0 or self.wake_at_ns > self.now_ns, "a wake-up re-arms"
        return transition

    def advance_to(self, now_ns: int) -> None:
        assert now_ns >= self.now_ns, "time goes on"
        self.now_ns = now_ns

    def queue(self, kind: QueueKind, name: str | None = None) -> list[tuple[TaskRowId, Task]]:
        """The task rows of a kind of queue, oldest first."""
        return [
            (row, task)
            for row, task in self.tasks.items()
            if task.queue.kind is kind and name in (None, task.queue.name)
        ]

    # Committing.

    def commit(self, transition: RunTransition, *, woken: bool = False) -> RunTransition:
        """Write a transition; its reply may be an error value, which the caller raises."""
        self._write(transition, woken=woken)
        self.check()
        return transition

    def _write(self, transition: RunTransition, *, woken: bool = False) -> None:
        if transition.state is not None:
            self.state = transition.state
        if transition.events is not None:
            self.rows.append(transition.events.data)
        for change in transition.facts:
            self._write_fact(change)
        for row in transition.finished_tasks:
            del self.tasks[row]
        for task in transition.tasks:
            self._sequence += 1
            self.tasks[TaskRowId(task.queue, 1, self._sequence)] = task
        if transition.current is not None:
            self.current = transition.current
        if woken:
            self.wake_at_ns = transition.wake_at_ns or 0
        elif transition.wake_at_ns is not None:
            known = self.wake_at_ns or transition.wake_at_ns
            self.wake_at_ns = min(known, transition.wake_at_ns)
        if transition.delete_at_ns is not None:
            self.wake_at_ns = 0
        for follower in transition.also:
            self.successor = follower

    def _write_fact(self, change: FactChange) -> None:
        key = (change.kind, change.key)
        self.fact_kinds_seen.add(change.kind)
        if change.value is None:
            self.facts.pop(key, None)
        else:
            self.facts[key] = msgspec.msgpack.encode(change.value)

    def load(self) -> RunState:
        """The run as another process would find it."""
        facts = [
            FactChange(kind, key, msgspec.msgpack.decode(data, type=FACT_TYPES[kind]))
            for (kind, key), data in self.facts.items()
        ]
        return load_run(self.run.key, self.rows, facts, self.now_ns)

    def reload(self) -> None:
        """The process died; another one carries on from what is stored."""
        self.state = self.load()

    def check(self) -> None:
        """What holds after every commit."""
        if self.state is None:
            return
        state, loaded = self.state, self.load()
        differ = differences(state.snapshot(), loaded.snapshot())
        assert not differ, differ
        assert state.journal.undo is None, "no draft is left open"
        for each in (state, loaded):
            _no_deadline_is_lost(each)
        earliest_ns = min((item.at_ns for item in live_deadlines(state)), default=0)
        if earliest_ns:
            assert 0 < self.wake_at_ns <= earliest_ns, "the stored wake-up is a lower bound"
        if state.buffered:
            assert state.workflow_task_is_started, (
                "a non-empty buffer implies a started workflow task"
            )
        events = self.history
        _steps_end_once(events)
        assert_sound(state, events)


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


def _steps_end_once(events: history.History) -> None:
    ended: set[tuple[str, int]] = set()
    for event in events.events:
        for name in _step_ended_by(event):
            assert name not in ended, f"{name} ends twice"
            ended.add(name)


def _step_ended_by(event: history.HistoryEvent) -> list[tuple[str, int]]:
    field = event.WhichOneof("attributes") or ""
    name = field.removesuffix("_event_attributes")
    attributes = getattr(event, field)
    activity = {f"activity_task_{end}" for end in ("completed", "failed", "timed_out", "canceled")}
    task = {f"workflow_task_{end}" for end in ("completed", "failed", "timed_out")}
    if name in activity:
        return [("activity", attributes.scheduled_event_id)]
    if name in {"timer_fired", "timer_canceled"}:
        return [("timer", attributes.started_event_id)]
    if name in task:
        return [("workflow task", attributes.scheduled_event_id)]
    closing = {
        f"workflow_execution_{end}"
        for end in (
            "completed",
            "failed",
            "timed_out",
            "canceled",
            "terminated",
            "continued_as_new",
        )
    }
    return [("run", 0)] if name in closing else []


def outcome(transition: RunTransition) -> Any:
    """The reply; raises it when it is an error."""
    if isinstance(transition.reply, RpcError):
        raise transition.reply
    return transition.reply
