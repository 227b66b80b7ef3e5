"""The search for bound references among objects that must not be asked anything, and after a search that failed."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pydantic
import pytest
from typing_extensions import override

from perdure.worker.host import binding, compiled
from tests.unit.worker_host.foreign import (
    EVALUATED,
    Lazy,
    LazyDict,
    LazyList,
    Raising,
    Unseen,
    dead_proxy,
    held_by,
)
from tests.unit.worker_host.guarded import again
from tests.unit.worker_host.programs import in_process

if TYPE_CHECKING:
    from collections.abc import Callable


def clock() -> Callable[[], str]:
    """A function of which nobody else has a reference."""

    def original() -> str:
        return "original"

    return original


def replacement() -> str:
    return "replacement"


def searched(original: Any) -> None:
    """Search, and check that nothing was evaluated."""
    search = again(binding)
    search.replaced(original, replacement)
    EVALUATED.clear()
    search.rebind_everywhere()
    assert EVALUATED == []


def model(factory: Any) -> Any:
    return pydantic.create_model("Model", at=(Any, pydantic.Field(default_factory=factory)))


# All objects of the process -----------------------------------------------------------------------

PROGRAM = """
import datetime as dt
import pydantic
from perdure import workflow
from tests.unit.worker_host import foreign
from tests.unit.worker_host.guarded import run

class Model(pydantic.BaseModel):
    at: dt.datetime = pydantic.Field(default_factory=dt.datetime.now)

alive = [foreign.dead_proxy(), foreign.Raising(), foreign.Lazy(), foreign.Unseen("Class", (), {})]
foreign.EVALUATED.clear()
compare = lambda: Model().at.astimezone(dt.UTC) == workflow.now()
print([run(compare), run(compare), foreign.EVALUATED])
"""


@pytest.mark.e2e
def test_the_first_search_evaluates_nothing_and_factories_give_workflow_time() -> None:
    assert in_process(PROGRAM) == ("[True, True, []]\n", 0)


@pytest.mark.parametrize(
    "make", [dead_proxy, Raising, Lazy, LazyDict, LazyList, lambda: Unseen("Class", (), {})]
)
def test_schemas_are_compiled_among_foreign_objects(make: Callable[[], Any]) -> None:
    original, alive = clock(), [make()]
    made = model(original)
    listed: Any = list.__class_getitem__(made)
    adapter = pydantic.TypeAdapter[Any](listed)
    searched(original)
    assert len(alive) == 1
    assert made().at == "replacement"
    assert adapter.validate_python([{}])[0].at == "replacement"


def test_schemas_are_looked_through_whatever_they_hold() -> None:
    original = clock()
    made = model(original)
    schema: Any = {"type": "any", "metadata": [Lazy(), Raising(), LazyDict(a=1), LazyList([1])]}

    class Other:
        __pydantic_core_schema__ = schema

    class Named(dict[str, Any]):
        """A table that a library made for its schema."""

    class Own(pydantic.BaseModel):
        at: str = pydantic.Field(default_factory=original)

    whole: Any = Own.__pydantic_core_schema__
    own: Any = Own
    own.__pydantic_core_schema__ = Named(whole)
    searched(original)
    assert Other.__pydantic_core_schema__ is schema
    assert [made().at, Own().at] == ["replacement"] * 2


def test_an_object_whose_schema_cannot_be_read_does_not_end_the_search(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Adapter:
        @property
        def core_schema(self) -> Any:
            raise RuntimeError("not configured")

    original, alive = clock(), [Adapter()]
    made = model(original)
    monkeypatch.setattr(pydantic, "TypeAdapter", Adapter)
    searched(original)
    assert [type(each) for each in alive] == [Adapter]
    assert made().at == "replacement"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Adapter'> cannot be read" in caplog.messages[0]


# Holders ------------------------------------------------------------------------------------------


def test_slots_are_read_past_the_class() -> None:
    original = clock()
    holders = [held_by(kind, original) for kind in (Lazy, Raising)]
    slots: list[Any] = [vars(Lazy)["held"], vars(Raising)["held"]]

    class Borrowing(Raising):
        borrowed = slots[0]
        __slots__ = ("more",)

    below = held_by(Borrowing, original)
    searched(original)
    values = [slot.__get__(each) for slot, each in zip(slots, holders, strict=True)]
    assert [*values, slots[1].__get__(below)] == [replacement] * 3


def test_tables_and_lists_are_changed_past_their_classes() -> None:
    original, key = clock(), Lazy()
    table, listed = LazyDict(now=original), LazyList([original, 1])
    keyed: dict[Any, Any] = {key: original}
    placed: dict[str, Any] = {"__module__": Lazy(), "now": original}
    searched(original)
    plain_dict, plain_list = cast("Any", dict), cast("Any", list)
    assert plain_dict.__getitem__(table, "now") is replacement
    assert plain_list.__getitem__(listed, 0) is replacement
    assert keyed[key] is replacement
    assert placed["now"] is replacement


def test_who_refers_to_a_table_like_that_of_a_class_is_not_asked() -> None:
    original = clock()
    table: dict[str, Any] = {"__module__": "shop", "__doc__": None, "now": original}
    holders = [held_by(Lazy, table), held_by(Raising, table)]
    searched(original)
    assert len(holders) == 2
    assert table["now"] is replacement


def test_partial_functions_are_changed_past_their_classes() -> None:
    class Own(functools.partial[str]):
        @override
        def __reduce__(self) -> Any:
            raise RuntimeError("cannot be pickled")

        def __setstate__(self, state: Any) -> None:
            raise RuntimeError("cannot be pickled")

    original = clock()
    made = Own(original)
    searched(original)
    assert made() == "replacement"


class Refusing(type):
    """Makes classes that nobody may change."""

    @override
    def __setattr__(cls, name: str, value: object) -> None:
        raise RuntimeError(name)


def test_a_holder_that_raises_keeps_what_it_holds_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    original = clock()
    before: list[Any] = [original]
    refusing: Any = Refusing("Made", (), {"__doc__": None, "now": original})
    after: list[Any] = [original]
    made = model(original)
    searched(original)
    assert refusing.now() == "original"
    assert [*before, *after] == [replacement] * 2
    assert made().at == "replacement"
    assert "A <class 'dict'> keeps a reference to a function that was replaced" in caplog.messages


# Builtin methods ----------------------------------------------------------------------------------


class Table(dict[str, int]):
    """A class of the tests' own with methods that are written in C."""


class Shy(Table):
    @override
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_owners_of_builtin_methods_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    bound = dict.__dict__["keys"].__get__
    raising: Any = object.__dict__["__reduce_ex__"].__get__(Raising())
    held: list[Any] = [raising, bound(Shy()), bound(Table(a=1))]
    before = list(held)
    search = again(binding)
    search.replaced_in_class(Table, "keys")
    search.replaced_in_class(Table, "__reduce_ex__")

    def keys(_self: Table) -> str:
        return "keys"

    changed: Any = Table
    changed.keys = keys
    search.rebind_everywhere()
    assert held[:2] == before[:2]
    assert held[2]() == "keys"
    assert caplog.messages == [f"The determinism guard does not see calls of keys through a {Shy}"]


# Searches that fail -------------------------------------------------------------------------------


class Moment(dt.datetime):
    """A class of the tests' own whose class method is asked for anew each time."""


def failing(_table: Any) -> None:
    raise MemoryError


def test_a_search_that_failed_is_made_again() -> None:
    original, search = clock(), again(binding)
    first, second = model(original), model(Moment.today)
    search.replaced(original, replacement)
    search.replaced_in_class(Moment, "today")
    changed: Any = Moment
    changed.today = classmethod(lambda _cls: "replacement")
    search.compiled = SimpleNamespace(rebuild=failing)
    for _ in range(2):
        with pytest.raises(MemoryError):
            search.rebind_everywhere()
    assert first().at == "original"
    late: list[Any] = [original]
    search.compiled = compiled
    search.rebind_everywhere()
    assert [first().at, second().at] == ["replacement"] * 2
    assert late == [replacement]
    search.compiled = SimpleNamespace(rebuild=failing)
    search.rebind_everywhere()


def test_a_second_thread_waits_for_the_search() -> None:
    search, waited, tables = again(binding), list[bool](), list[int]()
    thread = threading.Thread(target=search.rebind_everywhere)

    def rebuild(table: Any) -> None:
        tables.append(len(table))
        thread.start()
        thread.join(0.05)
        waited.append(thread.is_alive())

    search.replaced(clock(), replacement)
    search.compiled = SimpleNamespace(rebuild=rebuild)
    search.rebind_everywhere()
    thread.join()
    assert waited == [True]
    assert tables == [1], "and does not search again"
