"""What the run engine registers: the kinds RUN and WORKFLOW_ID.

Role: the one place where the server's questions about an entity meet the functions of this package.
Not here: any rule; each hook is a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import EntityKind, QueueKind, workflow_id_key
from perdure.entity.entity_type import EntityType
from perdure.entity.workers import IDLE, Work
from perdure.history.activity import attempts as activity
from perdure.history.activity import orphans
from perdure.history.activity.phase import running_attempts
from perdure.history.draft.deadlines import live_deadlines
from perdure.history.draft.replies import WorkflowTaskReply
from perdure.history.draft.transition import RunTransition
from perdure.history.draft.visible import visibility_row
from perdure.history.loader import fold_run
from perdure.history.run import wake
from perdure.history.run.audit import RunAuditor, gaps
from perdure.history.run.wanted_tasks import is_stale, wanted_tasks
from perdure.history.state.facts import FACT_TYPES
from perdure.history.state.pointer import POINTER_TYPES, CurrentRun, point
from perdure.history.state.run_state import RunState
from perdure.history.workflow_task import attempts as workflow_task
from perdure.wire import errors

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from perdure.core.ids import EntityKey, TaskRowId
    from perdure.entity.entity_type import StateOf
    from perdure.entity.env import Env
    from perdure.entity.transition import (
        EventRow,
        FactChange,
        Task,
        Transition,
        VisibilityRow,
        WantedTask,
    )
    from perdure.entity.workers import PollInfo
    from perdure.history.draft.replies import ActivityTaskReply

_RUN_BYTES = 3_500
_PENDING_BYTES = 700
"""Measured with tracemalloc: a run has 3,200 bytes and its tail, a pending activity 600 to 680 and its attributes,
whether there are 1, 100 or 2,000 of them, half of them started."""


class RunType(EntityType[RunState]):
    """A workflow run."""

    number = EntityKind.RUN
    name = "workflow"
    check = "histories"
    fact_types = FACT_TYPES
    has_log = True
    auditor = RunAuditor

    def fold(
        self, key: EntityKey, events: Iterable[bytes], facts: Iterable[FactChange], now_ns: int
    ) -> Generator[None, None, RunState]:
        return fold_run(key, events, facts, now_ns)

    def gaps(self, events: Sequence[EventRow]) -> Iterator[str]:
        return gaps(events)

    def abandon(self, state: RunState) -> None:
        if state.journal.undo is not None:
            state.roll_back()

    def wake(self, state: RunState, env: Env) -> Transition:
        return wake.wake(state, env)

    def next_wake_ns(self, state: RunState) -> int:
        return wake.next_deadline_ns(state)

    def wake_reason(self, state: RunState) -> str:
        deadlines = live_deadlines(state)
        return deadlines[0].kind.name if deadlines else ""

    def is_wake_exact(self, state: RunState) -> bool:
        """A run that falls asleep is not to be woken by what its steps had asked for."""
        return orphans.is_asleep(state)

    def size_bytes(self, state: RunState) -> int:
        pending = len(state.activities) + len(state.timers) + len(state.children)
        retained_bytes = state.activity_bytes + len(state.info.started_attributes)
        if buffered := state.buffered:
            pending += len(buffered)
            retained_bytes += buffered.size_bytes
        return _RUN_BYTES + retained_bytes + _PENDING_BYTES * pending

    def is_closed(self, state: RunState) -> bool:
        return not state.is_running

    def neighbours(self, key: EntityKey) -> tuple[EntityKey, ...]:
        return (workflow_id_key(key.namespace_id, key.name),)

    def is_left_alone(self, key: EntityKey, neighbour: CurrentRun | None) -> bool:
        """A pointer goes with the run to which it points."""
        return neighbour is not None and neighbour.run_id == key.run_id

    def companions(
        self, transition: Transition, state_of: StateOf, *, is_new: bool
    ) -> tuple[Transition, ...]:
        if not isinstance(transition, RunTransition) or transition.current is None:
            return ()
        current = transition.current
        key = transition.key
        assert current.run_id == key.run_id, "a run's transition points to itself"
        pointer = workflow_id_key(key.namespace_id, key.name)
        before: CurrentRun | None = state_of(pointer)
        if before is not None and before.run_id != key.run_id and not is_new:
            return ()  # a later run has the workflow id now: this one's end does not concern the pointer
        return (point(pointer, current),)

    def missing(self, key: EntityKey) -> errors.RpcError:
        return errors.not_found(f"workflow not found for ID: {errors.shown(key.name)}")

    def label(self, key: EntityKey) -> str:
        return f"workflow {key.name!r} (run {key.run_id})"

    def has_task_in_flight(self, state: RunState) -> bool:
        return orphans.has_task_in_flight(state)

    def time_out_orphans(self, state: RunState, env: Env) -> Transition:
        return orphans.time_out_orphans(state, env)

    def wanted_tasks(self, state: RunState) -> Iterable[WantedTask]:
        return wanted_tasks(state)

    def is_stale(self, state: RunState, task: Task) -> bool:
        return is_stale(state, task)

    def work(self, state: RunState) -> Work:
        if not state.is_running:
            return IDLE
        return Work(
            attempts=tuple(attempt.identity for attempt in running_attempts(state)),
            is_in_workflow_task=state.workflow_task_is_started,
            queues=tuple(task.queue for task in wanted_tasks(state)),
        )

    def start_task(
        self, state: RunState, task: Task, row: TaskRowId | None, poll: PollInfo, env: Env
    ) -> Transition:
        if task.queue.kind is QueueKind.WORKFLOW:
            return workflow_task.start_workflow_task(state, task, row, poll, env)
        return activity.start_activity(state, task, row, poll, env)

    def is_redeliverable(self, reply: WorkflowTaskReply | ActivityTaskReply) -> bool:
        return isinstance(reply, WorkflowTaskReply)

    def undo_start(self, state: RunState, reply: ActivityTaskReply, env: Env) -> Transition:
        return activity.undo_activity_start(state, reply.token, env)

    def redeliver(self, state: RunState, task: Task, env: Env) -> WorkflowTaskReply | None:
        pending = state.workflow_task
        if pending is None or pending.scheduled_event_id != task.scheduled_event_id:
            return None
        return workflow_task.redeliver(state, env)

    def unpolled(self, state: RunState, task: Task, row: TaskRowId, env: Env) -> Transition:
        return workflow_task.leave_sticky_queue(state, task, row, env)

    def visibility(self, state: RunState) -> VisibilityRow:
        return visibility_row(state)


class WorkflowIdType(EntityType[CurrentRun]):
    """The pointer from a workflow id to its current run. `RunType` writes and deletes it."""

    number = EntityKind.WORKFLOW_ID
    name = "workflow id"
    check = "pointers"
    fact_types = POINTER_TYPES
    auditor = RunAuditor

    def missing(self, key: EntityKey) -> errors.RpcError:
        return RUNS.missing(key)


RUNS = RunType()
WORKFLOW_IDS = WorkflowIdType()
