"""The engines of a process: known while open; let go of when nobody wants them, or their loop or process has ended."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from perdure.embedded import engine as embedded
from perdure.embedded import open_embedded
from perdure.wire import errors
from tests.unit.embedded.calls import start


def engines_at(place: Path) -> list[embedded._Engine]:
    return [engine for engine in embedded.all_engines if engine.place == place.resolve()]


async def test_an_engine_is_known_while_it_is_open(tmp_path: Path):
    path = tmp_path / "x.db"
    connection = await open_embedded(f"sqlite:{path}")
    assert engines_at(path) == [connection._owner]
    await connection.close()
    assert engines_at(path) == []


def test_an_engine_whose_loop_has_ended_is_let_go_of(tmp_path: Path):
    path = tmp_path / "x.db"

    async def opened(*, closes: bool) -> None:
        connection = await open_embedded(f"sqlite:{path}")
        await start(connection)
        if closes:
            await connection.close()

    asyncio.run(opened(closes=False))
    assert len(engines_at(path)) == 1
    asyncio.run(opened(closes=True))
    assert engines_at(path) == []


def test_an_engine_whose_loop_ended_before_it_was_open_is_let_go_of(tmp_path: Path):
    path = tmp_path / "x.db"
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        embedded.shared_engines[path.resolve()] = embedded._Engine(path.resolve())

    loop.run_until_complete(begin())
    (engine,) = engines_at(path)
    assert engine._store is None
    engine._opening._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()

    async def again() -> None:
        connection = await open_embedded(f"sqlite:{path}")
        assert await start(connection)
        await connection.close()

    asyncio.run(again())
    assert engines_at(path) == []


class SlowOpening:
    """Engines whose opening waits until it is told how to end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        real = embedded.open_node

        async def opening(*arguments: Any, **options: Any) -> Any:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            return await real(*arguments, **options)

        monkeypatch.setattr(embedded, "open_node", opening)


async def cancelled_opening() -> embedded._Engine:
    """An engine that is still being opened, and for which nobody waits any more."""
    opening = asyncio.create_task(open_embedded("memory:slow"))
    await asyncio.sleep(0)
    engine = embedded.shared_engines["slow"]
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert len(engine._leaving) == 1
    return engine


async def left(engine: embedded._Engine) -> None:
    while engine._leaving:  # noqa: ASYNC110 -- nothing announces it
        await asyncio.sleep(0)


async def test_an_engine_that_nobody_waits_for_is_closed_once_it_is_open(
    monkeypatch: pytest.MonkeyPatch,
):
    slow = SlowOpening(monkeypatch)
    engine = await cancelled_opening()
    assert "slow" in embedded.shared_engines
    slow.gate.set()
    await left(engine)
    assert "slow" not in embedded.shared_engines


async def test_an_opening_that_fails_when_nobody_waits_for_it_is_no_trouble(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    slow = SlowOpening(monkeypatch)
    engine = await cancelled_opening()
    slow.error = errors.Unavailable("no disk (test)")
    slow.gate.set()
    await left(engine)
    assert engine._closing is None
    assert "slow" not in embedded.shared_engines
    del engine
    gc.collect()
    assert [one.getMessage() for one in caplog.records if one.name == "asyncio"] == []


async def test_a_forked_child_gives_up_the_file_of_its_parents_engine(tmp_path: Path):
    connection = await open_embedded(f"sqlite:{tmp_path}/x.db")
    (engine,) = engines_at(tmp_path / "x.db")
    store: Any = engine._store
    fd: int = store._lock._fd
    engine.leave_to_parent()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    store._lock = None
    await connection.close()


async def test_a_forked_child_has_nothing_to_give_up_of_an_engine_that_is_being_opened():
    engine = embedded._Engine("being opened")
    engine.leave_to_parent()
    assert engine in embedded.all_engines
    engine._opening.cancel()
    await asyncio.wait((engine._opening,))
    engine.abandon()
    assert engine not in embedded.all_engines
