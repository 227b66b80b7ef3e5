"""Decorators of handlers, run inside the tests: names, forms, warnings, validators, and what is bound."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue
from perdure.workflow import HandlerUnfinishedPolicy
from perdure.workflow._handler_definitions import (
    HandlerDefinition,
    QueryDefinition,
    SignalDefinition,
    UpdateDefinition,
    bind,
    signal_name,
)

KINDS: dict[str, tuple[Any, Any]] = {
    "signal": (workflow.signal, SignalDefinition.from_fn),
    "query": (workflow.query, QueryDefinition.from_fn),
    "update": (workflow.update, UpdateDefinition.from_fn),
}


def method() -> Any:
    class Owner:
        def handle(self, number: int) -> str: ...

    return Owner.handle


def dynamic() -> Any:
    class Owner:
        def handle(self, name: str, args: Sequence[RawValue]) -> str: ...

    return Owner.handle


def old() -> Any:
    class Owner:
        def handle(self, name: str, *args: Any) -> None: ...

    return Owner.handle


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_names_and_descriptions(kind: str) -> None:
    decorate, definition_of = KINDS[kind]
    plain = decorate(method())
    named = decorate(name="own", description="says")(method())
    any_name = decorate(dynamic=True, description="says")(dynamic())
    described = decorate(description="says")(method())
    found = [definition_of(each) for each in (plain, named, any_name, described)]
    assert [each.name for each in found] == ["handle", "own", None, "handle"]
    assert [each.description for each in found] == [None, "says", "says", "says"]
    assert [each.is_method for each in found] == [True] * 4
    assert [each.dynamic_vararg for each in found] == [False] * 4
    assert (found[0].arg_types, found[0].ret_type) == ([int], str)
    assert found[0].fn is plain


def test_a_handler_of_one_kind_is_none_of_another(kind: str) -> None:
    made = KINDS[kind][0](method())
    for other, (_, definition_of) in KINDS.items():
        assert (definition_of(made) is not None) == (other == kind)
        assert definition_of(method()) is None


def test_an_attribute_that_only_looks_like_an_update() -> None:
    strange = method()
    strange._defn = "something else"
    assert UpdateDefinition.from_fn(strange) is None


def test_a_name_or_dynamic(kind: str) -> None:
    decorate, _ = KINDS[kind]
    with pytest.raises(RuntimeError, match="Cannot provide name and dynamic boolean"):
        decorate(name="x", dynamic=True)
    assert decorate(name="x", dynamic=False) is not None


def test_a_query_s_decorator_needs_something() -> None:
    untyped: Any = workflow.query
    with pytest.raises(RuntimeError, match="Cannot create query without function or name or"):
        untyped()
    with pytest.raises(RuntimeError, match="Cannot create query without function or name or"):
        untyped(name=None, dynamic=False, description="")
    for options in ({"name": "x"}, {"description": "x"}):
        assert QueryDefinition.from_fn(untyped(**options)(method())) is not None
    assert QueryDefinition.from_fn(untyped(dynamic=True)(dynamic())) is not None


@pytest.mark.parametrize("policy", [None, *HandlerUnfinishedPolicy])
@pytest.mark.parametrize("which", ["signal", "update"])
def test_what_to_do_about_unfinished_handlers(
    which: str, policy: HandlerUnfinishedPolicy | None
) -> None:
    decorate, definition_of = KINDS[which]
    options: dict[str, Any] = {} if policy is None else {"unfinished_policy": policy}
    expected = policy or HandlerUnfinishedPolicy.WARN_AND_ABANDON
    assert definition_of(decorate(**options)(method())).unfinished_policy is expected


# Async and old forms --------------------------------------------------------------------------------


class Callable_:  # noqa: N801 - a callable object, not a workflow
    async def __call__(self, other: Any) -> None: ...


def test_only_async_queries_are_warned_about() -> None:
    async def handle(self: Any) -> None: ...

    with pytest.warns(DeprecationWarning, match="Queries as async def functions are deprecated"):
        workflow.query(handle)
    with pytest.warns(DeprecationWarning, match="Queries as async def functions"):
        workflow.query(name="x")(Callable_())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        workflow.query(method())
        workflow.signal(handle)
        workflow.update(handle)


def test_the_old_form_of_dynamic_handlers(kind: str) -> None:
    decorate, definition_of = KINDS[kind]
    handle = old()
    if kind == "update":
        with pytest.raises(RuntimeError, match="Dynamic updates do not support a vararg third"):
            decorate(dynamic=True)(handle)
        return
    plural = {"signal": "signals", "query": "queries"}[kind]
    with pytest.warns(
        DeprecationWarning, match=f"Dynamic {plural} with vararg third param"
    ) as seen:
        made = decorate(dynamic=True)(handle)
    assert [each.filename for each in seen] == [__file__]
    assert definition_of(made).dynamic_vararg
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decorate(dynamic=True)(dynamic())


class Forms:
    """Each is wrong in its own way."""

    def keyword_only(self, *, name: str, args: Sequence[RawValue]) -> None: ...

    def positional_only(self, name: str, /, *args: Any) -> None: ...

    def fewer(self, *args: Any) -> None: ...

    def more(self, name: str, other: str, *args: Any) -> None: ...

    def no_name(self, name: int, args: Sequence[RawValue]) -> None: ...

    def no_raw_values(self, name: str, args: Sequence[int]) -> None: ...

    def nothing(self) -> None: ...

    def last_is_keyword(self, name: str, **args: Any) -> None: ...


FORMS = [name for name in vars(Forms) if not name.startswith("_")]


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_dynamic_handlers_are_refused(kind: str, form: str) -> None:
    with pytest.raises(
        RuntimeError, match=rf"Dynamic handler {form} must have 3 arguments: self, str, and"
    ):
        KINDS[kind][0](dynamic=True)(getattr(Forms, form))


def test_handlers_that_are_set_at_run_time_have_no_self() -> None:
    def old(name: str, *args: Any) -> None: ...

    def new(name: str, args: Sequence[RawValue]) -> None: ...

    def three(other: Any, name: str, *args: Any) -> None: ...

    assert HandlerDefinition(None, old, is_method=False).dynamic_vararg
    assert not HandlerDefinition(None, new, is_method=False).dynamic_vararg
    with pytest.raises(RuntimeError, match="three must have 2 arguments: str and Sequence"):
        HandlerDefinition(None, three, is_method=False)
    with pytest.raises(RuntimeError, match="old must have 3 arguments"):
        HandlerDefinition(None, old, is_method=True)


# Validators and binding -----------------------------------------------------------------------------


def test_a_validator_is_set_once_and_is_not_async() -> None:
    update = workflow.update(method())

    def validate(self: Any, number: int) -> None: ...

    async def too_late(self: Any, number: int) -> None: ...

    with pytest.raises(ValueError, match="must not be an async function"):
        update.validator(too_late)  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match="must not be an async function"):
        update.validator(Callable_())  # pyright: ignore[reportArgumentType]  # what is tested
    assert update.validator(validate) is validate
    with pytest.raises(RuntimeError, match="Validator already set for update handle"):
        update.validator(validate)
    definition = UpdateDefinition.from_fn(update)
    assert definition is not None
    assert definition.validator is validate


@pytest.mark.parametrize("is_method", [True, False])
def test_a_validator_is_bound_like_its_handler(is_method: bool) -> None:
    def handle(*args: Any) -> tuple[Any, ...]:
        return ("handled", *args)

    def validate(*args: Any) -> tuple[Any, ...]:
        return ("validated", *args)

    instance = object()
    definition = UpdateDefinition("u", handle, is_method)
    assert definition.bind_validator(instance) is None
    definition.set_validator(validate)  # pyright: ignore[reportArgumentType]  # it tells its arguments
    bound = definition.bind_validator(instance)
    assert bound is not None
    first = (instance,) if is_method else ()
    assert bound(1, 2) == ("validated", *first, 1, 2)
    assert definition.bind(instance)(1, 2) == ("handled", *first, 1, 2)


async def test_a_bound_method_stays_what_it_is() -> None:
    async def coroutine(*args: Any, **options: Any) -> Any:
        return args, options

    def plain(*args: Any, **options: Any) -> Any:
        return args, options

    assert await bind(coroutine, 1)(2, x=3) == ((1, 2), {"x": 3})
    assert bind(plain, 1)(2, x=3) == ((1, 2), {"x": 3})
    assert inspect.iscoroutinefunction(bind(coroutine, 1))
    assert not inspect.iscoroutinefunction(bind(plain, 1))


def test_the_name_of_a_signal() -> None:
    assert signal_name("x") == "x"
    assert signal_name(workflow.signal(name="own")(method())) == "own"
    with pytest.raises(
        RuntimeError, match=r"not found on handle, is it decorated with @workflow\.s"
    ):
        signal_name(method())
    with pytest.raises(RuntimeError, match="Cannot invoke dynamic signal definition"):
        signal_name(workflow.signal(dynamic=True)(dynamic()))
