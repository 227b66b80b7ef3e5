"""`asyncio.wait_for`, `wait` and `as_completed` inside workflows: outcomes in both profiles, mistakes, clean loops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.replay import commands, jobs
from perdure.worker.host.options import WaitForProfile
from perdure.worker.host.state import SINGLE_BATCH
from tests.unit.worker_host.doing import cancels, doing, done, forever
from tests.unit.worker_host.driver import Driver, names, result, value

PROFILES = list(WaitForProfile)


async def stubborn() -> str:
    """Takes no notice of the first cancellation."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        return "done after all"
    raise AssertionError


async def quick() -> str:
    await asyncio.sleep(0)
    return "quick"


async def failing() -> str:
    await asyncio.sleep(0)
    raise LookupError("failed")


def finished() -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("finished")
    return future


async def begun(work: Any) -> asyncio.Task[Any]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


async def outcome(work: Any, timeout: float | None) -> str:
    try:
        return await asyncio.wait_for(work, timeout)
    except (TimeoutError, LookupError) as error:
        return type(error).__name__


@pytest.mark.parametrize("profile", PROFILES)
def test_outcomes_without_time(profile: WaitForProfile) -> None:
    async def main() -> list[Any]:
        idle = asyncio.get_running_loop().create_future()
        found = [
            await outcome(finished(), 0),
            await outcome(quick(), 0),
            await outcome(quick(), -1),
            await outcome(await begun(stubborn()), 0),
            await outcome(idle, 0),
        ]
        return [*found, idle.cancelled()]

    _, found = doing(main, wait_for_profile=profile)
    assert names(found) == ["CompleteWorkflow"], "no timer"
    assert result(found) == [
        "finished", "TimeoutError", "TimeoutError", "done after all", "TimeoutError", True,
    ]  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_outcomes_in_time(profile: WaitForProfile) -> None:
    async def main() -> list[Any]:
        return [
            await outcome(quick(), 5),
            await outcome(failing(), 5),
            await outcome(quick(), None),
            await outcome(failing(), None),
            await outcome(finished(), 5),
        ]

    _, found = doing(main, wait_for_profile=profile)
    assert names(found) == ["StartTimer", "CancelTimer"] * 3 + ["CompleteWorkflow"]
    assert result(found) == ["quick", "LookupError"] * 2 + ["finished"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (stubborn, "done after all"),
        (lambda: asyncio.get_running_loop().create_future(), "TimeoutError"),
        (lambda: asyncio.sleep(3600), "TimeoutError"),
    ],
    ids=["stubborn", "future", "coroutine"],
)
def test_outcomes_after_the_time(
    profile: WaitForProfile, work: Callable[[], Any], expected: str
) -> None:
    waited: list[Any] = []

    async def main() -> list[Any]:
        waited.append(work())
        found = await outcome(waited[0], 5)
        return [found, isinstance(waited[0], asyncio.Future) and waited[0].cancelled()]

    run, begun_with = doing(main, wait_for_profile=profile)
    assert "StartTimer" in names(begun_with)
    is_future = asyncio.isfuture(waited[0])
    own = _timer_of_wait_for(begun_with)
    found = run.fire_timer(own)
    assert result(found) == [expected, is_future]
    others = ["CancelTimer"] * (len(begun_with) - 1)
    assert names(found) == [*others, "CompleteWorkflow"], "its own timer has fired"


def _timer_of_wait_for(found: list[commands.Command]) -> int:
    (seq,) = (
        each.seq
        for each in found
        if isinstance(each, commands.StartTimer) and each.start_to_fire_timeout_ns == 5_000_000_000
    )
    return seq


@pytest.mark.parametrize(
    ("profile", "expected"), [(WaitForProfile.PY311, "ready"), (WaitForProfile.PY312, "cancelled")]
)
def test_a_cancellation_and_a_result_at_once(profile: WaitForProfile, expected: str) -> None:
    waited: list[Any] = []

    async def main() -> str:
        waited.append(asyncio.get_running_loop().create_future())
        waited.append(asyncio.create_task(asyncio.wait_for(waited[0], 60)))
        try:
            return await waited[1]
        except asyncio.CancelledError:
            return "cancelled"

    def both() -> None:
        waited[0].set_result("ready")
        waited[1].cancel()

    run, _ = doing(main, both, wait_for_profile=profile)
    found = run.signal("hear")
    assert result(found) == expected
    assert names(found) == ["CancelTimer", "CompleteWorkflow"]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_result_and_the_time_out_at_once(
    profile: WaitForProfile, caplog: pytest.LogCaptureFixture
) -> None:
    waited: list[Any] = []

    async def main() -> str:
        waited.append(asyncio.get_running_loop().create_future())
        return await outcome(waited[0], 60)

    run, _ = doing(
        main,
        lambda: waited[0].set_result("ready"),
        wait_for_profile=profile,
        flags=frozenset({SINGLE_BATCH}),
    )
    found = run.activate(run.signal_job("hear"), jobs.FireTimer(seq=1))
    late = profile is WaitForProfile.PY312
    assert result(found) == ("TimeoutError" if late else "ready")
    assert caplog.records == []


@pytest.mark.parametrize("profile", PROFILES)
def test_a_cancelled_wait_waits_for_what_it_cancelled(profile: WaitForProfile) -> None:
    seen: list[str] = []
    waited: list[Any] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append("work ended")

    async def main() -> list[str]:
        waited.append(asyncio.create_task(asyncio.wait_for(work(), 60)))
        try:
            await waited[0]
        except asyncio.CancelledError:
            seen.append("cancelled")
        return seen

    run, _ = doing(main, cancels(waited), wait_for_profile=profile)
    assert result(run.signal("hear")) == ["work ended", "cancelled"]


@pytest.mark.parametrize(
    ("given", "timeout", "matters"),
    [
        ("coroutine", 5, True),
        ("coroutine", None, False),
        ("future", 5, False),
        ("activity", 5, False),
    ],
)
def test_the_profile_matters_for_coroutines_with_a_time_out(
    given: str, timeout: float | None, matters: bool
) -> None:
    async def main() -> None:
        works: dict[str, Callable[[], Any]] = {
            "coroutine": quick,
            "future": finished,
            "activity": lambda: workflow.start_activity(
                "a", start_to_close_timeout=timedelta(seconds=1)
            ),
        }
        await asyncio.wait_for(works[given](), timeout)

    run, _ = doing(main)
    assert run.host.wait_for_profile_matters is matters


# wait and as_completed ----------------------------------------------------------------------------


def test_sets_generators_and_repetitions_are_waited_for_in_order() -> None:
    async def main() -> list[Any]:
        tasks = [asyncio.create_task(quick()) for _ in range(20)]
        done, pending = await asyncio.wait(each for each in [*tasks, *tasks])
        later = asyncio.get_running_loop().create_future()
        first, rest = await asyncio.wait([later, *tasks], return_when=asyncio.FIRST_COMPLETED)
        late, still = await asyncio.wait([later], timeout=0)
        return [
            list(done) == tasks, len(pending), len(first), list(rest) == [later], len(late), len(still),
        ]  # fmt: skip

    _, found = doing(main)
    run = Driver.opened[-1]
    if names(found) == ["StartTimer"]:
        found = run.fire_timer(1)
    assert result(found) == [True, 0, 20, True, 0, 1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("task", "Expect an iterable of Tasks/Futures, not Task"),
        ("coroutine", "Expect an iterable of Tasks/Futures, not coroutine"),
        ("number", "'int' object is not iterable"),
    ],
)
def test_what_is_no_collection_can_not_be_waited_for(given: str, words: str) -> None:
    async def main() -> str:
        coroutine = quick()
        task = asyncio.create_task(quick())
        wrong: Any = {"task": task, "coroutine": coroutine, "number": 5}[given]
        try:
            await asyncio.wait(wrong)
        except TypeError as error:
            return str(error)
        finally:
            coroutine.close()
        raise AssertionError

    assert done(main) == words


def test_several_that_are_done_at_once_end_one_wait(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> int:
        works = [asyncio.ensure_future(quick()) for _ in range(3)]
        ready, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        return len(ready)

    assert done(main) == 3
    assert caplog.records == []


def test_the_summary_of_one_timer_is_not_that_of_the_next() -> None:
    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: False, timeout=5, timeout_summary="first")
        await asyncio.sleep(1)
        await workflow.sleep(2, summary="second")
        await asyncio.sleep(3)

    run, found = doing(main)
    for seq in (1, 2, 3):
        found += run.fire_timer(seq)
    timers = [each for each in found if isinstance(each, commands.StartTimer)]
    said = [value(each.summary) if each.summary else None for each in timers]
    assert said == ["first", None, "second", None]


ALL, ONE, FAILED = asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION

CONDITIONS: list[tuple[str, str, int]] = [
    (ALL, "ok ok ok", 3),
    (ALL, "failed cancelled ok", 3),
    (ONE, "ok", 1),
    (ONE, "failed", 1),
    (ONE, "cancelled", 1),
    (FAILED, "ok ok ok", 3),
    (FAILED, "cancelled ok cancelled", 3),
    (FAILED, "failed", 1),
    (FAILED, "ok failed", 2),
    (FAILED, "cancelled failed", 2),
    (FAILED, "ok ok failed", 3),
]
"""What is waited for, how the futures end one after another, and after how many of them the wait ends."""


@pytest.mark.parametrize("module", [workflow, asyncio])
@pytest.mark.parametrize("timeout", [None, 60])
@pytest.mark.parametrize(("condition", "outcomes", "after"), CONDITIONS)
def test_a_wait_ends_with_its_condition_and_not_before(
    condition: str, outcomes: str, after: int, timeout: float | None, module: Any
) -> None:
    futures: list[asyncio.Future[str]] = []
    left = outcomes.split()

    async def main() -> list[Any]:
        futures.extend(asyncio.get_running_loop().create_future() for _ in range(3))
        ended, pending = await module.wait(futures, timeout=timeout, return_when=condition)
        kept: Any = [each._callbacks for each in futures]
        assert not any(kept), "a long wait keeps nothing of the short ones before it"
        return [[futures.index(each) for each in group] for group in (ended, pending)]

    def one_more() -> None:
        future = futures[len(outcomes.split()) - len(left)]
        match left.pop(0):
            case "ok":
                future.set_result("ok")
            case "failed":
                future.set_exception(LookupError("failed"))
            case _:
                future.cancel()

    run, found = doing(main, *[one_more] * after)
    assert names(found) == ([] if timeout is None else ["StartTimer"])
    for _ in range(after):
        assert found == [] or names(found) == ["StartTimer"]
        found = run.signal("hear")
    assert names(found) == [*([] if timeout is None else ["CancelTimer"]), "CompleteWorkflow"]
    ended = [n for n, each in enumerate(futures) if each.done()]
    assert result(found) == [ended, [n for n in range(3) if n not in ended]]
    for future in futures:
        if future.done() and not future.cancelled():
            future.exception()


@pytest.mark.parametrize("module", [workflow, asyncio])
@pytest.mark.parametrize("condition", [ALL, FAILED])
def test_a_wait_ends_with_its_time(condition: str, module: Any) -> None:
    futures: list[asyncio.Future[str]] = []

    async def main() -> list[Any]:
        futures.extend(asyncio.get_running_loop().create_future() for _ in range(3))
        ended, pending = await module.wait(futures, timeout=60, return_when=condition)
        return [[futures.index(each) for each in group] for group in (ended, pending)]

    run, found = doing(main, lambda: futures[1].set_result("ok"))
    assert names(found) == ["StartTimer"]
    assert run.signal("hear") == []
    found = run.fire_timer(1)
    assert names(found) == ["CompleteWorkflow"]
    assert result(found) == [[1], [0, 2]]


@pytest.mark.parametrize("function", ["wait", "as_completed"])
@pytest.mark.parametrize("module", [workflow, asyncio])
def test_the_timer_ends_with_the_condition_not_with_the_waiting_code(
    module: Any, function: str
) -> None:
    """The order of commands is part of histories."""
    futures: list[asyncio.Future[str]] = []

    async def then_starts() -> None:
        await futures[0]
        workflow.start_activity("a", start_to_close_timeout=timedelta(minutes=1))
        await forever()

    async def main() -> None:
        futures.append(asyncio.get_running_loop().create_future())
        asyncio.get_running_loop().call_soon(
            lambda: kept.append(asyncio.create_task(then_starts()))
        )
        if function == "wait":
            await module.wait(futures, timeout=60)
        else:
            (first,) = module.as_completed(futures, timeout=60)
            await first

    kept: list[asyncio.Task[None]] = []
    run, found = doing(main, lambda: futures[0].set_result("ok"))
    assert names(found) == ["StartTimer"]
    assert names(run.signal("hear")) == ["CancelTimer", "ScheduleActivity", "CompleteWorkflow"]


@pytest.mark.parametrize("module", [workflow, asyncio])
def test_a_cancelled_wait_leaves_no_timer_and_cancels_nothing(module: Any) -> None:
    futures: list[asyncio.Future[str]] = []

    async def main() -> list[Any]:
        futures.append(asyncio.get_running_loop().create_future())
        try:
            await module.wait(futures, timeout=60)
        except asyncio.CancelledError:
            left: Any = futures[0]
            return [left.done(), len(left._callbacks or ())]
        raise AssertionError

    run, found = doing(main)
    assert names(found) == ["StartTimer"]
    found = run.cancel()
    assert names(found) == ["CancelTimer", "CompleteWorkflow"]
    assert result(found) == [False, 0]


def test_as_completed_has_a_time_out() -> None:
    async def main() -> list[str]:
        works = [asyncio.get_running_loop().create_future(), asyncio.ensure_future(quick())]
        found: list[str] = []
        for earliest in asyncio.as_completed(works, timeout=5):
            try:
                found.append(await earliest)
            except TimeoutError:
                found.append("late")
        return found

    run, begun_with = doing(main)
    assert names(begun_with) == ["StartTimer"]
    assert result(run.fire_timer(1)) == ["quick", "late"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_at_all_is_enough_for_what_is_done(profile: WaitForProfile, timeout: int) -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        ready: asyncio.Future[str] = loop.create_future()
        ready.set_result("waited")
        loop.call_soon(order.append, "another")
        order.append(await asyncio.wait_for(ready, timeout))
        await asyncio.sleep(0)
        return order

    _, found = doing(main, wait_for_profile=profile)
    assert result(found)[0] == "waited"


async def test_outside_workflows_time_outs_and_conditions_are_passed_on() -> None:
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(never, 0)
    assert await asyncio.wait_for(asyncio.sleep(0, "slept"), None) == "slept"
    never = asyncio.get_running_loop().create_future()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    ready.set_result(1)
    assert await asyncio.wait([never, ready], return_when=asyncio.FIRST_COMPLETED) == (
        {ready},
        {never},
    )
    assert await asyncio.wait([never], timeout=0) == (set(), {never})
    with pytest.raises(TimeoutError):
        await next(iter(asyncio.as_completed([never], timeout=0)))
