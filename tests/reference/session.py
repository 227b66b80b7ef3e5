"""Plays scripts on our server and on the reference, or takes the recorded answers of the reference.

Scripts share the servers and run concurrently, because they spend most of their time waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import importlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perdure.wire.seam import Connection
from tests.reference.compare import Found, compare
from tests.reference.differences import Ledger
from tests.reference.play import SCRIPTS, Script, play
from tests.reference.recordings import recorded
from tests.reference.servers import connected, our_server, reference_server

AT_ONCE = 8
ATTEMPTS = 3
ACCIDENTS_MAX = 15
"""If more scripts than this have unexpected differences, the cause is no accident, and none is played again."""


class Result(NamedTuple):
    """The answers of both servers to one script."""

    reference: list[Any]
    ours: list[Any]

    @property
    def stopped(self) -> str:
        """Why the script stopped on the reference; empty when it played to its end."""
        last = self.reference[-1] if self.reference else {"call": "stopped", "error": "no answers"}
        return str(last["error"]) if last["call"] == "stopped" else ""

    @property
    def differences(self) -> list[Found]:
        return compare(self.reference, self.ours)


def chosen(*patterns: str) -> list[Script]:
    """The scripts whose names match a pattern; without patterns, all scripts."""
    for module in sorted(Path(__file__).with_name("scripts").glob("*.py")):
        importlib.import_module(f"tests.reference.scripts.{module.stem}")
    return [
        script
        for name, script in sorted(SCRIPTS.items())
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns or ("*",))
    ]


@contextlib.asynccontextmanager
async def servers(*, live: bool) -> AsyncGenerator[tuple[Connection | None, Connection]]:
    """Start both servers, and yield connections to the reference (None without `live`) and to ours."""
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(our_server())
        ours = await stack.enter_async_context(connected(address))
        reference: Connection | None = None
        if live:
            address = await stack.enter_async_context(reference_server())
            reference = await stack.enter_async_context(connected(address))
        yield reference, ours


async def play_all(
    scripts: Sequence[Script], *, live: bool, attempts: int = ATTEMPTS
) -> dict[str, Result]:
    """Play scripts on both servers.

    Args:
        scripts: The scripts.
        live: Whether to play them on the reference; if not, its recorded answers are taken.
        attempts: How often a script is played at most, as long as it has unexpected differences.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    async with servers(live=live) as (reference, ours):

        async def one(script: Script, attempt: int) -> Result:
            async with gate:
                mine = asyncio.ensure_future(play(script, ours, attempt))
                if reference is None:
                    return Result(recorded(script.name), await mine)
                return Result(await play(script, reference, attempt), await mine)

        played = await asyncio.gather(*(one(script, 1) for script in scripts))
        results = dict(zip((script.name for script in scripts), played, strict=True))
        for attempt in range(2, attempts + 1):
            again = [script for script in scripts if _is_unexpected(script.name, results)]
            if len(again) > ACCIDENTS_MAX:
                break
            for script in again:
                results[script.name] = await one(script, attempt)
    return results


def _is_unexpected(name: str, results: Mapping[str, Result]) -> bool:
    """Whether a script has unexpected differences. It is then played again, alone.

    On an overloaded machine the reference may lose a workflow task, if writing it takes more than a second. The task
    then times out. A real difference appears again."""
    result = results[name]
    changed = bool(recorded(name)) and compare(recorded(name), result.reference) != []
    return changed or Ledger().unexpected(name, result.differences) != []
