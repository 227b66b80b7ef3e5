"""Conversion of JSON values to the types that type hints ask for: `value_to_type`.

The rules are a table and are tried in order. Each rule handles the hints that it knows and passes the others on. They
are the rules of the other Python SDK of this API, so that a value decodes to the same result everywhere:

- unknown keys of dataclasses are ignored; missing ones are the dataclass's own error;
- a union takes the first member that converts; hints of int and float both take any number;
- keys of mappings are converted from JSON's strings when the hint says int, float, bool, None or an int enum.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import inspect
import types
import typing
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Literal, NewType, TypeVar, get_type_hints

import typing_extensions

JSONTypeConverterUnhandled = NewType("JSONTypeConverterUnhandled", object)
"""The type of `JSONTypeConverter.Unhandled`."""

_UNHANDLED = JSONTypeConverterUnhandled(object())


class JSONTypeConverter(ABC):
    """Adds a type to the decoding of JSON.

    Example:
        ```python
        from decimal import Decimal
        from typing import Any

        from perdure.converter import JSONTypeConverter, value_to_type


        class Decimals(JSONTypeConverter):
            def to_typed_value(self, hint: type, value: Any) -> Any:
                return Decimal(value) if hint is Decimal else JSONTypeConverter.Unhandled


        assert value_to_type(list[Decimal], ["9.90"], [Decimals()]) == [Decimal("9.90")]
        ```
    """

    Unhandled: ClassVar[JSONTypeConverterUnhandled] = _UNHANDLED
    """What `to_typed_value` returns for hints that it does not know."""

    @abstractmethod
    def to_typed_value(self, hint: type, value: Any) -> Any | JSONTypeConverterUnhandled:
        """Convert a value to a type.

        Args:
            hint: The type.
            value: A scalar, a list or a dict.

        Returns:
            The converted value, or `JSONTypeConverter.Unhandled` for types that this converter does not know.
        """


_Converters = Sequence[JSONTypeConverter]
_Rule = Callable[[Any, Any, _Converters], Any]


def value_to_type(hint: Any, value: Any, custom_converters: _Converters = ()) -> Any:
    """Convert a value that was read from JSON to the type that a hint asks for.

    Args:
        hint: A type, or a construct of `typing`.
        value: A scalar, a list or a dict.
        custom_converters: Tried first, in order.

    Raises:
        TypeError: The value does not fit, or the hint is of an unknown kind.

    Example:
        ```python
        import uuid

        from perdure.converter import value_to_type

        text = "0f8fad5b-d9cb-469f-a165-70867728950e"
        assert value_to_type(list[uuid.UUID], [text]) == [uuid.UUID(text)]
        ```
    """
    for converter in custom_converters:
        converted = converter.to_typed_value(hint, value)
        if converted is not _UNHANDLED:
            return converted
    try:
        known = _rule_of_hint.get(hint)
    except TypeError:  # a hint without hash
        known = None
    if known is not None:
        return known(hint, value, custom_converters)
    for rule in _RULES:
        converted = rule(hint, value, custom_converters)
        if converted is not _UNHANDLED:
            _remember(hint, rule)
            return converted
    raise TypeError(f"Unserializable type during conversion: {hint}")


RULES_REMEMBERED_MAX = 4096
"""Hints come from source code, so there are few; the limit is for programs that make types all the time."""

# Whether a rule answers depends on the hint alone, so the one that answered first will answer again.
_rule_of_hint: dict[Any, _Rule] = {}


def _remember(hint: Any, rule: _Rule) -> None:
    try:
        hash(hint)
    except TypeError:
        return
    if len(_rule_of_hint) >= RULES_REMEMBERED_MAX:
        _rule_of_hint.clear()
    _rule_of_hint[hint] = rule


def _origin(hint: Any) -> Any:
    return getattr(hint, "__origin__", hint)


def _args(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__args__", ())


def _primitive(hint: Any, value: Any, _: _Converters) -> Any:
    if hint is Any or hint is object or isinstance(hint, TypeVar):
        return value
    if hint is str:
        return str(_expect(value, str, "str"))
    if hint is int or hint is float:
        return hint(_expect(value, int | float, "int|float"))
    if hint is bool:
        return _expect(value, bool, "bool")
    if hint is bytes:
        # A list of numbers is what this encoder writes for bytes inside other values.
        return bytes(_expect(value, str | bytes | list, "bytes"))
    if hint is None or hint is type(None):
        if value is not None:
            raise TypeError(f"Expected None, got value of type {type(value)}")
        return None
    return _UNHANDLED


def _expect(value: Any, kind: Any, name: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"Expected value to be {name}, was {type(value)}")
    return value


def _datetime(hint: Any, value: Any, _: _Converters) -> Any:
    if hint is not datetime:
        return _UNHANDLED
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise TypeError(f"Expected datetime or ISO8601 string, got {type(value)}")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise TypeError("Failed parsing datetime string: it is not ISO 8601") from error


def _transparent(hint: Any, value: Any, converters: _Converters) -> Any:
    """NewType and Annotated: as what they stand for."""
    supertype = getattr(hint, "__supertype__", None)
    if supertype is not None:
        return value_to_type(supertype, value, converters)
    if hasattr(hint, "__metadata__"):
        return value_to_type(hint.__origin__, value, converters)
    return _UNHANDLED


def _literal(hint: Any, value: Any, _: _Converters) -> Any:
    if _origin(hint) not in (Literal, typing_extensions.Literal):
        return _UNHANDLED
    if value not in _args(hint):
        raise TypeError(f"Value is not one of the literal values {_args(hint)}")
    return value


def _union(hint: Any, value: Any, converters: _Converters) -> Any:
    if not (_origin(hint) is typing.Union or isinstance(hint, types.UnionType)):
        return _UNHANDLED
    for member in _args(hint):
        try:
            return value_to_type(member, value, converters)
        except Exception:  # noqa: BLE001, S112 - constructors of user types may raise anything
            continue
    raise TypeError(f"Failed converting to {hint} from a value of type {type(value)}")


def _known(hint: Any) -> Any:
    """`hint`, unless it says nothing."""
    return None if hint is Any or isinstance(hint, TypeVar) else hint


def _mapping(hint: Any, value: Any, converters: _Converters) -> Any:
    origin = _origin(hint)
    if not (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return _UNHANDLED
    if not isinstance(value, Mapping):
        raise TypeError(f"Expected {hint}, value was {type(value)}")
    args = _args(hint)
    key_type = _known(args[0]) if args else None
    value_type = _known(args[1]) if len(args) > 1 else None
    # A TypedDict has a type for each key.
    cls = typing.cast("Any", origin)
    is_typed_dict = bool(
        getattr(cls, "__required_keys__", None) or getattr(cls, "__optional_keys__", None)
    )
    types_by_key: dict[str, Any] = get_type_hints(cls) if is_typed_dict else {}
    result: dict[Any, Any] = {}
    for raw_key, raw_item in typing.cast("Mapping[Any, Any]", value).items():
        key, item = raw_key, raw_item
        item_type = types_by_key.get(raw_key) if is_typed_dict else value_type
        if key_type is not None:
            key = _mapping_key(hint, key_type, raw_key, converters)
        if item_type is not None:
            try:
                item = value_to_type(item_type, raw_item, converters)
            except Exception as error:
                raise TypeError(
                    f"Failed converting value for key {key!r} in mapping {hint}"
                ) from error
        result[key] = item
    # Calling the TypedDict lets subclasses of it check.
    return hint(**result) if is_typed_dict else result


_KEY_TEXTS: dict[Any, dict[str, Any]] = {
    bool: {"true": True, "false": False},
    type(None): {"null": None},
}


def _mapping_key(hint: Any, key_type: Any, key: Any, converters: _Converters) -> Any:
    """JSON keys are strings: bring back what the hint says was written."""
    try:
        if isinstance(key, str):
            if key_type is int or key_type is float:
                key = key_type(key)
            elif (
                inspect.isclass(key_type)
                and issubclass(key_type, Enum)
                and issubclass(key_type, int)
            ):
                key = int(key)
            elif key_type in _KEY_TEXTS:
                key = _KEY_TEXTS[key_type][key]
        if isinstance(key_type, type) and isinstance(key, key_type):
            return key
        return value_to_type(key_type, key, converters)
    except Exception as error:
        raise TypeError(
            f"Failed converting key {key!r} to type {key_type} in mapping {hint}"
        ) from error


def _dataclass(hint: Any, value: Any, converters: _Converters) -> Any:
    cls = _origin(hint)
    if not (dataclasses.is_dataclass(cls) and isinstance(cls, type)):
        return _UNHANDLED
    if not isinstance(value, dict):
        raise TypeError(f"Cannot convert to dataclass {hint}, value is {type(value)} not dict")
    raw = typing.cast("dict[str, Any]", value)
    given: dict[str, Any] = {}
    afterwards: dict[str, Any] = {}
    for name, field_hint, is_init in _dataclass_fields(cls):
        if name not in raw:
            continue
        try:
            converted = value_to_type(field_hint, raw[name], converters)
        except Exception as error:
            raise TypeError(f"Failed converting field {name} on dataclass {hint}") from error
        (given if is_init else afterwards)[name] = converted
    made = cls(**given)
    for name, item in afterwards.items():
        object.__setattr__(made, name, item)  # frozen dataclasses too
    return made


@functools.lru_cache(maxsize=1024)
def _dataclass_fields(cls: type) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type and init flag of each field. Resolving annotations costs more than converting a small value."""
    hints = get_type_hints(cls)
    return tuple(
        (field.name, hints[field.name], field.init)
        for field in dataclasses.fields(typing.cast("Any", cls))
    )


def _parse_obj(hint: Any, value: Any, _: _Converters) -> Any:
    """Models with Pydantic's older interface."""
    method = inspect.getattr_static(hint, "parse_obj", None)
    if not isinstance(method, classmethod | staticmethod):
        return _UNHANDLED
    if not isinstance(value, dict):
        raise TypeError(f"Cannot convert to {hint}, value is {type(value)} not dict")
    return hint.parse_obj(value)


def _enum(hint: Any, value: Any, _: _Converters) -> Any:
    if not (inspect.isclass(hint) and issubclass(hint, Enum)):
        return _UNHANDLED
    for kind, name in ((int, "an integer"), (str, "a string")):
        if issubclass(hint, kind):
            if not isinstance(value, kind):
                raise TypeError(
                    f"Cannot convert to enum {hint}, value not {name}, value is {type(value)}"
                )
            return hint(value)
    return _UNHANDLED


def _uuid(hint: Any, value: Any, _: _Converters) -> Any:
    if not (inspect.isclass(hint) and issubclass(hint, uuid.UUID)):
        return _UNHANDLED
    return hint(value)


_COLLECTIONS: dict[Any, Callable[[list[Any]], Any]] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}


def _iterable(hint: Any, value: Any, converters: _Converters) -> Any:
    """Last, because many of the types above are iterable too."""
    origin = _origin(hint)
    if not (inspect.isclass(origin) and issubclass(origin, Iterable)):
        return _UNHANDLED
    if not isinstance(value, Iterable):
        raise TypeError(f"Expected {hint}, value was {type(value)}")
    raw: list[Any] = list(typing.cast("Iterable[Any]", value))
    args = _args(hint)
    untyped = not args or (len(args) == 1 and (isinstance(args[0], TypeVar) or args[0] is Ellipsis))
    items = raw if untyped else [
        _item(hint, _item_type(hint, origin, args, index), index, item, converters)
        for index, item in enumerate(raw)
    ]  # fmt: skip
    return _COLLECTIONS.get(origin, list)(items)


def _item_type(hint: Any, origin: Any, args: tuple[Any, ...], index: int) -> Any:
    if origin is not tuple:
        return args[0]
    if index < len(args) and args[index] is not Ellipsis:
        return args[index]
    if args[-1] is Ellipsis:
        return args[-2]
    raise TypeError(f"Type {hint} only expecting {len(args)} values, got at least {index + 1}")


def _item(hint: Any, item_type: Any, index: int, item: Any, converters: _Converters) -> Any:
    try:
        return value_to_type(item_type, item, converters)
    except Exception as error:
        raise TypeError(f"Failed converting {hint} index {index}") from error


_RULES: tuple[_Rule, ...] = (
    _primitive, _datetime, _transparent, _literal, _union, _mapping, _dataclass, _parse_obj, _enum, _uuid, _iterable,
)  # fmt: skip
