"""Counts what a workflow costs, in bytecodes of CPython: the steps that the interpreter makes for it.

    python -m tests.cost.measure                    # the sum, and the functions with the largest shares
    python -m tests.cost.measure --save before.json
    python -m tests.cost.measure --against before.json   # what a change made cheaper or more expensive
    python -m tests.cost.measure --record           # make the sum the recorded figure of this Python

The workload is that of `benchmarks/bench_one_activity.py`: workflows of one activity each on an embedded engine over
SQLite and uvloop. They are fewer, 25 in flight, because counting slows everything down twentyfold and more: with a
hundred, time-outs of workflow tasks would pass.

Everything in the thread of the loop counts, be it ours, of the standard library or of a dependency; threads that write
to the database do not.

CPU time varies by a tenth from run to run. Bytecodes vary by less than a hundredth, and only because more or fewer
changes share a transaction. They are not the same thing: a call into C is one bytecode however long it takes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure import activity, workflow
from perdure.cli.session import loop_factory
from perdure.client import Client
from perdure.worker import Worker

if TYPE_CHECKING:
    from types import CodeType, FrameType

RECORDED = Path(__file__).with_name("recorded.json")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Of Python: each has bytecodes of its own."""
WORKFLOWS = 25
"""As many before the count begins, so that caches are filled, and as many while it runs; all are in flight at once."""
SHOWN = 40


@activity.defn
async def compose(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class OneActivity:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(
            compose, name, start_to_close_timeout=timedelta(minutes=1)
        )


class Count:
    """Bytecodes by code object, while it is active."""

    def __init__(self) -> None:
        self._of: Counter[CodeType] = Counter()

    def __enter__(self) -> None:
        # CPython 3.12 reports bytecodes only if some frame has asked for them when tracing begins.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._called)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self._of[frame.f_code] += 1
        return self._step

    def per_workflow(self) -> dict[str, float]:
        """By file and function."""
        found: Counter[str] = Counter()
        for code, count in self._of.items():
            if code.co_filename != __file__:
                found[f"{_short(code.co_filename)}:{code.co_qualname}"] += count
        return {name: count / WORKFLOWS for name, count in found.items()}


def _short(path: str) -> str:
    for folder in ("/src/", "/site-packages/", f"/python{VERSION}/"):
        path = path.rpartition(folder)[2]
    return path


def measured() -> dict[str, float]:
    """Bytecodes per workflow, by function. To be called in a process that has run nothing else."""

    async def workload() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                await Client.connect(f"sqlite:{folder}/cost.db") as client,
                Worker(
                    client,
                    task_queue="cost",
                    workflows=[OneActivity],
                    activities=[compose],
                    max_concurrent_workflow_tasks=WORKFLOWS,
                    max_concurrent_activities=WORKFLOWS,
                ),
            ):
                await _round(client, "before")
                count = Count()
                with count:
                    await _round(client, "counted")
                return count.per_workflow()

    gc.disable()  # what finalisers do would count for some workflow
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(workload())


async def _round(client: Client, name: str) -> None:
    results = await asyncio.gather(
        *(
            client.execute_workflow(
                OneActivity.run, "cost", id=f"{name}-{number}", task_queue="cost"
            )
            for number in range(WORKFLOWS)
        )
    )
    assert set(results) == {"Hello, cost!"}, "the workload works"


def recorded() -> dict[str, int]:
    """The recorded figure of each version of Python."""
    return json.loads(RECORDED.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cost.measure")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="write the count of each function there"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="show what has changed since")
    parser.add_argument("--record", action="store_true", help="make the sum the recorded figure")
    options = parser.parse_args()
    counts = measured()
    before: dict[str, float] = json.loads(options.against.read_text()) if options.against else {}
    changes = {name: counts.get(name, 0) - before.get(name, 0) for name in counts.keys() | before}
    for name in sorted(changes, key=lambda name: -abs(changes[name]))[:SHOWN]:
        print(f"{changes[name]:+10.1f} {counts.get(name, 0):10.1f}  {name}")
    total = round(sum(counts.values()))
    print(f"{sum(changes.values()):+10.1f} {total:10}  bytecodes per workflow on Python {VERSION}")
    if options.save:
        options.save.write_text(json.dumps(counts, indent=1))
    if options.record:
        RECORDED.write_text(json.dumps({**recorded(), VERSION: total}, indent=2) + "\n")


if __name__ == "__main__":
    main()
