"""`workflow.wait` and `as_completed`: conditions, time-outs, and which timers they leave behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import ActivityError
from perdure.exceptions import CancelledError as CancelledFailure
from perdure.replay import commands, jobs
from perdure.worker.host.state import SINGLE_BATCH
from tests.unit.worker_host.driver import (
    Driver,
    activity_cancelled,
    activity_failure,
    names,
    one,
    payloads,
    result,
)

MINUTE = timedelta(minutes=1)


def scheduled(name: str) -> workflow.ActivityHandle[Any]:
    return workflow.start_activity(name, start_to_close_timeout=MINUTE)


# wait ---------------------------------------------------------------------------------------------


@workflow.defn
class Waits:
    """Waits for three activities and says which are done."""

    @workflow.run
    async def run(self, return_when: str, timeout: float | None) -> dict[str, list[str]]:
        handles = [scheduled(name) for name in ("a", "b", "c")]
        named = dict(zip(handles, "abc", strict=True))
        done, pending = await workflow.wait(handles, timeout=timeout, return_when=return_when)
        return {"done": [named[h] for h in done], "pending": [named[h] for h in pending]}


def waits(return_when: str, timeout: float | None = None) -> Driver:
    run = Driver(Waits)
    timer = [] if timeout is None else ["StartTimer"]
    assert names(run.start(return_when, timeout)) == ["ScheduleActivity"] * 3 + timer
    return run


def fail(run: Driver, seq: int) -> list[commands.Command]:
    return run.activate(jobs.ResolveActivity(seq=seq, result=jobs.Failed(activity_failure())))


def test_waiting_for_all_ends_with_the_last_whatever_fails() -> None:
    run = waits(asyncio.ALL_COMPLETED)
    assert run.complete_activity(3) == []
    assert fail(run, 1) == []
    assert result(run.complete_activity(2)) == {"done": ["a", "b", "c"], "pending": []}


def test_waiting_for_the_first_ends_with_any() -> None:
    run = waits(asyncio.FIRST_COMPLETED)
    assert result(run.complete_activity(2)) == {"done": ["b"], "pending": ["a", "c"]}


def test_waiting_for_a_failure_goes_on_after_results() -> None:
    run = waits(asyncio.FIRST_EXCEPTION)
    assert run.complete_activity(2) == []
    assert result(fail(run, 1)) == {"done": ["a", "b"], "pending": ["c"]}


def test_waiting_for_a_failure_ends_with_the_last_result() -> None:
    run = waits(asyncio.FIRST_EXCEPTION)
    assert run.complete_activity(1) == run.complete_activity(2) == []
    assert result(run.complete_activity(3)) == {"done": ["a", "b", "c"], "pending": []}


@workflow.defn
class WaitsForCancelled:
    """Waits for two timers; a signal cancels the first of them."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []

    @workflow.run
    async def run(self, return_when: str) -> list[int]:
        self.tasks += [asyncio.create_task(asyncio.sleep(60)) for _ in range(2)]
        done, _pending = await workflow.wait(self.tasks, return_when=return_when)
        return [self.tasks.index(each) for each in done]

    @workflow.signal
    def cancel(self) -> None:
        self.tasks[0].cancel()


def test_a_cancelled_task_is_no_failure() -> None:
    run = Driver(WaitsForCancelled)
    assert names(run.start(asyncio.FIRST_EXCEPTION)) == ["StartTimer", "StartTimer"]
    assert names(run.signal("cancel")) == ["CancelTimer"]
    assert result(run.fire_timer(2)) == [0, 1]


@pytest.mark.parametrize(
    ("return_when", "fired"),
    [
        (asyncio.FIRST_COMPLETED, False),
        (asyncio.FIRST_EXCEPTION, True),
        (asyncio.ALL_COMPLETED, True),
    ],
)
def test_a_task_that_is_cancelled_last_ends_the_wait(return_when: str, fired: bool) -> None:
    run = Driver(WaitsForCancelled)
    run.start(return_when)
    if fired:
        assert run.fire_timer(2) == []
    ended = run.signal("cancel")
    assert names(ended) == ["CancelTimer", "CompleteWorkflow"]
    assert result(ended) == ([0, 1] if fired else [0])


def test_a_wait_that_runs_out_of_time_says_what_is_done() -> None:
    run = waits(asyncio.ALL_COMPLETED, 5.0)
    assert run.complete_activity(2) == []
    ended = run.fire_timer(1)
    assert names(ended) == ["CompleteWorkflow"], "the timer has fired: nothing is left to cancel"
    assert result(ended) == {"done": ["b"], "pending": ["a", "c"]}


def test_a_wait_that_ends_in_time_cancels_its_timer() -> None:
    run = waits(asyncio.FIRST_COMPLETED, 5.0)
    ended = run.complete_activity(1)
    assert names(ended) == ["CancelTimer", "CompleteWorkflow"]
    assert result(ended) == {"done": ["a"], "pending": ["b", "c"]}


@workflow.defn
class CancelsAWait:
    """The wait is cancelled, what it waited for is not."""

    @workflow.run
    async def run(self) -> bool:
        handle = scheduled("a")
        waiting = asyncio.create_task(workflow.wait([handle], timeout=5))
        await workflow.wait_condition(lambda: workflow.info().get_current_history_length() > 0)
        await asyncio.sleep(0)
        waiting.cancel()
        try:
            await waiting
        except asyncio.CancelledError:
            return handle.cancelled()
        raise AssertionError


def test_a_cancelled_wait_cancels_its_timer_and_nothing_else() -> None:
    found = Driver(CancelsAWait).start()
    kinds = ["ScheduleActivity", "StartTimer", "CancelTimer", "CompleteWorkflow"]
    assert names(found) == kinds
    assert result(found) is False


@workflow.defn
class WrongWaits:
    @workflow.run
    async def run(self, what: str) -> str:
        task = asyncio.create_task(asyncio.sleep(0))
        coroutine = asyncio.sleep(0)
        wait: Any = workflow.wait
        as_completed: Any = workflow.as_completed
        wrong: dict[str, Any] = {
            "one": lambda: wait(task),
            "coroutine": lambda: wait([coroutine]),
            "nothing": lambda: wait([]),
            "condition": lambda: wait([task], return_when="NEVER"),
        }
        try:
            if what == "as_completed":
                next(as_completed(task))
            await wrong[what]()
        except (TypeError, ValueError) as error:
            return str(error)
        finally:
            coroutine.close()
        raise AssertionError


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("one", "Expect an iterable of Tasks/Futures, not Task"),
        ("coroutine", "Passing coroutines is forbidden, use tasks explicitly."),
        ("nothing", "Sequence of Tasks/Futures must not be empty."),
        ("condition", "Invalid return_when value: NEVER"),
        ("as_completed", "expect an iterable of futures, not Task"),
    ],
)
def test_what_can_not_be_waited_for(what: str, words: str) -> None:
    assert result(Driver(WrongWaits).start(what)) == words


# as_completed -------------------------------------------------------------------------------------


@workflow.defn
class TakesTheEarliest:
    @workflow.run
    async def run(self, timeout: float | None) -> list[str]:
        taken: list[str] = []
        handles = [scheduled(name) for name in ("a", "b", "c")]
        for earliest in workflow.as_completed(handles, timeout=timeout):
            try:
                taken.append(await earliest)
            except TimeoutError:
                taken.append("late")
            except ActivityError:
                taken.append("failed")
        return taken


def test_the_earliest_come_first() -> None:
    run = Driver(TakesTheEarliest)
    assert names(run.start(None)) == ["ScheduleActivity"] * 3
    run.complete_activity(3, "c")
    fail(run, 1)
    assert result(run.complete_activity(2, "b")) == ["c", "failed", "b"]


def test_what_is_not_done_in_time_is_late_each_of_it() -> None:
    run = Driver(TakesTheEarliest)
    assert names(run.start(5.0))[-1] == "StartTimer"
    assert run.complete_activity(2, "b") == []
    ended = run.fire_timer(1)
    assert names(ended) == ["CompleteWorkflow"]
    assert result(ended) == ["b", "late", "late"]


def test_when_all_are_done_the_timer_is_cancelled() -> None:
    run = Driver(TakesTheEarliest)
    run.start(5.0)
    assert run.complete_activity(2, "b") == run.complete_activity(1, "a") == []
    ended = run.complete_activity(3, "c")
    assert names(ended) == ["CancelTimer", "CompleteWorkflow"]
    assert result(ended) == ["b", "a", "c"]


@workflow.defn
class TakesNothing:
    @workflow.run
    async def run(self) -> int:
        nothing: list[asyncio.Task[None]] = []
        return len(list(workflow.as_completed(nothing, timeout=5)))


def test_nothing_to_wait_for_needs_no_timer() -> None:
    assert one(Driver(TakesNothing).start(), commands.CompleteWorkflow)


# A cancellation and an outcome in one activation --------------------------------------------------


@workflow.defn
class CancelledAndDone:
    """The activity's outcome and the cancellation of the task that waits for it come together."""

    def __init__(self) -> None:
        self.waiting: asyncio.Task[Any] | None = None

    @workflow.run
    async def run(self) -> str:
        self.waiting = asyncio.create_task(self.wait())
        try:
            return await self.waiting
        except asyncio.CancelledError:
            return "cancelled"

    async def wait(self) -> str:
        handle = scheduled("a")
        try:
            return await handle
        except ActivityError as error:
            return type(error.cause).__name__

    @workflow.signal
    def stop(self) -> None:
        assert self.waiting is not None
        self.waiting.cancel()


def cancelled_first(flags: frozenset[int]) -> list[commands.Command]:
    run = Driver(CancelledAndDone)
    run.flags = flags
    # What is decided on replay is what was recorded: without the flag of completed activities.
    run.replaying = True
    run.start()
    return run.activate(
        jobs.ResolveActivity(seq=1, result=jobs.Completed(payloads("done")[0])),
        run.signal_job("stop"),
    )


def test_an_outcome_that_is_there_loses_to_a_cancellation_in_one_batch() -> None:
    assert result(cancelled_first(frozenset({SINGLE_BATCH}))) == "cancelled"


def test_cancelling_asks_the_activity_and_its_outcome_decides() -> None:
    run = Driver(CancelledAndDone)
    run.start()
    assert names(run.signal("stop")) == ["RequestCancelActivity"]
    assert run.signal("stop") == [], "asked once"
    ended = run.activate(jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled())))
    assert result(ended) == CancelledFailure.__name__


@workflow.defn
class WaitsBeside:
    """Another task wakes up together with a wait, and schedules something."""

    @workflow.run
    async def run(self) -> None:
        handle = scheduled("a")
        wait = asyncio.create_task(workflow.wait([handle], timeout=60.0))
        await asyncio.sleep(0)

        async def other() -> None:
            await handle
            await scheduled("b")

        await asyncio.gather(wait, other())


def test_the_timer_of_a_wait_is_cancelled_before_others_go_on() -> None:
    run = Driver(WaitsBeside)
    assert names(run.start()) == ["ScheduleActivity", "StartTimer"]
    assert names(run.complete_activity(1)) == ["CancelTimer", "ScheduleActivity"]
