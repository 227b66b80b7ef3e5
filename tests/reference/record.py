"""Records the answers of the reference (`make reference-record`), or only those of scripts that match patterns.

Answers are recorded only when two attempts agree, because a busy machine may disturb one.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from perdure.wire.seam import Connection
from tests.reference.compare import compare
from tests.reference.play import Script, play
from tests.reference.recordings import recorded, write
from tests.reference.servers import pinned_version
from tests.reference.session import AT_ONCE, chosen, servers

ATTEMPTS = 6


async def record(patterns: list[str]) -> None:
    scripts = chosen(*patterns)
    gate = asyncio.Semaphore(AT_ONCE)
    async with servers(live=True) as (reference, _):
        assert reference is not None

        async def one(script: Script) -> list[Any]:
            async with gate:
                return await _twice_the_same(script, reference)

        answers = await asyncio.gather(*(one(script) for script in scripts))
    everything = {script.name: recorded(script.name) for script in chosen()}
    everything |= dict(zip((script.name for script in scripts), answers, strict=True))
    write({name: steps for name, steps in everything.items() if steps})
    steps = sum(map(len, answers))
    print(f"recorded {len(scripts)} scripts with {steps} calls on the reference {pinned_version()}")


async def _twice_the_same(script: Script, reference: Connection) -> list[Any]:
    seen = [known] if (known := recorded(script.name)) else []
    for attempt in range(1, ATTEMPTS + 1):
        answers = await play(script, reference, attempt)
        if any(compare(earlier, answers) == [] for earlier in seen):
            return answers
        seen.append(answers)
    print(f"{script.name} never gave the same answers twice:")
    for found in compare(seen[-2], seen[-1]):
        print(found)
    return []


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
