"""Which faults to try, and the smallest set of them that still fails. Pure: the caller's function makes the runs.

Order: no fault; each fault alone (a crash at every moment of the run without faults, every activity and signal once in
each bad way); then seeded sets of several faults. Not here: injecting faults (`world`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeVar

from perdure.core.units import SECOND_NS
from perdure.testing.simulation import faults as f
from perdure.testing.simulation.outcome import Outcome
from perdure.wire.api import enums

T = TypeVar("T")

LATE_NS = 10 * SECOND_NS
"""Delay of what has no time-out of its own."""
FAULTS_MAX = 4
"""Largest number of faults in a random set."""


def singles(calm: Outcome, signals: Sequence[str], kinds: Sequence[type[f.Fault]]) -> list[f.Fault]:
    """Every fault that may strike a run like this one.

    Args:
        calm: The outcome without faults.
        signals: Names of the signals that are sent, in order.
        kinds: The kinds of faults to use.
    """
    every = [*_crashes(calm), *_activities(calm), *_signals(signals)]
    return [fault for fault in every if isinstance(fault, tuple(kinds))]


def _crashes(calm: Outcome) -> Iterator[f.Fault]:
    names = {event.event_id: _name(event.event_type) for event in calm.events}
    for point in calm.points:
        yield f.WorkerDies(after_event=point, event=names.get(point, ""))
    for point in calm.points:
        yield f.ServerDies(after_event=point, event=names.get(point, ""))


def _activities(calm: Outcome) -> Iterator[f.Fault]:
    for each in calm.executions:
        late_ns = each.timeout_ns * 3 // 2 or LATE_NS
        yield f.DiesAfterExecuting(activity=each.activity, execution=each.number)
        yield f.ActivityFails(activity=each.activity, execution=each.number)
        yield f.ActivityLate(activity=each.activity, execution=each.number, delay_ns=late_ns)
        yield f.AnswerLate(activity=each.activity, execution=each.number, delay_ns=late_ns)


def _signals(names: Sequence[str]) -> Iterator[f.Fault]:
    for number, name in enumerate(names, start=1):
        yield f.SignalTwice(signal=number, name=name)
        for delay_ns in (LATE_NS, 3_600 * SECOND_NS):
            yield f.SignalLate(signal=number, name=name, delay_ns=delay_ns)
        if number > 1:
            yield f.SignalOvertakes(signal=number, name=name)


def _name(event_type: int) -> str:
    parts = enums.EventType.Name(event_type).removeprefix("EVENT_TYPE_").split("_")  # pyright: ignore[reportArgumentType] - from an event
    return "".join(part.capitalize() for part in parts)


def several(universe: Sequence[f.Fault], seed: int) -> tuple[f.Fault, ...]:
    """A set of faults, drawn from all single ones."""
    random = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    count = random.randint(2, FAULTS_MAX)
    return tuple(random.sample(list(universe), min(count, len(universe))))


def smallest(
    faults: Sequence[f.Fault], fails: Callable[[tuple[f.Fault, ...]], T | None]
) -> tuple[tuple[f.Fault, ...], T | None]:
    """Leave out faults one by one as long as it still fails.

    Args:
        faults: A set that fails.
        fails: What is wrong with a run under these faults; None when nothing is.

    Returns:
        The set that is left, and what is wrong with it; None when nothing could be left out.
    """
    left, found = tuple(faults), None
    index = 0
    while index < len(left):
        fewer = left[:index] + left[index + 1 :]
        failure = fails(fewer)
        if failure is None:
            index += 1
        else:
            left, found = fewer, failure
    return left, found
