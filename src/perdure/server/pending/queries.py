"""Queries under way: memory only, from the caller's question to a worker's answer (S-39).

Role: a query either waits for a poller of its own (`direct`), or is attached to the run's next workflow task
(`attached`, at most `buffered_queries_max` per run) and answered with that task's completion.

Invariants: a query is answered at most once; when its caller has gone it is forgotten and nobody gets it any more.
Not here: which of the two ways is right (`perdure.history.message.query`), and RPCs (`frontend/queries.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from perdure.wire.api import enums, query
from perdure.wire.errors import resource_exhausted

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey


class QueryAnswer(msgspec.Struct, frozen=True):
    """What a worker said. `result.failure` and `error_message` are set when the query failed."""

    result: query.WorkflowQueryResult

    @property
    def is_failed(self) -> bool:
        return self.result.result_type == enums.QueryResultType.QUERY_RESULT_TYPE_FAILED


class PendingQuery:
    """One question. `answer` yields None when the way must be chosen anew."""

    __slots__ = ("answer", "entity", "not_with", "query_id", "question", "stirred", "taken")

    def __init__(
        self,
        query_id: str,
        entity: EntityKey,
        question: query.WorkflowQuery,
        *,
        not_with: int = 0,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.not_with = not_with
        """The workflow task (its started event) that had begun before the question: events that were acknowledged since
        then wait in the buffer, so its worker could not see them."""
        self.query_id = query_id
        self.entity = entity
        self.question = question
        self.answer: asyncio.Future[QueryAnswer | None] = loop.create_future()
        self.taken: asyncio.Future[None] = loop.create_future()
        """Done when a worker has it."""
        self.stirred: asyncio.Future[None] = loop.create_future()
        """Done when its caller should look again which way it takes."""

    @property
    def is_waiting(self) -> bool:
        return not self.answer.done()

    def settle(self, answer: QueryAnswer | None) -> bool:
        """Give the answer; False when nobody waits for it any more."""
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
        """The caller has looked."""
        if self.stirred.done():
            self.stirred = asyncio.get_running_loop().create_future()

    def abandon(self) -> None:
        """The caller has gone."""
        self.answer.cancel()


class Queries:
    """All queries of this node."""

    def __init__(self) -> None:
        self._direct: dict[str, PendingQuery] = {}
        self._attached: dict[EntityKey, dict[str, PendingQuery]] = {}

    # On its own.

    def add_direct(self, pending: PendingQuery) -> None:
        self._direct[pending.query_id] = pending

    def find_direct(self, query_id: str) -> PendingQuery | None:
        return self._direct.get(query_id)

    # With a workflow task.

    def attach(self, pending: PendingQuery, at_most: int) -> None:
        """Wait for the run's next workflow task; ResourceExhausted when enough others wait already."""
        waiting = self._attached.setdefault(pending.entity, {})
        if len(waiting) >= at_most:
            raise resource_exhausted(
                f"consistent query buffer is full: {len(waiting)} queries wait for a workflow task "
                "of this run already; try again when they are answered",
                enums.ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED,
            )
        waiting[pending.query_id] = pending

    def for_task(
        self, entity: EntityKey, started_event_id: int
    ) -> Mapping[str, query.WorkflowQuery]:
        """The queries that a workflow task which is being delivered carries."""
        waiting = self._attached.get(entity)
        if not waiting:
            return {}
        return {
            key: pending.question
            for key, pending in waiting.items()
            if pending.is_waiting and pending.not_with != started_event_id
        }

    def answered(
        self, entity: EntityKey, results: Iterable[tuple[str, query.WorkflowQueryResult]]
    ) -> None:
        """A workflow task of the run was completed with these answers."""
        waiting = self._attached.get(entity)
        if not waiting:
            return
        for query_id, result in results:
            pending = waiting.get(query_id)
            if pending is not None:
                pending.settle(QueryAnswer(result))

    def reroute(self, entity: EntityKey) -> None:
        """A workflow task ended, or the run did: what is still unanswered chooses its way anew.

        It stays attached meanwhile: a busy run's next task begins before the caller has looked, and must carry it.
        """
        waiting = self._attached.get(entity)
        if waiting:
            for pending in waiting.values():
                pending.stir()

    def forget(self, pending: PendingQuery) -> None:
        """The caller has its answer, or has gone."""
        pending.abandon()
        self._direct.pop(pending.query_id, None)
        waiting = self._attached.get(pending.entity)
        if waiting is not None:
            waiting.pop(pending.query_id, None)
            if not waiting:
                del self._attached[pending.entity]
