"""What is simulated again and again, as `simulate` was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from perdure.testing.simulation.outcome import Signal

WORKFLOW_ID = "simulated"
TASK_QUEUE = "simulation"


def stuck(workflow_id: str) -> str:
    """What is said of a workflow whose task never succeeds."""
    if workflow_id == WORKFLOW_ID:
        return "its workflow task fails again and again"
    return (
        f"the workflow task of {workflow_id} fails again and again (is its class in `workflows`?)"
    )


@dataclass(frozen=True)
class Scenario:
    """What is simulated, again and again."""

    run: Any
    args: Sequence[Any]
    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]] | Callable[[Any], Sequence[Callable[..., Any]]]
    signals: Sequence[Signal]
    world: Callable[[], Any] | None
    patience: timedelta
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
