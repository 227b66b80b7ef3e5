"""Running workflow code from a plain callback of the event loop, and what ways of running it have in common.

Workflow code steps tasks of its own loop, which interpreters from 3.14 on refuse inside another task's step.

Invariants of every `Execution`: what belongs to one run happens in turn, never at the same time; `release` comes last.
Not here: running it in threads (`workflow.threads`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from typing_extensions import override

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


class Owner(Protocol):
    """A run in memory, whose code is executed."""

    run_id: str


class Execution(Protocol):
    """Where the workflow code of a worker runs."""

    def now_s(self) -> float:
        """A clock that goes on while the code runs, and may be read by it."""
        ...

    async def run(self, owner: Owner, work: Callable[[], T]) -> T:
        """Run `work`, which belongs to a run; what it returns or raises, as `from_callback` does.

        Raises:
            perdure.worker.host.watchdog.DeadlockError: Its thread did not come back. What it returns is dropped.
        """
        ...

    def release(self, owner: Owner, tear_down: Callable[[], None]) -> None:
        """Run the end of a run, once its code has come back. Nobody waits for it."""
        ...

    def blocked(self, run_id: str) -> str | None:
        """Since when and where code of this run has kept a thread that was given up; None when it has not."""
        ...

    async def close(self) -> None:
        """Wait for what was released, but not for code that is blocked."""
        ...


class EventLoopExecution(Execution):
    """Runs workflow code on the thread of the worker's event loop: cheap, but code that blocks stops everything."""

    @override
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    @override
    async def run(self, owner: Owner, work: Callable[[], T]) -> T:
        return await from_callback(work)

    @override
    def release(self, owner: Owner, tear_down: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(tear_down)

    @override
    def blocked(self, run_id: str) -> str | None:
        return None

    @override
    async def close(self) -> None:
        await asyncio.sleep(0)  # what was released happens in callbacks
