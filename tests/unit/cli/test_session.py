"""What a command that serves does with its process: signals and the collector."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path

import pytest

from perdure.cli import session

ROOT = Path(__file__).resolve().parents[3]
SERVE = """
import asyncio
from perdure.cli import session
async def main():
    stop = session.stop_on_signals()
    print("serving", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await asyncio.Event().wait()
session.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_asks_and_the_second_one_ends(number: signal.Signals):
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"serving\n"
    child.send_signal(number)
    assert await child.stdout.readline() == b"stopping\n"
    child.send_signal(number)
    assert await child.wait() == 130


def test_a_process_that_serves_collects_seldom(process: None):
    gc.set_threshold(700, 10, 10)
    session.tune_collector()
    assert gc.get_threshold() == (10_000, 20, 20)
    assert gc.get_freeze_count() > 0, "what is loaded by now is not walked over again"
