"""Tasks that waited meet pollers: starts, redeliveries, and starts taken back (DESIGN §10.6)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from perdure.core.ids import workflow_id_key
from perdure.history.draft.replies import ActivityTaskReply, StaleTask, WorkflowTaskReply
from perdure.history.workflow_task.attempts import unstick
from perdure.server.shards.step import Outcome
from perdure.wire import errors

if TYPE_CHECKING:
    from perdure.core.ids import TaskRowId
    from perdure.entity.env import Env
    from perdure.entity.transition import Task
    from perdure.history.draft.replies import PollInfo
    from perdure.history.state.run_state import RunState
    from perdure.server.matching.matcher import Matcher
    from perdure.server.shards.committer import Committer
    from perdure.server.shards.entities import Entities
    from perdure.server.shards.group import Handover
    from perdure.server.shards.step import Steps
    from perdure.server.shards.verbs import Verbs

log = logging.getLogger(__name__)


class TaskStarts:
    """See the module."""

    def __init__(
        self,
        entities: Entities,
        steps: Steps,
        committer: Committer,
        matcher: Matcher,
        verbs: Verbs,
    ) -> None:
        self._entities = entities
        self._steps = steps
        self._committer = committer
        self._matcher = matcher
        self._verbs = verbs
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def start(
        self, task: Task, row: TaskRowId | None, info: PollInfo
    ) -> WorkflowTaskReply | ActivityTaskReply | StaleTask:
        """Start a task that waited, and remove its row. A `row` of None asks for a redelivery of a started one."""
        if row is None:
            return await self._redeliver(task)
        verb = self._verbs.start_task
        pointer_key = workflow_id_key(task.entity.namespace_id, task.entity.name)
        with self._committer.under_way():
            entries = await self._entities.ready(task.entity, pointer_key)
        if entries[0].state is None:
            outcome = self._steps.finish_rows(entries[0], tasks=(row,))
            outcome = Outcome(outcome.barrier, StaleTask())
        else:
            outcome = self._entities.change(entries, verb, task, row, info)
        return await self._entities.reveal(outcome)

    async def unstick(self, task: Task, row: TaskRowId) -> None:
        """Nobody polls the queue of a workflow task; without effect unless that is a sticky one."""
        pointer_key = workflow_id_key(task.entity.namespace_id, task.entity.name)
        try:
            with self._committer.under_way():
                entries = await self._entities.ready(task.entity, pointer_key)
                outcome = self._entities.change(entries, unstick, task, row)
            await self._entities.reveal(outcome)
        except errors.RpcError as error:
            log.debug("a task of %s stays in its sticky queue: %s", task.entity, error.message)

    async def give_back(self, task: Task, reply: WorkflowTaskReply | ActivityTaskReply) -> None:
        """The poller for which a task was started has gone (DESIGN §10.6)."""
        if isinstance(reply, WorkflowTaskReply):
            self._matcher.offer(task, None)
            return
        token = reply.token
        undo = self._verbs.undo_activity_start
        pointer_key = workflow_id_key(task.entity.namespace_id, task.entity.name)
        entries = await self._entities.ready(task.entity, pointer_key)
        outcome = self._entities.change(entries, undo, token)
        await self._entities.reveal(outcome)

    async def _redeliver(self, task: Task) -> WorkflowTaskReply | StaleTask:
        redeliver = self._verbs.redeliver

        def look(state: RunState, env: Env) -> WorkflowTaskReply | StaleTask:
            pending = state.workflow_task
            if pending is None or pending.scheduled_event_id != task.scheduled_event_id:
                return StaleTask()
            return redeliver(state, env) or StaleTask()

        return await self._entities.look(await self._entities.ready(task.entity), look)

    def give_back_later(self, handover: Handover) -> None:
        """As `give_back`, without anybody waiting."""
        task = asyncio.get_running_loop().create_task(self._give_back_quietly(handover))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back_quietly(self, handover: Handover) -> None:
        try:
            await self.give_back(handover.task, handover.reply)
        except errors.RpcError as error:
            # The attempt stays started, and its time-outs bring it back.
            log.warning("a task of %s was not taken back: %s", handover.task.entity, error)
