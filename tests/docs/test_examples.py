"""The examples in the docstrings of public names run, each on an engine of its own."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
import types
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker
from tests.tidy import public

# What an example may use without importing it, besides `client`. CONTRIBUTING.md lists the same names.
GIVEN = {
    "activity": activity,
    "asyncio": asyncio,
    "timedelta": timedelta,
    "Worker": Worker,
    "workflow": workflow,
}


CASES = [(name.shown, code) for name in public.names() for code in name.examples]


@pytest.mark.parametrize(("shown", "code"), CASES, ids=[shown for shown, _ in CASES])
def test_example_runs(shown: str, code: str, monkeypatch: pytest.MonkeyPatch):
    assert "assert" in code or "simulate(" in code, "an example checks what it shows"
    module = types.ModuleType("example_of_a_docstring")
    # The class of a workflow looks its annotations up in its module.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(module).update(GIVEN)
    compiled = compile(
        code, f"<example of {shown}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    if compiled.co_flags & inspect.CO_COROUTINE:
        asyncio.run(_run(compiled, vars(module)))
    else:
        exec(compiled, vars(module))


async def _run(compiled: types.CodeType, names: dict[str, Any]) -> None:
    async with await WorkflowEnvironment.start_time_skipping() as environment:
        names["client"] = environment.client
        await eval(compiled, names)
