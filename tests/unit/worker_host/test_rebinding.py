"""References that were bound before a function was replaced: where they are found, and how they are replaced."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import random
import sys
import time
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pydantic
import pytest
from typing_extensions import override

from perdure.worker.host import binding, compiled
from tests.unit.worker_host.guarded import again

if TYPE_CHECKING:
    from collections.abc import Callable

    Rebind = Callable[[Any, Any], None]


@pytest.fixture
def rebind() -> Rebind:
    """Replaces one function everywhere, with a search of its own."""

    def rebound(original: Any, replacement: Any) -> None:
        search = again(binding)
        search.replaced(original, replacement)
        search.rebind_everywhere()

    return rebound


def clock() -> Callable[[], str]:
    """A function of which nobody else has a reference."""

    def original() -> str:
        return "original"

    return original


def replacement() -> str:
    return "replacement"


def values_of(holder: Any) -> list[str]:
    return [each() for each in holder]


# Holders ------------------------------------------------------------------------------------------


def test_tables_and_lists(rebind: Rebind) -> None:
    original = clock()
    table: dict[str, Any] = {"a": original, "b": len, "__wrapped__": original}
    listed: list[Any] = [original, replacement, original]
    instance: Any = ModuleType("instance")
    instance.now = original
    rebind(original, replacement)
    assert (table["a"], table["b"]) == (replacement, len)
    assert table["__wrapped__"]() == "original", "which decorators point out is left alone"
    assert listed == [replacement] * 3
    assert instance.now is replacement


def test_closures_and_default_arguments(rebind: Rebind) -> None:
    original = clock()

    def enclosing(now: Any) -> Any:
        return lambda: f"{now()}"

    def by_position(_first: int = 1, now: Any = original) -> str:
        return now()

    def by_keyword(*, now: Any = original) -> str:
        return now()

    enclosed = enclosing(original)
    rebind(original, replacement)
    assert [enclosed(), by_position(), by_keyword()] == ["replacement"] * 3


def test_tuples_and_static_methods_are_made_anew(rebind: Rebind) -> None:
    original = clock()
    nested: list[Any] = [(1, (original, 2))]

    class Stamped:
        now = staticmethod(original)
        both: Any = (original, len)

    rebind(original, replacement)
    assert nested == [(1, (replacement, 2))]
    assert [Stamped.now(), Stamped().now(), Stamped.both[0]()] == ["replacement"] * 3
    assert Stamped.both[1] is len


def test_a_static_method_does_not_hold_another(rebind: Rebind) -> None:
    original = clock()

    class Stamped:
        now = staticmethod(original)

    made = staticmethod(replacement)
    rebind(original, made)
    assert vars(Stamped)["now"] is made


def test_the_depth_of_tuples_is_bounded(rebind: Rebind) -> None:
    original = clock()
    shallow: list[Any] = [(((original,),),)]
    deep: list[Any] = [((((original,),),),)]
    rebind(original, replacement)
    assert shallow[0][0][0][0]() == "replacement"
    assert deep[0][0][0][0][0]() == "original"


def test_partial_functions(rebind: Rebind) -> None:
    original = clock()

    def call(_first: int, function: Any, *, key: Any = None) -> list[str]:
        return [function(), key()]

    inner: Any = functools.partial(original)
    outer: Any = functools.partial(call, 1, original, key=original)
    outer.note = "kept"
    rebind(original, replacement)
    assert inner() == "replacement"
    assert outer() == ["replacement"] * 2
    assert outer.note == "kept"


def test_slots_and_read_only_members(rebind: Rebind) -> None:
    original = clock()

    class Slotted:
        __slots__ = ("first", "last", "second", "third")

    class Below(Slotted):
        __slots__ = ("fourth",)

    slotted: Any = Below()
    slotted.first = slotted.last = slotted.fourth = original
    slotted.second = len

    @dataclass
    class Made:
        at: str = field(default_factory=original)

    record: Any = msgspec.defstruct(
        "Record", [("at", str, msgspec.field(default_factory=original))]
    )
    rebind(original, replacement)
    assert (slotted.first, slotted.second, slotted.fourth) == (replacement, len, replacement)
    assert slotted.last is replacement
    assert not hasattr(slotted, "third")
    assert Made().at == "replacement"
    assert record().at == "replacement"


def test_attributes_of_classes_are_set_on_the_class(rebind: Rebind) -> None:
    original = clock()

    class Base:
        now = original

    class Below(Base):
        """Looked up before: the interpreter remembers what it found."""

    assert vars(Base)["now"] is original
    below: Any = Below
    assert below.now() == "original"
    rebind(original, replacement)
    assert below.now() == "replacement"


MODULES = (
    "asyncio concurrent.futures logging.handlers multiprocessing perdure.example queue selectors socketserver"
    " subprocess threading"
)


@pytest.mark.parametrize("name", [*MODULES.split(), "queues", "shop.queue"])
def test_modules_that_wait_in_real_time_are_left_alone(name: str, rebind: Rebind) -> None:
    original = clock()
    module: Any = ModuleType(name)
    names: dict[str, Any] = module.__dict__
    names.update(now=original, __spec__=None)
    exec("def default(now=now): return now()\nclass Made:\n    at = staticmethod(now)", names)
    rebind(original, replacement)
    expected = "original" if name in MODULES.split() else "replacement"
    assert names["now"]() == expected
    assert names["default"]() == expected
    assert names["Made"].at() == expected


def test_what_the_replacement_itself_keeps_is_left_alone(rebind: Rebind) -> None:
    original = clock()

    @functools.wraps(original)
    def wrapper() -> str:
        return f"wrapped {original()}"

    held: list[Any] = [original]
    rebind(original, staticmethod(wrapper))
    assert held[0]() == "wrapped original"


# Builtin methods ----------------------------------------------------------------------------------


def test_each_object_that_stands_for_a_builtin_method_is_found() -> None:
    items: list[int] = []
    first, second = [items.append], [items.append]
    assert first[0] is not second[0]
    search = again(binding)
    search.replaced(items.append, replacement)
    search.rebind_everywhere()
    assert [first[0], second[0]] == [replacement] * 2
    third: list[int] = []
    assert third.append is not replacement


class Kind(dict[str, int]):
    """A class of the tests' own with methods that are written in C."""


def test_methods_are_found_that_were_bound_from_a_class_or_its_objects() -> None:
    held: list[Any] = [Kind(a=1).keys, Kind.fromkeys, Kind(a=1).values, {"a": 1}.keys]
    before = list(held)
    search = again(binding)
    search.replaced_in_class(Kind, "keys")
    search.replaced_in_class(Kind, "fromkeys")
    vars_of: Any = Kind

    def keys(_self: Kind) -> str:
        return "keys"

    vars_of.keys = keys
    vars_of.fromkeys = classmethod(lambda cls: cls.__name__)
    search.rebind_everywhere()
    assert held[0]() == "keys"
    assert held[1]() == "Kind"
    assert held[2:] == before[2:]


def test_a_set_of_replacements_is_searched_for_once() -> None:
    original, search = clock(), again(binding)
    search.replaced(original, replacement)
    search.rebind_everywhere()
    late: list[Any] = [original]
    search.rebind_everywhere()
    assert late == [original]
    search.replaced_in_class(Kind, "items")
    search.rebind_everywhere()
    assert late == [replacement]


def test_a_builtin_that_is_bound_after_a_search_is_found_by_the_next_one() -> None:
    # Regression: the first search replaced the originals in the table of replacements itself.
    items: list[int] = []
    original, search = items.append, again(binding)
    search.replaced(original, replacement)
    first = [original]
    search.rebind_everywhere()
    assert first == [replacement]
    late: list[Any] = [items.append]
    search.replaced_in_class(Kind, "items")
    search.rebind_everywhere()
    assert late == [replacement]


# pydantic -----------------------------------------------------------------------------------------


def test_pydantic_compiles_models_and_adapters_again(
    rebind: Rebind, caplog: pytest.LogCaptureFixture
) -> None:
    original = clock()

    class Inner(pydantic.BaseModel):
        at: str = pydantic.Field(default_factory=original)

    earlier = pydantic.TypeAdapter(dict[str, Inner])

    class Outer(pydantic.BaseModel):
        inner: Inner
        many: dict[str, list[Inner]]

    @pydantic.dataclasses.dataclass
    class Line:
        at: str = pydantic.Field(default_factory=original)

    class Plain(pydantic.BaseModel):
        text: str = "x"

    adapter = pydantic.TypeAdapter(list[Inner])
    tagged: Any = pydantic.TypeAdapter(Annotated[Inner, pydantic.Tag("inner")] | int)
    kept = vars(Plain)["__pydantic_validator__"]
    rebind(original, replacement)
    made = Outer.model_validate({"inner": {}, "many": {"a": [{}]}})
    assert [Inner().at, Line().at, made.inner.at, made.many["a"][0].at] == ["replacement"] * 4
    assert earlier.validate_python({"a": {}})["a"].at == "replacement"
    assert adapter.validate_python([{}])[0].at == "replacement"
    assert tagged.validate_python({}).at == "replacement"
    assert caplog.messages == []
    assert vars(Plain)["__pydantic_validator__"] is kept, "others are left alone"


def test_a_model_that_cannot_be_compiled_again_is_named(
    rebind: Rebind, caplog: pytest.LogCaptureFixture
) -> None:
    original = clock()

    class Broken(pydantic.BaseModel):
        at: str = pydantic.Field(default_factory=original)

        @classmethod
        def model_rebuild(cls, **_options: Any) -> bool | None:
            raise RuntimeError("broken")

    assert Broken().at == "original"
    rebind(original, replacement)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Broken'> cannot be compiled again" in caplog.messages[0]


def test_without_pydantic_there_is_nothing_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model(pydantic.BaseModel):
        at: Any = pydantic.Field(default_factory=clock)

    factory = Model.model_fields["at"].default_factory
    kept = vars(Model)["__pydantic_validator__"]
    # Not before the class is made: that may import the module, and would put it back.
    monkeypatch.delitem(sys.modules, "pydantic_core")
    compiled.rebuild({id(factory): (factory, factory)})
    assert vars(Model)["__pydantic_validator__"] is kept


# Names of the standard library --------------------------------------------------------------------


def test_names_of_replaced_functions_can_be_pickled() -> None:
    import pickle

    from tests.unit.worker_host.guarded import run

    run(lambda: None)
    for function in (time.time, random.random, time.gmtime, dt.datetime.now):
        assert pickle.loads(pickle.dumps(function)) is not None
    assert (time.time.__module__, time.time.__qualname__) == ("time", "time")
    assert (random.random.__module__, random.random.__qualname__) == ("random", "random")


class Sealed(type):
    """Makes classes that cannot be changed, as extensions do."""

    @override
    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(name)


def test_classes_that_cannot_be_changed_are_left_alone(rebind: Rebind) -> None:
    original = clock()
    made: Any = Sealed("Made", (), {"__doc__": None, "now": original})
    held: list[Any] = [original]
    rebind(original, replacement)
    assert held == [replacement]
    assert made.now() == "original"
