"""Workflow tasks that a worker in this process handles in the step that starts them.

Role: with an embedded engine, most workflow tasks need no poll, no response, no token and no second transaction. The
step that starts a task asks for a worker of its queue. The worker runs the workflow's code and returns its completion,
which is applied in the same step. Afterwards the worker is told whether the step is durable.

Invariants: a task goes through the same transitions inline and through a poll. Nothing that a worker does inline is
visible before the commit. A task that its worker cannot finish at once is delivered to it, with a token, once it is
durable.
Not here: the step (`shards.step`), what workers do (`perdure.worker.workflow.tasks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.ids import QueueKey, QueueKind
from perdure.entity.workers import PollInfo
from perdure.history.draft.replies import CompletionReply
from perdure.server.frontend import task_replies
from perdure.server.frontend.workflow_tasks import complete

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.entity.transition import Task
    from perdure.history.draft.replies import WorkflowTaskReply
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.services import Services
    from perdure.server.matching.ports import NewestEvents
    from perdure.wire.seam import InlineTask, InlineWorker

EVENTS_MAX = 200
"""A task with a longer history is delivered, because replaying the history inline would block the event loop."""


class InlineTasks:
    """The workers of this process, by the queues from which they take workflow tasks.

    Args:
        services: The services of the node.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self._workers: dict[QueueKey, list[_Poller]] = {}

    def register(
        self, worker: InlineWorker, *, namespace: str, task_queue: str, sticky_queue: str
    ) -> None:
        """See `perdure.wire.seam.InlineWorkers`."""
        namespace_id = self.services.namespace_id(namespace)
        for name, is_sticky in ((task_queue, False), (sticky_queue, True)):
            if name:
                key = QueueKey(namespace_id, name, QueueKind.WORKFLOW)
                poller = _Poller(self, worker, name, is_sticky=is_sticky)
                self._workers.setdefault(key, []).append(poller)

    def withdraw(self, worker: InlineWorker) -> None:
        """See `perdure.wire.seam.InlineWorkers`."""
        for key, pollers in tuple(self._workers.items()):
            pollers[:] = [poller for poller in pollers if poller.worker is not worker]
            if not pollers:
                del self._workers[key]

    def poller_for(self, task: Task) -> _Poller | None:
        """A worker that can begin the task now; None if there is none."""
        for poller in self._workers.get(task.queue, ()):
            if poller.worker.can_begin(task.entity.run_id, is_sticky=poller.is_sticky):
                return poller
        return None


class _Poller:
    """A worker as the poller of one queue."""

    __slots__ = ("_queue_name", "_tasks", "is_sticky", "worker")

    def __init__(
        self, tasks: InlineTasks, worker: InlineWorker, queue_name: str, *, is_sticky: bool
    ) -> None:
        self._tasks = tasks
        self._queue_name = queue_name
        self.worker = worker
        self.is_sticky = is_sticky

    @property
    def info(self) -> PollInfo:
        worker = self.worker
        return PollInfo(
            identity=worker.identity,
            request_id=self._tasks.services.new_id(),
            build_id=worker.build_id,
            queue_name=self._queue_name,
        )

    def work(self, reply: WorkflowTaskReply, tail: NewestEvents) -> InlineWork:
        services = self._tasks.services
        first, last = reply.first_event_id, reply.last_event_id
        # Workers do not report that a repeated attempt has failed. It ends with its time-out.
        is_short = reply.attempt == 1 and last - first < EVENTS_MAX
        rows = tail.range(first, last) if is_short else None
        task = None
        if rows is not None:
            task = self.worker.begin(task_replies.inline_task(services, reply, rows))
        return InlineWork(services, reply, task)


class InlineWork:
    """A started task and what its worker has done with it; see `perdure.server.matching.ports`.

    Args:
        services: The services of the node.
        plan: The reply of the task's start.
        task: The task as the worker has begun it; None if it has not.
    """

    __slots__ = ("_plan", "_reply", "_services", "_task", "is_complete")

    def __init__(
        self, services: Services, plan: WorkflowTaskReply, task: InlineTask | None
    ) -> None:
        self._services = services
        self._plan = plan
        self._task = task
        self._reply: Any = None
        self.is_complete = task is not None and task.completion is not None

    def change(self, state: RunState, env: Env) -> RunTransition:
        assert self._task is not None
        request = self._task.completion
        assert request is not None, "only complete work changes something"
        return complete(state, self._services.updates, self._plan.token, request, env)

    def applied(self, reply: Any) -> None:
        self._reply = reply
        if not isinstance(reply, CompletionReply) and self._task is not None:
            self._task.refused()

    def durable(self) -> None:
        request = None if self._task is None else self._task.completion
        if self._task is None or request is None:
            return
        services, entity = self._services, self._plan.token.entity
        reply = self._reply
        if isinstance(reply, CompletionReply):
            services.queries.answered(entity, request.query_results.items())
        else:
            reply = CompletionReply()
        services.queries.reroute(entity)
        self._task.durable(task_replies.eager_activities(services, reply, request.namespace))

    def lost(self) -> None:
        if self._task is not None:
            self._task.lost()
        self._services.queries.reroute(self._plan.token.entity)
