"""The end of a node takes bounded time, whatever the disk does.

What cannot be finished is given up and said in the log. Nothing that anybody was told is lost: tasks, wake-ups and
effects stay in their rows, and callers hear that they do not know. Not here: a disk on which a statement never returns,
which holds the thread of the store.
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
"""For how long each part of a node is waited for."""
_GIVEN_UP = "closing without waiting any longer for %s: what is stored goes on after the next start"


async def ended(tasks: set[asyncio.Task[Any]], what: str) -> bool:
    """Wait for these tasks and those that join them; False when time was up, and the rest was cancelled.

    Args:
        tasks: A live set: tasks leave it when they are done.
        what: Their name in the log.
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
    """Wait for `work`; when time is up it is cancelled, and that is logged."""
    try:
        async with asyncio.timeout(CLOSE_NS / SECOND_NS):
            await work
    except TimeoutError:
        log.warning(_GIVEN_UP, what)
