"""Which faults are tried, when signals are sent, and how a schedule is made small. All pure."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure.core.units import SECOND_NS
from perdure.testing.simulation import faults as f
from perdure.testing.simulation import search, signals
from perdure.testing.simulation.outcome import Execution, Outcome
from perdure.testing.simulation.scenario import Signal
from perdure.testing.simulator import ALL_FAULTS
from perdure.wire.api import enums
from perdure.wire.api import history as history_pb

HOUR_NS = 3_600 * SECOND_NS


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            f.WorkerDies(after_event=7, event="TimerStarted"),
            "the worker dies after event 7 (TimerStarted), and another one starts 1 s later",
        ),
        (
            f.ServerDies(after_event=3, down_ns=90 * SECOND_NS),
            "the server dies after event 3, and another one starts 1.5 min later",
        ),
        (
            f.DiesAfterExecuting(activity="charge", execution=2),
            "the worker dies when charge has been executed 2 times and before it can say so",
        ),
        (
            f.ActivityFails(activity="charge", execution=13),
            "the 13th execution of charge fails before it does anything",
        ),
        (
            f.ActivityLate(activity="charge", delay_ns=2 * HOUR_NS),
            "the 1st execution of charge begins 2 h late",
        ),
        (
            f.AnswerLate(activity="charge", execution=22, delay_ns=48 * HOUR_NS),
            "the answer of the 22nd execution of charge comes 2 d late",
        ),
        (
            f.SignalLate(signal=1, name="pay", delay_ns=SECOND_NS),
            "the 1st signal (pay) arrives 1 s late",
        ),
        (f.SignalTwice(signal=3), "the 3rd signal is sent twice"),
        (f.SignalOvertakes(signal=2), "the 2nd signal arrives before the one before it"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, f.Fault) else "",
)
def test_faults_say_themselves(fault: f.Fault, words: str) -> None:
    assert fault.words() == words
    assert f.in_words([fault]) == f"  1. {words}"


def test_no_fault_says_itself_too() -> None:
    assert f.in_words([]) == "  nothing goes wrong at all"


def test_every_moment_activity_and_signal_is_struck_once_in_each_way() -> None:
    timer = history_pb.HistoryEvent(event_id=3, event_type=enums.EVENT_TYPE_TIMER_STARTED)
    calm = Outcome(
        0,
        (),
        events=[timer],
        points=[3, 5],
        executions=[Execution("charge", (), 1, 1, 10), Execution("ship", (), 1, 2, 0)],
    )
    assert search.singles(calm, ["pay", "sent"], ALL_FAULTS) == [
        f.WorkerDies(after_event=3, event="TimerStarted"),
        f.WorkerDies(after_event=5),
        f.ServerDies(after_event=3, event="TimerStarted"),
        f.ServerDies(after_event=5),
        f.DiesAfterExecuting(activity="charge", execution=1),
        f.ActivityFails(activity="charge", execution=1),
        f.ActivityLate(activity="charge", execution=1, delay_ns=15),  # later than its time-out
        f.AnswerLate(activity="charge", execution=1, delay_ns=15),
        f.DiesAfterExecuting(activity="ship", execution=2),
        f.ActivityFails(activity="ship", execution=2),
        f.ActivityLate(activity="ship", execution=2, delay_ns=10 * SECOND_NS),
        f.AnswerLate(activity="ship", execution=2, delay_ns=10 * SECOND_NS),
        f.SignalTwice(signal=1, name="pay"),
        f.SignalLate(signal=1, name="pay", delay_ns=10 * SECOND_NS),
        f.SignalLate(signal=1, name="pay", delay_ns=HOUR_NS),
        f.SignalTwice(signal=2, name="sent"),
        f.SignalLate(signal=2, name="sent", delay_ns=10 * SECOND_NS),
        f.SignalLate(signal=2, name="sent", delay_ns=HOUR_NS),
        f.SignalOvertakes(signal=2, name="sent"),
    ]
    only = search.singles(calm, ["pay"], [f.SignalTwice])
    assert only == [f.SignalTwice(signal=1, name="pay")]


def test_random_sets_follow_their_seed() -> None:
    universe = [f.ActivityFails(activity="charge", execution=n) for n in range(1, 9)]
    sets = [search.several(universe, seed) for seed in range(50)]
    assert sets == [search.several(universe, seed) for seed in range(50)]
    assert {len(each) for each in sets} == {2, 3, 4}
    assert all(len(set(each)) == len(each) for each in sets)
    assert search.several(universe[:1], 1) == (universe[0],)


def test_the_smallest_schedule_has_only_what_is_needed() -> None:
    universe = tuple(f.ActivityFails(activity="charge", execution=n) for n in range(1, 7))
    needed = {universe[1], universe[4]}

    def fails(schedule: tuple[f.Fault, ...]) -> str | None:
        return f"{len(schedule)} left" if needed <= set(schedule) else None

    left, found = search.smallest(universe, fails)
    assert set(left) == needed
    assert found == "2 left"
    assert search.smallest(tuple(needed), fails)[1] is None


def test_all_kinds_of_faults_are_tried() -> None:
    assert list(ALL_FAULTS) == [
        f.WorkerDies,
        f.ServerDies,
        f.DiesAfterExecuting,
        f.ActivityFails,
        f.ActivityLate,
        f.AnswerLate,
        f.SignalLate,
        f.SignalTwice,
        f.SignalOvertakes,
    ]


def test_signals_are_planned_in_their_order() -> None:
    sent = [
        Signal("a", after=timedelta(hours=1)),
        Signal("b", after=timedelta(hours=2)),
        Signal("c", after=timedelta(hours=3)),
    ]

    def order(*schedule: f.Fault) -> list[tuple[str, int, int]]:
        return [
            (s.signal.name, s.after_ns // HOUR_NS, s.copies) for s in signals.plan(sent, schedule)
        ]

    assert order() == [("a", 1, 1), ("b", 2, 1), ("c", 3, 1)]
    assert order(f.SignalTwice(signal=2)) == [("a", 1, 1), ("b", 2, 2), ("c", 3, 1)]
    assert order(f.SignalOvertakes(signal=2)) == [("b", 1, 1), ("a", 2, 1), ("c", 3, 1)]
    assert order(f.SignalTwice(signal=3), f.SignalTwice(signal=3)) == [
        ("a", 1, 1),
        ("b", 2, 1),
        ("c", 3, 3),
    ]
    for nothing_before in (1, 4):
        assert order(f.SignalOvertakes(signal=nothing_before)) == order()
    assert order(f.SignalOvertakes(signal=3)) == [("a", 1, 1), ("c", 2, 1), ("b", 3, 1)]
    assert [s.number for s in signals.plan(sent, [f.SignalOvertakes(signal=3)])] == [1, 3, 2]
    assert order(f.SignalLate(signal=1, delay_ns=3 * HOUR_NS)) == [
        ("b", 2, 1),
        ("c", 3, 1),
        ("a", 4, 1),
    ]
