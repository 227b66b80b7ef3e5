"""Decorators: what they accept, what they refuse, and what they say."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

import pytest

from perdure import workflow
from perdure.common import RawValue, VersioningBehavior
from perdure.workflow._definition import Definition


@workflow.defn(name="named", versioning_behavior=VersioningBehavior.PINNED)
class Named:
    @workflow.run
    async def run(self, number: int, text: str = "") -> list[str]:
        return [text] * number

    @workflow.signal(name="a-signal", description="for tests")
    async def first(self, number: int) -> None: ...

    @workflow.query
    def second(self) -> str:
        return ""

    @workflow.update
    def third(self, text: str) -> int:
        return len(text)

    @third.validator
    def third_validator(self, text: str) -> None: ...


def test_a_definition_knows_everything_about_its_class() -> None:
    definition = Definition.must_from_class(Named)
    assert definition.name == "named"
    assert definition.arg_types == [int, str]
    assert definition.ret_type == list[str]
    assert definition.versioning_behavior is VersioningBehavior.PINNED
    assert definition.signals["a-signal"].arg_types == [int]
    assert definition.signals["a-signal"].description == "for tests"
    assert definition.queries["second"].ret_type is str
    assert definition.updates["third"].validator is not None
    assert Definition.must_from_run_fn(Named.run) is definition
    assert Definition.name_and_result_type(Named.run) == ("named", list[str])
    assert Definition.name_and_result_type("other") == ("other", None)


def define(body: dict[str, Any], bases: tuple[type, ...] = (), **options: Any) -> Definition:
    """A class made from its parts, decorated."""
    for name, member in body.items():
        function = getattr(member, "__func__", member)
        if callable(function):
            function.__qualname__ = f"Made.{name}"
    cls = type("Made", bases, {"__module__": __name__, **body})
    return Definition.must_from_class(
        workflow.defn(**options)(cls) if options else workflow.defn(cls)
    )


def runs() -> Any:
    async def run(self: Any) -> None: ...

    run.__qualname__ = "Made.run"
    return workflow.run(run)


def test_the_default_name_is_the_class_name() -> None:
    assert define({"run": runs()}).name == "Made"


def handler(decorate: Any, name: str = "handle") -> Any:
    def handle(self: Any) -> None: ...

    handle.__name__ = name
    return decorate(handle)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (dict, "Missing @workflow.run method"),
        (lambda: {"run": runs(), "again": runs()}, "Multiple @workflow.run methods found"),
        (
            lambda: {"run": runs(), "a": handler(workflow.signal), "b": handler(workflow.signal)},
            "Multiple signal methods found for handle",
        ),
        (
            lambda: {"run": runs(), "a": handler(workflow.query), "b": handler(workflow.query)},
            "Multiple query methods found for handle",
        ),
        (
            lambda: {"run": runs(), "a": handler(workflow.update), "b": handler(workflow.update)},
            "Multiple update methods found for handle",
        ),
    ],
)
def test_what_is_wrong_with_a_class_is_said(body: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"Invalid workflow class: {message}"):
        define(body())


def test_all_problems_are_said_at_once() -> None:
    body = {"a": handler(workflow.signal), "b": handler(workflow.signal)}
    with pytest.raises(ValueError, match="for 2 reasons.*Multiple signal.*Missing"):  # noqa: RUF043
        define(body)


def test_init_takes_what_run_takes() -> None:
    def __init__(self: Any, number: int) -> None: ...  # noqa: N807

    body = {"run": runs(), "__init__": workflow.init(__init__)}
    with pytest.raises(ValueError, match="@workflow.init and @workflow.run method parameters"):  # noqa: RUF043
        define(body)
    with pytest.raises(ValueError, match="only be used on the __init__"):
        workflow.init(lambda: None)


def test_a_validator_takes_what_its_handler_takes() -> None:
    def change(self: Any, text: str) -> None: ...

    def validate(self: Any) -> None: ...

    update = workflow.update(change)
    update.validator(validate)  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match="Update validator method validate parameters"):
        define({"run": runs(), "change": update})


def test_an_async_validator_would_never_run() -> None:
    async def validate(self: Any) -> None: ...

    update = handler(workflow.update)
    with pytest.raises(ValueError, match="must not be an async function"):
        update.validator(validate)


def test_overrides_must_be_decorated_as_well() -> None:
    class Base:
        @workflow.signal
        def poke(self) -> None: ...

    Base.poke.__qualname__ = "Base.poke"

    def poke(self: Any) -> None: ...

    with pytest.raises(ValueError, match=r"@workflow.signal defined on Base\.poke but not on"):
        define({"run": runs(), "poke": poke}, (Base,))


def test_run_is_async_and_its_class_not_local() -> None:
    with pytest.raises(ValueError, match="must be an async function"):
        workflow.run(lambda self: None)  # pyright: ignore[reportArgumentType, reportUnknownLambdaType]

    async def run(self: Any) -> None: ...

    with pytest.raises(ValueError, match="Local classes unsupported"):
        workflow.run(run)


def test_a_class_is_decorated_once() -> None:
    with pytest.raises(ValueError, match="already contains"):
        workflow.defn(Named)


def test_an_undecorated_class_is_named() -> None:
    with pytest.raises(ValueError, match="Base missing attributes, was it decorated"):
        Definition.must_from_class(Base)


class Base:
    async def run(self) -> None: ...


# Dynamic handlers ---------------------------------------------------------------------------------


class Dynamic:
    def anything(self, name: str, args: Sequence[RawValue]) -> None: ...

    def typing_sequence(self, name: str, args: typing.Sequence[RawValue]) -> None: ...

    def wrong(self, name: str) -> None: ...

    def old(self, name: str, *args: Any) -> None: ...


def test_dynamic_handlers_take_a_name_and_raw_values() -> None:
    workflow.signal(dynamic=True)(Dynamic.anything)
    workflow.update(dynamic=True)(Dynamic.typing_sequence)
    with pytest.raises(RuntimeError, match="must have 3 arguments"):
        workflow.signal(dynamic=True)(Dynamic.wrong)
    with pytest.warns(DeprecationWarning, match="vararg"):
        workflow.query(dynamic=True)(Dynamic.old)
    with pytest.raises(RuntimeError, match="do not support a vararg"):
        workflow.update(dynamic=True)(Dynamic.old)
    with pytest.raises(RuntimeError, match="Cannot provide name and dynamic"):
        workflow.signal(name="x", dynamic=True)  # pyright: ignore[reportCallIssue]


def test_a_dynamic_workflow_takes_raw_values() -> None:
    with pytest.raises(TypeError, match="Sequence"):
        define({"run": runs()}, dynamic=True)


OFFICIAL = """
    defn run init signal query update execute_activity start_activity sleep wait wait_condition
    as_completed now time time_ns random uuid4 info logger patched deprecate_patch unsafe
    continue_as_new start_child_workflow execute_child_workflow ParentClosePolicy memo
    get_external_workflow_handle all_handlers_finished cancellation_reason current_update_info
    wait_for_condition Workflow execute_activity_method upsert_search_attributes
"""


def test_the_public_names_are_the_official_ones() -> None:
    names = OFFICIAL.split()
    assert set(names) <= set(workflow.__all__)
    assert all(hasattr(workflow, name) for name in workflow.__all__)
