"""Calls the functions of a list inside workflows, and prints what they answered, as JSON.

Usage: python -m tests.determinism.answers (libraries | values | refused) [--used]

Each function is called in two runs with the same seed and time. With `--used` it is called once before, outside
workflows: then the process has the caches that an activity would have left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

from perdure import workflow
from perdure.worker.host import HostOptions
from perdure.workflow import NonDeterministicCall
from tests.unit.worker_host.driver import Driver, result

if TYPE_CHECKING:
    from collections.abc import Callable

UNLIMITED = HostOptions(deadlock_budget_ns=0)
"""Some libraries take long to import."""
CALLED: list[Callable[[], object]] = []


@workflow.defn
class Calls:
    @workflow.run
    async def run(self) -> list[Any]:
        first = repr(CALLED[-1]())
        return [first, workflow.random().random()]


def answer(function: Callable[[], object]) -> Any:
    CALLED[:] = [function]
    try:
        return result(Driver(Calls, UNLIMITED).start())
    except NonDeterministicCall as error:
        return str(error)


async def outside(function: Callable[[], object]) -> None:
    function()


def functions(table: str) -> dict[str, Callable[[], object]]:
    if table == "libraries":
        from tests.determinism.libraries import LIBRARIES

        return LIBRARIES
    from tests.determinism.sources import REFUSED, VALUES

    return VALUES if table == "values" else {name: call for name, (_, call) in REFUSED.items()}


def main(table: str, *, used: bool) -> None:
    warnings.simplefilter("ignore")
    answers: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name, function in functions(table).items():
            if used:
                asyncio.run(outside(function))
            answers[name] = [answer(function), answer(function)]
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1], used="--used" in sys.argv[2:])
