"""When each signal is sent, with faults. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from perdure.core.units import SECOND_NS
from perdure.testing.simulation.faults import Fault, SignalLate, SignalOvertakes, SignalTwice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.testing.simulation.scenario import Signal


class Sending(NamedTuple):
    """One thing that a sender does."""

    after_ns: int
    """Test time since the workflow's start."""
    number: int
    signal: Signal
    copies: int


def plan(signals: Sequence[Signal], faults: Sequence[Fault]) -> list[Sending]:
    """What is sent, in order."""
    sendings = [_sending(number, signal, faults) for number, signal in enumerate(signals, start=1)]
    for fault in faults:
        if isinstance(fault, SignalOvertakes) and 1 < fault.signal <= len(sendings):
            earlier, later = sendings[fault.signal - 2 : fault.signal]
            sendings[fault.signal - 2 : fault.signal] = [
                later._replace(after_ns=earlier.after_ns),
                earlier._replace(after_ns=later.after_ns),
            ]
    return sorted(sendings, key=lambda sending: sending.after_ns)


def _sending(number: int, signal: Signal, faults: Sequence[Fault]) -> Sending:
    after_ns, copies = int(signal.after.total_seconds() * SECOND_NS), 1
    for fault in faults:
        if isinstance(fault, SignalLate) and fault.signal == number:
            after_ns += fault.delay_ns
        elif isinstance(fault, SignalTwice) and fault.signal == number:
            copies += 1
    return Sending(after_ns, number, signal, copies)
