"""Notes: what a pure change tells the memory of its owner, in the step that writes it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import EntityKey, new_id
from perdure.entity.entity_type import Registry
from perdure.entity.env import Env
from perdure.entity.transition import FactChange, Transition
from perdure.server.common.entity_types import BUILT_IN
from perdure.server.engine import Engine
from perdure.server.pending.updates import Updates
from perdure.storage.sqlite import open_memory
from perdure.wire.errors import NotFound
from tests.unit.server.test_counter import KEY, VALUE, Counter, CounterType, State


class Visited(msgspec.Struct, frozen=True):
    """A note of the counter."""

    number: int


class Memory:
    """Takes notes."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, EntityKey, Any]] = []

    def note(self, note: msgspec.Struct, key: EntityKey, state: Any) -> None:
        assert isinstance(note, Visited)
        self.taken.append((note.number, key, state))


def _engine(memory: Memory) -> Engine:
    types = Registry(*BUILT_IN.types, CounterType())
    return Engine(open_memory(), SystemClock(), new_id, types=types, memory=memory.note)


def _only_notes(state: State, env: Env) -> Transition:
    return Transition(key=state.key, notes=(Visited(1),))


async def _created(engine: Engine) -> None:
    await engine.open()
    counter = Counter(0, 2**62)
    state = State(KEY, counter)
    await engine.write(Transition(key=KEY, state=state, facts=(FactChange(VALUE, "", counter),)))


async def test_notes_are_taken_in_the_step_and_with_the_state_after_it():
    memory = Memory()
    engine = _engine(memory)
    await _created(engine)

    def change(state: State, env: Env) -> tuple[Transition, ...]:
        assert memory.taken == [], "the change is only computed here"
        first = state.become(value=7)
        first.notes = (Visited(1), Visited(2))
        assert isinstance(first.state, State)
        return first, msgspec.structs.replace(first.state.become(value=8), notes=(Visited(3),))

    (entry,) = await engine.entities.ready_to_change(KEY)
    outcome = engine.entities.change([entry], change)
    assert entry.pending is not None, "nothing is durable yet"
    seen = [(number, key, state.counter.value) for number, key, state in memory.taken]
    assert seen == [(1, KEY, 7), (2, KEY, 7), (3, KEY, 8)]
    await engine.entities.durable_reply(outcome)
    await engine.close()


async def test_a_change_that_writes_nothing_has_notes_too_and_one_that_raises_has_none():
    memory = Memory()
    engine = _engine(memory)
    await _created(engine)
    await engine.update(KEY, _only_notes)
    assert [(number, state.counter.value) for number, _, state in memory.taken] == [(1, 0)]

    def refuse(state: State, env: Env) -> Transition:
        raise NotFound("not here")

    with pytest.raises(NotFound):
        await engine.update(KEY, refuse)
    assert len(memory.taken) == 1
    await engine.close()


async def test_an_engine_without_memory_refuses_notes():
    engine = Engine(
        open_memory(), SystemClock(), new_id, types=Registry(*BUILT_IN.types, CounterType())
    )
    await _created(engine)
    with pytest.raises(NotImplementedError, match="nothing takes the note Visited of visits"):
        await engine.update(KEY, _only_notes)
    await engine.close()


def test_updates_refuse_notes_of_others():
    with pytest.raises(TypeError, match="Visited is no note about updates"):
        Updates().note(Visited(1), KEY, None)
