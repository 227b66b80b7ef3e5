"""Which way a query takes to a worker (rule 39). Queries change nothing, so they are no transitions."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from perdure.history.workflow_task_steps import awaits_first_task
from perdure.wire.errors import workflow_not_ready

if TYPE_CHECKING:
    from perdure.history.state import RunState

_NOT_READY_FROM_ATTEMPT = 3


class QueryRoute(Enum):
    """What to do with a query."""

    DIRECT = "direct"
    """A task of its own, on the run's sticky or normal queue: nothing happened that the worker should see first."""
    ATTACH = "attach"
    """With the workflow task that is pending: the worker must first see the events that wait."""


def query_route(state: RunState) -> QueryRoute:
    """How a query gets to a worker. The caller's reject condition is the shell's to test, before.

    Raises:
        FailedPrecondition: WorkflowNotReady: no worker could answer now.
    """
    has_completed = state.completed_workflow_tasks > 0
    if not state.is_running:
        if not has_completed:
            raise workflow_not_ready(
                "Unable to query workflow: it closed before its first workflow task completed."
            )
        return QueryRoute.DIRECT
    if awaits_first_task(state):
        raise workflow_not_ready(
            "Unable to query workflow: its first workflow task is not scheduled yet."
        )
    task = state.workflow_task
    if task is not None and task.attempt >= _NOT_READY_FROM_ATTEMPT:
        raise workflow_not_ready("Unable to query workflow due to Workflow Task in failed state.")
    return QueryRoute.DIRECT if task is None else QueryRoute.ATTACH
