"""Events as messages and as framed bytes, and responses around bytes that are stored."""

from __future__ import annotations

import pytest

from perdure.core.ids import run_key
from perdure.wire import errors, events, splice
from perdure.wire.api import common, enums, history, sdk, workflowservice

TIMER = history.TimerFiredEventAttributes(timer_id="t", started_event_id=5)


def test_an_event_knows_its_type_by_its_attributes() -> None:
    metadata = sdk.UserMetadata(summary=common.Payload(data=b"s"))
    link = common.Link(workflow_event=common.Link.WorkflowEvent(workflow_id="w"))
    built = events.event(
        TIMER,
        event_id=7,
        time_ns=3_000_000_004,
        user_metadata=metadata,
        links=[link],
        worker_may_ignore=True,
    )
    assert (built.event_id, built.task_id) == (7, 7)
    assert built.event_type == enums.EVENT_TYPE_TIMER_FIRED
    assert (built.event_time.seconds, built.event_time.nanos) == (3, 4)
    assert built.timer_fired_event_attributes == TIMER
    assert built.timer_fired_event_attributes is not TIMER
    assert (built.user_metadata, list(built.links)) == (metadata, [link])
    assert built.worker_may_ignore
    assert events.attributes_of(built) == TIMER


def test_an_event_that_waits_has_no_id_and_no_time() -> None:
    built = events.event(TIMER)
    assert (built.event_id, built.task_id) == (0, 0)
    set_fields = [field.name for field, _ in built.ListFields()]
    assert set_fields == ["event_type", "timer_fired_event_attributes"]


def test_every_kind_of_attributes_has_its_event() -> None:
    types = [event_type for event_type, _ in events.ATTRIBUTE_FIELDS.values()]
    assert sorted(types) == sorted(set(enums.EventType.values()) - {0})
    for kind, (event_type, field) in events.ATTRIBUTE_FIELDS.items():
        built = events.event(kind())
        assert built.event_type == event_type
        assert built.WhichOneof("attributes") == field == events.FIELD_OF_TYPE[event_type]
        assert type(events.attributes_of(built)) is kind


def test_a_run_as_answers_name_it() -> None:
    named = events.execution_of(run_key("ns", "w", "r"))
    assert (named.workflow_id, named.run_id) == ("w", "r")


@pytest.mark.parametrize("size", [0, 1, 127 - 2, 128, 300, 16_383, 16_384, 2_100_000])
def test_rows_concatenate_into_a_history_and_come_apart_again(size: int) -> None:
    big = events.event(
        history.TimerFiredEventAttributes(timer_id="x" * size), event_id=1, time_ns=1
    )
    framed = [
        events.frame(each.SerializeToString())
        for each in (big, events.event(TIMER, event_id=2), history.HistoryEvent())
    ]
    whole = events.parse_rows([framed[0] + framed[1], framed[2]])
    assert whole == history.History.FromString(b"".join(framed))
    assert [each.event_id for each in whole.events] == [1, 2, 0]
    assert list(events.frames(b"".join(framed))) == framed
    assert list(events.frames(b"")) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x00", "a row holds something else than events"),
        (b"\x08\x01", "a row holds something else than events"),
        (b"\x12\x00", "a row holds something else than events"),
        (b"\x0a\x00\x12\x00", "a row holds something else than events"),
        (b"\x0a", "a row ends within an event"),
        (b"\x0a\x80", "a row ends within an event"),
        (b"\x0a\x02\x08", "a row ends within an event"),
        (b"\x0a\x80\x01" + b"x" * 127, "a row ends within an event"),
        (b"\x0a" + b"\xff" * 40 + b"\x01", "a row ends within an event"),
    ],
)
def test_damaged_rows_are_said_to_be_damaged(data: bytes, message: str) -> None:
    with pytest.raises(errors.DataLoss) as caught:
        list(events.frames(data))
    assert caught.value.message == f"The stored history is damaged: {message}."


@pytest.mark.parametrize("framed", [b"\x0a\x01\x08", b"\x0a\x00\x0a\x00", b"", b"\x12\x00"])
def test_what_is_not_one_event_is_damaged(framed: bytes) -> None:
    with pytest.raises(errors.DataLoss, match=r"damaged: an event cannot be parsed\.$"):
        events.parse_framed(framed)


def test_a_frame_is_its_event() -> None:
    built = events.event(TIMER, event_id=7)
    assert events.parse_framed(events.frame(built.SerializeToString())) == built


@pytest.mark.parametrize("value", [0, 1, 127, 128, 129, 255, 300, 16_383, 16_384, 2**32, 2**63 - 1])
def test_a_varint_is_what_protobuf_writes(value: int) -> None:
    encoded = history.HistoryEvent(event_id=value).SerializeToString()
    assert encoded == (b"\x08" + splice.varint(value) if value else b"")
    assert splice.varint(0) == b"\x00"


def test_a_response_around_bytes_is_the_message_with_that_field() -> None:
    stored = events.frame(events.event(TIMER, event_id=2).SerializeToString())
    head = workflowservice.PollWorkflowTaskQueueResponse(task_token=b"t", attempt=3)
    spliced = workflowservice.PollWorkflowTaskQueueResponse.FromString(
        splice.with_field(head, "history", stored)
    )
    head.history.ParseFromString(stored)
    assert spliced == head
    assert (
        splice.field_bytes(type(head), "next_page_token", b"p" * 200)
        == (
            workflowservice.PollWorkflowTaskQueueResponse(next_page_token=b"p" * 200)
        ).SerializeToString()
    )
