"""Leaving the debugger at a breakpoint ends the program, wherever the breakpoint is."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker

@activity.defn
async def stops():
    breakpoint()
    return "went on"

@activity.defn
def stops_in_a_thread():
    breakpoint()
    return "went on"

@workflow.defn
class Order:
    @workflow.run
    async def run(self, place: str) -> str:
        if place == "workflow":
            breakpoint()
            return "went on"
        return await workflow.execute_activity(place, start_to_close_timeout=timedelta(minutes=1), result_type=str)

async def main():
    async with await Client.connect("memory:") as client:
        async with Worker(
            client, task_queue="q", workflows=[Order], activities=[stops, stops_in_a_thread],
            activity_executor=ThreadPoolExecutor(1), debug_mode=True,
        ):
            print(await client.execute_workflow(Order.run, sys.argv[1], id="w", task_queue="q"))

asyncio.run(main())
"""


def _run(place: str, typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, place],
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("place", ["workflow", "stops", "stops_in_a_thread"])
def test_quitting_the_debugger_ends_the_program_and_continuing_goes_on(place: str) -> None:
    quit_ = _run(place, "q\n")
    assert quit_.returncode != 0
    assert "KeyboardInterrupt" in quit_.stderr
    assert "went on" not in quit_.stdout
    continued = _run(place, "c\n")
    assert continued.returncode == 0, continued.stderr
    assert "went on" in continued.stdout
