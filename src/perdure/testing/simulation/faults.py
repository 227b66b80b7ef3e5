"""What may go wrong with a user's workflow: each fault is a value that describes itself in words.

Counts begin with 1. Times are in test time. Not here: how a fault is injected (`world`), which faults are tried
(`search`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Sequence


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all faults."""

    def words(self) -> str:
        """The fault, as a sentence without a full stop."""
        return repr(self)


class WorkerDies(Fault, frozen=True, kw_only=True):
    """The worker process is killed when the history has reached a length. Another one starts later."""

    after_event: int
    event: str = ""
    """Type of that event in the run without faults, only for the description."""
    down_ns: int = SECOND_NS

    def words(self) -> str:
        return (
            f"the worker dies after {_event(self.after_event, self.event)}, {_back(self.down_ns)}"
        )


class ServerDies(Fault, frozen=True, kw_only=True):
    """The server process is killed when the history has reached a length. It starts again later.

    The sender of a signal retries its call like any client, with the default `RetryConfig`. When it gives up, that is
    noted in `Outcome.notes`; the signal may have arrived anyway. The simulation's own calls, which start the workflow
    and wait for its result, are retried until the server is back.
    """

    after_event: int
    event: str = ""
    down_ns: int = SECOND_NS

    def words(self) -> str:
        return (
            f"the server dies after {_event(self.after_event, self.event)}, {_back(self.down_ns)}"
        )


class DiesAfterExecuting(Fault, frozen=True, kw_only=True):
    """The worker is killed when an activity has done its work but has not reported it. It is executed twice."""

    activity: str
    execution: int = 1

    def words(self) -> str:
        executed = f"{self.activity} has been executed {_times(self.execution)}"
        return f"the worker dies when {executed} and before it can say so"


class ActivityFails(Fault, frozen=True, kw_only=True):
    """An execution fails before it has done anything."""

    activity: str
    execution: int = 1

    def words(self) -> str:
        return (
            f"the {_nth(self.execution)} execution of {self.activity} fails before it does anything"
        )


class ActivityLate(Fault, frozen=True, kw_only=True):
    """An execution begins late, perhaps after its time-out: it does its work although the server has given it up."""

    activity: str
    execution: int = 1
    delay_ns: int

    def words(self) -> str:
        return f"the {_nth(self.execution)} execution of {self.activity} begins {_length(self.delay_ns)} late"


class AnswerLate(Fault, frozen=True, kw_only=True):
    """The answer of an execution comes late, perhaps after its time-out: the work is done, and may be done again."""

    activity: str
    execution: int = 1
    delay_ns: int

    def words(self) -> str:
        return (
            f"the answer of the {_nth(self.execution)} execution of {self.activity} comes"
            f" {_length(self.delay_ns)} late"
        )


class SignalLate(Fault, frozen=True, kw_only=True):
    """A signal arrives late."""

    signal: int
    name: str = ""
    delay_ns: int

    def words(self) -> str:
        return f"{_signal(self.signal, self.name)} arrives {_length(self.delay_ns)} late"


class SignalTwice(Fault, frozen=True, kw_only=True):
    """A signal is sent twice by its sender."""

    signal: int
    name: str = ""

    def words(self) -> str:
        return f"{_signal(self.signal, self.name)} is sent twice"


class SignalOvertakes(Fault, frozen=True, kw_only=True):
    """A signal arrives before the signal that was sent before it."""

    signal: int
    name: str = ""

    def words(self) -> str:
        return f"{_signal(self.signal, self.name)} arrives before the one before it"


def in_words(faults: Sequence[Fault]) -> str:
    """A numbered list, one line each."""
    if not faults:
        return "  nothing goes wrong at all"
    return "\n".join(f"  {n}. {fault.words()}" for n, fault in enumerate(faults, start=1))


def _nth(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if 10 < number % 100 < 14 else suffix}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _signal(number: int, name: str) -> str:
    return f"the {_nth(number)} signal ({name})" if name else f"the {_nth(number)} signal"


def _event(number: int, name: str) -> str:
    return f"event {number} ({name})" if name else f"event {number}"


def _back(down_ns: int) -> str:
    return f"and another one starts {_length(down_ns)} later"


def _length(length_ns: int) -> str:
    for unit_s, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if length_ns >= unit_s * SECOND_NS:
            return f"{length_ns / (unit_s * SECOND_NS):g} {name}"
    return f"{length_ns / SECOND_NS:g} s"
