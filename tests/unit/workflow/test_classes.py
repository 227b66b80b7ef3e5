"""Workflow classes that are put together in the test: what a definition records, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue, VersioningBehavior
from perdure.workflow import DynamicWorkflowConfig
from perdure.workflow._callables import (
    is_async,
    is_defined_on,
    is_raw_values,
    name_of,
    positional_arity,
    same_parameters,
)
from perdure.workflow._definition import Definition


def made(body: dict[str, Any], bases: tuple[type, ...] = (), name: str = "Made") -> type:
    """A class whose functions look as if they were written in its body."""
    for each, member in body.items():
        member.__qualname__ = f"{name}.{each}"
        member.__name__ = each
    return type(name, bases, {"__module__": __name__, **body})


def run_method(*, takes: bool = False) -> Any:
    async def run(self: Any) -> None: ...

    async def run_with(self: Any, number: int) -> None: ...

    chosen = run_with if takes else run
    chosen.__qualname__ = "Made.run"
    return workflow.run(chosen)


def plain() -> Any:
    def handle(self: Any) -> None: ...

    return handle


def defined(body: dict[str, Any], bases: tuple[type, ...] = (), **options: Any) -> Definition:
    cls = made(body, bases)
    decorated = workflow.defn(**options)(cls) if options else workflow.defn(cls)
    assert decorated is cls
    return Definition.must_from_class(cls)


def issue(body: dict[str, Any], bases: tuple[type, ...] = (), **options: Any) -> str:
    with pytest.raises(ValueError, match="Invalid workflow class") as caught:
        defined(body, bases, **options)
    return str(caught.value)


def test_what_is_recorded_unless_told() -> None:
    found = defined({"run": run_method()})
    assert found.name == "Made"
    assert found.sandboxed
    assert tuple(found.failure_exception_types) == ()
    assert found.versioning_behavior is VersioningBehavior.UNSPECIFIED
    assert found.dynamic_config_fn is None
    assert not found.takes_init_args
    assert (dict(found.signals), dict(found.queries), dict(found.updates)) == ({}, {}, {})
    assert found.cls.run is found.run_fn  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize("sandboxed", [True, False])
@pytest.mark.parametrize("name", [None, "own"])
def test_every_option_is_recorded(name: str | None, sandboxed: bool) -> None:
    found = defined(
        {"run": run_method()},
        name=name,
        sandboxed=sandboxed,
        failure_exception_types=[ValueError, KeyError],
        versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )
    assert (found.name, found.sandboxed) == (name or "Made", sandboxed)
    assert tuple(found.failure_exception_types) == (ValueError, KeyError)
    assert found.versioning_behavior is VersioningBehavior.AUTO_UPGRADE


def dynamic_run() -> Any:
    class Made:
        async def run(self, args: Sequence[RawValue]) -> None: ...

    Made.run.__qualname__ = "Made.run"
    return workflow.run(Made.run)


def config() -> Any:
    class Made:
        def configure(self) -> DynamicWorkflowConfig:
            return DynamicWorkflowConfig()

    return workflow.dynamic_config(Made.configure)


def test_a_dynamic_workflow_has_no_name_and_may_configure_itself() -> None:
    configure = config()
    found = defined({"run": dynamic_run(), "configure": configure}, dynamic=True)
    assert found.name is None
    assert found.dynamic_config_fn is configure
    with pytest.raises(ValueError, match="Cannot invoke dynamic workflow explicitly"):
        Definition.name_and_result_type(found.run_fn)


@pytest.mark.parametrize("takes", [int, Sequence[int], list[RawValue], RawValue])
def test_a_dynamic_workflow_takes_raw_values_only(takes: Any) -> None:
    class Made:
        async def run(self, args: Any) -> None: ...

    Made.run.__annotations__["args"] = takes
    Made.run.__qualname__ = "Made.run"
    with pytest.raises(TypeError, match="must accept a single Sequence"):
        defined({"run": workflow.run(Made.run)}, dynamic=True)


def test_a_dynamic_workflow_takes_one_argument() -> None:
    class Made:
        async def run(self, args: Sequence[RawValue], more: int) -> None: ...

    Made.run.__qualname__ = "Made.run"
    with pytest.raises(TypeError, match="must accept a single Sequence"):
        defined({"run": workflow.run(Made.run)}, dynamic=True)


def test_only_dynamic_workflows_configure_themselves_and_once() -> None:
    said = issue({"run": run_method(), "configure": config()})
    assert "can only be used in dynamic workflows, but workflow class Made (Made) is not" in said
    twice = {"run": dynamic_run(), "a": config(), "b": config()}
    assert "can only be defined once per workflow" in issue(twice, dynamic=True)


def test_a_configuration_is_a_plain_method_without_parameters() -> None:
    decorate: Any = workflow.dynamic_config

    async def coroutine(self: Any) -> DynamicWorkflowConfig: ...

    def more(self: Any, other: int) -> DynamicWorkflowConfig: ...

    def fewer() -> DynamicWorkflowConfig: ...

    with pytest.raises(ValueError, match="must be synchronous"):
        decorate(coroutine)
    for wrong in (more, fewer):
        with pytest.raises(ValueError, match="must only take self parameter"):
            decorate(wrong)


def initialiser(*, takes: bool) -> Any:
    def __init__(self: Any) -> None: ...  # noqa: N807

    def init_with(self: Any, number: int) -> None: ...

    chosen = init_with if takes else __init__
    chosen.__name__ = "__init__"
    return workflow.init(chosen)


@pytest.mark.parametrize("run_takes", [True, False])
@pytest.mark.parametrize("init_takes", [True, False])
def test_init_takes_what_run_takes(run_takes: bool, init_takes: bool) -> None:
    body = {"run": run_method(takes=run_takes), "__init__": initialiser(takes=init_takes)}
    if run_takes == init_takes:
        assert defined(body).takes_init_args
    else:
        assert "@workflow.init and @workflow.run method parameters do not match" in issue(body)


def test_an_init_without_run_is_one_problem_only() -> None:
    assert issue({"__init__": initialiser(takes=True)}) == (
        "Invalid workflow class: Missing @workflow.run method"
    )


def test_an_init_that_is_not_decorated_takes_nothing_from_the_run() -> None:
    def __init__(self: Any, number: int) -> None: ...  # noqa: N807

    assert not defined({"run": run_method(), "__init__": __init__}).takes_init_args


@pytest.mark.parametrize("kind", ["signal", "query", "update"])
def test_two_handlers_of_one_name(kind: str) -> None:
    decorate = getattr(workflow, kind)
    first, second = decorate(name="x")(plain()), decorate(name="x")(plain())
    said = issue({"run": run_method(), "a": first, "b": second})
    assert f"Multiple {kind} methods found for x (at least on b and a)" in said
    others = [each for each in ("signal", "query", "update") if each != kind]
    body = {each: getattr(workflow, each)(name="x")(plain()) for each in others}
    found = defined({"run": run_method(), "a": decorate(name="x")(plain()), **body})
    assert [list(each) for each in (found.signals, found.queries, found.updates)] == [["x"]] * 3


def test_two_dynamic_handlers() -> None:
    class Made:
        def one(self, name: str, args: Sequence[RawValue]) -> None: ...

        def two(self, name: str, args: Sequence[RawValue]) -> None: ...

    body = {each: workflow.signal(dynamic=True)(getattr(Made, each)) for each in ("one", "two")}
    assert "Multiple signal methods found for <dynamic>" in issue({"run": run_method(), **body})


@pytest.mark.parametrize("fits", [True, False])
def test_a_validator_takes_what_its_update_takes(fits: bool) -> None:
    def change(self: Any, number: int) -> None: ...

    def validate(self: Any, other: int) -> None: ...

    def validate_less(self: Any) -> None: ...

    update: Any = workflow.update(change)
    update.validator(validate if fits else validate_less)
    body = {"run": run_method(), "change": update}
    if fits:
        assert defined(body).updates["change"].validator is validate
    else:
        said = issue(body)
        assert "validator method validate_less parameters do not match update method change" in said


# Inheritance ----------------------------------------------------------------------------------------


def base(**body: Any) -> type:
    return made(body, name="Base")


def test_run_is_written_in_the_class_itself() -> None:
    async def run(self: Any) -> None: ...

    run.__qualname__ = "Base.run"
    said = issue({}, (base(run=workflow.run(run)),))
    assert "@workflow.run method run must be defined on Made" in said


def test_an_override_of_run_is_decorated_too() -> None:
    async def run(self: Any) -> None: ...

    async def again(self: Any) -> None: ...

    run.__qualname__ = "Base.run"
    parent = base(run=workflow.run(run))
    said = issue({"run": again}, (parent,))
    assert (
        said == "Invalid workflow class: @workflow.run defined on Base.run but not on the override"
    )
    assert defined({"run": run_method()}, (parent,)).name == "Made"
    other = issue({"run": again, "begin": run_method()}, (parent,))
    assert other == said, "another method of the class is not the override"


@pytest.mark.parametrize("kind", ["signal", "query", "update"])
def test_an_override_of_a_handler_is_decorated_too(kind: str) -> None:
    decorate = getattr(workflow, kind)
    parent = base(handle=decorate(plain()), other=decorate(name="other")(plain()))
    said = issue({"run": run_method(), "handle": plain()}, (parent,))
    assert said == (
        f"Invalid workflow class: @workflow.{kind} defined on Base.handle but not on the override"
    )
    inherited = defined({"run": run_method()}, (parent,))
    known = {"signal": inherited.signals, "query": inherited.queries, "update": inherited.updates}
    assert set(known[kind]) == {"handle", "other"}
    overridden = defined({"run": run_method(), "handle": decorate(plain())}, (parent,))
    known = {
        "signal": overridden.signals,
        "query": overridden.queries,
        "update": overridden.updates,
    }
    assert known[kind]["handle"].fn is overridden.cls.__dict__["handle"]


def test_bases_of_bases_count_and_plain_methods_do_not() -> None:
    top = base(handle=workflow.signal(plain()), helper=plain())
    middle = made({"more": plain()}, (top,), "Middle")
    said = issue({"run": run_method(), "handle": plain(), "helper": plain()}, (middle,))
    assert said == (
        "Invalid workflow class: @workflow.signal defined on Base.handle but not on the override"
    )


def test_a_subclass_has_no_definition_of_its_own_and_may_get_one() -> None:
    parent = defined({"run": run_method()}).cls
    child = made({"run": run_method()}, (parent,), "Child")
    assert Definition.from_class(child) is None
    child.__dict__["run"].__qualname__ = "Child.run"
    assert Definition.must_from_class(workflow.defn(child)).name == "Child"
    assert Definition.must_from_class(parent).name == "Made"
    with pytest.raises(ValueError, match="already contains workflow definition"):
        workflow.defn(child)


def test_what_is_no_workflow() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="must be a string or callable"):
        Definition.name_and_result_type(wrong)
    with pytest.raises(ValueError, match=r"Function plain missing attributes, was it decorated"):
        Definition.must_from_run_fn(plain)
    assert Definition.from_run_fn(plain) is None
    with pytest.raises(
        ValueError, match=r"Workflow int missing attributes, was it decorated with @"
    ):
        Definition.must_from_class(int)


# Small questions ------------------------------------------------------------------------------------


class Caller:
    async def __call__(self) -> None: ...

    def method(self) -> None: ...


def test_questions_about_callables() -> None:
    async def coroutine() -> None: ...

    assert [is_async(each) for each in (coroutine, Caller(), plain, Caller().method, len)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [name_of(each) for each in (plain, Caller(), Caller)] == ["plain", "Caller", "Caller"]
    assert is_defined_on(Caller.method, Caller)
    assert not is_defined_on(plain, Caller)
    assert not is_defined_on(Caller().method, Caller)
    assert not is_defined_on(Definition.must_from_class, Caller)
    assert not is_defined_on(len, Caller)
    assert [
        is_raw_values(each) for each in (Sequence[RawValue], list[RawValue], Sequence[int], int)
    ] == [
        True,
        False,
        False,
        False,
    ]


def test_the_same_parameters_apart_from_their_names() -> None:
    def one(a: int, b: str = "") -> None: ...

    def renamed(x: int, y: str = "") -> None: ...

    def other_type(a: int, b: int = 0) -> None: ...

    def no_default(a: int, b: str) -> None: ...

    def swapped(b: str, a: int) -> None: ...

    assert same_parameters(one, renamed)
    assert not any(same_parameters(one, each) for each in (other_type, no_default, swapped))


@pytest.mark.parametrize("bound", [True, False])
def test_how_many_arguments_a_function_takes(bound: bool) -> None:
    def nothing() -> None: ...

    def some(self: Any, a: int, /, b: int, c: int = 0, *, d: int = 0) -> None: ...

    def any_number(self: Any, a: int, *args: int) -> None: ...

    def only_any_number(*args: int) -> None: ...

    one = int(bound)
    assert positional_arity(some, bound=bound) == (3 - one, 4 - one)
    assert positional_arity(any_number, bound=bound) == (2 - one, None)
    assert positional_arity(only_any_number, bound=bound) == (0, None)
    assert positional_arity(nothing, bound=bound)[0] == 0


def test_a_copy_of_a_class_is_not_the_workflow() -> None:
    original = defined({"run": run_method()}).cls
    copy = type("Copy", (), dict(original.__dict__))
    assert Definition.from_class(copy) is None
    assert Definition.from_class(original) is not None


def test_every_override_is_looked_at() -> None:
    first, last = workflow.signal(name="a")(plain()), workflow.signal(name="z")(plain())
    said = issue({"run": run_method(), "z": plain()}, (base(a=first, z=last),))
    assert (
        said == "Invalid workflow class: @workflow.signal defined on Base.z but not on the override"
    )
