"""Queries in progress, in memory only, from the request to a worker's answer (S-39).

Role: a query either waits for a poller of its own (`direct`), or is attached to the run's next workflow task
(`attached`, at most `buffered_queries_max` per run) and answered with that task's completion.

Invariants: a query is answered at most once; once its caller has gone, it is removed and no worker gets it.
Not here: the choice between the two routes (`perdure.history.message.query`), and RPCs (`frontend/queries.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from perdure.core.ids import EntityKey
from perdure.wire.api import enums, query
from perdure.wire.errors import resource_exhausted


class QueryAnswer(msgspec.Struct, frozen=True):
    """A worker's answer. `result.failure` and `error_message` are set if the query failed."""

    result: query.WorkflowQueryResult

    @property
    def is_failed(self) -> bool:
        return self.result.result_type == enums.QueryResultType.QUERY_RESULT_TYPE_FAILED


class QueryTask(msgspec.Struct, frozen=True):
    """A query on its way to a worker: what leaves the owner of its run."""

    query_id: str
    entity: EntityKey
    """The run."""
    question: query.WorkflowQuery


class TaskAttempt(NamedTuple):
    """A started workflow task. Attempts without events of their own share the id of their started event (S-8)."""

    started_event_id: int
    attempt: int


class PendingQuery:
    """One query. `answer` yields None when its route must be chosen again."""

    __slots__ = ("answer", "entity", "not_with", "query_id", "question", "stirred", "taken")

    def __init__(
        self,
        query_id: str,
        entity: EntityKey,
        question: query.WorkflowQuery,
        *,
        not_with: TaskAttempt | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.not_with = not_with
        """The workflow task that began before the query. Events acknowledged since then wait in the
        buffer, so its worker cannot see them."""
        self.query_id = query_id
        self.entity = entity
        self.question = question
        self.answer: asyncio.Future[QueryAnswer | None] = loop.create_future()
        self.taken: asyncio.Future[None] = loop.create_future()
        """Done when a worker has received the query."""
        self.stirred: asyncio.Future[None] = loop.create_future()
        """Done when its caller should check its route again."""

    @property
    def task(self) -> QueryTask:
        """The query for a worker of its own."""
        return QueryTask(self.query_id, self.entity, self.question)

    @property
    def is_waiting(self) -> bool:
        return not self.answer.done()

    def settle(self, answer: QueryAnswer | None) -> bool:
        """Set the answer. Returns false if the caller no longer waits for it."""
        if self.answer.done():
            return False
        self.answer.set_result(answer)
        return True

    def mark_taken(self) -> None:
        if not self.taken.done():
            self.taken.set_result(None)

    def stir(self) -> None:
        if not self.stirred.done():
            self.stirred.set_result(None)

    def calm(self) -> None:
        """Reset `stirred`, after the caller has checked the route."""
        if self.stirred.done():
            self.stirred = asyncio.get_running_loop().create_future()

    def abandon(self) -> None:
        """Cancel the query, because its caller has gone."""
        self.answer.cancel()


class Queries:
    """All pending queries of a node."""

    def __init__(self) -> None:
        self._direct: dict[str, PendingQuery] = {}
        self._attached: dict[EntityKey, dict[str, PendingQuery]] = {}

    # Without a workflow task.

    def add_direct(self, pending: PendingQuery) -> None:
        self._direct[pending.query_id] = pending

    def find_direct(self, query_id: str) -> PendingQuery | None:
        return self._direct.get(query_id)

    # With a workflow task.

    def attach(self, pending: PendingQuery, at_most: int) -> None:
        """Attach the query to the run's next workflow task. Raises ResourceExhausted at the limit."""
        waiting = self._attached.setdefault(pending.entity, {})
        if len(waiting) >= at_most:
            raise resource_exhausted(
                f"consistent query buffer is full: {len(waiting)} queries wait for a workflow task "
                "of this run already; try again when they are answered",
                enums.ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED,
            )
        waiting[pending.query_id] = pending

    def for_task(self, entity: EntityKey, task: TaskAttempt) -> Mapping[str, query.WorkflowQuery]:
        """The queries to deliver with a workflow task."""
        waiting = self._attached.get(entity)
        if not waiting:
            return {}
        return {
            key: pending.question
            for key, pending in waiting.items()
            if pending.is_waiting and pending.not_with != task
        }

    def answered(
        self, entity: EntityKey, results: Iterable[tuple[str, query.WorkflowQueryResult]]
    ) -> None:
        """Settle queries with the answers of a completed workflow task."""
        waiting = self._attached.get(entity)
        if not waiting:
            return
        for query_id, result in results:
            pending = waiting.get(query_id)
            if pending is not None:
                pending.settle(QueryAnswer(result))

    def reroute(self, entity: EntityKey) -> None:
        """Let unanswered queries choose their route again, because a workflow task or the run has ended.

        They stay attached meanwhile: a busy run may begin its next task before the caller checks.
        """
        waiting = self._attached.get(entity)
        if waiting:
            for pending in waiting.values():
                pending.stir()

    def forget(self, pending: PendingQuery) -> None:
        """Remove the query, because its caller has the answer or has gone."""
        pending.abandon()
        self._direct.pop(pending.query_id, None)
        waiting = self._attached.get(pending.entity)
        if waiting is not None:
            waiting.pop(pending.query_id, None)
            if not waiting:
                del self._attached[pending.entity]
