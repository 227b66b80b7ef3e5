"""Every row of the engine's tables is used by some transcript: a row that never is has no test.

Events, commands, kinds of deadlines, ends of children, facts: each table is filled by the families of `history`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.history.child import command as child
from perdure.history.commands import table as commands
from perdure.history.draft import deadlines, flush
from perdure.history.state.fold import evolve
from perdure.history.state.run_state import DeadlineKind
from perdure.wire.api import enums
from tests.transcripts.script import run

DATA = sorted((Path(__file__).parent / "data").glob("*.txt"))


class Use:
    """Which rows of a table were used."""

    def __init__(self) -> None:
        self.rows: set[int] = set()

    def of(self, row: int, function: Callable[..., Any]) -> Callable[..., Any]:
        def use(*arguments: Any, **fields: Any) -> Any:
            self.rows.add(row)
            return function(*arguments, **fields)

        return use


@pytest.fixture(name="used", scope="module")
def _used() -> Iterator[dict[str, Use]]:
    """All transcripts, run once with each table watched."""
    used = {name: Use() for name in ("events", "commands", "deadlines", "child ends")}
    with pytest.MonkeyPatch.context() as patch:
        for row, function in list(evolve.EVOLVE.items()):
            patch.setitem(evolve.EVOLVE, row, used["events"].of(row, function))
        for row, function in list(commands.HANDLERS.items()):
            patch.setitem(commands.HANDLERS, row, used["commands"].of(row, function))
        for kind, watch in list(deadlines.DEADLINE_HANDLERS.items()):
            fire = used["deadlines"].of(kind, watch.fire)
            patch.setitem(deadlines.DEADLINE_HANDLERS, kind, watch._replace(fire=fire))
        for row, (kind, shared) in list(child._ENDS.items()):
            patch.setitem(child._ENDS, row, (used["child ends"].of(row, kind), shared))
        for path in DATA:
            run(path)
        yield used


def test_each_event_that_the_engine_knows_is_in_some_transcript(used: dict[str, Use]) -> None:
    never = set(evolve.EVOLVE) - used["events"].rows
    assert [enums.EventType.Name(enums.EventType.ValueType(row)) for row in sorted(never)] == []


def test_each_command_is_in_some_transcript(used: dict[str, Use]) -> None:
    never = set(commands.HANDLERS) - used["commands"].rows
    assert [enums.CommandType.Name(enums.CommandType.ValueType(row)) for row in never] == []


def test_each_kind_of_deadline_passes_in_some_transcript(used: dict[str, Use]) -> None:
    assert set(deadlines.DEADLINE_HANDLERS) == set(DeadlineKind)
    assert set(DeadlineKind) - used["deadlines"].rows == set()


def test_each_end_of_a_child_is_in_some_transcript(used: dict[str, Use]) -> None:
    assert set(child._ENDS) - used["child ends"].rows == set()


def test_each_event_that_may_wait_does_so_in_some_transcript() -> None:
    """What ends a step is kept apart while it waits, so each such event must be seen waiting."""
    text = "\n".join(path.read_text() for path in DATA)
    names = {
        row: enums.EventType.Name(enums.EventType.ValueType(row))
        .removeprefix("EVENT_TYPE_")
        .title()
        .replace("_", "")
        for row in {**flush._ENDS, **flush._STARTS}
    }
    waiting = {line.split()[3] for line in text.splitlines() if line.startswith("fact BUFFERED")}
    assert {name for name in names.values() if name not in waiting} == set()
