"""Pages of history are cut at event boundaries, from whole rows where possible."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.core.units import SECOND_NS
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.frontend.pages import (
    HISTORY,
    PAGE_BYTES_MAX,
    UNSEALED_NS,
    HistoryToken,
    ReverseToken,
    cut,
    cut_reversed,
    decode_token,
    encode_token,
    page_body,
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


def row(first: int, count: int, extra_bytes: int = 0) -> bytes:
    ids = range(first, first + count)
    return b"".join(frame(event(i, extra_bytes).SerializeToString()) for i in ids)


def ids(data: bytes) -> list[int]:
    return [e.event_id for e in history.History.FromString(data).events]


def test_a_small_page_holds_everything_that_was_read():
    page = cut([row(3, 2), row(5, 1)], 3, 5)
    assert ids(page.data) == [3, 4, 5]
    assert page.next_event_id == 6


def test_a_page_takes_as_many_events_as_fit():
    third = row(1, 1, PAGE_BYTES_MAX // 3 - 100)
    page = cut([third, row(2, 2, PAGE_BYTES_MAX // 3 - 100), row(4, 4, PAGE_BYTES_MAX // 3)], 1, 7)
    assert ids(page.data) == [1, 2, 3]
    assert page.next_event_id == 4


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from([1, PAGE_BYTES_MAX // 3, PAGE_BYTES_MAX + 1]), min_size=1, max_size=6)
)
def test_pages_are_bounded_in_bytes_but_never_empty_and_lose_nothing(sizes: list[int]):
    rows = [row(number, 1, size) for number, size in enumerate(sizes, 1)]
    seen: list[int] = []
    while len(seen) < len(rows):
        page = cut(rows[len(seen) :], len(seen) + 1, len(rows))
        found = ids(page.data)
        assert len(found) == 1 or len(page.data) <= PAGE_BYTES_MAX
        seen += found
        assert page.next_event_id == len(seen) + 1
    assert seen == list(range(1, len(rows) + 1))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from([1, PAGE_BYTES_MAX // 3, PAGE_BYTES_MAX + 1]), min_size=1, max_size=6)
)
def test_pages_from_the_end_are_bounded_too_and_lose_nothing(sizes: list[int]):
    rows = [row(number, 1, size) for number, size in enumerate(sizes, 1)]
    left, seen = len(rows), list[int]()
    while left:
        page = cut_reversed(rows[:left], left)
        found = ids(page.data)
        assert len(found) == 1 or len(page.data) <= PAGE_BYTES_MAX
        assert page.next_event_id == left - len(found)
        if page.next_event_id:
            assert len(page.data) + len(rows[page.next_event_id - 1]) > PAGE_BYTES_MAX
        seen += found
        left = page.next_event_id
    assert seen == list(range(len(rows), 0, -1))
    assert ids(cut_reversed([row(3, 2), row(5, 1)], 5).data) == [5, 4, 3]


def test_events_that_were_never_stored_follow_the_stored_ones():
    data = cut([row(1, 2)], 1, 2).data + tail_bytes([event(3), event(4)])
    assert ids(data) == [1, 2, 3, 4]


def test_a_spliced_response_parses_like_one_that_was_built():
    head = workflowservice.PollWorkflowTaskQueueResponse(task_token=b"t", attempt=2)
    parsed = workflowservice.PollWorkflowTaskQueueResponse.FromString(
        with_field(head, "history", cut([row(1, 3)], 1, 3).data)
    )
    assert (parsed.task_token, parsed.attempt) == (b"t", 2)
    assert [e.event_id for e in parsed.history.events] == [1, 2, 3]


NAMESPACE = NamespaceFact(namespace_id="n", name="n", token_key=b"k" * 32)


def encoded(token: HistoryToken | ReverseToken) -> bytes:
    return page_body(encode_token(token, NAMESPACE.token_key), NAMESPACE, HISTORY, 0)


def test_a_page_token_survives_the_journey():
    token = HistoryToken("run", 7, 9, b"tail")
    assert decode_token(encoded(token), "run", HistoryToken) == token
    assert decode_token(encoded(token), "", HistoryToken) == token
    backwards = ReverseToken("run", 7)
    assert decode_token(encoded(backwards), "run", ReverseToken) == backwards


@pytest.mark.parametrize("key", [b"", b"j" * 32, b"k" * 32])
@pytest.mark.parametrize("read", [HISTORY, "another"])
@pytest.mark.parametrize("is_changed", [False, True])
def test_a_page_token_is_good_for_its_namespace_and_read_alone(
    key: bytes, read: str, *, is_changed: bool
):
    token = encode_token(HistoryToken("run", 7), key)
    if is_changed:
        token = token[:-1] + bytes([token[-1] ^ 1])
    if (key, read, is_changed) == (NAMESPACE.token_key, HISTORY, False):
        assert page_body(token, NAMESPACE, read, 0) == encoded(HistoryToken("run", 7))
        return
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        page_body(token, NAMESPACE, read, SECOND_NS * 601)


def test_pages_without_a_seal_are_taken_for_a_while_after_the_namespace_got_its_key():
    token = encode_token(HistoryToken("run", 7), b"")
    old = msgspec.structs.replace(NAMESPACE, unsealed_until_ns=5)
    until_ns = 5 + UNSEALED_NS
    assert page_body(token, old, HISTORY, until_ns) == token
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        page_body(token, old, HISTORY, until_ns + 1)
    forged = encode_token(HistoryToken("run", 7), b"j" * 32)
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        page_body(forged, old, HISTORY, until_ns)


def test_a_token_of_another_run_or_of_nobody_is_refused_as_rule_25_says():
    token = encoded(HistoryToken("run", 7))
    with pytest.raises(InvalidArgument, match="does not match the NextPageToken"):
        decode_token(token, "another run", HistoryToken)
    for data in (b"garbage", encoded(ReverseToken("run", 7))):
        with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
            decode_token(data, "run", HistoryToken)
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        decode_token(token, "run", ReverseToken)


@pytest.mark.parametrize(
    "body",
    [
        ["h", "run", -1],
        ["h", "run", 2**63],
        ["h", "run", 1, 2**64 - 1],
        ["h", "run", 1, -1],
        ["h", 5, 1],
        ["h"],
    ],
)
def test_page_tokens_within_reason(body: list[object]):
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        decode_token(msgspec.msgpack.encode(body), "run", HistoryToken)


@pytest.mark.parametrize("event_id", [-1, 2**63])
def test_page_tokens_backwards_within_reason(event_id: int):
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        decode_token(msgspec.msgpack.encode(["r", "run", event_id]), "run", ReverseToken)


def test_a_page_token_that_is_not_utf8_is_no_token():
    body = msgspec.msgpack.encode(["h", "run", 1]).replace(b"run", b"r\xffn")
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        decode_token(body, "", HistoryToken)
