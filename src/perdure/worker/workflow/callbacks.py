"""Running workflow code from a plain callback of the event loop.

Workflow code steps tasks of its own loop, which interpreters from 3.14 on refuse inside another task's step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def from_callback(work: Callable[[], T]) -> T:
    """Run `work` from a plain callback of the running loop; what it returns or raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def call() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to the waiting task
            if not done.cancelled():
                done.set_exception(error)
            return
        if not done.cancelled():
            done.set_result(result)

    loop.call_soon(call)
    return await done
