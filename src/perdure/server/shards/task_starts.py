"""Tasks that waited meet pollers: starts, redeliveries, and starts taken back (D-46)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from perdure.entity.workers import StaleTask
from perdure.server.shards.step import Outcome
from perdure.wire import errors

if TYPE_CHECKING:
    from perdure.core.ids import TaskRowId
    from perdure.entity.entity_type import Registry
    from perdure.entity.env import Env
    from perdure.entity.transition import Task
    from perdure.entity.workers import PollInfo
    from perdure.server.matching.ports import Matcher
    from perdure.server.shards.committer import Committer
    from perdure.server.shards.entities import Entities
    from perdure.server.shards.group import SyncMatch
    from perdure.server.shards.step import Steps

log = logging.getLogger(__name__)


class TaskStarts:
    """Starts of tasks outside the step that made them."""

    def __init__(
        self,
        entities: Entities,
        steps: Steps,
        committer: Committer,
        matcher: Matcher,
        types: Registry,
    ) -> None:
        self._entities = entities
        self._steps = steps
        self._committer = committer
        self._matcher = matcher
        self._types = types
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def start(self, task: Task, row: TaskRowId | None, info: PollInfo) -> Any:
        """Start a waiting task and remove its row. A `row` of None asks to redeliver a task that is already started."""
        if row is None:
            return await self._redeliver(task)
        with self._committer.under_way():
            entries = await self._entities.ready_to_change(task.entity)
        if entries[0].state is None:
            outcome = self._steps.finish_rows(entries[0], tasks=(row,))
            outcome = Outcome(outcome.barrier, StaleTask())
        else:
            outcome = self._entities.change(entries, entries[0].type.start_task, task, row, info)
        return await self._entities.durable_reply(outcome)

    async def leave_sticky_queue(self, task: Task, row: TaskRowId) -> None:
        """Let the entity move a task that waits in a queue without pollers."""
        try:
            with self._committer.under_way():
                entries = await self._entities.ready_to_change(task.entity)
                outcome = self._entities.change(entries, entries[0].type.unpolled, task, row)
            await self._entities.durable_reply(outcome)
        except errors.RpcError as error:
            log.debug("a task of %s stays in its queue: %s", task.entity, error.message)

    async def give_back(self, task: Task, reply: Any) -> None:
        """The poller for which a task was started has gone (D-46)."""
        entity_type = self._types.of(task.entity)
        if entity_type.is_redeliverable(reply):
            self._matcher.offer(task, None)
            return
        entries = await self._entities.ready_to_change(task.entity)
        outcome = self._entities.change(entries, entity_type.undo_start, reply)
        await self._entities.durable_reply(outcome)

    async def _redeliver(self, task: Task) -> Any:
        entries = await self._entities.ready(task.entity)

        def look(state: Any, env: Env) -> Any:
            return entries[0].type.redeliver(state, task, env) or StaleTask()

        return await self._entities.look(entries, look)

    def give_back_later(self, match: SyncMatch) -> None:
        """Like `give_back`, in the background."""
        task = asyncio.get_running_loop().create_task(self._give_back_quietly(match))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back_quietly(self, match: SyncMatch) -> None:
        try:
            await self.give_back(match.task, match.reply)
        except errors.RpcError as error:
            # The attempt stays started until it times out, and is then retried.
            log.warning("a task of %s was not taken back: %s", match.task.entity, error)
