"""A query never goes with a workflow task that had begun before it was asked.

Signals that were acknowledged since then wait in the buffer: the task's worker could not see them, and its answer would
contradict what the caller already knows.
"""

from __future__ import annotations

from perdure.core.ids import run_key
from perdure.server.queries import PendingQuery, Queries
from perdure.wire.api import query

RUN = run_key("ns", "workflow", "run")


async def test_a_query_waits_for_a_task_that_begins_after_it() -> None:
    queries = Queries()
    asked = PendingQuery("q", RUN, query.WorkflowQuery(query_type="count"), not_with=3)
    queries.attach(asked, at_most=1)
    assert queries.for_task(RUN, 3) == {}
    assert list(queries.for_task(RUN, 7)) == ["q"]


async def test_a_query_asked_while_no_task_runs_goes_with_the_first() -> None:
    queries = Queries()
    queries.attach(PendingQuery("q", RUN, query.WorkflowQuery(query_type="count")), at_most=1)
    assert list(queries.for_task(RUN, 3)) == ["q"]


async def test_a_query_stays_attached_while_its_caller_looks_again() -> None:
    # Regression: a busy run's next task had begun whenever the caller came to look, and never carried the query.
    queries = Queries()
    asked = PendingQuery("q", RUN, query.WorkflowQuery(query_type="count"), not_with=3)
    queries.attach(asked, at_most=1)
    queries.reroute(RUN)
    assert asked.stirred.done()
    assert asked.is_waiting
    assert list(queries.for_task(RUN, 7)) == ["q"]
