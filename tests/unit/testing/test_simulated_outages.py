"""A server that is away: who waits for it, who gives up, and what time does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.testing import Outcome, Signal, simulate
from perdure.testing.simulation.loop import SimClock, SimLoop
from perdure.testing.simulation.scenario import Scenario
from perdure.testing.simulation.time import SimTime
from perdure.testing.simulation.world import Universe
from perdure.testing.simulator import Fault, ServerDies, WorkerDies
from perdure.wire.api import enums

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
SECOND_NS = 10**9
SIGNALED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


class Site:
    """A fake of the outside world that counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    @activity.defn
    async def ask(self) -> str:
        self.asked += 1
        return "done"

    @activity.defn
    async def wait(self) -> str:
        self.asked += 1
        await asyncio.sleep(1_200)
        return "waited"


@workflow.defn
class Sleeps:
    @workflow.signal
    def hear(self, word: str) -> None: ...

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(HOUR)


@workflow.defn
class Executes:
    @workflow.signal
    def hear(self, word: str) -> None: ...

    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(name, start_to_close_timeout=HOUR, result_type=str)


def activities(site: Site) -> Sequence[Callable[..., Any]]:
    return [site.ask, site.wait]


def play(
    cls: Any,
    *faults: Fault,
    args: Sequence[Any] = (),
    signals: Sequence[Signal] = (),
    seed: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Outcome:
    patience = timedelta(days=30)
    scenario = Scenario(
        cls.run, args, (cls,), activities, signals, Site, patience, dict(options or {})
    )
    return Universe(scenario, seed, faults).run()


def dies(after_event: int, down_s: int) -> ServerDies:
    return ServerDies(after_event=after_event, down_ns=down_s * SECOND_NS)


def noted(outcome: Outcome) -> list[tuple[float, str]]:
    """When something happened, in seconds, and what."""
    split = [note.split(" s  ", maxsplit=1) for note in outcome.notes]
    return [(float(at_s), text) for at_s, text in split]


def times_s(outcome: Outcome, event_type: int) -> list[float]:
    began_ns = outcome.events[0].event_time.ToNanoseconds()
    return [
        (event.event_time.ToNanoseconds() - began_ns) / SECOND_NS
        for event in outcome.events
        if event.event_type == event_type
    ]


@pytest.mark.parametrize(
    ("down_s", "given_up", "signaled_s"),
    [(5, [], [1_800, 1_805]), (8, [1], [1_800, 1_808]), (20, [1, 2], [1_800])],
)
def test_a_sender_gives_up_as_its_client_does_and_that_is_noted(
    down_s: int, given_up: list[int], signaled_s: list[float]
) -> None:
    """The first signal arrives, and its answer is lost with the server."""
    signals = [Signal(Sleeps.hear, word, after=HOUR / 2) for word in ("a", "b")]
    outcome = play(Sleeps, dies(6, down_s), signals=signals)
    failed = [f"signal {each} (hear) fails for its sender: connection refused" for each in given_up]
    texts = [text for _, text in noted(outcome)]
    assert [text for text in texts if "fails" in text] == failed
    assert [text for text in texts if text.endswith("is sent")] == [
        "signal 1 (hear) is sent",
        "signal 2 (hear) is sent",
    ]
    assert times_s(outcome, SIGNALED) == pytest.approx(signaled_s, abs=4)
    assert outcome.is_completed


@pytest.mark.parametrize("word", ["alone", "with its worker"])
@pytest.mark.parametrize("after_event", [1, 3, 4, 5, 6, 7, 9, 10, 11])
def test_a_long_outage_at_any_moment_is_got_over(after_event: int, word: str) -> None:
    server = dies(after_event, 90)
    worker = WorkerDies(after_event=after_event)
    faults = (server,) if word == "alone" else (server, worker)
    outcome = play(Executes, *faults, args=["ask"])
    assert (outcome.result, outcome.world.asked) == ("done", 1)
    found = {text: at_s for at_s, text in noted(outcome)}
    assert found["the server is back"] - found[server.words()] == pytest.approx(90, abs=0.5)
    if word != "alone":
        assert found["another worker is up"] - found[worker.words()] == pytest.approx(1, abs=0.5)


def test_simulate_plays_a_long_outage() -> None:
    report = simulate(
        Executes.run,
        "ask",
        world=Site,
        activities=activities,
        schedule=[dies(3, 90)],
        seeds=[1, 2],
        invariants=[lambda outcome: outcome.result == "done"],
    )
    assert (report.runs, report.tried) == (2, {"ServerDies": 2})


def test_a_signal_that_is_due_in_an_outage_is_sent_then() -> None:
    signals = [Signal(Sleeps.hear, "a", after=each * SECOND) for each in (10, 12)]
    outcome = play(Sleeps, dies(5, 100), signals=signals)
    sent_s = [at_s for at_s, text in noted(outcome) if text.endswith("is sent")]
    failed_s = [at_s for at_s, text in noted(outcome) if "fails" in text]
    assert sent_s == pytest.approx([10, failed_s[0]], abs=0.01), "one sender sends both"
    assert [before < after for before, after in zip(sent_s, failed_s, strict=True)] == [True] * 2
    assert times_s(outcome, SIGNALED) == []


def test_time_stands_while_the_start_waits_for_its_answer() -> None:
    """Nothing else would happen for an hour while the client waits to ask again."""
    outcome = play(
        Sleeps,
        dies(1, 5),
        signals=[Signal(Sleeps.hear, "a", after=HOUR / 2)],
        options={"start_delay": HOUR},
    )
    assert times_s(outcome, SIGNALED) == pytest.approx([1_800], abs=60)


def test_time_stands_while_a_signal_waits_for_the_server() -> None:
    outcome = play(Sleeps, dies(5, 5), signals=[Signal(Sleeps.hear, "a", after=SECOND)])
    assert times_s(outcome, SIGNALED) == pytest.approx([5], abs=3)
    assert len([text for _, text in noted(outcome) if text.endswith("is sent")]) == 1


@pytest.mark.parametrize("seed", range(4))
def test_time_stands_while_an_answer_waits_for_the_server(seed: int) -> None:
    """The server dies just before the activity ends, and is back before its worker asks again."""
    signals = [Signal(Executes.hear, "a", after=1_199.5 * SECOND)]
    outcome = play(Executes, dies(9, 2), args=["wait"], signals=signals, seed=seed)
    assert (outcome.result, outcome.world.asked) == ("waited", 1)
    assert times_s(outcome, enums.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT) == []


def test_a_signal_that_cannot_be_sent_is_the_tests_mistake() -> None:
    with pytest.raises(TypeError, match="object"):
        play(Sleeps, signals=[Signal(Sleeps.hear, object(), after=HOUR / 2)])


def test_a_signal_that_is_not_due_before_the_end_is_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome = play(Sleeps, signals=[Signal(Sleeps.hear, "a", after=2 * HOUR)])
    assert outcome.notes == []
    assert [record for record in caplog.records if record.name == "asyncio"] == []


DEATHS = (dies(5, 2), WorkerDies(after_event=5))


@pytest.mark.parametrize(
    "faults",
    [(), DEATHS, (*DEATHS, *DEATHS), (*DEATHS, *reversed(DEATHS)), (dies(10, 2), *DEATHS)],
)
def test_deaths_at_one_moment_strike_at_once_and_nothing_is_reported_to_the_loop(
    caplog: pytest.LogCaptureFixture, faults: tuple[Fault, ...]
) -> None:
    """One who is dead already does not die again."""
    outcome = play(Executes, *faults, args=["ask"])
    assert outcome.result == "done"
    struck = [(at_s, text) for at_s, text in noted(outcome) if " dies " in text]
    assert [text for _, text in struck].count(DEATHS[0].words()) == faults.count(DEATHS[0])
    assert [text for _, text in struck].count(DEATHS[1].words()) == faults.count(DEATHS[1])
    assert len({at_s for at_s, text in struck if " event 5," in text}) <= 1
    backs = [text for _, text in noted(outcome) if text.endswith(("is back", "is up"))]
    assert len(backs) == len(set(faults))
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_a_server_that_cannot_start_ends_the_simulation() -> None:
    scenario = Scenario(Sleeps.run, (), (Sleeps,), (), (), None, timedelta(days=30))
    made = Universe(scenario, 1, ())
    made._database.close()
    with pytest.raises(Exception, match="closed"):
        made.run()


def test_time_flows_while_there_is_no_node() -> None:
    loop = SimLoop()
    time = SimTime(
        SimClock(loop), is_busy=lambda: False, is_alive=lambda _: False, stepped=lambda _: None
    )
    woken_s: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await time.sleep_ns(int(seconds * SECOND_NS))
        woken_s.append((name, loop.time()))

    async def main() -> None:
        early = [asyncio.create_task(sleep(f"{each}", each)) for each in (3, 7, 30)]
        loop.call_later(5, lambda: early.append(asyncio.create_task(sleep("late", 1))))
        await time.flow_ns(20 * SECOND_NS)
        woken_s.append(("end", loop.time()))
        await time.flow_ns(0)
        woken_s.append(("at once", loop.time()))
        early[2].cancel()

    loop.run(main())
    assert [name for name, _ in woken_s] == ["3", "late", "7", "end", "at once"]
    assert [at_s for _, at_s in woken_s] == pytest.approx([3, 6, 7, 20, 20], abs=1e-6)
    assert time.skips == 0
