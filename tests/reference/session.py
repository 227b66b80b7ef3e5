"""Plays scripts side by side: on the reference, or with its recorded answers, and on ours.

Scripts share the servers and run at the same time, because most of their time is waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perdure.wire.seam import Connection
from tests.reference.compare import Found, compare
from tests.reference.play import SCRIPTS, Script, play
from tests.reference.recordings import recorded
from tests.reference.servers import connected, our_server, reference_server

AT_ONCE = 24


class Result(NamedTuple):
    """What either server answered in a script."""

    reference: list[Any]
    ours: list[Any]

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


async def play_all(scripts: Sequence[Script], *, live: bool) -> dict[str, Result]:
    """Play scripts on both servers.

    Args:
        scripts: What to play.
        live: Play them on the reference too; otherwise its recorded answers are taken.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    async with contextlib.AsyncExitStack() as stack:
        ours = await stack.enter_async_context(
            connected(await stack.enter_async_context(our_server()))
        )
        reference: Connection | None = None
        if live:
            address = await stack.enter_async_context(reference_server())
            reference = await stack.enter_async_context(connected(address))

        async def one(script: Script) -> Result:
            async with gate:
                mine = asyncio.ensure_future(play(script, ours))
                if reference is None:
                    return Result(recorded(script.name), await mine)
                return Result(await play(script, reference), await mine)

        results = await asyncio.gather(*(one(script) for script in scripts))
    return dict(zip((script.name for script in scripts), results, strict=True))
