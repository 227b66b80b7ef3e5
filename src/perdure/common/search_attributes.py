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
    """How the server indexes an attribute.

    Attributes:
        TEXT: Text that is searched by word.
        KEYWORD: Text that matches as a whole.
        INT: An integer.
        DOUBLE: A floating-point number.
        BOOL: True or false.
        DATETIME: A point in time.
        KEYWORD_LIST: Several texts, each of which matches as a whole.
    """

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
    """Name and type of a search attribute. Make one with a `for_…` method.

    Attributes:
        name: The attribute's name on the server.
        indexed_value_type: How the server indexes it.
        value_type: The Python type of its values; see also `origin_value_type`.

    Example:
        ```python
        from perdure.common import SearchAttributeKey

        CUSTOMER = SearchAttributeKey.for_keyword("CustomerId")
        update = CUSTOMER.value_set("c-17")
        assert (update.key.name, update.value) == ("CustomerId", "c-17")
        ```
    """

    name: str
    indexed_value_type: SearchAttributeIndexedValueType
    value_type: type[SearchAttributeValueType]

    @property
    def origin_value_type(self) -> type:
        """`value_type` without type arguments, for `isinstance`."""
        return get_origin(self.value_type) or self.value_type

    @property
    def metadata_type(self) -> str:
        """The name of the type in the payload's metadata."""
        return _METADATA_TYPES[self.indexed_value_type]

    def value_set(
        self, value: SearchAttributeValueType
    ) -> SearchAttributeUpdate[SearchAttributeValueType]:
        """An update that sets this attribute, for `workflow.upsert_search_attributes`.

        Args:
            value: The new value.
        """
        return SearchAttributeUpdate(self, value)

    def value_unset(self) -> SearchAttributeUpdate[SearchAttributeValueType]:
        """An update that removes this attribute, for `workflow.upsert_search_attributes`."""
        return SearchAttributeUpdate(self, None)

    @staticmethod
    def for_text(name: str) -> SearchAttributeKey[str]:
        """The key of a text that is searched by word.

        Args:
            name: The attribute's name.
        """
        return _key(name, SearchAttributeIndexedValueType.TEXT)

    @staticmethod
    def for_keyword(name: str) -> SearchAttributeKey[str]:
        """The key of a text that matches as a whole.

        Args:
            name: The attribute's name.
        """
        return _key(name, SearchAttributeIndexedValueType.KEYWORD)

    @staticmethod
    def for_int(name: str) -> SearchAttributeKey[int]:
        """The key of an integer.

        Args:
            name: The attribute's name.
        """
        return _key(name, SearchAttributeIndexedValueType.INT)

    @staticmethod
    def for_float(name: str) -> SearchAttributeKey[float]:
        """The key of a floating-point number.

        Args:
            name: The attribute's name.
        """
        return _key(name, SearchAttributeIndexedValueType.DOUBLE)

    @staticmethod
    def for_bool(name: str) -> SearchAttributeKey[bool]:
        """The key of a truth value.

        Args:
            name: The attribute's name.
        """
        return _key(name, SearchAttributeIndexedValueType.BOOL)

    @staticmethod
    def for_datetime(name: str) -> SearchAttributeKey[datetime]:
        """The key of a point in time. Its values need a time zone.

        Args:
            name: The attribute's name.
        """
        return _key(name, SearchAttributeIndexedValueType.DATETIME)

    @staticmethod
    def for_keyword_list(name: str) -> SearchAttributeKey[Sequence[str]]:
        """The key of several texts, each of which matches as a whole.

        Args:
            name: The attribute's name.
        """
        return _key(name, SearchAttributeIndexedValueType.KEYWORD_LIST)


def _key(name: str, kind: SearchAttributeIndexedValueType) -> SearchAttributeKey[Any]:
    return SearchAttributeKey[Any](name, kind, _VALUE_TYPES[kind])


def key_from_metadata_type(name: str, metadata_type: str) -> SearchAttributeKey[Any] | None:
    """The key for a payload's `type` metadata; None when this version does not know the type."""
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
    """A key with its value.

    Attributes:
        key: The key.
        value: The value.
    """

    key: SearchAttributeKey[SearchAttributeValueType]
    value: SearchAttributeValueType


@dataclass(frozen=True)
class SearchAttributeUpdate(Generic[SearchAttributeValueType]):
    """A change of one attribute.

    Attributes:
        key: The key.
        value: The new value. None removes the attribute.
    """

    key: SearchAttributeKey[SearchAttributeValueType]
    value: SearchAttributeValueType | None


@dataclass(frozen=True)
class TypedSearchAttributes(Collection[SearchAttributePair[Any]]):
    """An immutable collection of search attributes, sorted by name.

    Attributes:
        search_attributes: Keys with their values; no two have the same name.

    Raises:
        ValueError: Two pairs have the same name.

    Example:
        ```python
        from perdure.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

        CUSTOMER = SearchAttributeKey.for_keyword("CustomerId")
        attributes = TypedSearchAttributes([SearchAttributePair(CUSTOMER, "c-17")])
        assert attributes[CUSTOMER] == "c-17"
        ```
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
        """The value of a key.

        Args:
            key: The key.
            default: Returned when there is no such attribute.
        """
        return next((pair.value for pair in self.search_attributes if pair.key == key), default)

    def updated(self, *search_attributes: SearchAttributePair[Any]) -> TypedSearchAttributes:
        """A copy with further or replaced pairs.

        Args:
            search_attributes: Pairs to add. They replace those of the same name.
        """
        by_name = {pair.key.name: pair for pair in self.search_attributes}
        by_name.update((pair.key.name, pair) for pair in search_attributes)
        return TypedSearchAttributes(list(by_name.values()))


TypedSearchAttributes.empty = TypedSearchAttributes([])
