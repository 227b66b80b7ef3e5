"""Replay is the same whatever way the history arrives: at once, in pages, task by task."""

from __future__ import annotations

import json
from contextlib import suppress
from random import Random
from typing import Any

from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure.replay import events as ev
from perdure.replay.task import WorkflowTask
from perdure.wire.api import enums, history
from tests.replay.oracle import normal
from tests.replay.oracle.generator import generate
from tests.replay.oracle.ours import Case, engine_for, replay, step
from tests.replay.oracle.script import Scripted

SEEDS = st.integers(0, 2**20)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, page=st.integers(1, 40))
def test_pages_of_any_size_replay_alike(seed: int, page: int) -> None:
    case = Case(seed, generate(seed))
    assert replay(case, page) == replay(case)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
@example(seed=554337)  # Two local activities end after an update that was rejected.
def test_a_run_fed_task_by_task_sees_what_a_replay_sees(seed: int) -> None:
    events = generate(seed)
    whole = [_facts(activation) for activation in replay(Case(seed, events)).activations]
    # What the run itself saw, task by task from its cache, is the beginning of what replay sees:
    # the events after the last task only show how it ended.
    cached = _incremental(seed, events)
    assert cached == whole[: len(cached)]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_every_prefix_replays_to_the_beginning_of_the_whole(seed: int) -> None:
    events = generate(seed)
    whole = [_facts(activation) for activation in replay(Case(seed, events)).activations]
    for end in _completed_tasks(events):
        prefix = replay(Case(seed, events[:end]))
        assert prefix.verdict == "ok", prefix.message
        seen = [_facts(activation) for activation in prefix.activations]
        assert seen == whole[: len(seen)]


def _completed_tasks(events: list[history.HistoryEvent]) -> list[int]:
    """How many events there are after each task and its commands."""
    ends: list[int] = []
    for index, event in enumerate(events):
        if event.event_type == ev.WORKFLOW_TASK_COMPLETED:
            end = index + 1
            while end < len(events) and events[end].event_type in ev.COMMAND_EVENTS:
                end += 1
            if end > index + 1:  # an empty task may be merged into the next one
                ends.append(end)
    return ends


def _facts(activation: dict[str, Any]) -> Any:
    """Without what legitimately depends on where history ends."""
    return activation["time_ns"], activation["history_length"], activation["jobs"]


def _incremental(seed: int, events: list[history.HistoryEvent]) -> list[Any]:
    """Activations of a run that stays in the cache, fed with each replayed task's events."""
    engine = engine_for(events)
    script = Scripted(seed)
    seen: list[Any] = []
    previous = 0
    for end in _completed_tasks(events):
        completed = next(
            event
            for event in reversed(events[:end])
            if event.event_type == ev.WORKFLOW_TASK_COMPLETED
        )
        started = completed.workflow_task_completed_event_attributes.started_event_id
        assert engine.feed(WorkflowTask(events[previous:end], started, started)) is None
        while (activation := engine.next()) is not None:
            seen.append(_facts(json.loads(json.dumps(normal.activation(activation)))))
            assert engine.commit(step(script, activation)) is None
        assert engine.error is None, engine.error
        engine.ready()
        previous = started
    return seen


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, random=st.randoms(use_true_random=False))
def test_damaged_histories_are_refused_not_raised(seed: int, random: Random) -> None:
    events = [_copy(event) for event in generate(seed)]
    for _ in range(random.randrange(1, 4)):
        _damage(events, random)
    verdict = replay(Case(seed, events)).verdict
    assert verdict in {"ok", "fatal", "nondeterminism"}


def _copy(event: history.HistoryEvent) -> history.HistoryEvent:
    return history.HistoryEvent.FromString(event.SerializeToString())


def _damage(events: list[history.HistoryEvent], random: Random) -> None:
    # The first event stays: who reads it decides what an unknown run is.
    index = random.randrange(1, len(events))
    event = events[index]
    match random.randrange(6):
        case 0:
            del events[index]
        case 1:
            events.insert(index, _copy(event))
        case 2:
            other = random.randrange(1, len(events))
            events[index], events[other] = events[other], event
        case 3:
            attributes = event.WhichOneof("attributes")
            if attributes is not None:
                getattr(event, attributes).Clear()
        case 4:
            event.event_type = enums.EventType.ValueType(random.randrange(70))
        case _:
            data = bytearray(event.SerializeToString())
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            with suppress(DecodeError):
                events[index] = history.HistoryEvent.FromString(bytes(data))
    if len(events) < 2:
        events.append(_copy(events[0]))
    for number, known in enumerate(events, 1):
        known.event_id = number
