"""Many worlds, each with the workloads and faults of its seed. A failure names the command that plays it again."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.simulation.lateness import LOOK_S
from tests.simulation.play import play
from tests.simulation.stage import PLAIN
from tests.simulation.violations import Kind, Violation
from tests.simulation.workloads import ALL, Greetings
from tests.simulation.world import World

pytestmark = pytest.mark.simulation

SEEDS = 200
CHUNKS = 20
GREETINGS = 4
"""How many workflows the workload `Greetings` has."""
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A world with many faults logs thousands of warnings. Formatting them would take most of the time."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_promises_are_kept(chunk: int, request: pytest.FixtureRequest) -> None:
    """Plays 200 seeds by default; `--seeds N` changes the number, `--seed N` plays one."""
    only: int | None = request.config.getoption("--seed")
    count = cast("int | None", request.config.getoption("--seeds")) or SEEDS
    seeds: range | list[int] = range(chunk, count, CHUNKS)
    if only is not None:
        seeds = [only] if only % CHUNKS == chunk else []
    for seed in seeds:
        try:
            report = play(seed)
        except BaseException as error:
            error.add_note(f"play it again: make sim SEED={seed}")
            raise
        assert report.calls > 0


@pytest.mark.parametrize("workload", ALL, ids=lambda kind: kind.__name__)
def test_each_workload_alone_in_a_faulty_world(workload: type) -> None:
    report = World(1_000_003, [workload]).run()
    assert report.workloads == [workload.__name__]


class _LateFinding(World):
    """Its watch finds something when all workflows have ended."""

    async def watch(self) -> None:
        while len(self.ledger.results) < GREETINGS:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(LOOK_S)
        raise Violation(Kind.LATE, "seen at the end")


def test_a_finding_of_the_watch_after_the_last_workflow_fails_the_world() -> None:
    with pytest.raises(Violation, match="seen at the end"):
        _LateFinding(7, [Greetings], PLAIN).run()


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    """Nothing in node, client or worker may depend on the order of a set of strings."""

    def digest(hash_seed: str) -> str:
        code = (
            "import logging; logging.disable(logging.CRITICAL);"
            "from tests.simulation.play import play; print([play(seed).digest for seed in (42, 43, 44)])"
        )
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        return done.stdout.strip()

    assert len({digest("0"), digest("1"), digest("7919")}) == 1
