"""Pages of history are cut at event boundaries, from whole rows where possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.history.transition import EventRow
from perdure.server.frontend.pages import (
    PAGE_BYTES_MAX,
    HistoryToken,
    cut,
    decode_token,
    encode_token,
    tail_bytes,
)
from perdure.wire.api import history, workflowservice
from perdure.wire.errors import InvalidArgument
from perdure.wire.events import frame
from perdure.wire.splice import with_field


def event(event_id: int, extra_bytes: int = 0) -> history.HistoryEvent:
    message = history.HistoryEvent(event_id=event_id)
    if extra_bytes:
        message.workflow_execution_signaled_event_attributes.signal_name = "x" * extra_bytes
    return message


def row(first: int, count: int, extra_bytes: int = 0) -> EventRow:
    ids = range(first, first + count)
    data = b"".join(frame(event(i, extra_bytes).SerializeToString()) for i in ids)
    return EventRow(0, first, count, data)


def ids(data: bytes) -> list[int]:
    return [e.event_id for e in history.History.FromString(data).events]


def rows_of(sizes: list[int]) -> list[EventRow]:
    rows: list[EventRow] = []
    for size in sizes:
        rows.append(row(rows[-1].first_event_id + rows[-1].count if rows else 1, size))
    return rows


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12), st.integers(1, 9), st.data())
def test_pages_together_are_the_wanted_events_exactly_once(
    sizes: list[int], events_max: int, data: st.DataObject
):
    rows = rows_of(sizes)
    total = sum(sizes)
    first = data.draw(st.integers(1, total))
    last = data.draw(st.integers(first, total))
    seen: list[int] = []
    position = first
    while position <= last:
        page = cut(rows, position, last, events_max)
        found = ids(page.data)
        assert 1 <= len(found) <= events_max
        assert page.next_event_id == found[-1] + 1
        seen += found
        position = page.next_event_id
    assert seen == list(range(first, last + 1))


def test_a_page_is_bounded_in_bytes_but_never_empty():
    half = PAGE_BYTES_MAX // 2 + 1
    rows = [row(1, 2, half), row(3, 1, PAGE_BYTES_MAX + 1), row(4, 1)]
    assert ids(cut(rows, 1, 4, 256).data) == [1]
    assert ids(cut(rows, 2, 4, 256).data) == [2]
    assert ids(cut(rows, 3, 4, 256).data) == [3]
    assert ids(cut(rows, 4, 4, 256).data) == [4]


def test_events_that_were_never_stored_follow_the_stored_ones():
    data = cut(rows_of([2]), 1, 2, 256).data + tail_bytes([event(3), event(4)])
    assert ids(data) == [1, 2, 3, 4]


def test_a_spliced_response_parses_like_one_that_was_built():
    head = workflowservice.PollWorkflowTaskQueueResponse(task_token=b"t", attempt=2)
    page = cut(rows_of([3]), 1, 3, 256)
    parsed = workflowservice.PollWorkflowTaskQueueResponse.FromString(
        with_field(head, "history", page.data)
    )
    assert (parsed.task_token, parsed.attempt) == (b"t", 2)
    assert [e.event_id for e in parsed.history.events] == [1, 2, 3]


def test_a_page_token_survives_the_journey():
    token = HistoryToken("run", 7, 9, b"tail")
    assert decode_token(encode_token(token), "run") == token
    assert decode_token(encode_token(token), "") == token


def test_a_token_of_another_run_or_of_nobody_is_refused_as_rule_25_says():
    token = encode_token(HistoryToken("run", 7))
    with pytest.raises(InvalidArgument, match="does not match the NextPageToken"):
        decode_token(token, "another run")
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        decode_token(b"garbage", "run")
