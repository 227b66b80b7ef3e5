"""What a worker is configured with: one frozen value, validated when it is made.

The keyword arguments of `Worker` are the official package's; here they are checked once and turned into units that the
rest of the worker uses. Not here: anything that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from perdure.core.units import SECOND_NS

MAX_CONCURRENT_DEFAULT = 100

WorkflowExecution = Literal["event_loop", "threads"]
"""Where workflow code runs: on the thread of the worker's event loop, or in threads of its own."""

default_workflow_execution: ContextVar[WorkflowExecution] = ContextVar(
    "perdure_workflow_execution", default="event_loop"
)
"""For workers that do not say."""

DEADLOCK_BUDGET_NS = 2 * SECOND_NS


def to_ns(value: timedelta) -> int:
    """A duration in nanoseconds, exact to the microsecond."""
    return (value.days * 86_400 + value.seconds) * SECOND_NS + value.microseconds * 1_000


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Everything about a worker but its client and interceptors. Durations in nanoseconds.

    Raises:
        ValueError: A value is out of range, or the worker would have nothing to do.
    """

    task_queue: str
    activities: Sequence[Callable[..., Any]]
    workflows: Sequence[type]
    activity_executor: Executor | None
    build_id: str
    identity: str
    max_cached_workflows: int
    max_concurrent_workflow_tasks: int
    max_concurrent_activities: int
    max_concurrent_local_activities: int
    workflow_pollers: int | None
    """None: as many as are useful; `polling.poll_numbers` says how many that is."""
    activity_pollers: int | None
    nonsticky_to_sticky_poll_ratio: float
    no_remote_activities: bool
    sticky_timeout_ns: int
    heartbeat_throttle_max_ns: int
    heartbeat_throttle_default_ns: int
    max_task_queue_activities_per_second: float | None
    graceful_shutdown_ns: int
    workflow_failure_exception_types: Sequence[type[BaseException]]
    disable_eager_activity_execution: bool
    workflow_execution: WorkflowExecution
    deadlock_budget_ns: int
    """What one activation may use; 0 for no limit."""

    def __post_init__(self) -> None:
        if not self.task_queue:
            raise ValueError("a worker needs a task_queue")
        if not self.activities and not self.workflows:
            raise ValueError("At least one activity, Nexus service, or workflow must be specified")
        if self.max_cached_workflows < 0:
            raise ValueError("max_cached_workflows cannot be negative; 0 turns the cache off")
        for name in (
            "max_concurrent_workflow_tasks",
            "max_concurrent_activities",
            "max_concurrent_local_activities",
            "workflow_pollers",
            "activity_pollers",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.workflow_execution not in get_args(WorkflowExecution):
            known = " or ".join(repr(each) for each in get_args(WorkflowExecution))
            raise ValueError(f"workflow_execution must be {known}, not {self.workflow_execution!r}")
        if self.max_cached_workflows > 0 and self.workflow_pollers == 1:
            raise ValueError(
                "max_concurrent_workflow_task_polls must be at least 2 with a workflow cache:"
                " one poller for the sticky queue and one for the normal queue"
            )
        if not 0 <= self.nonsticky_to_sticky_poll_ratio <= 1:
            raise ValueError("nonsticky_to_sticky_poll_ratio must be between 0 and 1")

    @property
    def uses_sticky_queue(self) -> bool:
        """Two queues need two slots: with one, the polls of one queue would keep the other waiting."""
        return self.max_cached_workflows > 0 and self.max_concurrent_workflow_tasks > 1
