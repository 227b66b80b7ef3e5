"""Running workflow code from a plain callback of the event loop.

Workflow code steps tasks of its own loop, which interpreters from 3.14 on refuse inside another task's step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from perdure.core.user_code import passes_through, sealed

T = TypeVar("T")


async def from_callback(work: Callable[[], T]) -> T:
    """Run `work` from a plain callback of the running loop; what it returns or raises.

    Raises:
        perdure.core.user_code.EscapedError: For errors that no coroutine can raise, or that would end the loop.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def call() -> None:
        try:
            result = work()
        except BaseException as error:
            if passes_through(error):
                done.cancel()
                raise
            if not done.cancelled():
                done.set_exception(sealed(error))
            return
        if not done.cancelled():
            done.set_result(result)

    loop.call_soon(call)
    return await done
