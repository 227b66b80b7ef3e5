"""Skips time while nothing runs: the core of the test server and of `perdure.testing`.

Role: a clock with an offset that only grows, and the rule for when it may grow. Time is skipped to the next wake-up of
the engine or the end of the next sleep, whichever comes first, while

- no lock is held: explicit locks plus one for each running activity, minus those lent by sleepers, are not above zero
  (an activity that itself sleeps in test time lends its own lock, as on the reference test server);
- no workflow task is started, no commit or call that may commit is in progress, and no task waits in a polled queue
  (or is so young that its worker may still be starting);
- no caller has been answered within the last few milliseconds, because it may be about to lock.

Otherwise time passes in real time. Invariant: time never goes back, and a skip never passes a wake-up.

The count of explicit locks may go below zero. Clients of other SDKs unlock for the duration of each wait for a result,
so several concurrent waits unlock more often than was locked, and lock equally often afterwards. Such a surplus of
unlocks never cancels the lock of a running activity.

Not here: RPCs (`time_skipping.rpcs`), wiring (`time_skipping.node`), who locks and unlocks (the client's environment).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec

from perdure.core.clock import SystemClock
from perdure.core.ids import EntityKey
from perdure.core.units import MS_NS, SECOND_NS
from perdure.entity.workers import IDLE, Work
from perdure.wire.errors import NotFound, RpcError

if TYPE_CHECKING:
    from collections.abc import Generator

    from perdure.core.clock import Clock
    from perdure.server.engine import Engine
    from perdure.server.matching.host import MatchingHost
    from perdure.server.shards.group import Group
    from perdure.storage.port import WakeRow

_log = logging.getLogger(__name__)

SETTLE_NS = 5 * MS_NS
"""How long a caller has, after an answer, to lock time before it is skipped again."""
START_UP_NS = SECOND_NS
"""Real time for which a task in an unpolled queue still counts as about to run."""
LOOK_NS = 2 * MS_NS
LOOK_BUSY_NS = 100 * MS_NS
"""How often a blocked skip is reconsidered without a hint: shortly after a call, and while work runs."""


class SkippingClock:
    """The base clock plus the skipped time. `monotonic_ns` stays real, because callers' timeouts are not test time."""

    def __init__(self, base: Clock | None = None) -> None:
        self._base = base or SystemClock()
        self.skipped_ns = 0

    def now_ns(self) -> int:
        return self._base.now_ns() + self.skipped_ns

    def monotonic_ns(self) -> int:
        return self._base.monotonic_ns()

    def skip_to(self, at_ns: int) -> None:
        """Set the time to `at_ns`. A time in the past has no effect."""
        self.skipped_ns += max(0, at_ns - self.now_ns())


class _Sleeper(msgspec.Struct, frozen=True, order=True):
    at_ns: int
    number: int


class TimeSkipping:
    """The clock control of a time-skipping node. Until `open` is called and `run` is running, time passes normally.

    Args:
        clock: The node's clock. Only this object moves it.

    Example:
        time = TimeSkipping(SkippingClock())
        time.open(engine, matching)
        time.unlock()
    """

    def __init__(self, clock: SkippingClock) -> None:
        self.clock = clock
        self.locks = 1
        """The explicit locks. Below zero while several callers wait with time unlocked."""
        self.lent = 0
        """Locks that sleepers have lent and take back when they wake."""
        self.skips = 0
        """How often time was skipped, for diagnostics and tests."""
        self.work: dict[EntityKey, Work] = {}
        """The work of each run that is not merely waiting."""
        self._since_ns: dict[EntityKey, int] = {}
        """Run with waiting tasks -> the real time at which it began to wait."""
        self._activities = 0
        self._in_workflow_tasks = 0
        self._unsettled: dict[asyncio.Future[None], tuple[EntityKey, ...]] = {}
        """Steps that may not yet be durable -> their runs."""
        self._quiet_from_ns = 0
        self._changed = asyncio.Event()
        self._sleepers: list[tuple[_Sleeper, asyncio.Future[None]]] = []
        self._relocks: set[int] = set()
        self._numbers = 0
        self._engine: Engine | None = None
        self._matching: MatchingHost | None = None
        self._loop: asyncio.Task[None] | None = None

    def open(self, engine: Engine, matching: MatchingHost) -> None:
        """Watch this node and skip its time from now on."""
        self._engine = engine
        self._matching = matching
        engine.clock_control.watch(self.noted)
        self._loop = asyncio.get_running_loop().create_task(self.run(), name="time skipping")

    async def take_over(self, engine: Engine) -> None:
        """Check the runs that may be busy after an earlier node over the same database has died.

        These are the runs that were busy, and those whose last step may be lost.
        """
        keys = dict.fromkeys(self.work)
        for unsettled in self._unsettled.values():
            keys.update(dict.fromkeys(unsettled))
        self.work.clear()
        self._since_ns.clear()
        self._unsettled.clear()
        self._activities = self._in_workflow_tasks = 0
        for key in keys:
            with suppress(NotFound):  # its first step was lost
                self._note(key, await engine.read(key, engine.type_of(key).work))

    async def close(self) -> None:
        """Stop skipping and wake all sleepers at once."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        for _, waiter in self._sleepers:
            if not waiter.done():
                waiter.set_result(None)

    # Locks.

    @property
    def is_open(self) -> bool:
        """Whether no lock is held, neither explicitly nor by a running activity."""
        return max(self.locks, 0) + self._activities - self.lent <= 0

    def lock(self) -> None:
        """Stop skipping until the same number of `unlock` calls have followed."""
        self.locks += 1

    def unlock(self) -> None:
        """Undo one `lock`, either an earlier or a later one."""
        self.locks -= 1
        self._changed.set()

    async def sleep_until(self, at_ns: int, *, is_unlocked: bool = False) -> None:
        """Sleep until `at_ns` in test time.

        Args:
            at_ns: Nanoseconds since the epoch.
            is_unlocked: Whether to lend one lock until then, if one is held: the caller's or that of its activity.
        """
        self._numbers += 1
        number = self._numbers
        if is_unlocked and not self.is_open:
            self.lent += 1
            self._relocks.add(number)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (_Sleeper(at_ns, number), waiter))
        self._wake_sleepers()
        self._changed.set()
        try:
            await waiter
        finally:
            self._relock(number)
            self.answered()

    def answered(self) -> None:
        """Note that a caller was answered, and give it a moment to make its next call."""
        self._quiet_from_ns = self.clock.monotonic_ns() + SETTLE_NS

    @contextmanager
    def answering(self) -> Generator[None]:
        """Mark a call in progress by a caller that is not a worker."""
        try:
            yield
        finally:
            self.answered()

    def _relock(self, number: int) -> None:
        if number in self._relocks:
            self._relocks.discard(number)
            self.lent -= 1

    def _wake_sleepers(self) -> None:
        now_ns = self.clock.now_ns()
        while self._sleepers and self._sleepers[0][0].at_ns <= now_ns:
            sleeper, waiter = heappop(self._sleepers)
            # Lock again before anything else can happen, so that the sleeper sees the time it asked for.
            self._relock(sleeper.number)
            if not waiter.done():
                waiter.set_result(None)

    def _next_sleep_end_ns(self) -> int | None:
        """When the next sleeper wakes. Cancelled sleepers are ignored."""
        while self._sleepers and self._sleepers[0][1].done():
            heappop(self._sleepers)
        return self._sleepers[0][0].at_ns if self._sleepers else None

    # What runs.

    def noted(self, group: Group) -> None:
        """Note that a step changed these entities. Called within the step."""
        # A run occurs once per scheduled task: thousands of times if it starts thousands of activities.
        entries = tuple(dict.fromkeys(group.entries))
        for entry in entries:
            work = IDLE if entry.state is None else entry.type.work(entry.state)
            self._note(entry.key, work)
        settled = group.settled()
        self._unsettled[settled] = tuple(entry.key for entry in entries)
        settled.add_done_callback(self._settled)

    def _settled(self, settled: asyncio.Future[None]) -> None:
        self._unsettled.pop(settled, None)
        self._changed.set()

    def _note(self, key: EntityKey, work: Work) -> None:
        before = self.work.pop(key, IDLE)
        if work:
            self.work[key] = work
        self._activities += len(work.attempts) - len(before.attempts)
        self._in_workflow_tasks += work.is_in_workflow_task - before.is_in_workflow_task
        if work.queues != before.queues:
            self._since_ns[key] = self.clock.monotonic_ns()
        if not work.queues:
            self._since_ns.pop(key, None)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or is about to run, and no caller has just been answered."""
        now_ns = self.clock.monotonic_ns()
        return (
            not self._in_workflow_tasks
            and not self._is_settling
            and not any(self._is_about_to_run(key, now_ns) for key in self._since_ns)
        )

    @property
    def _is_settling(self) -> bool:
        """Whether something is in progress that ends within milliseconds."""
        assert self._engine is not None, "TimeSkipping.open comes first"
        return (
            bool(self._unsettled)
            or self._engine.clock_control.is_busy
            or self.clock.monotonic_ns() < self._quiet_from_ns
        )

    def _is_about_to_run(self, key: EntityKey, now_ns: int) -> bool:
        assert self._matching is not None, "TimeSkipping.open comes first"
        return now_ns - self._since_ns[key] < START_UP_NS or any(
            self._matching.is_served(queue) for queue in self.work[key].queues
        )

    # Skipping.

    async def run(self) -> None:
        """Skip time whenever the rule of this module allows it, until cancelled."""
        while True:
            self._changed.clear()
            self._wake_sleepers()
            look_ns = None
            try:
                if self.is_open:
                    look_ns = await self._skip()
            except RpcError as error:
                _log.warning("time was not skipped: %s", error.message)
                look_ns = LOOK_BUSY_NS
            await self._pause(look_ns)

    async def _skip(self) -> int | None:
        """Skip once if allowed. Returns the real time until the next check, or None to wait for a hint only."""
        assert self._engine is not None
        if not self.is_idle:
            return LOOK_NS if self._is_settling else LOOK_BUSY_NS
        at_ns = await self._next_ns()
        if not (self.is_open and self.is_idle):
            return LOOK_NS
        if at_ns is None:
            return None
        if at_ns > self.clock.now_ns():
            self.skips += 1
            self.clock.skip_to(at_ns)
            self._wake_sleepers()
        self._engine.clock_control.poke()
        return LOOK_NS

    async def _next_ns(self) -> int | None:
        """The test time of the next event, or None if there is none."""
        assert self._engine is not None
        sleep_ns = self._next_sleep_end_ns()
        while (row := await self._engine.clock_control.next_wake()) is not None:
            if sleep_ns is not None and sleep_ns <= row.at_ns:
                return sleep_ns
            if row.at_ns <= self.clock.now_ns() or await self._is_exact(row):
                return row.at_ns
            # Too early, so it only makes the wake-up exact.
            await self._engine.clock_control.fire(row.key)
        return sleep_ns

    async def _is_exact(self, row: WakeRow) -> bool:
        """Whether the wake-up is exact. A stored one is a lower bound (D-7); skipping to it may be in vain."""
        assert self._engine is not None
        return (
            await self._engine.read(row.key, self._engine.type_of(row.key).next_wake_ns)
            == row.at_ns
        )

    async def _pause(self, look_ns: int | None) -> None:
        sleep_ns = self._next_sleep_end_ns()
        if sleep_ns is not None:
            left_ns = max(sleep_ns - self.clock.now_ns(), 0)
            look_ns = left_ns if look_ns is None else min(look_ns, left_ns)
        try:
            async with asyncio.timeout(None if look_ns is None else look_ns / SECOND_NS):
                await self._changed.wait()
        except TimeoutError:
            pass
