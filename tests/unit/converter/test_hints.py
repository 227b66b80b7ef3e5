"""Kinds of hints that programs use: what comes back is of the hint's type, beside what the official SDK makes of it."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import sys
import types
import typing
import uuid
from collections.abc import Collection, Hashable, Iterable
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
)

import pytest
import temporalio.converter
import typing_extensions

from perdure.converter import BinaryPlainPayloadConverter, PayloadConverter

CONVERTER = PayloadConverter.default
OFFICIAL = temporalio.converter.PayloadConverter.default
T = TypeVar("T")
U = TypeVar("U")
B = TypeVar("B", bound="Item")
C = TypeVar("C", int, str)
WHEN = datetime(2024, 3, 31, 1, 30, tzinfo=UTC)
ID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


class ObjectId(str):  # noqa: SLOT000 - as users write it
    """A class made from str."""


class Count(int):
    """A class made from int."""


class Ratio(float):
    """A class made from float."""


class Blob(bytes):
    """A class made from bytes."""


class Moment(datetime):
    """A class made from datetime."""


class Colour(str, enum.Enum):  # noqa: UP042 - as users write it
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Shares(float, enum.Enum):
    HALF = 0.5


UserId = NewType("UserId", str)
Number = NewType("Number", int)


@dataclass
class Item:
    n: int
    u: uuid.UUID | None = None
    when: datetime | None = None


@dataclass
class Box(Generic[T]):
    value: T
    more: list[T] = field(default_factory=list)
    common: int = 0


@dataclass
class Both(Box[list[T]], Generic[T, U]):
    """Its `T` is another one than the base's."""

    other: U | None = None
    own: T | None = None


@dataclass
class ItemBox(Box[Item]):
    extra: Item | None = None


@dataclass
class Bound(Generic[B]):
    value: B


@dataclass
class Choice(Generic[C]):
    value: C


@dataclass
class Node:
    name: str
    next: Self | None = None
    children: list[Node] = field(default_factory=list)


@dataclass
class Chain(Generic[T]):
    value: T
    rest: Self | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict:
    item: Item
    tags: frozenset[str] = frozenset()


@dataclass
class WithInit:
    total: int
    factor: InitVar[int] = 2
    doubled: int = field(init=False, default=0)

    def __post_init__(self, factor: int) -> None:
        self.doubled = self.total * factor


@dataclass
class Qualified:
    item: typing.Final[Item]
    kind: Literal["a", "b"]
    noted: Annotated[Item, "a note"]
    version: typing.ClassVar[int] = 1


@dataclass
class Cat:
    name: str = ""


@dataclass
class Dog:
    name: str = ""
    breed: str = ""


class Point(NamedTuple):
    x: int
    item: Item
    y: float = 0.5


class Pair(NamedTuple, Generic[T]):
    left: T
    right: list[T]


Bare: Any = vars(collections)["namedtuple"]("Bare", "a b")


class Movie(TypedDict, total=False):
    items: typing.Required[list[Item]]
    by_id: dict[uuid.UUID, Item]


class Page(TypedDict, Generic[T]):
    found: list[T]
    first: T


class Items(list[Item]):
    """A list of its own kind."""


class Table(dict[str, Item]):
    """A mapping of its own kind."""


class Tags(set[str]):
    """A set of its own kind."""


Alias = typing_extensions.TypeAliasType("Alias", list[Item])
Named = typing_extensions.TypeAliasType("Named", dict[str, T], type_params=(T,))

SAME, WRONG, REFUSED = "same", "wrong", "refused"
"""What the official SDK does: the value comes back, another one does in silence, or there is an error."""

ROWS: list[tuple[Any, Any, str]] = [
    (ObjectId, ObjectId("abc"), WRONG),
    (list[ObjectId], [ObjectId("a"), ObjectId("bc")], WRONG),
    (ObjectId | None, ObjectId("abc"), WRONG),
    (dict[str, ObjectId], {"k": ObjectId("abc")}, WRONG),
    (dict[ObjectId, int], {ObjectId("abc"): 1}, REFUSED),
    (Count, Count(3), REFUSED),
    (dict[Count, str], {Count(3): "x"}, REFUSED),
    (Ratio, Ratio(0.5), REFUSED),
    (Blob, Blob(b"x"), WRONG),
    (list[Blob], [Blob(b"x")], WRONG),
    (bytearray, bytearray(b"x"), WRONG),
    (list[bytearray], [bytearray(b"x")], WRONG),
    (bytes | None, b"x", SAME),
    (Moment, Moment(2024, 3, 31, tzinfo=UTC), REFUSED),
    (datetime, WHEN, SAME),
    (uuid.UUID, ID, SAME),
    (Colour, Colour.RED, SAME),
    (Level, Level.LOW, SAME),
    (Access, Access.READ | Access.WRITE, SAME),
    (Shares, Shares.HALF, REFUSED),
    (dict[Colour, Level], {Colour.RED: Level.LOW}, SAME),
    (Literal[Colour.RED], Colour.RED, WRONG),
    (Literal[1, "a", True], True, SAME),
    (dict[Literal[1, 2], str], {1: "x"}, REFUSED),
    (UserId, UserId("k"), SAME),
    (dict[UserId, Item], {UserId("k"): Item(1)}, SAME),
    (dict[Number, Item], {Number(1): Item(1)}, REFUSED),
    (Annotated[Item, "note"], Item(1, ID, WHEN), REFUSED),
    (typing.LiteralString, "text", REFUSED),
    (typing.Optional[Item], Item(2), SAME),  # noqa: UP045 - the old spelling is meant
    (Item | None, None, SAME),
    (int | float, 1.5, WRONG),
    (float | int, 1, WRONG),
    (int | bool | None, True, WRONG),
    (int | str, "1", SAME),
    (Cat | Dog, Dog("Rex", "poodle"), WRONG),
    (Cat | Dog, Cat("Tom"), SAME),
    (dict[None, str], {None: "x"}, WRONG),
    (dict[int | str, int], {1: 1, "b": 2}, REFUSED),
    (dict[str | None, int], {None: 1}, WRONG),
    (dict[bool, float], {True: 1.0, False: 2.0}, SAME),
    (tuple[int, Item], (1, Item(4)), SAME),
    (tuple[Item, ...], (Item(1), Item(2)), SAME),
    (set[int], {1, 2}, SAME),
    (frozenset[str], frozenset("ab"), SAME),
    (collections.abc.Set[int], {1, 2}, WRONG),
    (collections.abc.MutableSet[int], {1, 2}, WRONG),
    (collections.deque[Item], collections.deque([Item(1)]), SAME),
    (collections.OrderedDict[str, Item], collections.OrderedDict(a=Item(1)), WRONG),
    (collections.defaultdict[str, int], collections.defaultdict(None, a=1), WRONG),
    (collections.Counter[str], collections.Counter("aab"), WRONG),
    (collections.UserDict[str, Item], collections.UserDict(a=Item(1)), REFUSED),
    (types.MappingProxyType[str, int], types.MappingProxyType({"a": 1}), REFUSED),
    (collections.abc.Mapping[str, int], {"a": 1}, SAME),
    (Items, Items([Item(1)]), WRONG),
    (Table, Table(a=Item(1)), WRONG),
    (Tags, Tags("ab"), WRONG),
    (Point, Point(1, Item(1)), WRONG),
    (list[Point], [Point(1, Item(1), 2.0)], WRONG),
    (Pair[Item], Pair(Item(1), [Item(2)]), REFUSED),
    (Bare, Bare(1, "x"), WRONG),
    (Movie, Movie(items=[Item(1)]), SAME),
    (Page[Item], Page(found=[Item(1)], first=Item(2)), REFUSED),
    (Item, Item(1, ID, WHEN), SAME),
    (Box[Item], Box(Item(7), [Item(8)]), REFUSED),
    (Box[list[uuid.UUID]], Box([ID]), REFUSED),
    (Box[Box[Item]], Box(Box(Item(1))), REFUSED),
    (Box[Item | None], Box[Item | None](None, [Item(1)]), REFUSED),
    (list[Box[Item]], [Box(Item(1))], REFUSED),
    (Both[Item, uuid.UUID], Both([Item(1)], other=ID, own=Item(2)), REFUSED),
    (ItemBox, ItemBox(Item(1), extra=Item(2)), REFUSED),
    (Bound, Bound(Item(1)), REFUSED),
    (Choice, Choice("x"), REFUSED),
    (Node, Node("a", Node("b"), [Node("c")]), REFUSED),
    (Chain[Item], Chain(Item(1), Chain(Item(2))), REFUSED),
    (Strict, Strict(item=Item(1), tags=frozenset("a")), SAME),
    (WithInit, WithInit(3), SAME),
    (Qualified, Qualified(Item(1), "a", Item(2)), REFUSED),
    (Alias, [Item(1)], REFUSED),
    (Named[Item], {"a": Item(1)}, REFUSED),
    (list[str] | str, "abc", WRONG),
    (list[str] | dict[str, int], {"a": 1}, WRONG),
    (collections.abc.Sequence[str], "abc", WRONG),
    (collections.abc.Iterable[str], {"a": 1}, WRONG),
    (Any, {"a": [1, None]}, SAME),
    (object, "x", REFUSED),
    (dict[str, list[Item | None]], {"k": [None, Item(3)]}, SAME),
]

if sys.version_info >= (3, 12):
    # Generic classes and aliases as these versions write them.
    _names: dict[str, Any] = {"dataclass": dataclass, "Item": Item}
    exec(
        "@dataclass\nclass Crate[V]:\n    value: V\n    rest: list[V]\n"
        "type Json = dict[str, Json] | list[Json] | str | int\n"
        "type Boxed[V] = list[Crate[V]]\n",
        _names,
    )
    _crate, _json, _boxed = _names["Crate"], _names["Json"], _names["Boxed"]
    ROWS += [
        (_crate[Item], _crate(Item(1), [Item(2)]), REFUSED),
        (_json, {"a": [1, {"b": "c"}]}, REFUSED),
        (_boxed[Item], [_crate(Item(1), [])], REFUSED),
    ]


def _sorted(mapping: Any) -> list[Any]:
    """JSON's keys are sorted when they are written."""
    return sorted(mapping.items(), key=str)


def identical(found: Any, expected: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(found) is not type(expected):
        return False
    if dataclasses.is_dataclass(expected):
        names = [each.name for each in dataclasses.fields(expected)]
        return all(identical(getattr(found, n), getattr(expected, n)) for n in names)
    if isinstance(expected, collections.abc.Mapping):
        return identical(_sorted(found), _sorted(expected))
    if isinstance(expected, list | tuple | collections.deque):
        pairs = zip(found, expected, strict=True)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return len(found) == len(expected) and all(identical(a, b) for a, b in pairs)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return found == expected


def _label(value: Any) -> str:
    """The same in each process, whatever order sets have there."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__} {sorted(map(str, value))}"[:60]  # pyright: ignore[reportUnknownArgumentType]
    return str(value)[:60]


@pytest.mark.parametrize(("hint", "value", "official"), ROWS, ids=_label)
def test_a_value_comes_back_with_the_type_of_its_hint(hint: Any, value: Any, official: str):
    assert identical(CONVERTER.from_payload(CONVERTER.to_payload(value), hint), value)
    try:
        found = OFFICIAL.from_payload(OFFICIAL.to_payload(value), hint)
    except Exception:  # noqa: BLE001 - whatever it raises
        assert official == REFUSED
    else:
        assert official == (SAME if identical(found, value) else WRONG)


class Unmade:
    """No converter knows it."""


class Plain(enum.Enum):
    ONE = 1


class Flags(enum.Flag):
    A = 1


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.5"), date(2024, 1, 1), timedelta(1), Path("x"), 1j, Unmade(), {ID: 1}, {Item: 1},
        {Bare(1, 2): 1},
        Plain.ONE, Flags.A, [Flags.A], lambda: 1, int,
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)  # fmt: skip
def test_what_json_cannot_hold_is_refused_when_it_is_written(value: Any):
    with pytest.raises(TypeError):
        CONVERTER.to_payload(value)


@pytest.mark.parametrize(
    ("hint", "given"),
    [
        (str, b"bytes"), (list[str], "abc"), (set[str], {"a": 1}), (collections.abc.Sequence[int], "12"),
        (Item, b"bytes"), (ObjectId, 5), (ObjectId, ["a"]), (Count, "5"), (Blob, "text"),
        (Point, 5), (Point, [1, {"n": 1}, 0.5, "too many"]), (Point, [1]), (Point, ["x", {"n": 1}]),
        (Box[Item], {"value": 5}),
        (Box[Item], {}), (Literal[1], True), (Literal[Colour.RED], "blue"), (Plain, 7), (set[Item], [{"n": 1}]),
        (dict[int, str], {"x": "y"}), (dict[int | bool, str], {"x": "y"}), (collections.abc.Generator[int], [1]),
        (Decimal, "1.5"), (date, "2024-01-01"), (Path, "x"), (type[int], "int"), (Unmade, {}), (Moment, "yesterday"),
        (Shares, 0.7), (list[Box[int]], [{"value": "x"}]), (Chain[int], {"value": 1, "rest": {"value": "x"}}),
    ],
    ids=lambda each: str(each)[:40],
)  # fmt: skip
def test_what_is_not_of_the_hints_type_is_refused(hint: Any, given: Any):
    payload = CONVERTER.to_payload(given)
    with pytest.raises((TypeError, ValueError)):
        CONVERTER.from_payload(payload, hint)


def test_named_tuples_are_also_read_from_objects():
    payload = CONVERTER.to_payload({"x": 1, "item": {"n": 2}})
    assert CONVERTER.from_payload(payload, Point) == Point(1, Item(2))


def test_bytes_are_read_as_numbers_where_the_hint_asks_for_them():
    payload = CONVERTER.to_payload(b"\x01\x02")
    assert CONVERTER.from_payload(payload, list[int]) == [1, 2]
    assert CONVERTER.from_payload(payload) == b"\x01\x02"


def test_keys_of_several_types_are_written_in_their_order():
    assert CONVERTER.to_payload({1: "a", "b": 2, None: 3}).data == b'{"1":"a","b":2,"null":3}'
    assert (
        CONVERTER.to_payload([{"z": 1, "a": {2: 1, "x": 1}}]).data == b'[{"z":1,"a":{"2":1,"x":1}}]'
    )


def _in_a_box(each: list[Any]) -> object:
    return Box({"k": each})


def _in_tuples(each: list[Any]) -> object:
    return ({"k": (each,)},)


@pytest.mark.parametrize("wrap", [_in_a_box, _in_tuples, list[Any]])
def test_what_can_be_read_once_is_not_written_a_second_time(wrap: Any):
    numbers = iter([1, 2])
    with pytest.raises(TypeError, match="not supported between instances"):
        CONVERTER.to_payload(wrap([numbers, {1: 1, "a": 2}]))


class Sized(Protocol):
    def __len__(self) -> int: ...


@pytest.mark.parametrize(
    "hint",
    [
        None, bytes, object, Any, Hashable, collections.abc.Sequence, collections.abc.Sequence[int], Collection[int],
        Iterable[int], Sized, bytes | None,
    ],
    ids=str,
)  # fmt: skip
def test_bytes_stay_bytes_where_the_hint_allows_them(hint: Any) -> None:
    converter = BinaryPlainPayloadConverter()
    payload = converter.to_payload(b"ab")
    assert payload is not None
    assert converter.from_payload(payload, hint) == b"ab"
    assert type(converter.from_payload(payload, hint)) is bytes


def test_bytes_are_no_text() -> None:
    converter = BinaryPlainPayloadConverter()
    payload = converter.to_payload(b"ab")
    assert payload is not None
    with pytest.raises(TypeError):
        converter.from_payload(payload, str)
