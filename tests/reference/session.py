"""Plays scripts side by side: on the reference, or with its recorded answers, and on ours.

Scripts share the servers and run at the same time, because most of their time is waiting.
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
"""When more scripts give something unexpected it is no accident, and they are not played again."""


class Result(NamedTuple):
    """What either server answered in a script."""

    reference: list[Any]
    ours: list[Any]

    @property
    def stopped(self) -> str:
        """Why the script could not go on with what the reference answered; empty when it came to its end."""
        last = self.reference[-1] if self.reference else {"call": "stopped", "error": "no answers"}
        return str(last["error"]) if last["call"] == "stopped" else ""

    @property
    def differences(self) -> list[Found]:
        return compare(self.reference, self.ours)


def chosen(*patterns: str) -> list[Script]:
    """The scripts whose names match one of the patterns; all of them without any."""
    for module in sorted(Path(__file__).with_name("scripts").glob("*.py")):
        importlib.import_module(f"tests.reference.scripts.{module.stem}")
    return [
        script
        for name, script in sorted(SCRIPTS.items())
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns or ("*",))
    ]


@contextlib.asynccontextmanager
async def servers(*, live: bool) -> AsyncGenerator[tuple[Connection | None, Connection]]:
    """Connections to the reference (None without `live`) and to ours, both started for the block."""
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
        scripts: What to play.
        live: Play them on the reference too; otherwise its recorded answers are taken.
        attempts: How often a script is played until there is nothing unexpected.
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
    """Whether a script is played once more, alone.

    The reference loses a workflow task when writing it down takes more than a second, as on an overloaded machine: the
    task then times out. What is no accident is the same the next time.
    """
    result = results[name]
    changed = bool(recorded(name)) and compare(recorded(name), result.reference) != []
    return changed or Ledger().unexpected(name, result.differences) != []
