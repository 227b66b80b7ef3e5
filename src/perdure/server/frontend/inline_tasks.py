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

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from perdure.core.ids import QueueKey, QueueKind
from perdure.entity.workers import PollInfo
from perdure.history.draft.replies import CompletionReply
from perdure.server.frontend import task_replies
from perdure.server.frontend.workflow_tasks import complete
from perdure.wire.api import workflowservice
from perdure.wire.errors import RpcError

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.entity.transition import Task
    from perdure.history.draft.replies import WorkflowTaskReply
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.run_state import RunState
    from perdure.server.frontend.services import Services
    from perdure.server.matching.ports import NewestEvents
    from perdure.wire.seam import InlineTask, InlineWorker

_log = logging.getLogger(__name__)

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
        self._delivering: set[asyncio.Task[None]] = set()

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

    def deliver(
        self, worker: InlineWorker, plan: WorkflowTaskReply, begun: InlineTask | None
    ) -> None:
        """Give a durable task to the worker for which it was started."""
        task = asyncio.get_running_loop().create_task(self._deliver(worker, plan, begun))
        self._delivering.add(task)
        task.add_done_callback(self._delivering.discard)

    async def _deliver(
        self, worker: InlineWorker, plan: WorkflowTaskReply, begun: InlineTask | None
    ) -> None:
        try:
            encoded = await task_replies.workflow_task(self.services, plan)
        except BaseException as error:
            if begun is not None:
                begun.lost()
            if not isinstance(error, RpcError):
                raise
            # The task stays started until it times out, and is then retried.
            _log.warning("a task of %s was not delivered: %s", plan.token.entity, error.message)
            return
        worker.deliver(workflowservice.PollWorkflowTaskQueueResponse.FromString(encoded))


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
        return InlineWork(self._tasks, self.worker, reply, task)


class InlineWork:
    """A started task and what its worker has done with it; see `perdure.server.matching.ports`.

    Args:
        tasks: Delivers the task if it is not complete.
        worker: The worker.
        plan: The reply of the task's start.
        task: The task as the worker has begun it; None if it has not.
    """

    __slots__ = ("_plan", "_reply", "_task", "_tasks", "_worker", "is_complete")

    def __init__(
        self,
        tasks: InlineTasks,
        worker: InlineWorker,
        plan: WorkflowTaskReply,
        task: InlineTask | None,
    ) -> None:
        self._tasks = tasks
        self._worker = worker
        self._plan = plan
        self._task = task
        self._reply: Any = None
        self.is_complete = task is not None and task.completion is not None

    def change(self, state: RunState, env: Env) -> RunTransition:
        assert self._task is not None
        request = self._task.completion
        assert request is not None, "only complete work changes something"
        return complete(state, self._tasks.services.updates, self._plan.token, request, env)

    def applied(self, reply: Any) -> None:
        self._reply = reply
        if not isinstance(reply, CompletionReply) and self._task is not None:
            self._task.refused()

    def durable(self) -> None:
        request = None if self._task is None else self._task.completion
        if self._task is None or request is None:
            self._tasks.deliver(self._worker, self._plan, self._task)
            return
        services, entity = self._tasks.services, self._plan.token.entity
        reply = self._reply
        try:
            if isinstance(reply, CompletionReply):
                services.queries.answered(entity, request.query_results.items())
            else:
                reply = CompletionReply()
            services.queries.reroute(entity)
            response = task_replies.eager_activities(services, reply, request.namespace)
        except BaseException:
            self._task.lost()
            raise
        self._task.durable(response)

    def lost(self) -> None:
        services, plan = self._tasks.services, self._plan
        if self._task is not None:
            self._task.lost()
        services.updates.not_sent(plan.token.entity, plan.started_event_id)
        services.queries.reroute(plan.token.entity)
