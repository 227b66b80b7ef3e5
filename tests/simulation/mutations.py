"""Guards of the server, each with the change that removes it: the simulator must notice every one.

`python -m tests.simulation.mutations` removes one guard at a time, plays seeds until a checker objects, and prints
which seed caught it and how. A mutant that survives all seeds is an error: either the guard is useless or the
simulator is blind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sqlite3
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from perdure.core.ids import EntityKey
from perdure.history import flush as flush_module
from perdure.history import signal as signal_module
from perdure.history.draft import Draft
from perdure.history.facts import FactKind
from perdure.history.transition import Effect
from perdure.server import step as step_module
from perdure.server.deliveries import Deliveries
from perdure.server.entities import Entities, Raised
from perdure.server.group import Group
from perdure.server.outbox import Outbox
from perdure.server.step import Steps
from perdure.storage import sqlite_commit
from perdure.storage.port import ShardWrite
from perdure.wire.errors import RpcError
from tests.simulation.violations import Violation
from tests.simulation.world import play

SEEDS_DEFAULT = 200

Mutation = Callable[[], contextlib.AbstractContextManager[object]]


@contextmanager
def no_fence() -> Generator[None]:
    """A batch is written whoever owns the shard."""

    def begin(connection: sqlite3.Connection, shards: Iterable[ShardWrite]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for shard in shards:
            connection.execute(
                "UPDATE shards SET commit_sequence = commit_sequence + 1, clock_ns = ?, last_entity = ?"
                " WHERE shard_id = ?",
                (shard.clock_ns, shard.last_entity, shard.shard_id),
            )

    with mock.patch.object(sqlite_commit, "_begin", begin):
        yield


@contextmanager
def no_barrier() -> Generator[None]:
    """Outcomes are told before they are durable."""

    async def reveal(self: Entities, outcome: Any) -> Any:
        reply = outcome.reply
        if isinstance(reply, Raised):
            raise reply.error
        if isinstance(reply, Exception):
            raise reply
        return reply

    with mock.patch.object(Entities, "reveal", reveal):
        yield


@contextmanager
def no_abandon() -> Generator[None]:
    """A draft that fails leaves its changes in memory."""
    with mock.patch.object(Draft, "abandon", Draft._end):
        yield


@contextmanager
def no_reread() -> Generator[None]:
    """The entries found before an await are used after it."""
    ready = Entities.ready

    async def stale(self: Entities, *keys: Any) -> Any:
        entries = await ready(self, *keys)
        await asyncio.sleep(0.1)
        return entries

    def nothing(self: Entities, *_: Any) -> None:
        return None

    with mock.patch.multiple(Entities, ready=stale, at_hand=nothing):
        yield


@contextmanager
def no_shield() -> Generator[None]:
    """A caller who goes away cancels the outcome that others wait for."""

    settled = Group.settled
    shared: dict[Group, asyncio.Future[None]] = {}

    def one_for_all(self: Group) -> asyncio.Future[None]:
        return shared.setdefault(self, settled(self))

    with mock.patch.object(Group, "settled", one_for_all):
        yield


@contextmanager
def no_flush() -> Generator[None]:
    """Buffered events are dropped when their workflow task ends."""

    def drop(draft: Draft) -> bool:
        had = bool(draft.state.buffered)
        for number in sorted(draft.state.buffered):
            draft.fact(FactKind.BUFFERED, str(number), None)
        return had

    with _everywhere(flush_module.flush, drop):
        yield


@contextmanager
def no_task_removal() -> Generator[None]:
    """The transition that starts a task leaves its row behind."""
    write = Steps._write

    def keep(self: Steps, group: Any, transition: Any, *, is_wake: bool = False) -> None:
        transition.finished_tasks = ()
        write(self, group, transition, is_wake=is_wake)

    with mock.patch.object(Steps, "_write", keep):
        yield


@contextmanager
def no_mark_of_held_runs() -> Generator[None]:
    """Runs of which a worker holds something lie among those that sleep."""
    with mock.patch.object(step_module, "is_held", return_value=False):
        yield


@contextmanager
def no_request_dedup() -> Generator[None]:
    """A request that arrives twice is applied twice."""

    def never(state: object, request_id: str) -> bool:
        return False

    with mock.patch.object(signal_module, "_seen", never):
        yield


@contextmanager
def no_outbox_recovery() -> Generator[None]:
    """What a process had not delivered when it died stays where it is."""

    async def recover(self: Outbox, shard_ids: list[int]) -> None:
        """Forget them."""

    with mock.patch.object(Outbox, "recover", recover):
        yield


@contextmanager
def no_repeated_delivery() -> Generator[None]:
    """A delivery that failed once counts as done."""
    deliver = Deliveries.deliver

    async def once(self: Deliveries, source: EntityKey, effect: Effect) -> None:
        with contextlib.suppress(RpcError):
            await deliver(self, source, effect)

    with mock.patch.object(Deliveries, "deliver", once):
        yield


@contextmanager
def _everywhere(original: Any, replacement: Any) -> Generator[None]:
    """Replace a function in every module that imported it by name."""
    with contextlib.ExitStack() as stack:
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("perdure."):
                for name, value in list(vars(module).items()):
                    if value is original:
                        stack.enter_context(mock.patch.object(module, name, replacement))
        yield


MUTATIONS: dict[str, Mutation] = {
    "fence": no_fence,
    "outcome barrier": no_barrier,
    "draft abandon": no_abandon,
    "cache re-read": no_reread,
    "shielded outcome": no_shield,
    "buffered-event flush": no_flush,
    "task-row removal": no_task_removal,
    "mark of held runs": no_mark_of_held_runs,
    "request-id dedup": no_request_dedup,
    "outbox recovery": no_outbox_recovery,
    "repeated delivery": no_repeated_delivery,
}


def catch(mutation: Mutation, seeds: Sequence[int]) -> tuple[int, str] | None:
    """The first seed that notices the mutant, and what it says; None when all are blind."""
    for seed in seeds:
        with mutation():
            try:
                play(seed)
            except Violation as violation:
                return seed, str(violation).splitlines()[0][:100]
            except Exception:  # noqa: BLE001 - no checker noticed it: another seed must
                continue
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_DEFAULT, help="how many seeds to try")
    parser.add_argument("--only", help="one guard")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    survivors = 0
    print(f"{'guard removed':22} {'seed':>5}  caught by")
    for name, mutation in MUTATIONS.items():
        if options.only and name != options.only:
            continue
        found = catch(mutation, range(options.seeds))
        if found is None:
            survivors += 1
            print(f"{name:22} {'-':>5}  SURVIVED {options.seeds} seeds")
        else:
            print(f"{name:22} {found[0]:>5}  {found[1]}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
