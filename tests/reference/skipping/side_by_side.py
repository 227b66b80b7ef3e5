"""Plays walks on both servers, loads and writes the recording, and compares results."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.reference.compare import Found, compare
from tests.reference.skipping.known import DIVERGENCES, SEEDS
from tests.reference.skipping.plan import walk
from tests.reference.skipping.reading import before, readable
from tests.reference.skipping.servers import (
    PACKAGE,
    pinned_version,
    play_on_ours,
    play_on_reference,
)

RECORDING = Path(__file__).with_name("recorded.json")
AT_ONCE = 2
ATTEMPTS = 3
"""The reference rarely keeps a lock too long. A walk that hangs is played again on a new server."""
ALL_SEEDS = (*SEEDS, *(divergence.seed for divergence in DIVERGENCES))


def recorded() -> dict[int, dict[str, Any]]:
    """The recorded result of each walk; empty if they were recorded with another version than the pinned one."""
    content: dict[str, Any] = json.loads(RECORDING.read_text(encoding="utf-8"))
    if content["reference"] != f"{PACKAGE} {pinned_version()}":
        return {}
    return {int(seed): result for seed, result in content["walks"].items()}


def record(results: dict[int, dict[str, Any]]) -> None:
    """Write the results of all walks on the reference, one line per walk."""
    lines = ",\n".join(
        f"{json.dumps(str(seed))}: {json.dumps(result, separators=(',', ':'))}"
        for seed, result in sorted(results.items())
    )
    header = json.dumps(f"{PACKAGE} {pinned_version()}")
    text = f'{{"reference": {header}, "walks": {{\n{lines}\n}}}}\n'
    RECORDING.write_text(text, encoding="utf-8")


async def ask_reference(seeds: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Play walks on the reference, and return the readable results."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(seed: int) -> tuple[int, dict[str, Any]]:
        async with gate:
            for _ in range(ATTEMPTS - 1):
                with contextlib.suppress(AssertionError, TimeoutError):
                    return seed, readable(await play_on_reference(walk(seed)))
            return seed, readable(await play_on_reference(walk(seed)))

    async with asyncio.TaskGroup() as group:
        playing = [group.create_task(one(seed)) for seed in seeds]
    return dict(task.result() for task in playing)


def ours(seed: int) -> dict[str, Any]:
    """Play a walk on our server, and return the readable result."""
    return readable(play_on_ours(walk(seed)))


def differences(
    reference: dict[str, Any], mine: dict[str, Any], *, until_minute: int | None = None
) -> list[Found]:
    """The differences between two readable results.

    Args:
        reference: The result on the reference.
        mine: The result on our server.
        until_minute: If given, only what happened before this minute is compared.
    """
    if until_minute is not None:
        reference, mine = before(reference, until_minute), before(mine, until_minute)
    return compare(reference, mine)
