"""Local activities that our worker ran replay in the official SDK, and in ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure import activity
from perdure.client import Client, WorkflowHistory
from perdure.exceptions import ApplicationError
from perdure.worker import Replayer, Worker
from tests.conformance import both_sdks

pytestmark = pytest.mark.conformance

REPLAY = Path(__file__).parent / "official" / "replay_ours.py"

Steps = list[dict[str, Any]]
ECHO: dict[str, Any] = {"type": "echo", "argument": "x"}
FLAKY: dict[str, Any] = {"type": "flaky", "argument": 3}
SLOW: dict[str, Any] = {"type": "slow", "argument": 30}

CASES: dict[str, tuple[Steps, list[str]]] = {
    "one": ([ECHO], ["x"]),
    "nothing": ([{"type": "echo", "argument": None}], ["None"]),
    "many at once": ([ECHO, FLAKY, ECHO, FLAKY, ECHO], ["x", "3", "x", "3", "x"]),
    "gives up": ([FLAKY | {"attempts": 2}], ["ApplicationError"]),
    "back-off by timer": ([FLAKY | {"local_retry_threshold": 0.0005}, ECHO], ["3", "x"]),
    "time-outs": (
        [
            SLOW | {"start_to_close_timeout": 0.02, "attempts": 1},
            SLOW | {"schedule_to_close_timeout": 0.02},
        ],
        ["Local Activity timed out <- TimeoutError"] * 2,
    ),
    "longer than a workflow task": ([{"type": "slow", "argument": 1.5}, ECHO], ["slept", "x"]),
    "cancelled at once": (
        [
            SLOW | {"cancel": kind}
            for kind in ("TRY_CANCEL", "WAIT_CANCELLATION_COMPLETED", "ABANDON")
        ],
        ["cancelled"] * 3,
    ),
    "cancelled later": (
        [
            SLOW | {"cancel": kind, "after": 0.05}
            for kind in ("TRY_CANCEL", "WAIT_CANCELLATION_COMPLETED", "ABANDON")
        ],
        ["Local Activity cancelled <- CancelledError"] * 3,
    ),
}


@activity.defn
async def echo(value: Any) -> Any:
    return value


@activity.defn
async def flaky(succeeds_at: int) -> int:
    if activity.info().attempt < succeeds_at:
        raise ApplicationError("not yet")
    return activity.info().attempt


@activity.defn
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


async def run_all() -> dict[str, tuple[list[str], WorkflowHistory]]:
    """Run the cases in our worker: what each returned, and its history."""
    seen: dict[str, tuple[list[str], WorkflowHistory]] = {}
    run = both_sdks.LocalActivities.run
    async with (
        await Client.connect("memory:") as client,
        Worker(
            client,
            task_queue="q",
            workflows=[both_sdks.LocalActivities],
            activities=[echo, flaky, slow],
        ),
    ):
        for name, (steps, _) in CASES.items():
            handle = await client.start_workflow(
                run, steps, id=name, task_queue="q", task_timeout=both_sdks.MINUTE / 60
            )
            result = await handle.result()
            seen[name] = (result, await handle.fetch_history())
    return seen


async def test_they_replay_in_both_sdks() -> None:
    seen = await run_all()
    assert {name: result for name, (result, _) in seen.items()} == {
        name: expected for name, (_, expected) in CASES.items()
    }
    histories = {name: history for name, (_, history) in seen.items()}
    for name, history in histories.items():
        replayer = Replayer(workflows=[both_sdks.LocalActivities])
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        assert result.replay_failure is None, (name, result.replay_failure)
    done = await asyncio.to_thread(_replay_officially, list(histories.values()))
    assert dict(zip(histories, done, strict=True)) == dict.fromkeys(histories)


def _replay_officially(histories: list[WorkflowHistory]) -> list[str | None]:
    done = subprocess.run(
        [sys.executable, REPLAY, str(Path(both_sdks.__file__)), "LocalActivities"],
        input=json.dumps([history.to_json() for history in histories]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr
    return json.loads(lines[-1])
