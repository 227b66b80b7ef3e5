"""A walk as data: a workflow, what its activities do in each attempt, and the actions of a client.

Everything is drawn from a seed. All times are whole minutes of test time. A real machine adds much less than a minute,
so its speed does not decide in which minute something happens.

Not here: how a walk is played (`drive`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

QUEUES = ("served", "nobody")


OPS = (
    *("look",) * 3, *("signal",) * 2, *("cancel step",) * 2,
    "cancel", "complete by id", "fail by id", "beat by id", "terminate",
)  # fmt: skip


class Retry(NamedTuple):
    """A retry policy; 0 means that a field is not set."""

    initial_minutes: int
    coefficient: float
    maximum_minutes: int
    attempts: int
    final_types: tuple[str, ...] = ()


class Attempt(NamedTuple):
    """What the worker does in one attempt of an activity.

    Attributes:
        actions: Each is a number of minutes to sleep, or the details of a heartbeat.
        end: `complete`, `fail`, `fail for good`, or `vanish`: the worker does nothing until all time-outs are over.
        type: The type of the failure.
        delay_minutes: The time until the next attempt that the failure asks for; 0 for none.
        heeds_cancel: Whether the attempt ends as canceled when a heartbeat reports a cancel request.
    """

    actions: tuple[int | str, ...]
    end: str
    type: str = "Oops"
    delay_minutes: int = 0
    heeds_cancel: bool = True


class Timer(NamedTuple):
    """A timer."""

    id: str
    length_minutes: int


@dataclass(frozen=True)
class Activity:
    """An activity; a time-out of 0 means none."""

    id: str
    queue: str = "served"
    start_to_close_minutes: int = 0
    schedule_to_start_minutes: int = 0
    schedule_to_close_minutes: int = 0
    heartbeat_minutes: int = 0
    retry: Retry | None = None
    attempts: tuple[Attempt, ...] = ()
    """Later attempts complete at once."""


class Op(NamedTuple):
    """An action of the client after some minutes: its name, and the id of a step if it needs one."""

    wait_minutes: int
    name: str
    step: str = ""


@dataclass(frozen=True)
class Walk:
    """One walk; a time of 0 means none."""

    name: str
    stages: tuple[tuple[Timer | Activity, ...], ...]
    """The steps of a stage begin when all steps of the previous stage have closed."""
    ops: tuple[Op, ...] = ()
    end: str = "complete"
    """`complete`, `fail`, `fail for good` or `continue`."""
    on_cancel: str = "steps"
    """What the workflow does on a cancel request: cancel its `steps` first, end at `once`, or `ignore` it."""
    run_timeout_minutes: int = 0
    execution_timeout_minutes: int = 0
    start_delay_minutes: int = 0
    retry: Retry | None = None
    steps: dict[str, Timer | Activity] = field(default_factory=dict[str, Timer | Activity])

    def __post_init__(self) -> None:
        self.steps.update({step.id: step for stage in self.stages for step in stage})


def walk(seed: int) -> Walk:
    """Draw the walk of a seed."""
    draw = _Draw(Random(seed))
    random = draw.random
    stages = tuple(
        tuple(draw.step(f"{'abc'[stage]}{number}") for number in range(random.randint(1, 3)))
        for stage in range(random.randint(1, 3))
    )
    ids = [step.id for stage in stages for step in stage]
    return Walk(
        name=f"walk {seed}",
        stages=stages,
        ops=tuple(draw.op(ids) for _ in range(random.randint(1, 5))),
        end=random.choice(("complete",) * 5 + ("fail", "fail", "fail for good", "continue")),
        on_cancel=random.choice(("steps", "steps", "once", "ignore")),
        run_timeout_minutes=draw.maybe(0.25, 100, 900),
        execution_timeout_minutes=draw.maybe(0.2, 200, 2_000),
        start_delay_minutes=draw.maybe(0.15, 5, 300),
        retry=draw.retry(attempts=(2, 3)) if random.random() < 0.35 else None,
    )


class _Draw:
    def __init__(self, random: Random) -> None:
        self.random = random

    def maybe(self, chance: float, low: int, high: int) -> int:
        return self.random.randint(low, high) if self.random.random() < chance else 0

    def retry(self, attempts: tuple[int, ...]) -> Retry:
        random = self.random
        return Retry(
            initial_minutes=random.randint(3, 40),
            coefficient=random.choice((1.0, 1.0, 2.0, 3.0)),
            maximum_minutes=self.maybe(0.4, 41, 90),
            attempts=random.choice(attempts),
            final_types=("Fatal",) if random.random() < 0.4 else (),
        )

    def step(self, id: str) -> Timer | Activity:
        return (
            Timer(id, self.random.randint(3, 700))
            if self.random.random() < 0.25
            else self.activity(id)
        )

    def activity(self, id: str) -> Activity:
        random = self.random
        is_served = random.random() < 0.85
        close, whole = self.maybe(0.8, 10, 200), self.maybe(0.4, 30, 500)
        if not close and not whole:
            whole = random.randint(30, 500)
        return Activity(
            id=id,
            queue=QUEUES[0] if is_served else QUEUES[1],
            start_to_close_minutes=close,
            schedule_to_start_minutes=self.maybe(0.2, 5, 60)
            if is_served
            else random.randint(5, 400),
            schedule_to_close_minutes=whole,
            heartbeat_minutes=self.maybe(0.5, 3, 50),
            retry=self.retry(attempts=(1, 2, 3, 4, 0)) if random.random() < 0.8 else None,
            attempts=tuple(self.attempt() for _ in range(random.randint(1, 4))),
        )

    def attempt(self) -> Attempt:
        random = self.random
        more = (
            random.randint(1, 60) if random.random() < 0.55 else f"beat {random.randint(1, 99)}"
            for _ in range(random.randint(0, 4))
        )
        actions = (random.randint(1, 90), *more)
        end = random.choice(
            ("complete", "complete", "fail", "fail", "fail", "fail for good", "vanish", "vanish")
        )
        return Attempt(
            actions=actions,
            end=end,
            type=random.choice(("Oops", "Oops", "Fatal")),
            delay_minutes=self.maybe(0.25, 1, 80) if end == "fail" else 0,
            heeds_cancel=random.random() < 0.7,
        )

    def op(self, ids: list[str]) -> Op:
        random = self.random
        name = random.choice(OPS)
        needs_step = "step" in name or "by id" in name
        return Op(random.randint(2, 400), name, random.choice(ids) if needs_step else "")
