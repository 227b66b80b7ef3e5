"""Which way a query takes to a worker (S-39). Queries change nothing, so they are no transitions."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, assert_never

from perdure.history.workflow_task.phase import (
    AwaitingParent,
    FirstTaskDelayed,
    InNormalQueue,
    InStickyQueue,
    NotPending,
    Started,
    phase_of,
)
from perdure.wire.errors import workflow_not_ready

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState

_NOT_READY_FROM_ATTEMPT = 3


class QueryRoute(Enum):
    """What to do with a query."""

    DIRECT = "direct"
    """A task of its own, on the run's sticky or normal queue: nothing happened that the worker should see first."""
    ATTACH = "attach"
    """With the workflow task that is pending, or with the first one, which is still to come: the worker must first see
    the events that wait."""


def query_route(state: RunState, until_ns: int, *, is_waiting: bool = False) -> QueryRoute:
    """How a query gets to a worker. The caller's reject condition is the shell's to test, before.

    Args:
        state: The run.
        until_ns: How long the caller waits, since the epoch.
        is_waiting: The query was let in before. A workflow task that has begun to fail since does not turn it away: the
            next attempt takes it along.

    Raises:
        FailedPrecondition: WorkflowNotReady: no worker could answer before then.
    """
    if not state.is_running and state.completed_workflow_tasks == 0:
        raise workflow_not_ready(
            "Unable to query workflow: it closed before its first workflow task completed."
        )
    phase = phase_of(state)
    match phase:
        case NotPending():
            return QueryRoute.DIRECT
        case FirstTaskDelayed(first_ns) if first_ns > until_ns:
            raise workflow_not_ready(
                "Unable to query workflow: its first workflow task is not scheduled yet, and will "
                "not be before the caller's time is up."
            )
        case AwaitingParent() | FirstTaskDelayed():
            return QueryRoute.ATTACH
        case InNormalQueue(task) | InStickyQueue(task) | Started(task):
            if task.attempt >= _NOT_READY_FROM_ATTEMPT and not is_waiting:
                raise workflow_not_ready(
                    "Unable to query workflow due to Workflow Task in failed state."
                )
            return QueryRoute.ATTACH
        case _:
            assert_never(phase)
