"""Tests of workflows and activities: skipped time, and injected faults.

    WorkflowEnvironment   an engine in this process for the length of a test; its time can be skipped
    ActivityEnvironment   an activity's context without worker and engine
    simulate              one workflow under seeded crashes, repetitions and delays, with invariants of your own
    pytest_plugin         fixtures, and the timelines of the runs of a failing test

Nothing is downloaded, nothing listens on a port, nothing sleeps in real time. Not here: how time is skipped
(`perdure.server.time_skipping.skipping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.testing.activity import ActivityEnvironment
    from perdure.testing.environment import WorkflowEnvironment
    from perdure.testing.simulator import Outcome, Signal, SimulationFailed, simulate

__all__ = [
    "ActivityEnvironment",
    "Outcome",
    "Signal",
    "SimulationFailed",
    "WorkflowEnvironment",
    "simulate",
]

_PLACES = {
    "ActivityEnvironment": "perdure.testing.activity",
    "WorkflowEnvironment": "perdure.testing.environment",
}


def __getattr__(name: str) -> Any:
    """Each part is loaded when it is first used: a test of an activity needs no engine."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES.get(name, "perdure.testing.simulator")), name)
