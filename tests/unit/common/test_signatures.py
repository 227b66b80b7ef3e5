from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import pytest

from perdure.common.signatures import (
    UNSET,
    arg_or_args,
    check_arity,
    has_self,
    type_hints_from_func,
    types_of_arguments,
)


def plain(a: int, b: str = "") -> bool:
    return True


def untyped(a, b: int) -> None:  # noqa: ANN001 # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]
    ...


def keyword(a: int, *, b: int) -> None: ...


def varied(*args: int) -> None: ...


class Methods:
    def plain(self, a: int) -> str:
        return ""

    def annotated(self: Self, a: int) -> str:
        return ""

    def __call__(self, a: float) -> int:
        return 0


def test_types_of_a_function() -> None:
    assert type_hints_from_func(plain) == ([int, str], bool)


def test_a_parameter_without_annotation_has_no_type() -> None:
    fn: Any = globals()["untyped"]
    assert type_hints_from_func(fn) == ([None, int], type(None))


def test_parameters_that_cannot_be_positional_do_not_count() -> None:
    assert type_hints_from_func(keyword)[0] == [int]
    assert type_hints_from_func(varied)[0] == []


def test_there_is_a_type_for_each_argument() -> None:
    types: list[type] = [int, str]
    assert types_of_arguments(plain, None, 1) is None
    assert types_of_arguments(plain, types, 2) == [int, str]
    assert types_of_arguments(plain, types, 1) == [int]
    assert types_of_arguments(plain, types, 0) == []
    assert types_of_arguments(plain, types, 4) == [int, str, None, None]
    assert types_of_arguments(varied, [], 2) == [int, int]


@pytest.mark.parametrize("fn", [Methods.plain, Methods().plain, Methods.annotated])
def test_self_does_not_count(fn: Callable[..., Any]) -> None:
    assert type_hints_from_func(fn) == ([int], str)


@pytest.mark.parametrize("fn", [Methods, Methods()])
def test_callable_objects_and_their_classes(fn: Callable[..., Any]) -> None:
    assert type_hints_from_func(fn) == ([float], int)


def test_has_self() -> None:
    assert has_self(Methods.plain)
    assert not has_self(plain)


def test_arg_or_args() -> None:
    assert list(arg_or_args(None, ())) == [None]
    assert list(arg_or_args(UNSET, (1, 2))) == [1, 2]
    with pytest.raises(ValueError, match="Cannot have"):
        arg_or_args(1, (2,))


@pytest.mark.parametrize(
    ("fn", "args", "message"),
    [
        (plain, (), "takes 1 to 2 argument"),
        (plain, (1, "", 3), "but 3 were given"),
        (Methods.plain, (), r"takes 1 argument\(s\) \(a\)"),
    ],
)
def test_wrong_number(fn: Callable[..., Any], args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_arity(fn, args, "Workflow X")


@pytest.mark.parametrize(
    ("fn", "right"),
    [(plain, {1, 2}), (Methods.plain, {1}), (keyword, {1}), (varied, {0, 1, 2, 3})],
)
def test_right_number(fn: Callable[..., Any], right: set[int]) -> None:
    def is_right(count: int) -> bool:
        try:
            check_arity(fn, (1,) * count, "Workflow X")
        except TypeError:
            return False
        return True

    assert {count for count in range(4) if is_right(count)} == right
