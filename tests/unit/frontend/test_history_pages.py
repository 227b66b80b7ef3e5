"""Pages of history on virtual time: what each holds, where the next begins, and when a long poll is answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.limits import Limits
from perdure.core.units import SECOND_NS
from perdure.server.frontend.pages import HistoryToken, encode_token
from perdure.wire.api import enums
from perdure.wire.errors import FailedPrecondition, InvalidArgument
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import Caller, settle, virtual_caller
from tests.unit.server.virtual import on_virtual_time

CLOSE = enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
FOUR = Limits(history_page_events_max=4)


def ids(response: Any) -> list[int]:
    return [event.event_id for event in response.history.events]


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def pages(caller: Caller, **fields: Any) -> list[list[int]]:
    found: list[list[int]] = []
    token = b""
    while True:
        page = await caller.history(next_page_token=token, **fields)
        found.append(ids(page))
        token = page.next_page_token
        if not token:
            return found


async def signalled(caller: Caller, count: int) -> None:
    await caller.start()
    for _ in range(count):
        await caller.signal()


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (6, 0, [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (7, 0, [[1, 2, 3, 4], [5, 6, 7, 8], [9]]),
        (3, 2, [[1, 2], [3, 4], [5]]),
        (2, 1, [[1], [2], [3], [4]]),
        (4, 99, [[1, 2, 3, 4], [5, 6]]),
        (0, 2, [[1, 2]]),
    ],
)
@on_virtual_time
async def test_pages_have_the_size_that_was_asked_for_and_no_more_than_the_limit(
    count: int, size: int, expected: list[list[int]]
):
    async with virtual_caller(FOUR) as caller:
        await signalled(caller, count)
        assert await pages(caller, maximum_page_size=size) == expected
        with pytest.raises(InvalidArgument, match="PageSize must not be negative"):
            await caller.history(maximum_page_size=-1)


@on_virtual_time
async def test_a_reader_who_comes_back_later_is_told_what_came_meanwhile():
    async with virtual_caller(FOUR) as caller:
        await signalled(caller, 3)
        first = await caller.history()
        await caller.signal()
        second = await caller.history(next_page_token=first.next_page_token)
        assert ids(second) == [5, 6]
        assert second.next_page_token == b""


async def retried(caller: Caller, signals: int) -> Any:
    """A run whose workflow task failed once; the poll of its second attempt, which history does not hold."""
    await signalled(caller, signals)
    task = await caller.poll()
    await caller.call("RespondWorkflowTaskFailed", task_token=task.task_token)
    return await caller.poll()


@on_virtual_time
async def test_pages_of_a_workers_history_end_with_its_task_whatever_comes_meanwhile():
    async with virtual_caller(FOUR) as caller:
        task = await retried(caller, 5)  # 1 to 9 are stored, 10 and 11 are shown to the worker
        found = [ids(task)]
        token = task.next_page_token
        while token:
            for _ in range(3):
                await caller.signal()
            page = await caller.history(next_page_token=token)
            found.append(ids(page))
            token = page.next_page_token
        assert found == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11]]


@on_virtual_time
async def test_pages_for_a_worker_that_reads_anew_end_with_its_task_too():
    async with virtual_caller(FOUR) as caller:
        await retried(caller, 5)
        first = await caller.history()
        assert ids(first) == [1, 2, 3, 4]
        token = first.next_page_token
        found: list[list[int]] = []
        while token:
            await caller.signal()
            page = await caller.history(next_page_token=token)
            found.append(ids(page))
            token = page.next_page_token
        assert found == [[5, 6, 7, 8], [9, 10, 11]]


@on_virtual_time
async def test_pages_for_a_worker_end_with_what_it_was_shown_though_history_has_grown_since():
    async with virtual_caller(FOUR) as caller:
        task = await retried(caller, 5)
        first = await caller.history()  # 1 to 9 are stored, 10 and 11 are shown
        await caller.complete(task)
        await caller.signal()
        found: list[list[int]] = []
        token = first.next_page_token
        while token:
            page = await caller.history(next_page_token=token)
            found.append(ids(page))
            token = page.next_page_token
        assert found == [[5, 6, 7, 8], [9, 10, 11]]
        assert len(ids(await caller.history(metadata={"client-name": "temporal-ui"}))) == 4


@on_virtual_time
async def test_pages_of_a_task_end_with_its_start_though_it_has_been_completed_since():
    async with virtual_caller(FOUR) as caller:
        await signalled(caller, 7)
        task = await caller.poll()  # its start is event 10
        await caller.complete(task)
        await caller.signal()
        found = [ids(task)]
        token = task.next_page_token
        while token:
            page = await caller.history(next_page_token=token)
            found.append(ids(page))
            token = page.next_page_token
        assert found == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


@on_virtual_time
async def test_a_task_whose_last_page_is_exactly_full_is_complete():
    async with virtual_caller(FOUR) as caller:
        await signalled(caller, 1)
        task = await caller.poll()
        assert (ids(task), task.next_page_token) == ([1, 2, 3, 4], b"")


@pytest.mark.parametrize(
    "name", ["temporal-cli", "temporal-ui", "perdure-cli", "perdure-ui", b"temporal-ui"]
)
@on_virtual_time
async def test_people_see_what_is_stored(name: str | bytes):
    async with virtual_caller() as caller:
        await retried(caller, 0)
        seen = await caller.history(metadata={"client-name": name})
        assert ids(seen) == [1, 2, 3, 4]
        seen = await caller.history(metadata={"client-name": "temporal-python"})
        assert ids(seen) == [1, 2, 3, 4, 5, 6]


# Long polls.


def waiting(caller: Caller, **fields: Any) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(caller.history(wait_new_event=True, **fields))


@on_virtual_time
async def test_one_new_event_answers_a_long_poll_at_once():
    async with virtual_caller() as caller:
        await caller.start()
        first = await caller.history(wait_new_event=True)
        assert (ids(first), now_s()) == ([1, 2], 0), "what is there is not waited for"
        poll = waiting(caller, next_page_token=first.next_page_token)
        await asyncio.sleep(3)
        assert not poll.done()
        await caller.signal()
        second = await poll
        assert (ids(second), now_s()) == ([3], 3)
        await caller.signal()
        third = await caller.history(wait_new_event=True, next_page_token=second.next_page_token)
        assert (ids(third), now_s()) == ([4], 3), "one that came before the poll is there at once"


@pytest.mark.parametrize(("timeout_s", "answered_s"), [(10, 9), (2, 1), (21, 20), (60, 20)])
@on_virtual_time
async def test_a_long_poll_without_news_ends_before_its_caller_gives_up(
    timeout_s: int, answered_s: int
):
    async with virtual_caller() as caller:
        await caller.start()
        first = await caller.history(wait_new_event=True)
        polls: list[dict[str, Any]] = [
            {"next_page_token": first.next_page_token},
            {"history_event_filter_type": CLOSE},
        ]
        for fields in polls:
            began_s = now_s()
            empty = await caller.history(
                wait_new_event=True, timeout_ns=timeout_s * SECOND_NS, **fields
            )
            assert ids(empty) == []
            assert now_s() - began_s == pytest.approx(answered_s)
            assert empty.HasField("history")
            assert empty.next_page_token
        with pytest.raises(FailedPrecondition, match="GetWorkflowExecutionHistory is a long poll"):
            await caller.history(wait_new_event=True, timeout_ns=2 * SECOND_NS - 1)


@on_virtual_time
async def test_a_long_poll_follows_a_run_to_its_end():
    async with virtual_caller() as caller:
        await caller.start()
        first = await caller.history(wait_new_event=True)
        task = await caller.poll()
        second = await caller.history(wait_new_event=True, next_page_token=first.next_page_token)
        assert ids(second) == [3]
        last = waiting(caller, next_page_token=second.next_page_token)
        await settle()
        await caller.complete(task, complete_workflow())
        assert ids(await last) == [4, 5]
        assert (await last).next_page_token == b"", "nothing comes any more"
        late = await caller.history(wait_new_event=True, next_page_token=second.next_page_token)
        assert (ids(late), late.next_page_token) == ([4, 5], b"")
        namespace = caller.node.engine.namespaces.find("default")
        assert namespace is not None
        gone = encode_token(HistoryToken(first_run(task), 6), namespace.token_key)
        nothing = await caller.history(wait_new_event=True, next_page_token=gone)
        assert (ids(nothing), nothing.next_page_token, now_s()) == ([], b"", 0)


def first_run(task: Any) -> str:
    return task.workflow_execution.run_id


@on_virtual_time
async def test_who_waits_page_by_page_gets_every_event_and_no_transient_one():
    async with virtual_caller(FOUR) as caller:
        await retried(caller, 3)
        first = await caller.history(wait_new_event=True)
        second = await caller.history(wait_new_event=True, next_page_token=first.next_page_token)
        assert (ids(first), ids(second)) == ([1, 2, 3, 4], [5, 6, 7])
        assert second.next_page_token
        without_wait = await caller.history(next_page_token=second.next_page_token)
        assert (ids(without_wait), without_wait.next_page_token) == ([], b"")


@on_virtual_time
async def test_who_waits_for_the_end_is_woken_by_the_end_alone_and_told_of_it_later_too():
    async with virtual_caller() as caller:
        await caller.start()
        poll = waiting(caller, history_event_filter_type=CLOSE)
        for _ in range(3):
            await asyncio.sleep(1)
            await caller.signal()
        assert not poll.done()
        await caller.complete(await caller.poll(), complete_workflow())
        closed = await poll
        assert now_s() == 3
        for again in (
            await caller.history(history_event_filter_type=CLOSE),
            await caller.history(history_event_filter_type=CLOSE, wait_new_event=True),
        ):
            assert again == closed
            assert len(again.history.events) == 1


# Tokens.


@on_virtual_time
async def test_a_token_belongs_to_its_run():
    async with virtual_caller() as caller:
        await caller.start()
        first = await caller.history(wait_new_event=True)
        await caller.complete(await caller.poll(), complete_workflow())
        second_run = await caller.start()
        followed = await caller.history(next_page_token=first.next_page_token)
        assert ids(followed) == [3, 4, 5], "without a run id the token says which run"
        with pytest.raises(InvalidArgument, match="does not match the NextPageToken"):
            await caller.history(
                execution={"workflow_id": "w", "run_id": second_run},
                next_page_token=first.next_page_token,
            )
        assert ids(await caller.history(execution={"workflow_id": "w"})) == [1, 2]


@on_virtual_time
async def test_an_old_run_is_read_by_its_run_id():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        await caller.complete(await caller.poll(), complete_workflow())
        await caller.start()
        old = await caller.history(execution={"workflow_id": "w", "run_id": run_id})
        assert ids(old) == [1, 2, 3, 4, 5]
        end = await caller.history(
            execution={"workflow_id": "w", "run_id": run_id}, history_event_filter_type=CLOSE
        )
        assert ids(end) == [5]


async def backwards(caller: Caller, **fields: Any) -> list[list[int]]:
    found: list[list[int]] = []
    token = b""
    while True:
        page = await caller.call(
            "GetWorkflowExecutionHistoryReverse",
            execution={"workflow_id": "w"},
            next_page_token=token,
            **fields,
        )
        found.append(ids(page))
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (6, 0, [[8, 7, 6, 5], [4, 3, 2, 1]]),
        (7, 0, [[9, 8, 7, 6], [5, 4, 3, 2], [1]]),
        (3, 2, [[5, 4], [3, 2], [1]]),
        (4, 99, [[6, 5, 4, 3], [2, 1]]),
        (0, 2, [[2, 1]]),
    ],
)
@on_virtual_time
async def test_a_history_is_read_from_its_end_in_pages(
    count: int, size: int, expected: list[list[int]]
):
    async with virtual_caller(FOUR) as caller:
        await signalled(caller, count)
        assert await backwards(caller, maximum_page_size=size) == expected
        with pytest.raises(InvalidArgument, match="PageSize must not be negative"):
            await backwards(caller, maximum_page_size=-1)


@on_virtual_time
async def test_a_reader_from_the_end_stays_with_its_run_and_its_first_page():
    async with virtual_caller(FOUR) as caller:
        await signalled(caller, 3)
        run = {"workflow_id": "w"}
        name = "GetWorkflowExecutionHistoryReverse"
        first = await caller.call(name, execution=run)
        await caller.signal()
        await caller.complete(await caller.poll(), complete_workflow())
        await caller.start()
        second = await caller.call(name, execution=run, next_page_token=first.next_page_token)
        assert [ids(first), ids(second)] == [[5, 4, 3, 2], [1]]
        other = {**run, "run_id": "11111111-1111-4111-8111-111111111111"}
        with pytest.raises(InvalidArgument, match="does not match the NextPageToken"):
            await caller.call(name, execution=other, next_page_token=first.next_page_token)
        with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
            await caller.history(next_page_token=first.next_page_token)
        assert await backwards(caller) == [[2, 1]], "without a run id, the current run"
