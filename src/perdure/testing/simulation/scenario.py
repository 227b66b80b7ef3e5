"""What is simulated: the arguments of `simulate` as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

WORKFLOW_ID = "simulated"
TASK_QUEUE = "simulation"


def stuck(workflow_id: str) -> str:
    """The report about a workflow whose task never succeeds."""
    if workflow_id == WORKFLOW_ID:
        return "its workflow task fails again and again"
    return (
        f"the workflow task of {workflow_id} fails again and again (is its class in `workflows`?)"
    )


@dataclass(frozen=True)
class Signal:
    """A signal that the simulation sends.

    Args:
        signal: The `@workflow.signal` method, or the signal's name.
        args: The signal's arguments.
        after: When it is sent, in test time after the start of the workflow.

    Example:
        ```python
        from perdure.testing import Outcome, Signal, simulate


        @workflow.defn
        class Purchase:
            def __init__(self) -> None:
                self.approved_by = ""

            @workflow.signal
            def approve(self, name: str) -> None:
                self.approved_by = name

            @workflow.run
            async def run(self) -> str:
                await workflow.wait_condition(lambda: self.approved_by != "")
                return self.approved_by


        def approved(outcome: Outcome) -> None:
            assert outcome.result == "Ada"


        simulate(
            Purchase.run,
            signals=[Signal(Purchase.approve, "Ada", after=timedelta(hours=2))],
            invariants=[approved],
            seeds=2,
        )
        ```
    """

    signal: str | Callable[..., Any]
    args: tuple[Any, ...] = ()
    after: timedelta = timedelta()

    def __init__(
        self, signal: str | Callable[..., Any], *args: Any, after: timedelta = timedelta()
    ) -> None:
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "after", after)

    @property
    def name(self) -> str:
        """The signal's name in reports."""
        return self.signal if isinstance(self.signal, str) else self.signal.__name__


@dataclass(frozen=True)
class Scenario:
    """What each run of a simulation does."""

    run: Any
    args: Sequence[Any]
    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]] | Callable[[Any], Sequence[Callable[..., Any]]]
    signals: Sequence[Signal]
    world: Callable[[], Any] | None
    patience: timedelta
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
