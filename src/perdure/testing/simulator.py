"""`simulate`: a workflow of yours under crashes, repetitions and delays, with promises of yours that must hold.

Everything runs for real (engine, store, replay, worker) on a virtual clock in this process: hundreds of runs take
seconds. What is tried: a crash of the worker and of the server at every moment of the run; every activity executed
twice (its worker dies before it can say so), failing, late, and answered late, beyond its time-outs; every signal late,
repeated and overtaken; and seeded combinations of all of these.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.testing.simulation import search
from perdure.testing.simulation.faults import (
    ActivityFails,
    ActivityLate,
    AnswerLate,
    DiesAfterExecuting,
    Fault,
    ServerDies,
    SignalLate,
    SignalOvertakes,
    SignalTwice,
    WorkerDies,
    in_words,
)
from perdure.testing.simulation.outcome import Execution, NeverFinished, Outcome, Signal
from perdure.testing.simulation.scenario import Scenario
from perdure.testing.simulation.world import play
from perdure.wire.api import enums
from perdure.workflow._definition import Definition

if TYPE_CHECKING:
    from perdure.wire.api import history as history_pb

__all__ = [
    "ALL_FAULTS",
    "ActivityFails",
    "ActivityLate",
    "AnswerLate",
    "DiesAfterExecuting",
    "Execution",
    "Failure",
    "Fault",
    "NeverFinished",
    "Outcome",
    "Report",
    "ServerDies",
    "Signal",
    "SignalLate",
    "SignalOvertakes",
    "SignalTwice",
    "SimulationFailed",
    "WorkerDies",
    "simulate",
]

Invariant = Callable[[Outcome], object]

ALL_FAULTS: tuple[type[Fault], ...] = (
    WorkerDies,
    ServerDies,
    DiesAfterExecuting,
    ActivityFails,
    ActivityLate,
    AnswerLate,
    SignalLate,
    SignalTwice,
    SignalOvertakes,
)
"""Every kind of fault."""
_TASK_FAILED = enums.EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED


@dataclass
class Report:
    """What a simulation without a failure tried.

    Attributes:
        runs: How many runs of the workflow.
        tried: Kind of fault -> in how many runs it was part of the schedule.
        events: Length of the history without faults.
    """

    runs: int = 0
    tried: dict[str, int] = field(default_factory=dict[str, int])
    events: int = 0


@dataclass(frozen=True)
class Failure:
    """A promise that was not kept.

    Attributes:
        promise: Name of the invariant, or of a promise that always holds.
        message: What it said.
        seed: Of the run.
        faults: The smallest schedule found.
        outcome: What happened under it.
    """

    promise: str
    message: str
    seed: int
    faults: tuple[Fault, ...]
    outcome: Outcome

    def in_words(self, workflow: str) -> str:
        """The whole report."""
        happened = "\n".join(f"  {note}" for note in self.outcome.notes) or "  nothing of note"
        executed = "\n".join(f"  {_executed(each)}" for each in self.outcome.executions)
        schedule = ", ".join(repr(fault) for fault in self.faults)
        return (
            f"{workflow} breaks a promise: {self.promise}: {self.message}\n"
            f"The smallest schedule that does it, with seed {self.seed}:\n{in_words(self.faults)}\n"
            f"What happened, in test time:\n{happened}\n"
            f"Executions of activities:\n{executed or '  none'}\n"
            f"Play it again: simulate(..., seeds=[{self.seed}], schedule=[{schedule}])"
        )


class SimulationFailed(AssertionError):
    """A promise was not kept; `failure` says which one and how to see it again."""

    def __init__(self, failure: Failure, workflow: str) -> None:
        super().__init__(failure.in_words(workflow))
        self.failure = failure


def simulate(
    run: Callable[..., Any] | type,
    *args: Any,
    activities: Sequence[Callable[..., Any]] | Callable[[Any], Sequence[Callable[..., Any]]] = (),
    workflows: Sequence[type] = (),
    signals: Sequence[Signal] = (),
    invariants: Sequence[Invariant] = (),
    world: Callable[[], Any] | None = None,
    seeds: int | Iterable[int] = 50,
    faults: Sequence[type[Fault]] = ALL_FAULTS,
    schedule: Sequence[Fault] | None = None,
    patience: timedelta = timedelta(days=3_650),
    **options: Any,
) -> Report:
    """Look for a schedule of faults under which a workflow breaks a promise.

    Two promises always hold: the workflow ends (returning or failing), and no workflow task fails, which is how replay
    after a crash shows code that is not deterministic.

    Args:
        run: The ``@workflow.run`` method, or the workflow's class.
        args: The workflow's arguments.
        activities: Activity functions; or a function from the world to them, when they need fakes.
        workflows: Further workflow classes (children).
        signals: What is sent to the workflow, in this order.
        invariants: Each gets the `Outcome` of a run, and raises an AssertionError or returns False when it is not kept.
        world: Makes the fakes that activities use, afresh for every run; `Outcome.world` is what it returned.
        seeds: How many combinations of faults to try, or which seeds.
        faults: Kinds of faults to inject.
        schedule: Play just this, once for each seed, to see a failure again.
        patience: For how long, in test time, the workflow may wait when nothing can happen any more.
        options: Further parameters of `Client.start_workflow`, such as time-outs and the retry policy.

    Returns:
        What was tried.

    Raises:
        SimulationFailed: A promise was not kept. It is an AssertionError and says what to do.
        RuntimeError: Called on a running event loop: make the test a plain function.

    Example:
        >>> def charged_once(outcome: Outcome) -> None:
        ...     assert len(outcome.world.charges) == 1, f"charged {len(outcome.world.charges)} times"
        >>> simulate(
        ...     Order.run, "order-7",
        ...     world=Shop, activities=lambda shop: [shop.charge, shop.ship], invariants=[charged_once],
        ... )
    """
    _check_no_loop()
    definition = (
        Definition.must_from_class(run)
        if isinstance(run, type)
        else Definition.must_from_run_fn(run)
    )
    scenario = Scenario(
        run=definition.run_fn,
        args=args,
        workflows=tuple(dict.fromkeys((definition.cls, *workflows))),
        activities=activities,
        signals=signals,
        world=world,
        patience=patience,
        options=options,
    )
    simulation = _Simulation(scenario, definition.name or definition.cls.__name__, invariants)
    given = list(range(seeds) if isinstance(seeds, int) else seeds)
    with _quiet():
        if schedule is not None:
            for seed in given or [0]:
                simulation.check(seed, tuple(schedule))
        else:
            simulation.explore(given, faults)
    return simulation.report


class _Simulation:
    def __init__(self, scenario: Scenario, name: str, invariants: Sequence[Invariant]) -> None:
        self._scenario = scenario
        self._name = name
        self._invariants = invariants
        self.report = Report()

    def explore(self, seeds: Sequence[int], kinds: Sequence[type[Fault]]) -> None:
        first = seeds[0] if seeds else 0
        calm = self.check(first, ())
        self.report.events = len(calm.events)
        names = [signal.name for signal in self._scenario.signals]
        single = search.singles(calm, names, kinds)
        for fault in single:
            self.check(first, (fault,))
        if len(single) > 1:
            for seed in seeds:
                self.check(seed, search.several(single, seed))

    def check(self, seed: int, faults: tuple[Fault, ...]) -> Outcome:
        """Play one run.

        Raises:
            SimulationFailed: With the smallest schedule that still fails.
        """
        outcome, failure = self._try(seed, faults)
        for kind in {type(fault).__name__ for fault in faults}:
            self.report.tried[kind] = self.report.tried.get(kind, 0) + 1
        if failure is not None:
            _, smaller = search.smallest(faults, lambda fewer: self._try(seed, fewer)[1])
            raise SimulationFailed(smaller or failure, self._name)
        return outcome

    def _try(self, seed: int, faults: tuple[Fault, ...]) -> tuple[Outcome, Failure | None]:
        self.report.runs += 1
        outcome = play(self._scenario, seed, faults)
        broken = _broken(outcome, self._invariants)
        if broken is None:
            return outcome, None
        return outcome, Failure(*broken, seed, faults, outcome)


def _broken(outcome: Outcome, invariants: Sequence[Invariant]) -> tuple[str, str] | None:
    """Which promise is not kept, and how."""
    for event in outcome.events:
        if event.event_type == _TASK_FAILED:
            return "no workflow task fails", _task_failure(event)
    if isinstance(outcome.error, NeverFinished):
        return "the workflow ends", str(outcome.error)
    for invariant in invariants:
        name = getattr(invariant, "__name__", repr(invariant))
        try:
            kept = invariant(outcome)
        except AssertionError as error:
            return name, str(error) or "not kept"
        if kept is False:
            return name, "not kept"
    return None


def _task_failure(event: history_pb.HistoryEvent) -> str:
    return event.workflow_task_failed_event_attributes.failure.message


def _executed(each: Execution) -> str:
    values = ", ".join(repr(value) for value in each.args)
    end = f"raised {each.error!r}" if each.error is not None else f"returned {each.result!r}"
    known = "" if each.is_known else ", and nobody was told"
    return f"{each.activity}({values}), attempt {each.attempt}: {end}{known}"


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "simulate() has event loops of its own: call it from a plain function, not from an async one"
    )


@contextmanager
def _quiet() -> Generator[None]:
    """A world full of faults logs thousands of warnings, none of which says more than the report."""
    logger = logging.getLogger("perdure")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
