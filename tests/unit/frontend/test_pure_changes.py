"""While a change is computed, nothing but its entity is touched: what else has to happen are its notes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from perdure.server.pending.updates import Updates
from perdure.server.shards.entities import Entities
from perdure.wire.api import command
from perdure.wire.errors import InvalidArgument, RpcError
from tests.harness import builders
from tests.unit.frontend.conftest import Caller, virtual_caller
from tests.unit.frontend.test_multi_operation import execute, start_part, update_part
from tests.unit.frontend.test_update_calls import (
    ACCEPTED,
    accept,
    data,
    idle_run,
    refuse,
    respond,
    send,
)
from tests.unit.server.virtual import on_virtual_time


class Watch:
    """Knows when a change is being computed, and what memory was written meanwhile."""

    def __init__(self) -> None:
        self.is_computing = False
        self.changes = 0
        self.notes: list[str] = []
        self.offences: list[str] = []

    def change(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: object) -> Any:
            self.is_computing = True
            self.changes += 1
            try:
                return change(*arguments)
            finally:
                self.is_computing = False

        return watched

    def write(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: object) -> Any:
            (self.offences if self.is_computing else self.notes).append(name)
            return write(*arguments)

        return watched


@pytest.fixture
async def watch(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    watch, perform = Watch(), Entities.perform

    def watched(
        self: Entities, entries: Any, changed: Any, change: Any, *arguments: Any, **options: Any
    ) -> Any:
        return perform(self, entries, changed, watch.change(change), *arguments, **options)

    monkeypatch.setattr(Entities, "perform", watched)
    for name in ("admit", "answered", "failed", "forget"):
        monkeypatch.setattr(Updates, name, watch.write(name, getattr(Updates, name)))
    yield watch
    assert watch.changes > 0
    assert watch.offences == []


def _bad_command() -> command.Command:
    return builders.command("START_TIMER")


@pytest.mark.parametrize("answers", [[accept(), respond()], [refuse()]])
def test_updates_are_let_in_and_answered_by_notes(watch: Watch, answers: list[Any]):
    @on_virtual_time
    async def play() -> None:
        async with virtual_caller() as caller:
            await idle_run(caller)
            call = send(caller)
            task = await caller.poll()
            assert watch.notes.count("admit") == 1
            await caller.complete(task, messages=answers)
            assert "answered" in watch.notes
            outcome = await call
            if len(answers) == 1:
                assert outcome.outcome.failure.message == "no"
            else:
                assert data(outcome) == b"done"

    play()


def test_an_update_with_start_is_let_in_by_a_note(watch: Watch):
    @on_virtual_time
    async def play() -> None:
        async with virtual_caller() as caller:
            call = execute(caller, start_part(), update_part(stage=ACCEPTED))
            task = await caller.poll()
            assert watch.notes.count("admit") == 1
            await caller.complete(task, messages=[accept(), respond()])
            await call

    play()


async def _fails_twice(caller: Caller, watch: Watch) -> None:
    await idle_run(caller)
    call, task = send(caller), None
    for attempt in (1, 2):
        task = await caller.poll()
        with pytest.raises(InvalidArgument):
            await caller.complete(task, _bad_command())
        assert watch.notes.count("failed") == attempt
    # The error of a repeated attempt is not kept for its token: nothing was written.
    await caller.complete(task)
    with pytest.raises(RpcError):
        await call


def test_the_updates_of_a_task_that_cannot_be_completed_fail_by_a_note(watch: Watch):
    @on_virtual_time
    async def play() -> None:
        async with virtual_caller() as caller:
            await _fails_twice(caller, watch)

    play()
