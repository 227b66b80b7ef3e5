"""Typed search attributes: keys, pairs, updates, collections. Their payload form is `perdure.converter`'s work."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import pairwise
from typing import (
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    TypeAlias,
    TypeVar,
    cast,
    get_origin,
    overload,
)

from perdure.types import AnyType

SearchAttributeValues: TypeAlias = list[str] | list[int] | list[float] | list[bool] | list[datetime]
SearchAttributes: TypeAlias = Mapping[str, SearchAttributeValues]
SearchAttributeValue: TypeAlias = str | int | float | bool | datetime | Sequence[str]

SearchAttributeValueType = TypeVar(
    "SearchAttributeValueType", str, int, float, bool, datetime, Sequence[str]
)


class SearchAttributeIndexedValueType(IntEnum):
    """How the server indexes an attribute."""

    TEXT = 1
    KEYWORD = 2
    INT = 3
    DOUBLE = 4
    BOOL = 5
    DATETIME = 6
    KEYWORD_LIST = 7


# The name that travels in a payload's "type" metadata.
_METADATA_TYPES: dict[SearchAttributeIndexedValueType, str] = {
    SearchAttributeIndexedValueType.TEXT: "Text",
    SearchAttributeIndexedValueType.KEYWORD: "Keyword",
    SearchAttributeIndexedValueType.INT: "Int",
    SearchAttributeIndexedValueType.DOUBLE: "Double",
    SearchAttributeIndexedValueType.BOOL: "Bool",
    SearchAttributeIndexedValueType.DATETIME: "Datetime",
    SearchAttributeIndexedValueType.KEYWORD_LIST: "KeywordList",
}
# Some servers write the enum's name instead.
_BY_METADATA_TYPE: dict[str, SearchAttributeIndexedValueType] = {
    **{text: kind for kind, text in _METADATA_TYPES.items()},
    **{f"INDEXED_VALUE_TYPE_{kind.name}": kind for kind in SearchAttributeIndexedValueType},
}
_VALUE_TYPES: dict[SearchAttributeIndexedValueType, Any] = {
    SearchAttributeIndexedValueType.TEXT: str,
    SearchAttributeIndexedValueType.KEYWORD: str,
    SearchAttributeIndexedValueType.INT: int,
    SearchAttributeIndexedValueType.DOUBLE: float,
    SearchAttributeIndexedValueType.BOOL: bool,
    SearchAttributeIndexedValueType.DATETIME: datetime,
    SearchAttributeIndexedValueType.KEYWORD_LIST: Sequence[str],
}


@dataclass(frozen=True)
class SearchAttributeKey(Generic[SearchAttributeValueType]):
    """Name and type of a search attribute. Make one with a ``for_…`` method.

    Attributes:
        name: The attribute's name on the server.
        indexed_value_type: How the server indexes it.
        value_type: The Python type of its values (generic for keyword lists; see `origin_value_type`).

    Example:
        >>> CUSTOMER = SearchAttributeKey.for_keyword("CustomerId")
        >>> CUSTOMER.value_set("c-17")
    """

    name: str
    indexed_value_type: SearchAttributeIndexedValueType
    value_type: type[SearchAttributeValueType]

    @property
    def origin_value_type(self) -> type:
        """`value_type` without type arguments: fit for ``isinstance``."""
        return get_origin(self.value_type) or self.value_type

    @property
    def metadata_type(self) -> str:
        """The name that travels in the payload's ``type`` metadata."""
        return _METADATA_TYPES[self.indexed_value_type]

    def value_set(
        self, value: SearchAttributeValueType
    ) -> SearchAttributeUpdate[SearchAttributeValueType]:
        """An update that sets this attribute."""
        return SearchAttributeUpdate(self, value)

    def value_unset(self) -> SearchAttributeUpdate[SearchAttributeValueType]:
        """An update that removes this attribute."""
        return SearchAttributeUpdate(self, None)

    @staticmethod
    def for_text(name: str) -> SearchAttributeKey[str]:
        """A full-text attribute."""
        return _key(name, SearchAttributeIndexedValueType.TEXT)

    @staticmethod
    def for_keyword(name: str) -> SearchAttributeKey[str]:
        """An exact-match string."""
        return _key(name, SearchAttributeIndexedValueType.KEYWORD)

    @staticmethod
    def for_int(name: str) -> SearchAttributeKey[int]:
        """An integer."""
        return _key(name, SearchAttributeIndexedValueType.INT)

    @staticmethod
    def for_float(name: str) -> SearchAttributeKey[float]:
        """A floating-point number."""
        return _key(name, SearchAttributeIndexedValueType.DOUBLE)

    @staticmethod
    def for_bool(name: str) -> SearchAttributeKey[bool]:
        """A truth value."""
        return _key(name, SearchAttributeIndexedValueType.BOOL)

    @staticmethod
    def for_datetime(name: str) -> SearchAttributeKey[datetime]:
        """A point in time; values need a time zone."""
        return _key(name, SearchAttributeIndexedValueType.DATETIME)

    @staticmethod
    def for_keyword_list(name: str) -> SearchAttributeKey[Sequence[str]]:
        """Several exact-match strings."""
        return _key(name, SearchAttributeIndexedValueType.KEYWORD_LIST)


def _key(name: str, kind: SearchAttributeIndexedValueType) -> SearchAttributeKey[Any]:
    return SearchAttributeKey[Any](name, kind, _VALUE_TYPES[kind])


def key_from_metadata_type(name: str, metadata_type: str) -> SearchAttributeKey[Any] | None:
    """The key for a payload's ``type`` metadata; None when this version does not know the type."""
    kind = _BY_METADATA_TYPE.get(metadata_type)
    return None if kind is None else _key(name, kind)


def key_guessed_from_values(
    name: str, values: SearchAttributeValues
) -> SearchAttributeKey[Any] | None:
    """The key that untyped values suggest; None when they suggest nothing."""
    if not values:
        return None
    first = cast("object", values[0])
    if len(values) > 1:
        return SearchAttributeKey.for_keyword_list(name) if isinstance(first, str) else None
    for kind in (bool, str, int, float, datetime):  # bool before int: True is an int too
        if isinstance(first, kind):
            return _GUESSES[kind](name)
    return None


_GUESSES: dict[type, Any] = {
    bool: SearchAttributeKey.for_bool,
    str: SearchAttributeKey.for_keyword,
    int: SearchAttributeKey.for_int,
    float: SearchAttributeKey.for_float,
    datetime: SearchAttributeKey.for_datetime,
}


class SearchAttributePair(NamedTuple, Generic[SearchAttributeValueType]):
    """A key with its value."""

    key: SearchAttributeKey[SearchAttributeValueType]
    value: SearchAttributeValueType


@dataclass(frozen=True)
class SearchAttributeUpdate(Generic[SearchAttributeValueType]):
    """A change of one attribute; a value of None removes it."""

    key: SearchAttributeKey[SearchAttributeValueType]
    value: SearchAttributeValueType | None


@dataclass(frozen=True)
class TypedSearchAttributes(Collection[SearchAttributePair[Any]]):
    """An immutable collection of pairs, sorted by name, without duplicates.

    Raises:
        ValueError: Two pairs have the same name.

    Example:
        >>> attributes = TypedSearchAttributes([SearchAttributePair(CUSTOMER, "c-17")])
        >>> attributes[CUSTOMER]
        'c-17'
    """

    search_attributes: Sequence[SearchAttributePair[Any]]

    empty: ClassVar[TypedSearchAttributes]

    def __post_init__(self) -> None:
        pairs = sorted(self.search_attributes, key=lambda pair: pair.key.name)
        for before, pair in pairwise(pairs):
            if before.key.name == pair.key.name:
                raise ValueError(
                    f"Duplicate search attribute entries found for key {pair.key.name}"
                )
        object.__setattr__(self, "search_attributes", pairs)

    def __len__(self) -> int:
        return len(self.search_attributes)

    def __iter__(self) -> Iterator[SearchAttributePair[Any]]:
        return iter(self.search_attributes)

    def __contains__(self, key: object) -> bool:
        """Whether a key of the same name *and* type is there."""
        return any(pair.key == key for pair in self.search_attributes)

    def __getitem__(
        self, key: SearchAttributeKey[SearchAttributeValueType]
    ) -> SearchAttributeValueType:
        """The value for `key`.

        Raises:
            KeyError: There is no such key with that type.
        """
        for pair in self.search_attributes:
            if pair.key == key:
                return cast("SearchAttributeValueType", pair.value)
        raise KeyError(key.name)

    @overload
    def get(
        self, key: SearchAttributeKey[SearchAttributeValueType]
    ) -> SearchAttributeValueType | None: ...
    @overload
    def get(
        self, key: SearchAttributeKey[SearchAttributeValueType], default: AnyType
    ) -> SearchAttributeValueType | AnyType: ...
    def get(self, key: SearchAttributeKey[Any], default: Any = None) -> Any:
        """The value for `key`, or `default`."""
        return next((pair.value for pair in self.search_attributes if pair.key == key), default)

    def updated(self, *search_attributes: SearchAttributePair[Any]) -> TypedSearchAttributes:
        """A copy in which the given pairs replace those of the same name, or join."""
        by_name = {pair.key.name: pair for pair in self.search_attributes}
        by_name.update((pair.key.name, pair) for pair in search_attributes)
        return TypedSearchAttributes(list(by_name.values()))


TypedSearchAttributes.empty = TypedSearchAttributes([])
