"""Lists: their order, their pages, and every filter over open and closed runs.

What a query must find is worked out here from the rows themselves, in plain Python.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure.core.ids import run_key
from perdure.entity.transition import VisibilityRow
from perdure.storage.port import EntityWrite, Span, VisibilityQuery
from perdure.storage.sqlite import open_memory
from tests.stores.conftest import Writer, row

ALL = VisibilityQuery(namespace_id="n")
TYPES, QUEUES = ("T", "U"), ("q", "z")
# Two runs of each combination: whatever lists are sorted by, each key occurs again and again.
ROWS = [
    row(
        f"r{number:02}", start_ns, close_ns, workflow_type=TYPES[number % 2], workflow_id=f"id{number % 5}",
        task_queue=QUEUES[number // 2 % 2], status=(1 if not close_ns else 2 + number % 3),
        execution_ns=1_000 - number, history_length=number, history_size_bytes=7 * number,
        search_attributes=b"s", parent_workflow_id="p", parent_run_id="pr", root_workflow_id="o", root_run_id="or",
    )
    for number, (close_ns, start_ns, _) in enumerate(
        itertools.product((0, 50, 60), (10, 20), range(4))
    )
]  # fmt: skip


def expected(keep: Callable[[VisibilityRow], bool] = lambda _: True) -> list[str]:
    """Open runs first, then those that closed last; then by start and run id, all descending."""
    found = sorted(
        (one for one in ROWS if keep(one)),
        key=lambda one: (one.close_ns or float("inf"), one.start_ns, one.run_id),
        reverse=True,
    )
    return [one.run_id for one in found]


@pytest.fixture
async def listed() -> Any:
    store = open_memory()
    writer = await Writer(store).acquire()
    # In no order of theirs, beside a namespace in which everything is the same.
    rows = ROWS[::2] + ROWS[1::2]
    rows += [msgspec.structs.replace(one, namespace_id="m") for one in ROWS]
    await writer.write(
        *(
            EntityWrite(
                number=number, key=run_key(one.namespace_id, one.workflow_id, one.run_id), shard_id=0,
                is_new=True, visibility=one,
            )
            for number, one in enumerate(rows, 1)
        )
    )  # fmt: skip
    yield store
    await store.close()


@pytest.mark.parametrize("size", range(1, len(ROWS) + 2))
async def test_pages_of_any_size_lose_and_repeat_nothing(listed: Any, size: int):
    pages: list[list[VisibilityRow]] = []
    query = msgspec.structs.replace(ALL, limit=size)
    while page := await listed.visibility(query):
        assert len(page) <= size
        pages.append(page)
        query = msgspec.structs.replace(query, after=page[-1])
    assert [one.run_id for page in pages for one in page] == expected()
    assert len(pages) == -(-len(ROWS) // size), "only the last page may be short"


async def test_a_page_begins_after_any_row(listed: Any):
    order = expected()
    by_id = {one.run_id: one for one in ROWS}
    for place, run_id in enumerate(order):
        page = await listed.visibility(msgspec.structs.replace(ALL, after=by_id[run_id]))
        assert [one.run_id for one in page] == order[place + 1 :]


async def test_pages_of_a_filter(listed: Any):
    query = msgspec.structs.replace(ALL, workflow_type="T", limit=5)
    seen: list[str] = []
    while page := await listed.visibility(query):
        seen += [one.run_id for one in page]
        query = msgspec.structs.replace(query, after=page[-1])
    assert seen == expected(lambda one: one.workflow_type == "T")


async def test_a_listed_row_is_the_one_that_was_written(listed: Any):
    by_id = {one.run_id: one for one in ROWS}
    assert {one.run_id: one for one in await listed.visibility(ALL)} == by_id


@pytest.mark.parametrize(
    ("bytes_max", "count"), [(0, 24), (72, 24), (71, 24), (68, 23), (6, 3), (1, 2)]
)
async def test_a_list_ends_when_its_rows_exceed_a_size(listed: Any, bytes_max: int, count: int):
    assert all(len(one.memo) + len(one.search_attributes) == 3 for one in ROWS)
    page = await listed.visibility(msgspec.structs.replace(ALL, bytes_max=bytes_max))
    assert [one.run_id for one in page] == expected()[:count]


async def test_a_run_that_closes_moves_between_the_pages(listed: Any):
    first = await listed.visibility(msgspec.structs.replace(ALL, limit=3))
    closed = msgspec.structs.replace(first[0], close_ns=55, status=2)
    listed.writing.execute(
        "UPDATE visibility SET close_ns = 55, ended_ns = 55, status = 2 WHERE run_id = ? AND namespace_id = 'n'",
        (closed.run_id,),
    )
    order = [one.run_id for one in await listed.visibility(ALL)]
    assert order.index(closed.run_id) == 15, "after seven open runs and eight that closed at 60"
    assert sorted(order) == sorted(expected())


Keep = Callable[[VisibilityRow], bool]


def spans(name: str, at: Callable[[VisibilityRow], int]) -> list[tuple[dict[str, Any], Keep]]:
    """Each border, just before it and just after it, alone and with the other end."""
    edges = sorted({at(one) + around for one in ROWS for around in (-1, 0, 1) if at(one)})
    ends = [(edge, 0) for edge in edges] + [(0, edge) for edge in edges]
    return [
        ({name: Span(low, high)}, within(at, low, high))
        for low, high in [*ends, *itertools.combinations(edges, 2)]
    ]


def within(at: Callable[[VisibilityRow], int], low: int, high: int) -> Keep:
    return lambda one: at(one) >= low and (not high or at(one) < high)


def closed(keep: Keep) -> Keep:
    return lambda one: one.close_ns > 0 and keep(one)


FILTERS: list[tuple[dict[str, Any], Keep]] = [
    ({}, lambda _: True),
    ({"workflow_id": "id3"}, lambda one: one.workflow_id == "id3"),
    ({"run_id": "r07"}, lambda one: one.run_id == "r07"),
    ({"workflow_type": "U"}, lambda one: one.workflow_type == "U"),
    ({"task_queue": "z"}, lambda one: one.task_queue == "z"),
    ({"statuses": (1,)}, lambda one: one.status == 1),
    ({"statuses": (2,)}, lambda one: one.status == 2),
    ({"statuses": (3, 4)}, lambda one: one.status in {3, 4}),
    ({"statuses": (-1,)}, lambda _: False),
    (
        {"statuses": (1,), "workflow_id": "id3"},
        lambda one: one.status == 1 and one.workflow_id == "id3",
    ),
    (
        {"statuses": (1,), "started": Span(15, 25)},
        lambda one: one.status == 1 and one.start_ns == 20,
    ),
    ({"statuses": (1, 2)}, lambda one: one.status in {1, 2}),
    ({"statuses": (1,), "closed": Span()}, lambda _: False),
    ({"closed": Span()}, lambda one: one.close_ns > 0),
    (
        {"closed": Span(), "workflow_id": "id3"},
        lambda one: one.close_ns > 0 and one.workflow_id == "id3",
    ),
    (
        {"closed": Span(55, 65), "workflow_id": "id3"},
        lambda one: one.close_ns == 60 and one.workflow_id == "id3",
    ),
    ({"started": Span()}, lambda _: True),
    *spans("started", lambda one: one.start_ns),
    *((filters, closed(keep)) for filters, keep in spans("closed", lambda one: one.close_ns)),
    (
        {"where": "history_length > ? OR run_id = ?", "arguments": (20, "r00")},
        lambda one: one.history_length > 20 or one.run_id == "r00",
    ),
    (
        {"where": "1 = 0 OR 1 = 1", "arguments": (), "task_queue": "q"},
        lambda one: one.task_queue == "q",
    ),
    (
        {"workflow_id": "id1", "workflow_type": "U", "task_queue": "q", "statuses": (1, 2, 3, 4)},
        lambda one: (one.workflow_id, one.workflow_type, one.task_queue) == ("id1", "U", "q"),
    ),
    (
        {
            "workflow_type": "U", "statuses": (2, 3), "started": Span(15, 25), "closed": Span(50, 55),
            "where": "history_length < ?", "arguments": (15,),
        },
        lambda one: (
            one.workflow_type == "U" and one.status in {2, 3} and one.start_ns == 20 and one.close_ns == 50
            and one.history_length < 15
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "keep"), FILTERS, ids=[repr(filters) for filters, _ in FILTERS]
)
async def test_a_filter_finds_and_counts_what_it_says(
    listed: Any, filters: dict[str, Any], keep: Keep
):
    query = msgspec.structs.replace(ALL, **filters)
    assert [one.run_id for one in await listed.visibility(query)] == expected(keep)
    assert await listed.visibility_count(query) == len(expected(keep))
    assert await listed.visibility_counts(query) == Counter(one.status for one in ROWS if keep(one))


async def test_a_count_does_not_care_for_pages(listed: Any):
    query = msgspec.structs.replace(ALL, limit=1, after=ROWS[0])
    assert await listed.visibility_count(query) == len(ROWS)
    assert await listed.visibility_counts(query) == Counter(one.status for one in ROWS)
