"""Pollers never give up; answers are repeated until the server takes or refuses them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from perdure.wire import errors
from perdure.worker.polling import pollers
from perdure.worker.polling.poll_numbers import PollNumbers
from perdure.worker.polling.pollers import Pollers, until_answered
from perdure.worker.polling.slots import Slots


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_time(attempt: int) -> float:
        return 0.0

    monkeypatch.setattr(pollers, "pause_s", no_time)


class Lines(Pollers[str]):
    """Pollers over a script of poll results: errors are raised; when it is used up, polls wait forever."""

    def __init__(self, slots: int, fewest: int, most: int, script: Sequence[object] = ()) -> None:
        self.slots = Slots(slots)
        self.script = list(script)
        self.handled: list[str] = []
        self.advice: dict[str, int] = {}
        """What the server says with a task about the number of polls."""
        self.polls = 0
        self.more = asyncio.Event()
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.broken: list[BaseException] = []
        self.tasks: list[asyncio.Task[None]] = []
        super().__init__(
            "test",
            self.slots,
            self.next_of_script,
            self.work,
            numbers=PollNumbers(fewest, most),
            spawn=self.spawn,
            on_broken=self.broken.append,
            wanted_more=self.advice.get,
        )

    async def next_of_script(self) -> str | None:
        self.polls += 1
        while not self.script:
            self.more.clear()
            await self.more.wait()
        item = self.script.pop(0)
        await asyncio.sleep(0)
        if isinstance(item, Exception):
            raise item
        assert item is None or isinstance(item, str)
        return item

    async def work(self, task: str) -> None:
        self.handled.append(task)
        await self.may_finish.wait()
        if task == "bad":
            raise RuntimeError("bad task")

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.append(task)
        return task

    async def turns(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def end(self) -> None:
        self.stop()
        await self.withdraw()
        self.may_finish.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert (self.slots.used, self.parked) == (0, 0)


async def test_a_poller_survives_errors_and_works_off_what_comes() -> None:
    down = errors.Unavailable("down")
    lines = Lines(2, 1, 1, [down, errors.Internal("odd"), None, "one", "bad", down, "two"])
    lines.start()
    await lines.turns()
    assert lines.handled == ["one", "bad", "two"]
    assert lines.parked == 1
    await lines.end()


async def test_a_slot_is_taken_before_the_poll_and_held_by_the_task() -> None:
    lines = Lines(2, 1, 1, ["one", "two", "three"])
    lines.may_finish.clear()
    lines.start()
    await lines.turns()
    assert (lines.polls, lines.handled) == (2, ["one", "two"]), "no poll without a free slot"
    assert lines.parked == 1, "it waits for one"
    lines.may_finish.set()
    await lines.turns()
    assert lines.handled == ["one", "two", "three"]
    await lines.end()


async def test_each_task_doubles_the_polls_and_no_further_than_to_the_bound() -> None:
    lines = Lines(10, 1, 5)
    lines.start()
    parked: list[int] = []
    for _ in range(4):
        lines.script.append("task")
        lines.more.set()
        await lines.turns()
        parked.append(lines.parked)
    assert parked == [2, 4, 5, 5]
    assert lines.slots.used == 5
    await lines.end()


async def test_tasks_that_come_together_do_not_each_double_the_polls() -> None:
    # Regression: lines counted only once they ran, and the polls of one queue held the slots of the other's.
    lines = Lines(10, 1, 5)
    lines.start()
    await lines.turns()
    for tasks in (["one"], ["two", "three"]):
        lines.script += tasks
        lines.more.set()
        await lines.turns()
        lines.may_finish.clear()  # the next ones go on
    assert (lines.parked, lines.slots.used) == (3, 5)
    await lines.end()


async def test_tasks_that_run_do_not_count_as_polls() -> None:
    lines = Lines(10, 1, 3, ["task"] * 6)
    lines.may_finish.clear()
    lines.start()
    await lines.turns()
    assert (len(lines.handled), lines.parked) == (6, 1)
    lines.may_finish.set()
    await lines.turns()
    assert (lines.parked, lines.slots.used) == (3, 3)
    await lines.end()


async def test_polls_that_bring_nothing_become_fewer() -> None:
    lines = Lines(10, 2, 4, ["task"] * 4)
    lines.may_finish.clear()
    lines.start()
    await lines.turns()
    lines.script.extend([None] * 10)
    lines.more.set()
    lines.may_finish.set()
    await lines.turns()
    assert (len(lines.handled), lines.parked) == (4, 2)
    await lines.end()


async def test_a_server_says_how_many_more_polls_it_wants() -> None:
    lines = Lines(20, 2, 6)
    lines.advice |= {"more": 1, "many": 9, "as many": 0}
    lines.start()
    parked: list[int] = []
    for task in ("more", "as many", "more", "many", "many"):
        lines.script.append(task)
        lines.more.set()
        await lines.turns()
        parked.append(lines.parked)
    assert parked == [3, 3, 4, 6, 6]
    await lines.end()


async def test_a_server_that_wants_fewer_polls_gets_the_fewest() -> None:
    lines = Lines(20, 2, 6)
    lines.advice |= {"many": 9, "fewer": -1}
    lines.start()
    parked: list[int] = []
    for task in ("many", "fewer", "fewer", "fewer", "fewer", "fewer"):
        lines.script.append(task)
        lines.more.set()
        await lines.turns()
        parked.append(lines.parked)
    assert parked == [6, 5, 4, 3, 2, 2]
    assert lines.slots.used == 2
    await lines.end()


async def test_a_server_does_not_change_the_number_that_a_user_has_set() -> None:
    lines = Lines(20, 3, 3)
    lines.advice |= {"more": 5, "fewer": -5}
    lines.start()
    for task in ("more", "fewer"):
        lines.script.append(task)
        lines.more.set()
        await lines.turns()
        assert lines.parked == 3
    await lines.end()


async def test_an_overloaded_server_gets_fewer_polls() -> None:
    lines = Lines(20, 2, 4, ["task"] * 2)
    lines.start()
    await lines.turns()
    assert lines.parked == 4
    lines.script += [errors.Unavailable("down")] * 3
    lines.more.set()
    await lines.turns()
    assert lines.parked == 4, "that says nothing about load"
    lines.script += [errors.ResourceExhausted("busy")] * 5
    lines.more.set()
    await lines.turns()
    assert (lines.parked, lines.slots.used) == (2, 2)
    lines.script += ["task"]
    lines.more.set()
    await lines.turns()
    assert lines.parked == 4, "and more again when tasks arrive"
    await lines.end()


async def test_a_slot_that_others_wait_for_is_not_kept() -> None:
    lines = Lines(2, 1, 2, ["task"])
    lines.may_finish.clear()
    lines.start()
    await lines.turns()
    others = asyncio.create_task(lines.slots.take())
    await lines.turns()
    lines.may_finish.set()
    await others
    await lines.turns()
    assert lines.parked == 1
    lines.slots.release()
    await lines.end()


async def test_a_stopped_poller_finishes_its_task_and_polls_no_more() -> None:
    lines = Lines(3, 1, 1, ["one"])
    lines.may_finish.clear()
    lines.start()
    await lines.turns()
    lines.stop()
    await lines.withdraw()
    polls = lines.polls
    assert lines.slots.used == 1, "the task runs on"
    await lines.end()
    assert (lines.handled, lines.polls) == (["one"], polls)


async def test_a_task_that_is_on_its_way_when_the_worker_ends_is_taken() -> None:
    lines = Lines(3, 2, 2, [])
    lines.start()
    blocked = asyncio.create_task(lines.slots.take())
    await lines.turns()
    lines.stop()
    withdrawn = asyncio.create_task(lines.withdraw(60))
    await lines.turns()
    assert not withdrawn.done(), "the server ends the polls"
    lines.script += ["one", None]
    lines.more.set()
    await withdrawn
    assert lines.handled == ["one"]
    await blocked
    lines.slots.release()
    await lines.end()


async def test_a_server_that_does_not_end_polls_is_not_waited_for() -> None:
    lines = Lines(3, 1, 1, [])
    lines.start()
    await lines.turns()
    lines.stop()
    await lines.withdraw(0.01)
    await lines.end()
    assert lines.handled == []


async def test_what_is_no_rpc_error_ends_the_worker() -> None:
    bug = TypeError("bug")
    lines = Lines(1, 1, 1, [bug])
    lines.start()
    await lines.turns()
    assert lines.broken == [bug]
    await lines.end()


async def test_a_poller_ends_with_its_connection() -> None:
    closed = errors.ConnectionClosed("connect again")
    lines = Lines(1, 1, 1, [closed])
    lines.start()
    await lines.turns()
    assert (lines.broken, lines.parked, lines.slots.used) == ([closed], 0, 0)


async def test_an_answer_is_repeated_until_taken() -> None:
    outcomes: list[Exception | str] = [
        errors.Unavailable("down"),
        errors.DeadlineExceeded("slow"),
        "taken",
    ]

    async def call() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert await until_answered("test", call) == "taken"


async def test_not_found_ends_the_repeats_and_refusals_are_raised() -> None:
    async def gone() -> str:
        raise errors.not_found("gone")

    async def refused() -> str:
        raise errors.InvalidArgument("bad")

    assert await until_answered("test", gone) is None
    with pytest.raises(errors.InvalidArgument):
        await until_answered("test", refused)


async def test_giving_up_raises_the_last_error() -> None:
    async def down() -> str:
        raise errors.Unavailable("down")

    with pytest.raises(errors.Unavailable):
        await until_answered("test", down, give_up=lambda: True)


async def test_a_message_that_can_not_travel_is_not_sent_again() -> None:
    calls = 0

    async def call() -> str:
        nonlocal calls
        calls += 1
        raise errors.ResourceExhausted("grpc: received message larger than max (5 vs. 4)")

    with pytest.raises(errors.ResourceExhausted):
        await until_answered("test", call)
    assert calls == 1
