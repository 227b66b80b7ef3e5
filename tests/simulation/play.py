"""Plays the world of a seed: every third seed is an attack, the others are worlds with random faults."""

from __future__ import annotations

import dataclasses

from perdure.core.units import SECOND_NS
from tests.simulation.attacks import ATTACKS, Attack
from tests.simulation.attacks.deadlines import many_delays
from tests.simulation.attacks.outcomes import dead_workers, evicted_while_pending
from tests.simulation.attacks.retention import KEPT_S, newer_run, undelivered_effects
from tests.simulation.settings import Settings
from tests.simulation.stage import PLAIN, Stage
from tests.simulation.world import Report, World

ATTACK_EVERY = 3
_SOON = dataclasses.replace(PLAIN, retention_ns=KEPT_S * SECOND_NS)
_SETTINGS: dict[Attack, Settings] = {
    undelivered_effects: _SOON,
    newer_run: _SOON,
    evicted_while_pending: dataclasses.replace(PLAIN, has_small_cache=True),
    dead_workers: dataclasses.replace(PLAIN, is_embedded=True),
    many_delays: dataclasses.replace(PLAIN, has_small_pages=True),
}


def is_attack(seed: int) -> bool:
    """Whether the world of this seed is an attack."""
    return seed % ATTACK_EVERY == ATTACK_EVERY - 1


def play(seed: int) -> Report:
    """Play one world.

    Raises:
        Violation: A promise was not kept.
    """
    if not is_attack(seed):
        return World(seed).run()
    attack = ATTACKS[seed // ATTACK_EVERY % len(ATTACKS)]
    stage = Stage(seed, attack, _SETTINGS.get(attack, PLAIN))
    stage.report.workloads = [attack.__name__]
    return stage.run()
