"""The built-in queries: where a run's tasks stand, and what it answers to."""

from __future__ import annotations

import asyncio
import importlib.util
import linecache
import types
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import perdure
from perdure import workflow
from perdure.common import RawValue
from perdure.wire.api import sdk
from tests.unit.worker_host.doing import doing, forever
from tests.unit.worker_host.driver import CONVERTER, Driver, names

if TYPE_CHECKING:
    from collections.abc import Generator


def answered(run: Driver, name: str, kind: type[Any]) -> Any:
    answer = run.query(name).response
    assert answer is not None
    return CONVERTER.from_payload(answer, kind)


def trace_of(run: Driver) -> Any:
    return answered(run, "__enhanced_stack_trace", sdk.EnhancedStackTrace)


# Stacks -------------------------------------------------------------------------------------------


@types.coroutine
def in_the_old_way() -> Generator[Any, Any, None]:
    """A generator in the middle of the stack."""
    yield from forever()


async def waits() -> None:
    await in_the_old_way()


async def two_tasks() -> None:
    other = asyncio.create_task(waits(), name="other")
    await workflow.wait_condition(other.done)


def test_each_task_in_user_code_has_its_whole_stack() -> None:
    run, _ = doing(two_tasks)
    main, other = run.ask("__stack_trace").split("\n\n")
    assert main.startswith("Stack for run (workflow: Does, id: w, run: r) (most recent call last):")
    assert other.startswith("Stack for other (most recent call last):")
    calls = [line.rpartition(" in ")[2] for line in main.splitlines() if line.startswith("  File")]
    assert calls[0] == "Does.run"
    assert calls[-2:] == ["two_tasks", "wait_condition"], "the user's, then the vocabulary's"
    calls = [line.rpartition(" in ")[2] for line in other.splitlines() if line.startswith("  File")]
    assert calls == ["waits", "in_the_old_way", "forever"]
    assert run.host.stack_trace() == run.ask("__stack_trace")


def test_the_enhanced_trace_has_every_frame() -> None:
    run, _ = doing(two_tasks)
    trace = trace_of(run)
    assert (trace.sdk.name, trace.sdk.version) == ("perdure-python", perdure.__version__)
    first, second = trace.stacks
    assert [where.function_name for where in second.locations] == [
        "waits", "in_the_old_way", "forever",
    ]  # fmt: skip
    names_of = [(where.function_name, where.internal_code) for where in first.locations]
    assert ("two_tasks", False) in names_of
    assert ("wait_condition", True) in names_of
    for where in (*first.locations, *second.locations):
        line = linecache.getline(where.file_path, where.line)
        assert line[where.column - 1 :].strip(), "the column is where the call stands"
    (where,) = (each for each in first.locations if each.function_name == "two_tasks")
    assert Path(where.file_path) == Path(__file__)
    assert linecache.getline(where.file_path, where.line)[where.column - 1 :].startswith(
        "await workflow."
    )


def test_the_enhanced_trace_has_the_sources_around_user_code_only() -> None:
    run, _ = doing(two_tasks)
    trace = trace_of(run)
    doing_file = str(Path(__file__).with_name("doing.py"))
    assert sorted(trace.sources) == sorted([str(Path(__file__)), doing_file])
    source = Path(doing_file).read_text(encoding="utf-8").splitlines(keepends=True)
    lines = [
        where.line
        for stack in trace.stacks
        for where in stack.locations
        if where.file_path == doing_file
    ]
    assert len(set(lines)) > 1
    found = trace.sources[doing_file]
    first, last = max(1, min(lines) - 20), min(len(source), max(lines) + 20)
    assert found.line_offset == first - 1
    assert found.content == "".join(source[first - 1 : last])


SHORT = "async def short(wait):\n    await wait()\n"
LONG = "\n" * 99 + SHORT + "\n" * 100


@pytest.mark.parametrize(
    ("text", "offset", "lines"),
    [(SHORT, 0, 2), (LONG, 80, 41)],
    ids=["a short file, whole", "twenty lines on both sides"],
)
def test_a_slice_ends_with_its_file(text: str, offset: int, lines: int, tmp_path: Path) -> None:
    path = tmp_path / "sliced.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("sliced", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run, _ = doing(lambda: module.short(forever))
    found = trace_of(run).sources[str(path)]
    assert found.line_offset == offset
    assert found.content == "".join(text.splitlines(keepends=True)[offset : offset + lines])


def test_a_task_of_the_library_alone_has_no_stack() -> None:
    async def main() -> None:
        workflow.start_activity("a", start_to_close_timeout=timedelta(minutes=1))
        await forever()

    run, _ = doing(main)
    assert len(trace_of(run).stacks) == 1
    assert run.ask("__stack_trace").count("Stack for") == 1


# What a run answers to ----------------------------------------------------------------------------


@workflow.defn(name="Answers")
class Answers:
    @workflow.run
    async def run(self) -> None:
        workflow.set_current_details("on its way")
        await forever()

    @workflow.signal(description="second")
    def zwei(self) -> None: ...

    @workflow.signal(description="first")
    def eins(self) -> None: ...

    @workflow.signal(dynamic=True)
    def rest(self, name: str, args: Sequence[RawValue]) -> None: ...

    @workflow.query(description="a question")
    def zz(self) -> int:
        return 1

    @workflow.query
    def aa(self) -> int:
        return 1

    @workflow.update(description="last")
    async def later(self) -> None: ...

    @workflow.update
    async def earlier(self) -> None: ...


def test_metadata_lists_handlers_by_name() -> None:
    run = Driver(Answers)
    assert names(run.start()) == []
    metadata = answered(run, "__temporal_workflow_metadata", sdk.WorkflowMetadata)
    assert metadata.current_details == "on its way"
    assert metadata.definition.type == "Answers"

    def listed(definitions: Any) -> list[tuple[str, str]]:
        return [(each.name, each.description) for each in definitions]

    assert listed(metadata.definition.signal_definitions) == [
        ("", ""), ("eins", "first"), ("zwei", "second"),
    ]  # fmt: skip
    assert listed(metadata.definition.update_definitions) == [("earlier", ""), ("later", "last")]
    assert listed(metadata.definition.query_definitions) == [
        ("__enhanced_stack_trace", ""),
        ("__stack_trace", ""),
        ("__temporal_workflow_metadata", ""),
        ("aa", ""),
        ("zz", "a question"),
    ]
