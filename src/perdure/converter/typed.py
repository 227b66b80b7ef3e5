"""Conversion of JSON values to the types that type hints ask for: `value_to_type`.

The rules are a table and are tried in order. Each rule handles the hints that it knows and passes the others on. They
are the rules of the other Python SDK of this API, so that a value decodes to the same result everywhere:

- unknown keys of dataclasses are ignored; missing ones are the dataclass's own error;
- a union takes the first member that converts; hints of int and float both take any number;
- keys of mappings are converted from JSON's strings when the hint says int, float, bool, None or an int enum.

Where that SDK gives another type than the hint's in silence (classes made from str, named tuples, fields of generic
dataclasses, numbers in unions), this module gives the right one, or raises.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import functools
import inspect
import typing
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Literal, NewType

import typing_extensions

from perdure.converter.hints import args_of, elements_of, is_union, meant, origin_of, parts_of

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


def _primitive(hint: Any, value: Any, _: _Converters) -> Any:
    if hint is Any or hint is object:
        return value
    if hint is str or hint in _STRING_LITERALS:
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


_STRING_LITERALS = (typing.LiteralString, typing_extensions.LiteralString)


def _expect(value: Any, kind: Any, name: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"Expected value to be {name}, was {type(value)}")
    return value


def _datetime(hint: Any, value: Any, _: _Converters) -> Any:
    if not (inspect.isclass(hint) and issubclass(hint, datetime)):
        return _UNHANDLED
    if isinstance(value, hint):
        return value
    if not isinstance(value, str):
        raise TypeError(f"Expected datetime or ISO8601 string, got {type(value)}")
    try:
        return hint.fromisoformat(value)
    except ValueError as error:
        raise TypeError("Failed parsing datetime string: it is not ISO 8601") from error


def _transparent(hint: Any, value: Any, converters: _Converters) -> Any:
    """NewType, Annotated, aliases, bounds of type variables: as what they stand for."""
    inner = meant(hint)
    return _UNHANDLED if inner is hint else value_to_type(inner, value, converters)


def _literal(hint: Any, value: Any, _: _Converters) -> Any:
    if origin_of(hint) not in (Literal, typing_extensions.Literal):
        return _UNHANDLED
    for each in args_of(hint):
        # True equals 1, and what was an enum's member must be one again.
        if isinstance(each, bool) is not isinstance(value, bool):
            continue
        if value in (each, getattr(each, "value", each)):
            return each
    raise TypeError(f"Value is not one of the literal values {args_of(hint)}")


_NUMBERS = (bool, int, float)


def _union(hint: Any, value: Any, converters: _Converters) -> Any:
    if not is_union(hint):
        return _UNHANDLED
    members: Sequence[Any] = args_of(hint)
    kind = typing.cast("Any", type(value))
    if kind in _NUMBERS and kind in members:
        # `int | float` must not cut 1.5, and `int | bool` must not make a number of True.
        members = [each for each in members if each not in _NUMBERS or each is kind]
    elif isinstance(value, dict):
        # Unknown keys are ignored, so a class that knows all of them comes first.
        raw = typing.cast("dict[Any, Any]", value)
        members = sorted(members, key=lambda each: not _knows_keys(each, raw))
    for member in members:
        try:
            return value_to_type(member, value, converters)
        except Exception:  # noqa: BLE001, S112 - constructors of user types may raise anything
            continue
    raise TypeError(f"Failed converting to {hint} from a value of type {kind}")


def _knows_keys(hint: Any, value: Mapping[Any, Any]) -> bool:
    """Whether a member of a union has a field for each key; members that are no dataclasses are taken to."""
    if not _is_dataclass(origin_of(hint)):
        return True
    return value.keys() <= {part.name for part in parts_of(hint)}


def _known(hint: Any) -> Any:
    """`hint`, unless it says nothing."""
    if hint is None:
        return type(None)
    found = meant(hint)
    return None if found is Any or found is object else hint


def _mapping(hint: Any, value: Any, converters: _Converters) -> Any:
    origin: Any = origin_of(hint)
    if not _is_class_of(origin, Mapping):
        return _UNHANDLED
    if not isinstance(value, Mapping):
        raise TypeError(f"Expected {hint}, value was {type(value)}")
    # A TypedDict has a type for each key.
    is_typed_dict = typing_extensions.is_typeddict(origin)
    types_by_key = {part.name: part.hint for part in parts_of(hint)} if is_typed_dict else {}
    args = () if is_typed_dict else elements_of(hint)
    key_type = _known(args[0]) if args else None
    value_type = _value_type(origin, args)
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
    return origin(**result) if is_typed_dict else _collection(hint, origin, result, (dict,))


def _value_type(origin: Any, args: tuple[Any, ...]) -> Any:
    if issubclass(origin, collections.Counter):
        return int
    return _known(args[1]) if len(args) > 1 else None


def _collection(hint: Any, origin: Any, items: Any, plain: tuple[type, ...]) -> Any:
    """`items` as the collection that a hint names; as one of the `plain` ones for an abstract hint."""
    for each in plain:
        if issubclass(each, origin):
            return items if isinstance(items, each) else each(items)
    has_factory = issubclass(origin, collections.defaultdict)
    make = typing.cast("Any", functools.partial(origin, None) if has_factory else origin)
    made: Any = make(items)
    if not isinstance(made, origin):
        raise TypeError(f"Failed making {hint}")
    return made


_KEY_TEXTS: dict[Any, dict[str, Any]] = {
    bool: {"true": True, "false": False},
    type(None): {"null": None},
}


def _mapping_key(hint: Any, key_type: Any, key: Any, converters: _Converters) -> Any:
    """JSON keys are strings: bring back what the hint says was written."""
    try:
        return _key(meant(key_type), key, converters)
    except Exception as error:
        raise TypeError(
            f"Failed converting key {key!r} to type {key_type} in mapping {hint}"
        ) from error


def _key(key_type: Any, key: Any, converters: _Converters) -> Any:
    if is_union(key_type):
        return _key_of_union(key_type, key, converters)
    if isinstance(key, str):
        key = _KEY_TEXTS[key_type][key] if key_type in _KEY_TEXTS else _number(key_type, key)
    if isinstance(key_type, type) and isinstance(key, key_type):
        return key
    return value_to_type(key_type, key, converters)


def _number(key_type: Any, key: str) -> Any:
    """The number that a key was, for types that are numbers; other keys stay strings."""
    if origin_of(key_type) in (Literal, typing_extensions.Literal):
        return next((each for each in args_of(key_type) if _key_text(each) == key), key)
    if inspect.isclass(key_type) and issubclass(key_type, int | float):
        return int(key) if issubclass(key_type, int) else float(key)
    return key


def _key_text(value: Any) -> str:
    """As a key of JSON."""
    for texts in _KEY_TEXTS.values():
        for text, each in texts.items():
            if value is each:
                return text
    return str(getattr(value, "value", value))


def _key_of_union(hint: Any, key: Any, converters: _Converters) -> Any:
    # Any text is a string: the members that take only some come first.
    members = sorted((meant(each) for each in args_of(hint)), key=lambda each: each is str)
    for member in members:
        try:
            return _key(member, key, converters)
        except Exception:  # noqa: BLE001, S112 - constructors of user types may raise anything
            continue
    raise TypeError(f"Failed converting a key to {hint}")


def _is_class_of(cls: Any, base: type) -> bool:
    return inspect.isclass(cls) and issubclass(cls, base)


def _is_dataclass(cls: Any) -> bool:
    return isinstance(cls, type) and dataclasses.is_dataclass(cls)


def _dataclass(hint: Any, value: Any, converters: _Converters) -> Any:
    cls = origin_of(hint)
    if not _is_dataclass(cls):
        return _UNHANDLED
    if not isinstance(value, dict):
        raise TypeError(f"Cannot convert to dataclass {hint}, value is {type(value)} not dict")
    raw = typing.cast("dict[str, Any]", value)
    init_fields: dict[str, Any] = {}
    afterwards: dict[str, Any] = {}
    for name, field_hint, is_init in parts_of(hint):
        if name not in raw:
            continue
        try:
            converted = value_to_type(field_hint, raw[name], converters)
        except Exception as error:
            raise TypeError(f"Failed converting field {name} on dataclass {hint}") from error
        (init_fields if is_init else afterwards)[name] = converted
    made = cls(**init_fields)
    for name, item in afterwards.items():
        object.__setattr__(made, name, item)  # frozen dataclasses too
    return made


def _named_tuple(hint: Any, value: Any, converters: _Converters) -> Any:
    cls: Any = origin_of(hint)
    if not (_is_class_of(cls, tuple) and hasattr(cls, "_fields")):
        return _UNHANDLED
    parts = parts_of(hint)
    if isinstance(value, dict):  # as other encoders write them
        raw = typing.cast("dict[str, Any]", value)
        found = [(part, raw[part.name]) for part in parts if part.name in raw]
    elif isinstance(value, list) and len(typing.cast("list[Any]", value)) <= len(parts):
        found = list(zip(parts, typing.cast("list[Any]", value), strict=False))
    else:
        raise TypeError(f"Cannot convert to named tuple {hint}, from a value of another kind")
    items: dict[str, Any] = {}
    for part, item in found:
        try:
            items[part.name] = value_to_type(part.hint, item, converters)
        except Exception as error:
            raise TypeError(f"Failed converting field {part.name} on {hint}") from error
    return cls(**items)


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
        if issubclass(hint, kind) and not isinstance(value, kind):
            raise TypeError(
                f"Cannot convert to enum {hint}, value not {name}, value is {type(value)}"
            )
    return hint(value)


# A list of numbers is what this encoder writes for bytes inside other values.
_SCALARS: dict[type, tuple[type, ...]] = {
    str: (str,),
    int: (int, float),
    float: (int, float),
    bytes: (bytes, list),
    bytearray: (bytes, list),
    memoryview: (bytes, list),
}


def _scalar(hint: Any, value: Any, _: _Converters) -> Any:
    """Classes made from str, int, float and bytes."""
    if not inspect.isclass(hint):
        return _UNHANDLED
    for kind, accepted in _SCALARS.items():
        if issubclass(hint, kind):
            if not isinstance(value, accepted):
                raise TypeError(f"Expected a value for {hint}, was {type(value)}")
            made: Any = typing.cast("Any", hint)(bytes(value) if kind is memoryview else value)
            if not isinstance(made, hint):
                raise TypeError(f"Failed making {hint}")
            return made
    return _UNHANDLED


def _uuid(hint: Any, value: Any, _: _Converters) -> Any:
    if not (inspect.isclass(hint) and issubclass(hint, uuid.UUID)):
        return _UNHANDLED
    return hint(value)


def _iterable(hint: Any, value: Any, converters: _Converters) -> Any:
    """Last, because many of the types above are iterable too."""
    origin: Any = origin_of(hint)
    if not _is_class_of(origin, Iterable):
        return _UNHANDLED
    if not isinstance(value, Iterable):
        raise TypeError(f"Expected {hint}, value was {type(value)}")
    args = elements_of(hint)
    if isinstance(value, str | dict):
        return _itself(hint, origin, args, value)
    raw: list[Any] = list(typing.cast("Iterable[Any]", value))
    untyped = not args or (len(args) == 1 and args[0] is Ellipsis)
    items = raw if untyped else [
        _item(hint, _item_type(hint, origin, args, index), index, item, converters)
        for index, item in enumerate(raw)
    ]  # fmt: skip
    if origin is collections.abc.Iterator:
        return iter(items)
    return _collection(hint, origin, items, (list, set))


def _itself(hint: Any, origin: Any, args: tuple[Any, ...], value: Any) -> Any:
    """A text or an object where a collection is asked for: no list of characters or keys is made of it."""
    is_any = not args or _known(args[0]) in (None, str)
    if is_any and issubclass(type(value), origin):
        return value
    raise TypeError(f"Expected {hint}, value was {type(value)}")


def _item_type(hint: Any, origin: Any, args: tuple[Any, ...], index: int) -> Any:
    if not issubclass(origin, tuple):
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
    _primitive, _datetime, _transparent, _literal, _union, _mapping, _dataclass, _parse_obj, _named_tuple, _enum,
    _uuid, _scalar, _iterable,
)  # fmt: skip
