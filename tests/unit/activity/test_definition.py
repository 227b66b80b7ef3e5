from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity
from perdure.activity import definition as definition_module
from perdure.activity.definition import ActivityOptions, Definition, set_schedule_hook
from perdure.common import RawValue


@activity.defn
async def charge(amount: int) -> str:
    return f"charged {amount}"


@activity.defn(name="other", no_thread_cancel_exception=True)
def renamed(a: str, b: float) -> None: ...


@activity.defn(dynamic=True)
async def anything(args: Sequence[RawValue]) -> None: ...


@activity.defn(start_to_close_timeout=timedelta(seconds=5), task_queue="fast")
async def ship(order: str, express: bool = False) -> str:
    """Ships."""
    return f"shipped {order} {express}"


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @activity.defn
    def sell(self, item: str) -> str:
        return f"{self.name}: {item}"

    @activity.defn(start_to_close_timeout=timedelta(seconds=1))
    async def pack(self, item: str) -> str:
        return f"{self.name} packs {item}"


@activity.defn(name="callable")
class Doubler:
    async def __call__(self, x: int) -> int:
        return x


def definition(fn: Any) -> Definition:
    return Definition.must_from_callable(fn)


def test_what_is_recorded() -> None:
    found = definition(charge)
    assert (found.name, found.is_async, found.arg_types, found.ret_type) == (
        "charge",
        True,
        [int],
        str,
    )
    assert found.options is None
    other = definition(renamed)
    assert (other.name, other.is_async, other.no_thread_cancel_exception) == ("other", False, True)
    assert definition(anything).name is None


def test_methods_are_called_on_their_object() -> None:
    assert definition(Shop("a").sell).fn("x") == "a: x"
    assert definition(Shop("a").sell).arg_types == [str]


async def test_methods_with_options_too() -> None:
    assert await definition(Shop("b").pack).fn("x") == "b packs x"


async def test_callable_objects() -> None:
    instance = Doubler()
    found = definition(instance)
    assert (found.name, found.is_async, found.arg_types) == ("callable", True, [int])
    assert await found.fn(3) == 3


def test_options_are_defaults() -> None:
    options = definition(ship).options
    assert options is not None
    assert options.given() == {
        "start_to_close_timeout": timedelta(seconds=5),
        "task_queue": "fast",
    }
    assert ActivityOptions().given() == {}
    assert ship.__doc__ == "Ships."


class TestErrors:
    def test_twice(self) -> None:
        with pytest.raises(ValueError, match="already"):
            activity.defn(charge)

    def test_keyword_only(self) -> None:
        def bad(*, a: int) -> None: ...

        with pytest.raises(TypeError, match="keyword-only"):
            activity.defn(bad)

    def test_dynamic_with_other_parameters(self) -> None:
        def bad(a: int) -> None: ...

        with pytest.raises(TypeError, match="Dynamic"):
            activity.defn(dynamic=True)(bad)

    def test_dynamic_with_a_name(self) -> None:
        with pytest.raises(ValueError, match="not both"):
            activity.defn(name="x", dynamic=True)

    def test_options_on_a_sync_function(self) -> None:
        def bad() -> None: ...

        with pytest.raises(TypeError, match="only async"):
            activity.defn(start_to_close_timeout=timedelta(seconds=1))(bad)

    def test_unknown_option(self) -> None:
        wrong: Any = {"timeout": timedelta(seconds=1)}
        with pytest.raises(TypeError, match="no option timeout"):
            activity.defn(**wrong)

    def test_not_decorated(self) -> None:
        def bad() -> None: ...

        with pytest.raises(TypeError, match="was it decorated"):
            definition(bad)

    def test_decorated_by_the_other_package(self) -> None:
        def bad() -> None: ...

        setattr(bad, "__temporal_activity_definition", object())
        with pytest.raises(TypeError, match="'temporalio'"):
            definition(bad)

    def test_names(self) -> None:
        assert Definition.get_name_and_result_type("x") == ("x", None)
        assert Definition.get_name_and_result_type(charge) == ("charge", str)
        with pytest.raises(ValueError, match="no name"):
            Definition.get_name_and_result_type(anything)
        wrong: Any = 5
        with pytest.raises(TypeError, match="string or callable"):
            Definition.get_name_and_result_type(wrong)


class TestDirectCalls:
    @pytest.fixture(autouse=True)
    def hook(self) -> Iterator[None]:
        """A workflow is running when `self.inside`."""
        self.inside = True
        self.scheduled: list[tuple[str | None, list[Any]]] = []

        async def result() -> str:
            return "scheduled"

        def hook(found: Definition, args: Sequence[Any]) -> Awaitable[Any] | None:
            if not self.inside:
                return None
            self.scheduled.append((found.name, list(args)))
            return result()

        before = definition_module._schedule_hook
        set_schedule_hook(hook)
        yield
        set_schedule_hook(before)

    async def test_inside_a_workflow_it_is_scheduled(self) -> None:
        assert await ship("o-1") == "scheduled"
        assert await ship("o-2", express=True) == "scheduled"
        assert self.scheduled == [("ship", ["o-1"]), ("ship", ["o-2", True])]

    async def test_methods_go_without_their_object(self) -> None:
        assert await Shop("a").pack("x") == "scheduled"
        assert self.scheduled == [("pack", ["x"])]

    async def test_elsewhere_it_is_called(self) -> None:
        self.inside = False
        assert await ship("o-1", express=True) == "shipped o-1 True"

    async def test_without_options_it_is_called(self) -> None:
        assert await charge(5) == "charged 5"
        assert self.scheduled == []

    async def test_positions_pass_as_they_are(self) -> None:
        assert await ship("a", True, *["too many"]) == "scheduled"
        assert self.scheduled == [("ship", ["a", True, "too many"])]

    async def test_without_a_hook_it_is_called(self) -> None:
        set_schedule_hook(None)
        assert await ship("o-1") == "shipped o-1 False"

    async def test_a_worker_calls_the_function_itself(self) -> None:
        assert await definition(ship).fn("o-1") == "shipped o-1 False"
        assert self.scheduled == []


class NotDecorated:
    def __call__(self) -> None: ...

    def method(self) -> None: ...


class Strange:
    """Has every attribute that it is asked for."""

    __name__ = "strange"

    def __getattr__(self, name: str) -> object:
        return object()

    def __call__(self) -> None: ...


@pytest.mark.parametrize("what", [NotDecorated, NotDecorated(), NotDecorated().method, len])
def test_what_has_no_definition(what: Any) -> None:
    assert Definition.from_callable(what) is None
    with pytest.raises(TypeError, match=r"was it decorated with @activity\.defn\?"):
        definition(what)


def test_an_attribute_that_is_no_definition() -> None:
    assert Definition.from_callable(Strange()) is None
    with pytest.raises(TypeError, match="'temporalio'"):
        definition(Strange())


def test_a_function_has_one_definition() -> None:
    assert definition(charge) is definition(charge)
    assert definition(ship) is definition(ship)
    method = Shop("a").sell
    assert definition(method).fn is method
    assert definition(method).name == "sell"


def test_what_is_no_callable_is_refused() -> None:
    decorate: Any = activity.defn(name="x")
    with pytest.raises(TypeError, match="Activity is not callable"):
        decorate(5)


class TestDecorating:
    """The decorators at the top of this module run at import; these run in the test."""

    @pytest.mark.parametrize("name", [None, "named"])
    def test_names(self, name: str | None) -> None:
        def own() -> None: ...

        assert definition(activity.defn(name=name)(own)).name == (name or "own")

    def test_a_dynamic_one_has_no_name(self) -> None:
        def own(args: Sequence[RawValue]) -> None: ...

        assert definition(activity.defn(dynamic=True)(own)).name is None

    def test_what_is_called_asynchronously(self) -> None:
        async def coroutine() -> None: ...

        def plain() -> None: ...

        class Async:
            async def __call__(self) -> None: ...

        class Sync:
            def __call__(self) -> None: ...

        kinds = (coroutine, plain, Async, Sync)
        assert [definition(activity.defn(kind)).is_async for kind in kinds] == [
            True,
            False,
            True,
            False,
        ]

    def test_objects_that_are_called(self) -> None:
        class Async:
            async def __call__(self) -> None: ...

        class Sync:
            def __call__(self) -> None: ...

        decorated: Any = [activity.defn(name="x")(each) for each in (Async(), Sync())]
        assert [definition(each).is_async for each in decorated] == [True, False]

    def test_methods_and_functions_with_and_without_options(self) -> None:
        class Owner:
            def plain(self, a: int) -> str: ...

            async def coroutine(self, a: int) -> str: ...

        async def function(a: int) -> str: ...

        second = timedelta(seconds=1)
        assert definition(activity.defn(Owner.plain)).takes_self
        assert definition(activity.defn(start_to_close_timeout=second)(Owner.coroutine)).takes_self
        found = definition(activity.defn(start_to_close_timeout=second)(function))
        assert not found.takes_self
        assert (found.arg_types, found.ret_type) == ([int], str)
        assert found.options == ActivityOptions(start_to_close_timeout=second)

    @pytest.mark.parametrize("flag", [True, False])
    def test_cancellation_in_threads(self, flag: bool) -> None:
        def own() -> None: ...

        decorated = activity.defn(no_thread_cancel_exception=flag)(own)
        assert definition(decorated).no_thread_cancel_exception is flag
        assert definition(decorated).options is None
        assert decorated is own
