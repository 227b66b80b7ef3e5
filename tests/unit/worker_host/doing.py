"""A workflow that does what a test gives it: in its run, its signals and its queries."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from perdure import workflow
from perdure.worker.host import HostOptions
from tests.unit.worker_host.driver import Driver, result

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.replay import commands

TO_RUN: list[Callable[[], Any]] = []
"""The last one is the main coroutine."""
TO_HEAR: list[Callable[[], Any]] = []
"""Done by the signal `hear`, the first one first."""
TO_ASK: list[Callable[[], Any]] = []
"""The last one is done by the query `ask`."""


async def _outcome(function: Callable[[], Any]) -> Any:
    found = function()
    return await found if inspect.isawaitable(found) else found


def _next() -> Callable[[], Any]:
    return TO_HEAR.pop(0)


@workflow.defn(name="Does")
class Does:
    """See the module."""

    @workflow.run
    async def run(self) -> Any:
        return await _outcome(TO_RUN[-1])

    @workflow.signal
    async def hear(self) -> None:
        await _outcome(_next())

    @workflow.query
    def ask(self) -> Any:
        return TO_ASK[-1]()


def doing(
    given: Callable[[], Any],
    *heard: Callable[[], Any],
    flags: frozenset[int] = frozenset(),
    **options: Any,
) -> tuple[Driver, list[commands.Command]]:
    """A run that does `given`, and one of `heard` at each signal; with the commands of its first activation."""
    TO_RUN[:] = [given]
    TO_HEAR[:] = heard
    run = Driver(Does, HostOptions(**options))
    run.flags = flags
    return run, run.start()


def done(given: Callable[[], Any], **options: Any) -> Any:
    """The result of a run that ends in its first activation."""
    return result(doing(given, **options)[1])


async def forever() -> None:
    """Wait for what never comes."""
    await asyncio.get_running_loop().create_future()


def cancels(tasks: list[Any]) -> Callable[[], None]:
    """A handler that cancels the first of what will be in a list."""

    def cancel() -> None:
        tasks[0].cancel()

    return cancel
