"""What one simulated run of a user's workflow did: the evidence that invariants check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from perdure.testing.simulation.faults import Fault
from perdure.wire.api import history as history_pb


class NeverFinished(Exception):
    """The workflow would not have ended: nothing can happen any more, or the same steps repeat without end."""


@dataclass
class Execution:
    """One execution of an activity function.

    Attributes:
        activity: The activity type.
        args: The arguments.
        attempt: The number of the attempt, as the activity saw it.
        number: Ordinal of this execution of the activity type in this run, from 1.
        timeout_ns: How long the attempt may take, in nanoseconds; 0 for no limit.
        result: What it returned, if it did.
        error: What it raised, if it did.
        is_known: Whether the worker got the outcome. False: the worker died before.
    """

    activity: str
    args: Sequence[Any]
    attempt: int
    number: int
    timeout_ns: int
    result: Any = None
    error: BaseException | None = None
    is_known: bool = False


@dataclass
class Outcome:
    """One run of a simulated workflow under given faults.

    Attributes:
        seed: Seed of delays, ids and the workflow's own randomness.
        faults: The faults that were injected.
        result: What the workflow returned.
        error: Why it did not complete; None if it did.
        events: Its history.
        executions: The executions of all activities, in the order in which they began.
        world: What the `world` function returned before this run: the test's fakes.
        notes: What happened around the workflow, with times: kills, restarts, signals.
        points: The length of the history at each commit.
    """

    seed: int
    faults: Sequence[Fault]
    world: Any = None
    result: Any = None
    error: BaseException | None = None
    events: Sequence[history_pb.HistoryEvent] = ()
    executions: list[Execution] = field(default_factory=list[Execution])
    notes: list[str] = field(default_factory=list[str])
    points: list[int] = field(default_factory=list[int])

    @property
    def is_completed(self) -> bool:
        """Whether the workflow returned."""
        return self.error is None

    def executed(self, activity: str | Callable[..., Any]) -> list[Execution]:
        """The executions of one activity.

        Args:
            activity: The activity function, or the activity type as a string.
        """
        name = activity if isinstance(activity, str) else activity.__name__
        return [each for each in self.executions if each.activity == name]
