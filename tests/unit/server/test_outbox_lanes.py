"""Lanes of the outbox: one effect at a time per destination, pauses that grow, and what is known of its sources."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from perdure.core.ids import EntityKey, run_key
from perdure.core.limits import DAMAGE_RETRY_NS
from perdure.core.units import SECOND_NS
from perdure.entity.transition import Effect
from perdure.server.shards import outbox
from perdure.server.shards.outbox import Outbox
from perdure.storage.port import DamageError, Store, StoredEffect, StoreError
from perdure.wire.errors import DataLoss
from tests.unit.server.virtual import on_virtual_time


def source(name: str) -> EntityKey:
    return run_key("n", name, "r")


class Office:
    """An outbox with what is delivered, finished and failed, each with its time."""

    def __init__(self) -> None:
        self.delivered: list[tuple[float, str]] = []
        self.finished: list[tuple[float, str]] = []
        self.tried: list[str] = []
        self.damages: dict[str, list[Exception]] = {}
        self.failures: dict[str, int] = {}
        self.finish_failures: dict[str, int] = {}
        self.takes_s: dict[str, float] = {}
        self.rows: list[StoredEffect] = []
        self.read_errors: list[Exception] = []
        self.asked: list[list[int]] = []
        self.lanes = Outbox(cast("Store", self), self.deliver, self.finish)

    @property
    def now_s(self) -> float:
        return round(asyncio.get_running_loop().time(), 6)

    async def deliver(self, sender: EntityKey, effect: Effect) -> None:
        name = effect.request_id
        assert sender.name == name[0]
        self.tried.append(name)
        await asyncio.sleep(self.takes_s.get(name, 0))
        if self.damages.get(name):
            raise self.damages[name].pop(0)
        if self.failures.get(name, 0):
            self.failures[name] -= 1
            raise ZeroDivisionError("not now (test)")
        self.delivered.append((self.now_s, name))

    async def finish(self, stored: StoredEffect) -> None:
        name = stored.effect.request_id
        if self.damages.get(f"finish {name}"):
            raise self.damages[f"finish {name}"].pop(0)
        if self.finish_failures.get(name, 0):
            self.finish_failures[name] -= 1
            raise StoreError("not now (test)")
        self.finished.append((self.now_s, name))

    async def outbox(self, shards: list[int]) -> list[StoredEffect]:
        self.asked.append(shards)
        if self.read_errors:
            raise self.read_errors.pop(0)
        return self.rows


def effect(name: str, to: str) -> StoredEffect:
    """`name` begins with its source's letter and ends with its sequence."""
    sent = Effect(run_key("n", to, "r"), "k", name, b"")
    return StoredEffect(source(name[0]), 1, int(name[1:]), sent)


@on_virtual_time
async def test_one_effect_at_a_time_per_destination_and_lanes_side_by_side():
    office = Office()
    office.takes_s = {"a1": 1.0, "b1": 1.0, "a2": 1.0, "a3": 0.5}
    for name, to in (("a1", "x"), ("b1", "x"), ("a2", "y"), ("a3", "x")):
        office.lanes.push(effect(name, to))
    assert office.lanes.is_delivering
    await asyncio.sleep(10)
    assert office.delivered == [(1.0, "a1"), (1.0, "a2"), (2.0, "b1"), (2.5, "a3")]
    assert office.finished == office.delivered
    assert not office.lanes.is_delivering


@on_virtual_time
async def test_a_failing_delivery_is_repeated_with_pauses_that_grow_to_a_bound_and_keeps_its_place():
    office = Office()
    office.failures = {"a1": 11}
    office.lanes.push(effect("a1", "x"))
    office.lanes.push(effect("a2", "x"))
    office.lanes.push(effect("b1", "y"))
    await asyncio.sleep(1_000)
    pauses_s = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30)
    at_s = round(sum(pauses_s), 6)
    assert office.delivered == [(0, "b1"), (at_s, "a1"), (at_s, "a2")]
    office.failures = {"a3": 1}
    began_s = office.now_s
    office.lanes.push(effect("a3", "x"))
    await asyncio.sleep(5)
    assert office.delivered[-1] == (pytest.approx(began_s + 0.1), "a3"), "pauses begin anew"


@on_virtual_time
async def test_what_was_delivered_is_not_delivered_again_while_its_row_cannot_be_removed():
    office = Office()
    office.finish_failures = {"a1": 2}
    office.lanes.push(effect("a1", "x"))
    office.lanes.push(effect("a2", "x"))
    await asyncio.sleep(10)
    assert office.delivered == [(0, "a1"), (0.3, "a2")]
    assert office.finished == [(0.3, "a1"), (0.3, "a2")]


@on_virtual_time
async def test_an_effect_that_is_pushed_twice_is_delivered_once_until_it_is_done():
    office = Office()
    office.takes_s = {"a1": 1.0}
    for _ in range(3):
        office.lanes.push(effect("a1", "x"))
    await asyncio.sleep(5)
    assert [name for _, name in office.delivered] == ["a1"]
    office.lanes.push(effect("a1", "x"))
    await asyncio.sleep(5)
    assert len(office.delivered) == 2, "it is not remembered forever"
    assert not office.lanes._known


@on_virtual_time
async def test_effects_of_two_sources_with_one_sequence_are_two():
    office = Office()
    office.lanes.push(effect("a1", "x"))
    office.lanes.push(effect("b1", "x"))
    await asyncio.sleep(1)
    assert [name for _, name in office.delivered] == ["a1", "b1"]


@on_virtual_time
async def test_a_source_is_held_until_the_last_of_its_effects_is_finished():
    office = Office()
    office.takes_s = {"a1": 1.0, "a2": 2.0, "b1": 1.0}
    office.finish_failures = {"a2": 1}
    assert not office.lanes.holds(source("a"))
    for name, to in (("a1", "x"), ("a2", "y"), ("b1", "z")):
        office.lanes.push(effect(name, to))
    await asyncio.sleep(0.5)
    assert office.lanes.holds(source("a"))
    assert office.lanes.holds(source("b"))
    await asyncio.sleep(1)
    assert office.lanes.holds(source("a")), "one of two is done"
    assert not office.lanes.holds(source("b"))
    await asyncio.sleep(0.55)
    assert office.lanes.holds(source("a")), "delivered, but its row is still there"
    await asyncio.sleep(0.1)
    assert not office.lanes.holds(source("a"))
    assert not office.lanes._sources, "nothing of it is kept"


@on_virtual_time
async def test_recovery_reads_the_shards_it_was_given_until_the_database_answers():
    office = Office()
    office.rows = [effect(name, "x") for name in ("a1", "b2", "a3")]
    office.read_errors = [StoreError("no answer (test)")] * 3
    await office.lanes.recover([2, 3])
    assert asyncio.get_running_loop().time() == pytest.approx(0.1 + 0.2 + 0.4)
    assert office.asked == [[2, 3]] * 4
    await asyncio.sleep(1)
    assert [name for _, name in office.delivered] == ["a1", "b2", "a3"]


@on_virtual_time
async def test_after_the_end_nothing_is_delivered():
    office = Office()
    office.takes_s = {"a1": 1.0, "a2": 1.0, "a3": 1.0}
    for name, to in (("a1", "x"), ("a2", "y"), ("a3", "z")):
        office.lanes.push(effect(name, to))
    await asyncio.sleep(0.5)
    office.lanes.stop()
    await asyncio.sleep(10)
    assert office.delivered == []


# Damage --------------------------------------------------------------------------------------------

PAUSE_S = DAMAGE_RETRY_NS / SECOND_NS


@on_virtual_time
@pytest.mark.parametrize("damage", [DataLoss("d"), DamageError("d")])
async def test_what_damage_prevents_keeps_its_place_before_later_effects_of_its_source(
    damage: Exception, caplog: pytest.LogCaptureFixture
):
    office = Office()
    office.damages = {"a1": [damage] * 2}
    for name, to in (("a1", "x"), ("a2", "x"), ("b1", "x"), ("a3", "y"), ("a4", "x")):
        office.lanes.push(effect(name, to))
    with caplog.at_level("INFO"):
        await asyncio.sleep(1)
        assert sorted(name for _, name in office.delivered) == ["a3", "b1"], "nothing overtakes a1"
        assert not office.lanes.is_delivering
        office.lanes.push(effect("a5", "x"))
        office.lanes.push(effect("b2", "x"))
        await asyncio.sleep(3 * PAUSE_S)
    assert [name for _, name in office.delivered if name[0] == "b"] == ["b1", "b2"]
    assert [each for each in office.delivered if each[1] in {"a1", "a2", "a4", "a5"}] == [
        (2 * PAUSE_S, name) for name in ("a1", "a2", "a4", "a5")
    ]
    assert office.tried.count("a1") == 3
    assert levels(caplog) == ["ERROR", "INFO"], "once per outage"
    assert "cannot be delivered" in caplog.text
    assert not office.lanes.holds(source("a"))
    office.damages = {"a6": [damage]}
    with caplog.at_level("INFO"):
        office.lanes.push(effect("a6", "x"))
        await asyncio.sleep(2 * PAUSE_S)
    assert levels(caplog)[2:] == ["ERROR", "INFO"], "the next outage is logged too"
    assert office.delivered[-1][1] == "a6"


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of what the outbox has logged. Threads that earlier tests have left may log too."""
    return [each.levelname for each in caplog.records if each.name == outbox.log.name]


@on_virtual_time
async def test_a_damaged_destination_is_tried_once_for_each_source_and_then_after_minutes():
    office = Office()
    names = ("a1", "b1", "a2", "b2")
    office.damages = {"a1": [DataLoss("d")], "b1": [DataLoss("d")]}
    for name in names:
        office.lanes.push(effect(name, "x"))
    await asyncio.sleep(PAUSE_S - 1)
    assert office.tried == ["a1", "b1"]
    assert office.lanes.holds(source("a"))
    assert office.lanes.holds(source("b"))
    await asyncio.sleep(2)
    assert office.delivered == [(PAUSE_S, name) for name in ("a1", "a2", "b1", "b2")]


@on_virtual_time
async def test_an_effect_whose_row_is_damaged_is_delivered_before_later_ones():
    office = Office()
    office.damages = {"finish a1": [DamageError("d")]}
    for name in ("a1", "a2"):
        office.lanes.push(effect(name, "x"))
    await asyncio.sleep(2 * PAUSE_S)
    assert [name for _, name in office.delivered] == ["a1", "a1", "a2"], "at least once, in order"


@on_virtual_time
async def test_after_the_end_what_damage_prevented_is_not_tried_again():
    office = Office()
    office.damages = {"a1": [DataLoss("d")]}
    office.lanes.push(effect("a1", "x"))
    await asyncio.sleep(1)
    office.lanes.stop()
    await asyncio.sleep(3 * PAUSE_S)
    assert office.tried == ["a1"]
    office.lanes.push(effect("a1", "x"))
    await asyncio.sleep(1)
    assert office.tried == ["a1"], "it is still known"
