"""An asyncio event loop on virtual time.

Nothing ready means that time jumps to the next timer; nothing ready and no timer is a deadlock, which is an error with the
names of the tasks that wait. Callbacks keep asyncio's order (first in, first out): what varies between seeds are the delays
of disk, network and faults, which come from the world's random source.
"""

from __future__ import annotations

import asyncio
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from perdure.core.units import SECOND_NS

T = TypeVar("T")

EPOCH_NS = 1_700_000_000 * SECOND_NS
"""Virtual wall clocks begin here."""

FOREVER_S = 30 * 86_400.0
"""A simulation that waits for this long waits for something that never comes."""


class DeadlockError(AssertionError):
    """Every task waits and no timer is set."""


class _VirtualSelector:
    """Stands where asyncio keeps its selector: waiting is advancing the clock."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.advance(timeout)
        return []

    def close(self) -> None:
        return None


class SimLoop(base_events.BaseEventLoop):
    """Single-threaded, deterministic, and as fast as the work it runs."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_s = 0.0
        self._selector = _VirtualSelector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual_s

    def advance(self, timeout: float | None) -> None:
        if timeout is None:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise DeadlockError(f"nothing can happen any more; waiting: {waiting}")
        if timeout > 0:
            self._virtual_s += timeout
            if self._virtual_s > FOREVER_S:
                raise DeadlockError("virtual time ran away: something waits for what never comes")

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end, then cancel and await what it left."""
        asyncio.set_event_loop(self)
        try:
            return self.run_until_complete(main)
        finally:
            self._cancel_rest()
            self.run_until_complete(self.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self.close()

    def _cancel_rest(self) -> None:
        rest = asyncio.all_tasks(self)
        for task in rest:
            task.cancel()
        if rest:
            self.run_until_complete(asyncio.gather(*rest, return_exceptions=True))

    # What BaseEventLoop leaves to its selector or proactor.

    def _process_events(self, event_list: list[Any]) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        raise AssertionError(f"the simulation has no threads, {func} wants one")


class SimClock:
    """`perdure.core.clock.Clock` on virtual time; `skew_ns` may jump, as wall clocks do."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.skew_ns = 0

    def now_ns(self) -> int:
        return EPOCH_NS + self.monotonic_ns() + self.skew_ns

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * SECOND_NS)
