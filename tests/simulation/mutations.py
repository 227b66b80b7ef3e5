"""Shows that the simulation notices when a guard of the server is missing.

`python -m tests.simulation.mutations` removes one guard at a time (`guards.py`), plays the seeds of each draw until a
checker raises a `Violation`, and prints the seed and the violation. A mutant that survives a draw is an error: the
guard is useless, or a check is missing. Other exceptions do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from perdure.server.shards.entities import Entities
from perdure.server.shards.group import Group
from tests.simulation.guards import GUARDS
from tests.simulation.play import is_attack, play
from tests.simulation.violations import Violation

SEEDS_DEFAULT = 200
DRAWS_DEFAULT = 10
DRAW_STEP = 1_000
"""Draw n begins at seed n * DRAW_STEP, so that draws are disjoint."""

Mutation = Callable[[], AbstractContextManager[object]]


@contextmanager
def no_reread() -> Generator[None]:
    """Entries that were looked up before an await are used after it."""
    ready = Entities.ready

    async def stale(self: Entities, *keys: Any) -> Any:
        entries = await ready(self, *keys)
        await asyncio.sleep(0.1)
        return entries

    def nothing(self: Entities, *_: Any) -> None:
        return None

    with mock.patch.multiple(Entities, ready=stale, cached_to_change=nothing):
        yield


@contextmanager
def no_shield() -> Generator[None]:
    """A caller that leaves cancels the outcome that others wait for."""
    settled = Group.settled
    shared: dict[Group, asyncio.Future[None]] = {}

    def one_for_all(self: Group) -> asyncio.Future[None]:
        return shared.setdefault(self, settled(self))

    with mock.patch.object(Group, "settled", one_for_all):
        yield


MUTATIONS: dict[str, Mutation] = {
    "cache re-read": no_reread,
    "shielded outcome": no_shield,
    **{name: edit.in_force for name, edit in GUARDS.items()},
}


def draw(number: int, count: int) -> list[int]:
    """The seeds of a draw, attacks first: they are short and find most."""
    first = number * DRAW_STEP
    return sorted(range(first, first + count), key=lambda seed: not is_attack(seed))


def catch(mutation: Mutation, seeds: Sequence[int]) -> tuple[int, str] | None:
    """How many seeds it took to notice the mutant, and the violation; None when none did."""
    for tried, seed in enumerate(seeds, start=1):
        with mutation():
            try:
                play(seed)
            except Violation as violation:
                return tried, f"{seed}: {violation}".splitlines()[0][:100]
            except Exception:  # noqa: BLE001 - only a checker counts
                continue
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_DEFAULT, help="how many seeds to try")
    parser.add_argument("--draws", type=int, default=DRAWS_DEFAULT, help="how many draws of them")
    parser.add_argument("--only", help="guards whose name contains this")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    survivors = 0
    print(f"{'guard removed':44} {'seeds until it is noticed, per draw':40}  seed and violation")
    for name, mutation in MUTATIONS.items():
        if options.only and options.only not in name:
            continue
        counts: list[str] = []
        said = ""
        for number in range(options.draws):
            found = catch(mutation, draw(number, options.seeds))
            survivors += found is None
            counts.append("-" if found is None else str(found[0]))
            said = said or (found[1] if found is not None else "")
        print(f"{name:44} {' '.join(counts):40}  {said}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
