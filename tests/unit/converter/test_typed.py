"""`value_to_type` for every kind of hint, alone and nested: what is restored, and what is refused with which words."""

from __future__ import annotations

import collections
import dataclasses
import typing
import uuid
from collections.abc import Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict, TypeVar

import pytest

from perdure.converter import PayloadConverter, value_to_type

CONVERTER = PayloadConverter.default
MOMENT = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
ID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
T = TypeVar("T")
Name = NewType("Name", str)


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Colour(StrEnum):
    RED = "red"


class Plain(Enum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int
    when: datetime
    computed: float = dataclasses.field(init=False, default=0.0)
    note: str = "none"


@dataclasses.dataclass(frozen=True)
class Frozen:
    size: int
    double: float = dataclasses.field(init=False, default=0.0)


class Movie(TypedDict):
    at: datetime
    level: NotRequired[Level]


class Metres(int):
    """A number, but no enum."""


@dataclasses.dataclass
class Computed:
    size: int
    double: float = dataclasses.field(init=False, default=0.0)
    triple: float = dataclasses.field(init=False, default=0.0)
    name: str = dataclasses.field(init=False, default="")


class OnlyOptional(TypedDict, total=False):
    level: Level


def same(found: Any, expected: Any) -> bool:
    """Equal, and of the same types all the way down: 1 is not 1.0, and no enum is its number."""
    if type(found) is not type(expected):
        return False
    if isinstance(expected, dict):
        return same(list(found.items()), list(expected.items()))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(found, list | tuple | collections.deque):
        assert len(found) == len(expected)  # pyright: ignore[reportUnknownArgumentType]
        return all(same(each, expected[n]) for n, each in enumerate(found))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return found == expected


SCALARS: list[tuple[Any, Any]] = [
    (str, "text"),
    (int, 5),
    (float, 1.5),
    (float, 2.0),
    (bool, True),
    (type(None), None),
    (Level, Level.HIGH),
    (Colour, Colour.RED),
    (datetime, MOMENT),
    (uuid.UUID, ID),
    (Name, "name"),
    (Literal["a", 1], "a"),
    (Annotated[int, "positive"], 3),
    (int | None, 4),
    (str | None, None),
    (Any, {"k": [1]}),
    (object, "anything"),
    (Point, Point(1, MOMENT)),
    (Movie, {"at": MOMENT, "level": Level.LOW}),
    (Movie, {"at": MOMENT}),
    (OnlyOptional, {"level": Level.LOW}),
]


def restored(hint: Any, value: Any) -> Any:
    return CONVERTER.from_payload(CONVERTER.to_payload(value), hint)


@pytest.mark.parametrize(("hint", "value"), SCALARS)
def test_values_come_back_alone_and_inside_others(hint: Any, value: Any) -> None:
    for outer, made in (
        (hint, value),
        (list[hint], [value, value]),
        (Sequence[hint], [value]),
        (tuple[hint, int], (value, 1)),
        (tuple[int, hint], (1, value)),
        (tuple[hint, ...], (value, value, value)),
        (collections.deque[hint], collections.deque([value])),
        (dict[str, hint], {"k": value}),
        (Mapping[str, hint], {"k": value}),
        (dict[str, list[hint]], {"k": [value]}),
        (list[dict[str, hint]], [{"k": value}]),
        (list[hint] | None, [value]),
    ):
        assert same(restored(outer, made), made), outer


@pytest.mark.parametrize(
    ("hint", "value"),
    [(set[int], {1, 2}), (frozenset[str], frozenset({"a"})), (set[Level], {Level.LOW})],
)
def test_sets_come_back(hint: Any, value: Any) -> None:
    found = restored(hint, value)
    assert (type(found), found) == (type(value), value)
    assert {type(each) for each in found} == {type(each) for each in value}


def test_abstract_and_bare_collections() -> None:
    assert same(value_to_type(AbstractSet[int], [1]), {1})
    for hint, made in ((list, [1]), (tuple, (1,)), (Sequence, [1]), (list[T], [1])):  # type: ignore[valid-type]
        assert same(value_to_type(hint, [1]), made)
    assert same(value_to_type(dict, {"1": 2}), {"1": 2})
    assert same(value_to_type(tuple[()], []), ())


KEYS: list[tuple[Any, Any]] = [
    (str, "text"),
    (int, -5),
    (float, 1.5),
    (float, 2.0),
    (bool, True),
    (bool, False),
    (type(None), None),
    (Level, Level.HIGH),
    (Colour, Colour.RED),
    (Name, "name"),
    (Any, "any"),
]


@pytest.mark.parametrize(("hint", "key"), KEYS)
def test_keys_of_mappings_come_back(hint: Any, key: Any) -> None:
    for outer, made in (
        (dict[hint, int], {key: 1}),
        (Mapping[hint, Level], {key: Level.LOW}),
        (MutableMapping[hint, int], {key: 1}),
        (dict[str, dict[hint, float]], {"k": {key: 1.0}}),
        (list[dict[hint, int]], [{key: 1}]),
        (dict[hint, int] | None, {key: 1}),
    ):
        assert same(restored(outer, made), made), outer


def test_keys_that_json_writes_as_text() -> None:
    """UUIDs and datetimes cannot be keys when writing; other programs write them as texts."""
    assert same(value_to_type(dict[uuid.UUID, int], {str(ID): 1}), {ID: 1})
    assert same(value_to_type(dict[datetime, int], {MOMENT.isoformat(): 1}), {MOMENT: 1})
    assert same(value_to_type(dict[Literal["a"], int], {"a": 1}), {"a": 1})
    assert same(value_to_type(dict[int, int], {3: 1}), {3: 1})


def test_numbers_of_the_other_kind() -> None:
    assert same(value_to_type(int, 1.0), 1)
    assert same(value_to_type(float, 1), 1.0)
    assert same(value_to_type(bytes, [1, 2]), b"\x01\x02")
    assert same(value_to_type(datetime, MOMENT), MOMENT)


def test_unions_take_the_first_member_that_fits() -> None:
    assert same(value_to_type(int | str, "1"), "1")
    assert same(value_to_type(Point | dict[str, int], {"x": 1}), {"x": 1})
    # Unlike the official SDK, which makes 1.0 and 1 of these.
    assert same(value_to_type(float | int, 1), 1)
    assert same(value_to_type(int | float, 1.5), 1.5)


def test_dataclasses() -> None:
    found = value_to_type(Point, {"x": 1.0, "when": MOMENT.isoformat(), "computed": 2, "new": 3})
    assert same(dataclasses.astuple(found), (1, MOMENT, 2.0, "none"))
    assert value_to_type(Frozen, {"size": 1, "double": 2}).double == 2.0
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'when'"):
        value_to_type(Point, {"x": 1})


class Checked(OnlyOptional):
    """Nothing more, but its own constructor is called."""


def test_typed_dicts_keep_keys_without_a_type() -> None:
    assert same(value_to_type(Checked, {"level": 1, "other": 1}), {"level": Level.LOW, "other": 1})


REFUSED: list[tuple[Any, Any, str]] = [
    (str, 1, "Expected value to be str, was <class 'int'>"),
    (int, "1", "Expected value to be int|float, was <class 'str'>"),
    (float, "1", "Expected value to be int|float"),
    (bool, 1, "Expected value to be bool"),
    (bytes, 1, "Expected value to be bytes"),
    (type(None), 0, "Expected None, got value of type <class 'int'>"),
    (datetime, 5, "Expected datetime or ISO8601 string, got <class 'int'>"),
    (datetime, "yesterday", "it is not ISO 8601"),
    (Literal["a", "b"], "c", "Value is not one of the literal values ('a', 'b')"),
    (int | bool, "x", "from a value of type <class 'str'>"),
    (dict[str, int], [1], "value was <class 'list'>"),
    (dict[int, int], {"x": 1}, "Failed converting key 'x' to type <class 'int'> in mapping"),
    (dict[bool, int], {"True": 1}, "Failed converting key 'True' to type <class 'bool'>"),
    (dict[type(None), int], {"x": 1}, "Failed converting key 'x'"),
    (dict[Level, int], {"9": 1}, "Failed converting key"),
    (dict[str, int], {"k": "x"}, "Failed converting value for key 'k' in mapping"),
    (Movie, {"at": 5}, "Failed converting value for key 'at'"),
    (Point, 5, "value is <class 'int'> not dict"),
    (Point, {"x": "1"}, "Failed converting field x on dataclass"),
    (Level, "1", "value not an integer, value is <class 'str'>"),
    (Colour, 1, "value not a string, value is <class 'int'>"),
    (list[int], 5, "value was <class 'int'>"),
    (list[int], [1, "x"], "index 1"),
    (tuple[int, str], [1, "a", 2], "only expecting 2 values, got at least 3"),
    (tuple[int, ...], [1, "x"], "index 1"),
    (complex, 1, "Unserializable type during conversion: <class 'complex'>"),
    (Metres, "1", "Expected a value for"),
    (5, 1, "Unserializable type during conversion: 5"),
    ("int", 1, "Unserializable type during conversion: int"),
    (None, 0, "Expected None, got value of type <class 'int'>"),
    (typing.Sequence[int], ["x"], "index 0"),
]


@pytest.mark.parametrize(("hint", "value", "words"), REFUSED)
def test_what_does_not_fit_is_refused(hint: Any, value: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        value_to_type(hint, value)
    assert words in str(caught.value)


def test_a_number_that_is_no_member_is_the_enum_s_own_error() -> None:
    with pytest.raises(ValueError, match="9 is not a valid Level"):
        value_to_type(Level, 9)


def test_every_computed_field_comes_back() -> None:
    found = value_to_type(Computed, {"size": 1, "double": 2, "triple": 3, "name": "x"})
    assert same(dataclasses.astuple(found), (1, 2.0, 3.0, "x"))


OLDER: list[tuple[Any, Any]] = [
    (typing.Sequence[int], [1]),
    (typing.List[int], [1]),  # noqa: UP006 - what older code writes
    (typing.Tuple[int, ...], (1, 2)),  # noqa: UP006
    (typing.Deque[int], collections.deque([1])),  # noqa: UP006
    (typing.Dict[str, int], {"a": 1}),  # noqa: UP006
    (typing.Optional[int], None),  # noqa: UP045
]


@pytest.mark.parametrize(("hint", "value"), OLDER)
def test_hints_as_older_code_writes_them(hint: Any, value: Any) -> None:
    assert same(restored(hint, value), value)
    assert same(restored(list[hint], [value]), [value])


def test_parameters_that_say_nothing() -> None:
    assert value_to_type(None, None) is None
    anything: Any = list[...]  # type: ignore[misc]
    assert same(value_to_type(anything, [1, "a"]), [1, "a"])
    assert same(value_to_type(tuple[T, float], [1, 2]), (1, 2.0))  # type: ignore[valid-type]
    assert same(value_to_type(tuple[float, T], [1, 2]), (1.0, 2))  # type: ignore[valid-type]
    assert same(value_to_type(dict[T, float], {"a": 2}), {"a": 2.0})  # type: ignore[valid-type]
    assert same(value_to_type(dict[str, T], {"a": 2}), {"a": 2})  # type: ignore[valid-type]
