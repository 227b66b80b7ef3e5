"""The end of a node takes bounded time, whatever the disk does.

Work that cannot be finished is abandoned and logged. Nothing acknowledged is lost: tasks, wake-ups and effects stay in
their rows, and pending callers get an error that says the outcome is unknown. Not covered: a disk on which a statement
never returns, because that blocks the thread of the store.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from perdure.core.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger(__name__)

CLOSE_NS = 10 * SECOND_NS
"""How long to wait for each part of a node."""
_GIVEN_UP = "closing without waiting any longer for %s: what is stored goes on after the next start"


async def ended(tasks: set[asyncio.Task[Any]], what: str) -> bool:
    """Wait for these tasks and those that join them. After the time limit, cancel the rest and return False.

    Args:
        tasks: A live set, from which tasks are removed when they are done.
        what: What the log calls them.
    """
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + CLOSE_NS / SECOND_NS
    while tasks:
        left_s = give_up_s - loop.time()
        if left_s <= 0:
            log.warning(_GIVEN_UP, f"{len(tasks)} {what}")
            for task in tuple(tasks):
                task.cancel()
            return False
        await asyncio.wait(set(tasks), timeout=left_s)
    return True


async def done(work: Coroutine[Any, Any, object], what: str) -> None:
    """Wait for `work`. After the time limit, cancel it and log that."""
    try:
        async with asyncio.timeout(CLOSE_NS / SECOND_NS):
            await work
    except TimeoutError:
        log.warning(_GIVEN_UP, what)
