"""An async activity that blocks the event loop is named, and what it returns after its time-out is dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, TimeoutType
from perdure.exceptions import TimeoutError as ActivityTimeout
from perdure.wire.times import duration, timestamp
from perdure.worker import Worker
from perdure.worker.activity import activities, loop_monitor
from perdure.worker.activity.attempt import Attempt
from perdure.worker.activity.loop_monitor import LoopMonitor, Suspect, watching_the_loop
from perdure.worker.host.watchdog import watchdog
from tests.unit.server.virtual import on_virtual_time
from tests.unit.worker.harness import Harness

LIMIT_S = 60
BRIEF_S = 0.05
HOUR_NS = 3_600_000_000_000
MS_NS = 1_000_000


def stand_still(seconds: float) -> None:
    """What a program should not do on an event loop."""
    time.sleep(seconds)


@activity.defn
async def blocks(seconds: float) -> str:
    activity.heartbeat()
    stand_still(seconds)
    return "late"


@activity.defn
async def quick(_seconds: float) -> str:
    return "done"


@workflow.defn
class Calls:
    @workflow.run
    async def run(self, kind: str) -> str:
        options: dict[str, Any] = {
            "start_to_close_timeout": timedelta(milliseconds=200),
            "retry_policy": RetryPolicy(maximum_attempts=1),
        }
        if kind == "local":
            return await workflow.execute_local_activity(blocks, 0.3, **options)
        if kind == "heartbeat":
            options["start_to_close_timeout"] = timedelta(seconds=LIMIT_S)
            options["heartbeat_timeout"] = timedelta(milliseconds=200)
        if kind == "schedule to close":
            options["start_to_close_timeout"] = timedelta(seconds=LIMIT_S)
            options["schedule_to_close_timeout"] = timedelta(milliseconds=200)
        return await workflow.execute_activity(blocks, 0.4, **options)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("start to close", TimeoutType.START_TO_CLOSE),
        ("schedule to close", TimeoutType.SCHEDULE_TO_CLOSE),
        ("heartbeat", TimeoutType.HEARTBEAT),
        ("local", TimeoutType.START_TO_CLOSE),
    ],
)
async def test_an_activity_that_blocks_over_its_time_out_ends_as_timed_out(
    kind: str, expected: TimeoutType
) -> None:
    """The engine is in the same process, so its timers stood still as well."""
    async with (
        asyncio.timeout(LIMIT_S),
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Calls], activities=[blocks]),
    ):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(Calls.run, kind, id="calls", task_queue="q")
    failed = caught.value.cause
    assert isinstance(failed, ActivityError)
    assert isinstance(failed.cause, ActivityTimeout)
    assert failed.cause.type is expected


class Spinning:
    """Counts how often it is interrupted."""

    def __init__(self, swallowed: int) -> None:
        self._swallowed = swallowed
        self.seen: list[str] = []

    @activity.defn
    async def spins(self, _seconds: float) -> str:
        activity.heartbeat()
        for number in range(self._swallowed + 1):
            try:
                while True:
                    pass
            except asyncio.CancelledError:
                self._note()
                if number == self._swallowed:
                    raise
        return "late"

    def _note(self) -> None:
        details = activity.cancellation_details()
        assert details is not None
        assert details.timed_out
        assert activity.is_cancelled()
        self.seen.append(activity.info().activity_type)


@workflow.defn
class Spins:
    @workflow.run
    async def run(self, kind: str) -> str:
        options: dict[str, Any] = {
            "start_to_close_timeout": timedelta(milliseconds=200),
            "retry_policy": RetryPolicy(maximum_attempts=1),
        }
        if kind == "local":
            return await workflow.execute_local_activity("spins", 0, **options)
        if kind == "heartbeat":
            options["start_to_close_timeout"] = timedelta(seconds=LIMIT_S)
            options["heartbeat_timeout"] = timedelta(milliseconds=200)
        return await workflow.execute_activity("spins", 0, **options)


@workflow.defn
class Quick:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            quick, 0, start_to_close_timeout=timedelta(seconds=LIMIT_S)
        )


@pytest.mark.parametrize(
    ("kind", "swallowed"),
    [("start to close", 0), ("start to close", 1), ("heartbeat", 0), ("local", 0)],
)
async def test_an_activity_that_never_gives_way_is_interrupted_after_its_time_out(
    kind: str,
    swallowed: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(loop_monitor, "BLOCKED_S", 0.2)
    spinning = Spinning(swallowed)
    async with (
        await Client.connect("memory:") as client,
        Worker(
            client, task_queue="q", workflows=[Spins, Quick], activities=[spinning.spins, quick]
        ),
    ):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(Spins.run, kind, id="spins", task_queue="q")
        assert await client.execute_workflow(Quick.run, id="quick", task_queue="q") == "done"
    assert spinning.seen == ["spins"] * (swallowed + 1)
    failed = caught.value.cause
    assert isinstance(failed, ActivityError)
    assert isinstance(failed.cause, ActivityTimeout)
    interruptions = [each for each in caplog.messages if each.startswith("Interrupting activity")]
    assert len(interruptions) == swallowed + 1
    assert "activity spins (id " in interruptions[0]
    assert "test_blocked_loops.py:" in interruptions[0]


async def test_an_activity_that_blocks_only_after_its_time_out_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop turned when the time was over, and the activity was cancelled: that is what it blocks in."""
    monkeypatch.setattr(loop_monitor, "BLOCKED_S", 0.05)
    monkeypatch.setattr(activities, "LOCAL_TIMEOUT_GRACE_NS", 20 * MS_NS)
    seen: list[str] = []

    @activity.defn
    async def lingers() -> None:
        try:
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError:
            try:
                block_until(lambda: False)
            except asyncio.CancelledError:
                seen.append("interrupted")
                raise

    harness = Harness(lingers)
    with watching_the_loop(harness.activities.on_the_loop(asyncio.get_running_loop())):
        await harness.run("lingers", start_to_close_timeout=duration(20 * MS_NS))
    assert seen == ["interrupted"]
    assert harness.answers() == [], "it is late"


async def test_an_activity_that_blocks_within_its_time_out_is_not_interrupted(
    monkeypatch: pytest.MonkeyPatch, reports: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(loop_monitor, "BLOCKED_S", 0.02)

    @activity.defn
    async def reported() -> str:
        block_until(lambda: bool(reports()))
        block_until(lambda: len(asked) > 1)
        return "done"

    asked: list[bool] = []
    interrupt = Attempt.interrupt

    def spy(attempt: Attempt, *args: Any) -> bool:
        asked.append(interrupt(attempt, *args))
        return asked[-1]

    monkeypatch.setattr(Attempt, "interrupt", spy)
    harness = Harness(reported)
    with watching_the_loop(harness.activities.on_the_loop(asyncio.get_running_loop())):
        await harness.run("reported", start_to_close_timeout=duration(HOUR_NS))
    assert await harness.result() == "done"
    assert not any(asked)


async def test_a_late_result_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(blocks)
    fields: dict[str, Any] = {"start_to_close_timeout": duration(20 * MS_NS), "activity_id": "7"}
    await harness.run("blocks", BRIEF_S, **fields)
    assert harness.answers() == []
    assert caplog.messages == [
        "The outcome of activity blocks (id 7, workflow workflow-1) came after its time-out and is dropped"
    ]


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"start_to_close_timeout": HOUR_NS},
        {"schedule_to_close_timeout": HOUR_NS},
        {"heartbeat_timeout": HOUR_NS},
    ],
)
async def test_a_result_in_time_is_sent_although_the_loop_was_blocked(
    limits: dict[str, int],
) -> None:
    harness = Harness(blocks)
    fields: dict[str, Any] = {name: duration(value) for name, value in limits.items()}
    await harness.run("blocks", BRIEF_S, **fields)
    assert await harness.result() == "late"


async def test_the_time_before_the_start_counts_for_the_whole_activity() -> None:
    fields: dict[str, Any] = {
        "schedule_to_close_timeout": duration(HOUR_NS),
        "start_to_close_timeout": duration(2 * HOUR_NS),
    }
    for waited_ns, answers in ((HOUR_NS - 20 * MS_NS, 0), (HOUR_NS // 2, 1)):
        harness = Harness(blocks)
        times: dict[str, Any] = {}
        for name, at_ns in (("scheduled_time", HOUR_NS), ("started_time", HOUR_NS + waited_ns)):
            times[name] = timestamp(at_ns)
        await harness.run("blocks", BRIEF_S, **fields, **times)
        assert len(harness.answers()) == answers


# The monitor ---------------------------------------------------------------------------------------


async def until_said(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    async with asyncio.timeout(LIMIT_S):
        while not (said := [each for each in caplog.messages if part in each]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return said


def block_until(condition: Callable[[], bool]) -> None:
    """Keeps the event loop's thread until another thread has done something."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


@pytest.fixture
def reports(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [each for each in caplog.messages if "has been blocked for" in each]


async def test_a_blocked_loop_is_reported_once_with_its_line(
    caplog: pytest.LogCaptureFixture, reports: Callable[[], list[str]]
) -> None:
    monitor = LoopMonitor(asyncio.get_running_loop(), 0.05)
    monitor.suspects = [
        lambda: None,
        lambda: Suspect("activity x"),
        lambda: Suspect("activity y"),
    ]
    monitor.start()
    try:
        block_until(lambda: bool(reports()))
        stand_still(0.2)
        assert len(reports()) == 1
        assert f"s by activity x at {__file__}:" in reports()[0]
        assert "`time.sleep(0.005)`" in reports()[0]
        assert "in test_a_blocked_loop_is_reported_once_with_its_line" in reports()[0]
        await until_said(caplog, "goes on after")
        caplog.clear()
        block_until(lambda: bool(reports()))
    finally:
        monitor.stop()


async def test_a_loop_that_turns_is_not_reported(reports: Callable[[], list[str]]) -> None:
    monitor = LoopMonitor(asyncio.get_running_loop(), 5.0)
    for _ in range(3):
        assert monitor._look()
        assert monitor._probed_s is not None
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert monitor._probed_s is None
    assert reports() == []


class Clock:
    """The monitor's clock, which stands still but for what a test adds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(loop_monitor, "_monotonic", lambda: self.now_s)

    def look(self, monitor: LoopMonitor, *after_s: float) -> None:
        for each in after_s:
            self.now_s += each
            assert monitor._look()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_blocked_workflow_code_is_left_to_its_own_watchdog(
    reports: Callable[[], list[str]], clock: Clock
) -> None:
    monitor = LoopMonitor(asyncio.get_running_loop(), 2.0)
    watch = watchdog.begin(HOUR_NS, lambda: "workflow code")
    assert watch is not None
    clock.look(monitor, *[0.5] * 6)
    assert reports() == []
    watchdog.end(watch)
    clock.look(monitor, 0.5)
    assert len(reports()) == 1
    assert "blocked for 3.0 s by code at " in reports()[0]


async def test_time_in_which_the_whole_process_stood_still_does_not_count(
    reports: Callable[[], list[str]], clock: Clock
) -> None:
    monitor = LoopMonitor(asyncio.get_running_loop(), 2.0)
    clock.look(monitor, 0.5, 0.5, 3600.0, 0.5, 0.5)
    assert reports() == []
    clock.look(monitor, 0.5)
    assert len(reports()) == 1
    assert "blocked for 2.5 s" in reports()[0]


async def test_a_look_that_comes_a_little_late_counts(
    reports: Callable[[], list[str]], clock: Clock
) -> None:
    monitor = LoopMonitor(asyncio.get_running_loop(), 2.0)
    clock.look(monitor, 0.5, 0.9, 0.9, 0.9)
    assert len(reports()) == 1
    assert "blocked for 2.7 s" in reports()[0]


async def test_code_is_interrupted_after_its_report_and_again_after_a_while(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    monitor = LoopMonitor(asyncio.get_running_loop(), 2.0)
    is_over = False
    asked: list[int] = []

    def interrupt(thread_id: int) -> bool:
        asked.append(thread_id)
        return is_over

    monitor.suspects = [lambda: Suspect("activity x", interrupt)]
    clock.look(monitor, *[0.5] * 6)
    assert asked == [], "reported first"
    clock.look(monitor, 0.5)
    assert asked == [threading.get_ident()]
    is_over = True
    clock.look(monitor, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert len(asked) == 2
    said = [each for each in caplog.messages if each.startswith("Interrupting activity x at ")]
    assert len(said) == 1
    assert f"{__file__}:" in said[0] or "a place that" in said[0]
    clock.look(monitor, 0.5)
    assert len(asked) == 3
    await asyncio.sleep(0)
    assert "The worker's event loop goes on after 6.0 s" in caplog.messages
    clock.look(monitor, 0.5, *[0.5] * 6)
    assert len(asked) == 4, "it is another block"


def test_a_monitor_ends_with_its_loop() -> None:
    async def make() -> LoopMonitor:
        await asyncio.sleep(0)
        return LoopMonitor(asyncio.get_running_loop(), 2.0)

    assert not asyncio.run(make())._look()


async def test_workers_of_one_loop_share_a_monitor_that_ends_with_the_last() -> None:
    before = set(threading.enumerate())

    def monitors() -> int:
        return sum("loop-monitor" in each.name for each in set(threading.enumerate()) - before)

    with watching_the_loop(lambda: None):
        with watching_the_loop(lambda: None):
            assert monitors() == 1
        assert monitors() == 1
    async with asyncio.timeout(LIMIT_S):
        while monitors():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@on_virtual_time
async def test_a_loop_of_virtual_time_is_left_alone() -> None:
    with watching_the_loop(lambda: None):
        assert asyncio.get_running_loop() not in loop_monitor._monitors


async def test_the_activity_on_the_loop_is_named() -> None:
    names: list[str] = []

    def note() -> None:
        found = suspect()
        names.append("" if found is None else found.name)

    def look() -> None:
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()

    @activity.defn
    async def looks() -> None:
        asyncio.get_running_loop().call_soon(look)  # no task is current there
        await asyncio.sleep(0)
        look()

    @activity.defn
    async def waits() -> None:
        await asyncio.sleep(LIMIT_S)

    @activity.defn
    def works() -> None:
        under_way.set()
        is_over.wait(LIMIT_S)

    under_way, is_over = threading.Event(), threading.Event()
    executor = ThreadPoolExecutor(1)
    harness = Harness(looks, waits, works, executor=executor)
    suspect = harness.activities.on_the_loop(asyncio.get_running_loop())
    assert suspect() is None
    in_thread = asyncio.create_task(harness.run("works", activity_id="9"))
    await asyncio.to_thread(under_way.wait, LIMIT_S)
    assert suspect() is None, "it is not on the loop"
    others = [
        asyncio.create_task(harness.run("waits", activity_id=each)) for each in ("8", "6", "5", "4")
    ]
    await asyncio.sleep(0)
    await harness.run("looks", activity_id="7")
    for each in others:
        each.cancel()
    assert names[1] == "activity looks (id 7, workflow workflow-1)"
    assert names[0].startswith("code (async activities under way: activity ")
    assert "activity waits (id 8, workflow workflow-1)" in names[0]
    assert "id 9" not in names[0]
    is_over.set()
    await in_thread
    executor.shutdown()
