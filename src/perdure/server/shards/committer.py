"""The committer of one store connection: groups in, batches out, outcomes after durability (D-41 to D-45).

Role: collect the groups of all shards in order, close a batch when the previous transaction is done (or after a short
window while more calls are in progress), write it, and settle every group with the outcome.

Invariants: groups are written in the order in which they were appended; one batch at a time; a group is settled exactly
once. When a group is dropped, so is every later group that touches one of its entities, written or waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from perdure.core.backoff import exponential_ns
from perdure.core.units import MS_NS, SECOND_NS
from perdure.server.shards.group import Group, merge
from perdure.storage.port import (
    CommitBatch,
    DamagedWrite,
    DamageError,
    FenceLost,
    FileGone,
    GuiltyWrite,
    NotWritten,
    StoreFull,
)
from perdure.wire import errors
from perdure.wire.api import enums

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.core.clock import Clock
    from perdure.server.shards.group import Entry
    from perdure.server.shards.shard import Shard
    from perdure.storage.port import EntityWrite, Store

log = logging.getLogger(__name__)

BATCH_BYTES_MAX = 4 * 1024 * 1024
WINDOW_NS = MS_NS
QUIET_ROUNDS, ROUNDS_MAX = 4, 32
"""The open batch closes after this many loop turns in which nothing joined it, and after this many turns in total."""
BATCHING_DELAY_NS = 2 * MS_NS
"""How long the open batch waits for calls that have not arrived, while there are many callers."""
DELAY_GROUPS_MIN, DELAY_GAIN_MIN, DELAY_PROBE_BATCHES = 1.5, 0.5, 32
_SMOOTHING = 4
FULL_BACKOFF_NS = 250 * MS_NS
FULL_BACKOFF_MAX_NS = 10 * SECOND_NS


class CallsUnderWay:
    """An exact count of calls between their arrival and their commit. Re-entrant: `with` counts one more."""

    __slots__ = ("count", "idle")

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        if not self.count:
            # A pulse: it wakes current waiters only, and costs nothing when there are none.
            self.idle.set()
            self.idle.clear()


class BatchingDelay:
    """Decides whether to wait for calls that have not arrived: remote calls each arrive in a loop turn of their own.

    Waiting pays only if other callers are about to join. A lone caller never waits, and neither do callers that all
    wait for this very batch, as in an embedded engine. Every so often the decision is tested again.
    """

    __slots__ = ("_gain", "_groups")

    def __init__(self) -> None:
        self._groups = 1.0
        """How many groups the latest batches had, smoothed."""
        self._gain = 0.0
        """How many of them joined while the batch waited, smoothed."""

    def is_worth_waiting_for(self, batches: int) -> bool:
        if self._groups < DELAY_GROUPS_MIN:
            return False
        return self._gain >= DELAY_GAIN_MIN or batches % DELAY_PROBE_BATCHES == 0

    def record_joined(self, groups: int) -> None:
        """Record how many groups joined while the batch waited."""
        self._gain += (groups - self._gain) / _SMOOTHING

    def record_batch(self, groups: int) -> None:
        """Record the number of groups of a batch that was written."""
        self._groups += (groups - self._groups) / _SMOOTHING


class Committer:
    """Writes groups in batches and settles each one exactly once.

    Args:
        store: Where batches go.
        clock: For the back-off after a full disk.
        on_drop: Drops the entries of a shard that was lost. If its flag is true, the shard is also acquired again.
        settle: After an unknown outcome, acquires the shards again and returns whether the batch was written. Calls
            its second argument after each attempt that failed.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        on_drop: Callable[[Shard, bool], None],
        settle: Callable[[list[Shard], Callable[[Exception], None]], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_drop = on_drop
        self._settle = settle
        self._waiting: deque[Group] = deque()
        self._in_flight: list[Group] = []
        self._wanted = asyncio.Event()
        self._calls = CallsUnderWay()
        self._refused_until_ns = 0
        self._refusals = 0
        self._refusal: errors.RpcError | None = None
        self._is_suspended = False
        """Whether the fate of a batch is still unknown, because the database cannot be written."""
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._delay = BatchingDelay()
        self.batches = 0
        self.groups = 0

    def under_way(self) -> CallsUnderWay:
        """Count a call that will probably commit soon, so that the open batch waits briefly for it."""
        return self._calls

    def append(self, group: Group) -> None:
        """Add a group to the open batch. Synchronous, so that groups are ordered by their steps."""
        if self._refusal is not None:
            if self._is_suspended or self._clock.monotonic_ns() < self._refused_until_ns:
                # Nothing is pending while writes are refused, so dropping the entries is safe.
                group.host.failed(group, self._refusal)
                return
            self._refusal = None
        self._waiting.append(group)
        self._flushed.clear()
        self._wanted.set()

    async def flush(self) -> None:
        """Wait until everything appended so far is settled."""
        await self._flushed.wait()

    def abandon(self) -> None:
        """Shut down: fail every pending group with an unknown outcome."""
        error = errors.Unavailable("The engine closed before the change was known to be written.")
        self._fail(lambda _: True, lambda _: error)

    async def run(self) -> None:
        """Write batches until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._window()
                self._in_flight = self._take()
                await self._write()
            except Exception:
                # A bug. If it ended this loop, no call would ever be answered again.
                log.exception("writing a batch failed in an unforeseen way")
                self._fail(lambda _: True, lambda _: _not_stored())
            if not self._waiting:
                self._wanted.clear()
                self._flushed.set()

    async def _window(self) -> None:
        # Everything that can run now joins this batch. A call that follows a reply needs a few turns of the loop to
        # arrive.
        quiet = 0
        for _ in range(ROUNDS_MAX):
            before = len(self._waiting)
            await asyncio.sleep(0)
            quiet = 0 if len(self._waiting) != before else quiet + 1
            if quiet == QUIET_ROUNDS:
                break
        if self._calls.count:
            try:
                async with asyncio.timeout(WINDOW_NS / SECOND_NS):
                    await self._calls.idle.wait()
            except TimeoutError:
                pass
        if self._delay.is_worth_waiting_for(self.batches):
            before = len(self._waiting)
            await asyncio.sleep(BATCHING_DELAY_NS / SECOND_NS)
            self._delay.record_joined(len(self._waiting) - before)

    def _take(self) -> list[Group]:
        taken: list[Group] = []
        size = 0
        while self._waiting and (
            not taken or size + self._waiting[0].size_bytes <= BATCH_BYTES_MAX
        ):
            group = self._waiting.popleft()
            size += group.size_bytes
            taken.append(group)
        return taken

    async def _write(self) -> None:
        while self._in_flight:
            if any(group.is_broken for group in self._in_flight):
                self._fail(lambda group: group.is_broken, lambda _: _not_stored())
                continue
            try:
                await self._store.commit(self._batch())
            except GuiltyWrite as error:
                self._expel(error)
            except FenceLost as error:
                log.warning("lost the ownership of shards %s", sorted(error.shard_ids))
                lost = {g.shard for g in self._in_flight if g.shard.shard_id in error.shard_ids}
                self._drop_shards(list(lost) or self._shards())
            except DamagedWrite as error:
                self._refuse_damaged(error)
            except NotWritten as error:
                self._refuse(error)
            except Exception:
                log.exception("it is unknown whether a batch was written; looking at its fence")
                await self._unknown()
            else:
                self._succeed()

    def _batch(self) -> CommitBatch:
        fences = tuple(shard.fence() for shard in self._shards())
        writes: list[EntityWrite] = []
        for group in self._in_flight:
            writes.extend(group.writes)
        return CommitBatch(fences, merge(writes))

    def _shards(self) -> list[Shard]:
        return list({group.shard: None for group in self._in_flight})

    def _succeed(self) -> None:
        self._refusals = 0
        for shard in self._shards():
            shard.sequence += 1
        self.batches += 1
        self._delay.record_batch(len(self._in_flight))
        self.groups += len(self._in_flight)
        groups, self._in_flight = self._in_flight, []
        groups[0].host.batch_written()
        for group in groups:
            self._tell(group, None)

    def _tell(self, group: Group, error: errors.RpcError | None) -> None:
        """Settle one group. An error in its consequences must not stop the commits of other groups."""
        try:
            if error is None:
                group.host.durable(group)
            else:
                group.host.failed(group, error)
        except Exception:
            log.exception("what follows a commit failed")

    # Failures.

    def _expel(self, error: GuiltyWrite) -> None:
        """(a) A row was refused: fail its entity's groups and all groups linked to them; write the others again."""
        guilty = {
            entry
            for group in self._in_flight
            for entry, write in zip(group.entries, group.writes, strict=True)
            if write.number in error.numbers
        }
        if not guilty:
            self._refuse(error)
            return
        log.error("%s: %s", ", ".join(str(entry.key) for entry in guilty), error)
        own = _damaged(error) if isinstance(error, DamageError) else _not_stored()
        self._fail(
            lambda group: not guilty.isdisjoint(group.entries),
            lambda group: (
                own
                if not guilty.isdisjoint(group.entries)
                else errors.Unavailable(
                    "A related change could not be stored; nothing was written."
                )
            ),
        )

    def _drop_shards(self, shards: list[Shard]) -> None:
        """(b) The fence was lost: fail all groups of these shards."""
        gone = set(shards)
        self._fail(
            lambda group: group.shard in gone,
            lambda group: errors.Unavailable(
                f"Shard {group.shard.shard_id} has moved; nothing was written."
            ),
        )
        for shard in shards:
            self._on_drop(shard, True)

    async def _unknown(self) -> None:
        """(c) The outcome is unknown: acquire the shards of the batch again; their fences tell what was written."""
        shards = self._shards()
        landed, self._in_flight = self._in_flight, []
        gone = set(shards)
        self._fail(
            lambda group: group.shard in gone,
            lambda _: errors.Unavailable("The database did not answer; nothing was written."),
        )
        for shard in shards:
            self._on_drop(shard, False)
        error = errors.Unavailable("The database did not answer; nothing was written.")
        written = False
        try:
            written = await self._settle(shards, self._suspend)
        except DamageError as damage:
            error = errors.DataLoss(f"It is unknown whether the change was written: {damage}.")
        finally:
            if self._is_suspended:
                self._is_suspended, self._refusal = False, None
                log.warning("the database can be written again")
            for group in landed:
                self._tell(group, None if written else error)

    def _suspend(self, error: Exception) -> None:
        """Only the batch in doubt waits until the database can be written. Everything else is refused meanwhile."""
        if not self._is_suspended:
            log.error("writes are refused until the database can be written again")
        self._is_suspended = True
        refusal = self._refusal = _refusal_for(error)
        self._fail(lambda _: True, lambda _: refusal)

    def _refuse_damaged(self, error: DamagedWrite) -> None:
        """(d) No row is to blame: the pages of the batch are damaged. Other batches may still be written."""
        log.error("%s", error)
        batch, refusal = set(self._in_flight), _damaged(error)
        self._fail(lambda group: group in batch, lambda _: refusal)

    def _refuse(self, error: NotWritten) -> None:
        """Nothing can be written now, for instance because the disk is full: refuse for a while, then try again."""
        self._refusals += 1
        pause_ns = exponential_ns(FULL_BACKOFF_NS, 2.0, FULL_BACKOFF_MAX_NS, self._refusals)
        self._refused_until_ns = self._clock.monotonic_ns() + pause_ns
        level = (
            logging.DEBUG if isinstance(error, FileGone) and self._refusals > 1 else logging.ERROR
        )
        log.log(level, "%s; writes are refused for %d ms", error, pause_ns // MS_NS)
        refusal = self._refusal = _refusal_for(error)
        self._fail(lambda _: True, lambda _: refusal)

    def _fail(
        self, doomed: Callable[[Group], bool], reason: Callable[[Group], errors.RpcError]
    ) -> None:
        """Fail groups in flight and waiting, together with all groups linked to them.

        Links go both ways: a later group was computed from what the failed one wrote, and an earlier group of the same
        entity must not stay pending while that entity is dropped.
        """
        groups = [*self._in_flight, *self._waiting]
        failed = [group for group in groups if doomed(group)]
        tainted: set[Entry] = set()
        more = failed
        while more:
            tainted.update(*(group.entries for group in more))
            known = set(failed)
            more = [g for g in groups if g not in known and g.is_linked(tainted)]
            failed += more
        known = set(failed)
        self._in_flight = [group for group in self._in_flight if group not in known]
        self._waiting = deque(group for group in self._waiting if group not in known)
        for group in groups:
            if group in known:
                self._tell(group, reason(group))


def _refusal_for(error: Exception) -> errors.RpcError:
    """What callers are told while the database cannot be written for this reason."""
    if isinstance(error, StoreFull):
        return errors.resource_exhausted(
            "The database has no space left; nothing was written. Free some space.",
            enums.ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_PERSISTENCE_STORAGE_LIMIT,
        )
    if isinstance(error, DamageError):
        return _damaged(error)
    if isinstance(error, FileGone):
        return errors.Unavailable(f"Nothing was written: {error}.")
    return errors.Unavailable(
        "The database cannot be written; nothing was written. The server's log says why. It keeps trying, and reads "
        "go on."
    )


def _not_stored() -> errors.RpcError:
    return errors.Internal("The change could not be stored; the server's log says why.")


def _damaged(error: DamageError) -> errors.RpcError:
    return errors.DataLoss(f"Nothing was written: {error}.")
