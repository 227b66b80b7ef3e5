"""What is simulated again and again, as `simulate` was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from perdure.testing.simulation.outcome import Signal


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
