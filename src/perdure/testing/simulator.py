"""`simulate`: a workflow under crashes, repetitions and delays, with invariants that must hold.

Everything is real (engine, store, replay, worker) but runs on a virtual clock in this process, so that hundreds of runs
take seconds. The faults that are tried: a crash of the worker and of the server at every moment of the run; every
activity executed twice because its worker dies before it can report, failing, late, and answered late, beyond its
time-outs; every signal late, repeated and overtaken; and seeded combinations of all of these.
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
from perdure.testing.simulation.outcome import Execution, NeverFinished, Outcome
from perdure.testing.simulation.scenario import Scenario, Signal
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
EXECUTIONS_SHOWN_MAX = 30
"""Largest number of executions in a report: the last ones."""
_TASK_FAILED = enums.EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
_NOBODYS_FAULT = frozenset(
    {
        enums.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,  # a signal arrived first
        enums.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
        enums.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
    }
)


@dataclass
class Report:
    """What a simulation without a failure has tried.

    Attributes:
        runs: The number of runs of the workflow.
        tried: For each kind of fault, the number of runs whose schedule contained it.
        events: The length of the history without faults.
    """

    runs: int = 0
    tried: dict[str, int] = field(default_factory=dict[str, int])
    events: int = 0


@dataclass(frozen=True)
class Failure:
    """A promise that was not kept.

    Attributes:
        promise: The name of the invariant, or of a promise that is always checked.
        message: The message of its error.
        seed: The seed of the run.
        faults: The smallest schedule that was found.
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
        executions = self.outcome.executions
        executed = "\n".join(f"  {_executed(each)}" for each in executions[-EXECUTIONS_SHOWN_MAX:])
        if (left_out := len(executions) - EXECUTIONS_SHOWN_MAX) > 0:
            executed = f"  ... {left_out} before these\n{executed}"
        schedule = ", ".join(repr(fault) for fault in self.faults)
        return (
            f"{workflow} breaks a promise: {self.promise}: {self.message}\n"
            f"The smallest schedule that does it, with seed {self.seed}:\n{in_words(self.faults)}\n"
            f"What happened, in test time:\n{happened}\n"
            f"Executions of activities:\n{executed or '  none'}\n"
            f"Play it again: simulate(..., seeds=[{self.seed}], schedule=[{schedule}])"
        )


class SimulationFailed(AssertionError):
    """A promise was not kept. The message names it and shows how to reproduce the run.

    Args:
        failure: The promise, the smallest schedule of faults that breaks it, and what happened.
        workflow: The name of the workflow's class in the report.
    """

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
    """Search for a schedule of faults under which a workflow breaks a promise.

    Three promises are always checked: the workflow ends (it returns or fails); no workflow task fails, which would show
    code that is not deterministic; and the same run happens twice in the same way.

    Args:
        run: The `@workflow.run` method, or the workflow class.
        args: The workflow's arguments.
        activities: The activity functions; or a function that takes the world and returns them, when they need fakes.
        workflows: Further workflow classes, such as children.
        signals: Signals to send to the workflow, in this order.
        invariants: Functions of the `Outcome` of a run. Each raises an AssertionError or returns False when it is
            broken.
        world: Makes the fakes that activities use, anew for every run. `Outcome.world` is its result.
        seeds: How many combinations of faults to try, or which seeds.
        faults: The kinds of faults to inject.
        schedule: Play only these faults, once for each seed, to reproduce a failure.
        patience: How long, in test time, the workflow may wait when nothing can happen any more.
        options: Further options of `Client.start_workflow`, such as time-outs and the retry policy.

    Returns:
        A report of what was tried.

    Raises:
        SimulationFailed: A promise was not kept. It is an AssertionError.
        RuntimeError: Called on a running event loop: the test must be a plain function.
        TypeError: `run` is not a workflow.

    Example:
        ```python
        from perdure.testing import Outcome, simulate


        class Shop:
            def __init__(self) -> None:
                self.charged: set[str] = set()

            @activity.defn
            async def charge(self, order_id: str) -> None:
                self.charged.add(order_id)  # the order id is the idempotency key


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self, order_id: str) -> str:
                await workflow.execute_activity_method(
                    Shop.charge, order_id, start_to_close_timeout=timedelta(seconds=30)
                )
                return "paid"


        def charged_once(outcome: Outcome) -> None:
            assert outcome.world.charged == {"order-7"}


        simulate(
            Order.run,
            "order-7",
            world=Shop,
            activities=lambda shop: [shop.charge],
            invariants=[charged_once],
            seeds=5,
        )
        ```
    """
    _check_no_loop()
    for signal in signals:
        if not isinstance(signal, Signal):  # from outside
            raise TypeError(
                f"signals are Signal(name_or_method, *args, after=...), this is {signal!r}"
            )
    if clash := {"id", "task_queue"} & options.keys():
        raise TypeError(f"simulate chooses {' and '.join(sorted(clash))} itself: leave it out")
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
    numbers = list(range(seeds) if isinstance(seeds, int) else seeds)
    with _quiet():
        if schedule is not None:
            for seed in numbers or [0]:
                simulation.check(seed, tuple(schedule))
        else:
            simulation.explore(numbers, faults)
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
        self._check_same(calm, self.check(first, ()))

    def _check_same(self, one: Outcome, other: Outcome) -> None:
        """Check that a run happens twice in the same way. A difference comes from state that outlives a run.

        Raises:
            SimulationFailed: With the first difference.
        """
        steps, again = _steps(one), _steps(other)
        if steps == again:
            return
        at = next(
            (n for n, pair in enumerate(zip(steps, again, strict=False)) if pair[0] != pair[1]),
            min(len(steps), len(again)),
        )
        before, after = ((each[at] if at < len(each) else "nothing") for each in (steps, again))
        message = (
            f"event {at + 1} was {before} in the first run and {after} in the second. Something outlives a run, such"
            " as a variable of a module, or is random: keep state in the workflow and in the `world`"
        )
        failure = Failure("the same run happens again", message, other.seed, (), other)
        raise SimulationFailed(failure, self._name)

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
        if event.event_type == _TASK_FAILED and not _is_nobodys_fault(event):
            return "no workflow task fails", _task_failure(event)
    if isinstance(outcome.error, NeverFinished):
        return "the workflow ends", str(outcome.error)
    for invariant in invariants:
        name = getattr(invariant, "__name__", repr(invariant))
        try:
            kept = invariant(outcome)
        except AssertionError as error:
            return name, str(error) or "not kept"
        except Exception as error:  # noqa: BLE001 - reported with the schedule under which it happens
            return name, f"it raised {type(error).__name__}: {error}{_of(outcome)}"
        if kept is False:
            return name, "not kept"
    return None


def _of(outcome: Outcome) -> str:
    """Why there is no result that an invariant could look at."""
    return "" if outcome.error is None else f" (the workflow ended with {outcome.error!r})"


def _steps(outcome: Outcome) -> list[str]:
    return [enums.EventType.Name(event.event_type) for event in outcome.events]


def _is_nobodys_fault(event: history_pb.HistoryEvent) -> bool:
    return event.workflow_task_failed_event_attributes.cause in _NOBODYS_FAULT


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
    """Silence the logs: a simulation with faults logs thousands of warnings that add nothing to the report."""
    logger = logging.getLogger("perdure")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
