"""Reading history: pages, filters, long polls (S-25 to S-27)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.wire.api import enums
from perdure.wire.errors import InvalidArgument, NotFound
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import Caller, settle

CLOSE = enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT


def ids(response: Any) -> list[int]:
    return [event.event_id for event in response.history.events]


def waiting(caller: Caller, **fields: Any) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(caller.history(wait_new_event=True, **fields))


async def test_pages_follow_each_other_to_the_end(caller: Caller):
    await caller.start()
    for _ in range(300):
        await caller.signal()
    seen: list[int] = []
    token, pages = b"", 0
    while True:
        page = await caller.history(next_page_token=token, maximum_page_size=1_000)
        seen += ids(page)
        pages += 1
        token = page.next_page_token
        if not token:
            break
    assert seen == list(range(1, 303))
    assert pages == 2, "256 events are the most a page holds (S-27)"


async def test_a_reader_who_waits_gets_what_comes(caller: Caller):
    await caller.start()
    first = await caller.history(wait_new_event=True)
    assert ids(first) == [1, 2]
    assert first.next_page_token
    poll = waiting(caller, next_page_token=first.next_page_token)
    await settle()
    assert not poll.done()
    await caller.signal()
    second = await poll
    assert ids(second) == [3]
    assert second.next_page_token


async def test_a_long_poll_without_news_ends_empty_with_a_token(caller: Caller):
    await caller.start()
    first = await caller.history(wait_new_event=True)
    empty = await caller.history(
        wait_new_event=True, next_page_token=first.next_page_token, timeout_ns=2_000_000_000
    )
    assert ids(empty) == []
    await caller.signal()
    assert ids(await caller.history(next_page_token=empty.next_page_token)) == [3]


async def test_the_close_event_alone_and_only_once_there_is_one(caller: Caller):
    await caller.start()
    now = await caller.history(history_event_filter_type=CLOSE)
    assert (ids(now), now.next_page_token) == ([], b"")
    poll = waiting(caller, history_event_filter_type=CLOSE)
    await settle()
    await caller.signal()
    await settle()
    assert not poll.done()
    await caller.complete(await caller.poll(), complete_workflow())
    closed = await poll
    assert [event.event_type for event in closed.history.events] == [
        enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
    ]
    assert closed.next_page_token == b""


async def test_a_worker_that_reads_anew_is_shown_a_transient_task_and_people_are_not(
    caller: Caller,
):
    await caller.start()
    task = await caller.poll()
    await caller.call("RespondWorkflowTaskFailed", task_token=task.task_token)
    retry = await caller.poll()
    assert retry.attempt == 2
    stored = [1, 2, 3, 4]
    assert [event.event_id for event in retry.history.events] == [*stored, 5, 6]
    assert ids(await caller.history()) == [*stored, 5, 6]
    request = {"namespace": "default", "execution": {"workflow_id": "w"}}
    from perdure.wire.seam import WORKFLOW_SERVICE

    method = WORKFLOW_SERVICE["GetWorkflowExecutionHistory"]
    seen = await caller.node.frontend.dispatch(
        method, method.request_type(**request), {"client-name": "temporal-cli"}
    )
    assert ids(seen) == stored


async def test_tokens_and_run_ids_must_fit(caller: Caller):
    await caller.start()
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        await caller.history(next_page_token=b"junk")
    with pytest.raises(InvalidArgument, match="Invalid RunId"):
        await caller.history(execution={"workflow_id": "w", "run_id": "junk"})
    with pytest.raises(NotFound, match="workflow not found for ID: other"):
        await caller.history(execution={"workflow_id": "other"})
