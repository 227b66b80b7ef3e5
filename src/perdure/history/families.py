"""All families of transitions: importing them fills the tables of folds, commands and deadlines.

A new family is imported here; nothing else has to know of it.
"""

from __future__ import annotations

from perdure.history import (
    activity,
    activity_command,
    activity_timeouts,
    cancel,
    child,
    child_start,
    continue_as_new,
    evolve_activity,
    evolve_child,
    evolve_external,
    evolve_marker,
    evolve_run,
    evolve_signal,
    evolve_timer,
    evolve_update,
    evolve_workflow_task,
    external,
    marker,
    run_deadlines,
    run_timeouts,
    signal,
    timer,
    update,
    workflow_commands,
    workflow_task,
)
from perdure.history.evolve import evolve

__all__ = [
    "activity",
    "activity_command",
    "activity_timeouts",
    "cancel",
    "child",
    "child_start",
    "continue_as_new",
    "evolve",
    "evolve_activity",
    "evolve_child",
    "evolve_external",
    "evolve_marker",
    "evolve_run",
    "evolve_signal",
    "evolve_timer",
    "evolve_update",
    "evolve_workflow_task",
    "external",
    "marker",
    "run_deadlines",
    "run_timeouts",
    "signal",
    "timer",
    "update",
    "workflow_commands",
    "workflow_task",
]
