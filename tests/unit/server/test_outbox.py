"""Effects reach their destination in order, at least once, whatever fails in between."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from perdure.core.clock import SystemClock
from perdure.core.ids import EntityKey, run_key
from perdure.entity.transition import Effect, FactChange
from perdure.history.draft.transition import RunTransition
from perdure.history.state.facts import CreateFact, FactKind
from perdure.history.state.run_state import RunState
from perdure.server.engine import Engine
from perdure.server.runs import Runs
from perdure.storage.port import DamageError, Store
from perdure.storage.sqlite import open_memory
from perdure.wire.errors import DataLoss, Unavailable

SOURCE = run_key("n", "source", "r")
TO_A, TO_B = run_key("n", "a", "r"), run_key("n", "b", "r")


class Post:
    """Where effects go; fails as often as it is told to."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str]] = []
        self.failures: dict[EntityKey, int] = {}
        self.is_closed = False

    async def deliver(self, source: EntityKey, effect: Effect) -> None:
        await asyncio.sleep(0)
        left = self.failures.get(effect.destination, 0)
        if self.is_closed or left:
            self.failures[effect.destination] = left - 1
            raise Unavailable("not now")
        self.received.append((effect.destination.name, effect.request_id))


async def open_engine(store: Store, post: Post) -> Engine:
    ids = count(1)
    engine = Engine(store, SystemClock(), lambda: f"id-{next(ids)}", deliver=post.deliver)
    await engine.open()
    return engine


def effects(*destinations: EntityKey) -> RunTransition:
    state = RunState(SOURCE)
    change = FactChange(FactKind.CREATE, "", CreateFact("x"))
    return RunTransition(
        key=SOURCE,
        state=state,
        facts=(change,),
        effects=tuple(Effect(to, "k", f"e{n}", b"") for n, to in enumerate(destinations)),
    )


async def send(engine: Engine, *destinations: EntityKey) -> None:
    def change(*_: object) -> tuple[RunTransition, ...]:
        return (effects(*destinations),)

    await Runs(engine).start_with("n", SOURCE.name, lambda _: False, change)


async def delivered(store: Store) -> None:
    while await store.outbox(range(store.shard_count)):  # noqa: ASYNC110 -- asks the rows
        await asyncio.sleep(0.01)


async def test_effects_are_delivered_in_order_and_their_rows_removed():
    store, post = open_memory(), Post()
    engine = await open_engine(store, post)
    await send(engine, TO_A, TO_A, TO_B, TO_A)
    await delivered(store)
    assert [e for e in post.received if e[0] == "a"] == [("a", "e0"), ("a", "e1"), ("a", "e3")]
    assert ("b", "e2") in post.received
    await engine.close()


async def test_a_destination_that_fails_holds_up_only_its_own_lane():
    store, post = open_memory(), Post()
    post.failures[TO_A] = 2
    engine = await open_engine(store, post)
    await send(engine, TO_A, TO_B, TO_A)
    await delivered(store)
    assert post.received == [("b", "e1"), ("a", "e0"), ("a", "e2")]
    await engine.close()


async def test_what_was_not_delivered_is_taken_up_by_the_next_owner():
    store, post = open_memory(), Post()
    post.is_closed = True
    first = await open_engine(store, post)
    await send(first, TO_A)
    for loop in first._loops:
        loop.cancel()
    first.outbox.stop()
    post = Post()
    second = await open_engine(store, post)
    await delivered(store)
    assert post.received == [("a", "e0")]
    await second.close()


@pytest.mark.parametrize("damage", [DataLoss("d"), DamageError("d")])
async def test_an_effect_that_damage_prevents_is_put_aside_with_later_ones_of_its_source(
    caplog: pytest.LogCaptureFixture, damage: Exception
):
    class Damaged(Post):
        async def deliver(self, source: EntityKey, effect: Effect) -> None:
            self.received.append((effect.destination.name, effect.request_id))
            if effect.request_id == "e0":
                raise damage

    store, post = open_memory(), Damaged()
    engine = await open_engine(store, post)
    await send(engine, TO_A, TO_A, TO_B)
    while engine.outbox.is_delivering or not post.received:  # noqa: ASYNC110 -- asks the lanes
        await asyncio.sleep(0.01)
    left = await store.outbox(range(store.shard_count))
    assert [stored.effect.request_id for stored in left] == ["e0", "e1"]
    assert sorted(post.received) == [("a", "e0"), ("b", "e2")], "each once"
    assert engine.outbox.holds(SOURCE), "its source is not deleted"
    assert len([r for r in caplog.records if "cannot be delivered" in r.message]) == 1
    await engine.close()


async def test_rows_that_cannot_be_read_end_the_opening():
    store = open_memory()
    store.reading.execute("DROP TABLE outbox")
    engine = Engine(store, SystemClock(), lambda: "id", deliver=Post().deliver)
    with pytest.raises(DamageError, match="no such table"):
        await engine.open()
    await engine.close()


async def test_a_shard_that_is_acquired_again_leaves_unreadable_rows_where_they_are(
    caplog: pytest.LogCaptureFixture,
):
    store, post = open_memory(), Post()
    engine = await open_engine(store, post)
    store.reading.execute("DROP TABLE outbox")
    engine._shard_acquired(next(iter(engine.shards._shards.values())))
    while not caplog.records:  # noqa: ASYNC110 -- asks the log
        await asyncio.sleep(0.01)
    assert [r.message.split(":")[0] for r in caplog.records] == [
        "effects of shard 0 that are not delivered stay where they are"
    ]
    await engine.close()
