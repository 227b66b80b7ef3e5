"""What is put into the standard library and into the modules of workflows, once per process: tried on copies."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure import workflow
from perdure.worker.host import HostOptions, asyncio_compat, binding
from perdure.worker.host.options import WaitForProfile
from tests.unit.worker_host.doing import doing, done
from tests.unit.worker_host.driver import names

if TYPE_CHECKING:
    from collections.abc import Iterator


def again(module: ModuleType) -> Any:
    """A module with a state of its own."""
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_again", module.__file__ or "")
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


# asyncio ------------------------------------------------------------------------------------------

NAMES = ("wait_for", "wait", "as_completed")


class Replaced:
    """`asyncio` with the functions of the interpreter, into which ours are put."""

    def __init__(self) -> None:
        originals = {name: inspect.unwrap(getattr(asyncio, name)) for name in NAMES}
        self.noted: list[tuple[Any, Any]] = []
        self.asyncio: Any = ModuleType("asyncio")
        for name, value in {**vars(asyncio), **originals}.items():
            setattr(self.asyncio, name, value)
        self.asyncio.tasks = SimpleNamespace(**originals)
        self.originals = originals
        self.compat = again(asyncio_compat)
        self.compat.asyncio = self.asyncio
        self.compat.binding = SimpleNamespace(replaced=self._note)
        self.compat.install()

    def _note(self, original: Any, replacement: Any) -> None:
        self.noted.append((original, replacement))


def test_three_functions_are_replaced_in_both_places_once() -> None:
    replaced = Replaced()
    replaced.compat.install()
    assert [original for original, _ in replaced.noted] == list(replaced.originals.values())
    for name, (original, replacement) in zip(NAMES, replaced.noted, strict=True):
        assert replacement is not original
        assert getattr(replaced.asyncio, name) is replacement
        assert getattr(replaced.asyncio.tasks, name) is replacement
        assert replacement.__name__ == name


def test_what_was_put_in_works_inside_workflows() -> None:
    replaced = Replaced().asyncio

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(work()) for _ in range(3)]
        done_tasks, pending = await replaced.wait(tasks)
        earliest = [await each for each in replaced.as_completed([work(), work()])]
        return [
            list(done_tasks) == tasks,
            len(pending),
            earliest,
            await replaced.wait_for(work(), 5),
        ]

    for profile in WaitForProfile:
        run, found = doing(main, wait_for_profile=profile)
        assert names(found) == ["StartTimer", "CancelTimer", "CompleteWorkflow"]
        assert run.host.wait_for_profile_matters
    assert done(main) == [True, 0, ["done", "done"], "done"]


async def test_what_was_put_in_is_not_noticed_outside_workflows() -> None:
    replaced = Replaced().asyncio
    task = asyncio.ensure_future(asyncio.sleep(0, "slept"))
    assert await replaced.wait([task], timeout=60) == ({task}, set())
    assert await replaced.wait_for(task, 60) == "slept"
    assert [await each for each in replaced.as_completed([task], timeout=60)] == ["slept"]


# Names that were imported before --------------------------------------------------------------------


def original() -> str:
    return "original"


def other() -> str:
    return "other"


@pytest.fixture
def modules() -> Iterator[dict[str, ModuleType]]:
    """Three modules that imported `original` by name; `perdure.example` is the library's."""
    made = {name: ModuleType(name) for name in ("bound_base", "bound_flow", "perdure.example")}
    for module in made.values():
        vars(module).update(first=original, second=original, kept=other)
    sys.modules.update(made)
    yield made
    for name in made:
        del sys.modules[name]


def classes() -> tuple[type, type]:
    library = type("Library", (), {"__module__": "perdure.example"})
    missing = type("Missing", (), {"__module__": "bound_nowhere"})
    base = type("Base", (library, missing), {"__module__": "bound_base"})
    return base, type("Flow", (base,), {"__module__": "bound_flow"})


def test_names_in_the_modules_of_a_class_and_its_bases_are_bound(
    modules: dict[str, ModuleType],
) -> None:
    names_bound = again(binding)
    _, flow = classes()

    def replacement() -> str:
        return "replacement"

    names_bound.replaced(original, replacement)
    expected = [
        f"{name}.{each}" for name in ("bound_flow", "bound_base") for each in ("first", "second")
    ]
    assert names_bound.rebind(flow) == expected
    for name in ("bound_flow", "bound_base"):
        found = vars(modules[name])
        assert (found["first"], found["second"], found["kept"]) == (replacement, replacement, other)
    assert vars(modules["perdure.example"])["first"] is original, "the library knows the originals"


def test_a_class_is_looked_at_again_only_after_another_replacement(
    modules: dict[str, ModuleType],
) -> None:
    names_bound = again(binding)
    _, flow = classes()
    assert names_bound.rebind(flow) == []
    names_bound.replaced(original, print)
    assert len(names_bound.rebind(flow)) == 4
    vars(modules["bound_flow"])["first"] = original
    assert names_bound.rebind(flow) == []
    names_bound.replaced(other, repr)
    assert names_bound.rebind(flow) == ["bound_flow.first", "bound_flow.kept", "bound_base.kept"]


def test_a_class_of_the_interpreter_is_left_alone() -> None:
    names_bound = again(binding)
    names_bound.replaced(print, repr)
    assert names_bound.rebind(int) == []
    assert print is not repr


def test_a_workflow_class_binds_what_its_module_imported() -> None:
    """`from asyncio import wait_for` at the top of a module, before the first workflow ran."""
    vars(sys.modules[__name__])["early"] = inspect.unwrap(asyncio.wait)
    from tests.unit.worker_host.driver import Driver

    Driver(Early, HostOptions()).start()
    assert globals()["early"] is asyncio.wait


@workflow.defn
class Early:
    """Used once: the names of its module are bound once."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)
