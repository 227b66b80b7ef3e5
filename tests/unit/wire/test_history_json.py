"""Histories as JSON, in the spellings that tools of this API write."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import pytest
from google.protobuf import json_format

from perdure.wire import events, history_json
from perdure.wire.api import common, enums, failure, history, taskqueue, workflow
from perdure.wire.history_json import history_from_json, history_to_dict, history_to_json

HISTORY = history.History(
    events=[
        events.event(
            history.WorkflowExecutionStartedEventAttributes(
                task_queue=taskqueue.TaskQueue(name="q", kind=enums.TASK_QUEUE_KIND_STICKY),
                memo=common.Memo(fields={"kind": common.Payload(data=b"Normal")}),
                continued_failure=failure.Failure(
                    message="no",
                    timeout_failure_info=failure.TimeoutFailureInfo(
                        timeout_type=enums.TIMEOUT_TYPE_HEARTBEAT
                    ),
                ),
                initiator=enums.CONTINUE_AS_NEW_INITIATOR_RETRY,
            ),
            event_id=1,
            time_ns=1_700_000_000_000_000_005,
        ),
        events.event(
            history.WorkflowTaskStartedEventAttributes(
                suggest_continue_as_new_reasons=[
                    enums.SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE,
                    enums.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS,
                ]
            ),
            event_id=2,
        ),
    ]
)


def test_there_and_back() -> None:
    assert history_from_json(history_to_json(HISTORY)) == HISTORY
    assert history_from_json(history_to_dict(HISTORY)) == HISTORY
    assert json.loads(history_to_json(HISTORY)) == history_to_dict(HISTORY)
    plain: dict[str, Any] = json_format.MessageToDict(HISTORY, preserving_proto_field_name=True)
    assert history_from_json(plain) == HISTORY


def short(value: Any) -> Any:
    """As older command lines write it: enum values without their prefix."""
    names = {
        "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED": "WorkflowExecutionStarted",
        "EVENT_TYPE_WORKFLOW_TASK_STARTED": "WorkflowTaskStarted",
        "TASK_QUEUE_KIND_STICKY": "Sticky",
        "TIMEOUT_TYPE_HEARTBEAT": "Heartbeat",
        "CONTINUE_AS_NEW_INITIATOR_RETRY": "Retry",
        "SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE": "HistorySizeTooLarge",
        "SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS": "TooManyHistoryEvents",
    }
    if isinstance(value, dict):
        return {key: short(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [short(item) for item in cast("list[Any]", value)]
    return names.get(value, value) if isinstance(value, str) else value


def test_older_spellings_of_enums_are_read_wherever_they_stand() -> None:
    document = short(history_to_dict(HISTORY))
    assert document["events"][0]["eventType"] == "WorkflowExecutionStarted"
    before = json.dumps(document)
    assert history_from_json(document) == HISTORY
    assert json.dumps(document) == before, "the argument stays as it is"


def test_older_spellings_go_with_either_spelling_of_fields() -> None:
    plain: dict[str, Any] = json_format.MessageToDict(HISTORY, preserving_proto_field_name=True)
    document = short(plain)
    assert document["events"][0]["event_type"] == "WorkflowExecutionStarted"
    assert history_from_json(document) == HISTORY


def test_enums_within_maps_are_found_as_well() -> None:
    """No map of a history holds one yet, so a message beside it stands for those to come."""
    descriptor = workflow.WorkflowExecutionExtendedInfo.DESCRIPTOR
    document = {"requestIdInfos": {"r": {"eventType": "TimerFired", "eventId": "5"}}}
    assert history_json._fix_message(descriptor, document) == {
        "requestIdInfos": {"r": {"eventType": "EVENT_TYPE_TIMER_FIRED", "eventId": "5"}}
    }


def test_numbers_and_names_that_nobody_knows() -> None:
    document = {"events": [{"eventType": 15, "unheardOf": {"eventType": "x"}}], "more": 1}
    assert history_from_json(document).events[0].event_type == 15
    unknown = {"events": [{"eventType": "NoSuchEvent", "eventId": "7"}]}
    assert history_from_json(unknown) == history.History(events=[history.HistoryEvent(event_id=7)])
    with pytest.raises(ValueError, match="Event 1 of the history: eventId has an impossible value"):
        history_from_json({"events": [{"eventId": "seven"}]})


SHAPES: list[tuple[Any, str]] = [
    ("[]", "JSON history not a dictionary"),
    ("7", "JSON history not a dictionary"),
    ("{}", "History does not have iterable 'events'"),
    ({"events": {}}, "History does not have iterable 'events'"),
    ({"events": [{}, 1]}, "Event not a dictionary"),
    (
        {"events": [{"timerFiredEventAttributes": {}, "timerStartedEventAttributes": {}}]},
        "Event 1 of the history: it has an impossible value",
    ),
    ("{", "Expecting property name"),
    ("", "Expecting value"),
    ("\ufeff{}", "Unexpected UTF-8 BOM"),
    ("[" * 100_000, "nested too deeply"),
    ('{"events":' * 100_000, "nested too deeply"),
    ('{"events": [{"eventId": ' + "9" * 5000 + "}]}", "Exceeds the limit"),
    (None, "not a dictionary"),
    (b"\xff", "not a dictionary"),
]


@pytest.mark.parametrize(("value", "message"), SHAPES)
def test_other_shapes_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        history_from_json(value)


def test_an_empty_history() -> None:
    assert history_from_json('{"events": []}') == history.History()


def nested(levels: int, inner: Any, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(levels):
        inner = wrap(inner)
    return inner


IMPOSSIBLE: list[Any] = [
    "x", "", "%", 1, -1, 1.5, True, [], [1], [None], [[]], {}, {"": 1}, {"a": None}, {1: 2}, (1,), b"x", object(),
    2**63, 10**400, 1e308, float("nan"), float("inf"), "9" * 5000, "NaN", "1e999s", "99999999999999999999s",
    "2024-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "\ud800", {"\ud800": 1}, "\0", None,
    nested(2000, [], lambda inner: [inner]), nested(2000, {}, lambda inner: {"cause": inner}),
]  # fmt: skip


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        children = cast("dict[Any, Any]", value).items()
    elif isinstance(value, list):
        children = enumerate(cast("list[Any]", value))
    for key, child in children:
        yield from places(child, (*way, key))


def replaced(document: Any, way: tuple[Any, ...], value: Any) -> Any:
    if not way:
        return value
    copy = document.copy()
    copy[way[0]] = replaced(document[way[0]], way[1:], value)
    return copy


def test_a_wrong_value_in_any_place_is_a_value_error_or_nothing() -> None:
    """What is read can be written again."""
    whole = history_to_dict(HISTORY)
    started = whole["events"][0]["workflowExecutionStartedEventAttributes"]
    started["input"] = {"payloads": [{"metadata": {"encoding": "anNvbg=="}, "data": "MQ=="}]}
    started["retryPolicy"] = {"backoffCoefficient": 2.0, "nonRetryableErrorTypes": ["a"]}
    started["workflowRunTimeout"] = "1s"
    whole["events"][0]["userMetadata"] = {"summary": {"data": "MQ=="}}
    lengths: list[int] = []
    for way in places(whole):
        for value in IMPOSSIBLE:
            try:
                read = history_from_json(replaced(whole, way, value))
            except ValueError as error:
                lengths.append(len(str(error)))
            else:
                history_to_json(read)
                history_to_dict(read)
    assert len(lengths) > 500
    assert max(lengths) < 300


def test_the_error_names_the_field_and_not_the_value() -> None:
    payload: dict[str, Any] = {"metadata": {}, "data": {"secret": 1}}
    event = {"workflowExecutionStartedEventAttributes": {"input": {"payloads": [payload]}}}
    with pytest.raises(
        ValueError, match=r"Event 2 of the history: .*input\.payloads\.data"
    ) as data:
        history_from_json({"events": [{}, event]})
    payload.update(metadata="secret", data="")
    with pytest.raises(ValueError, match="Event 2 of the history has an impossible value") as map_:
        history_from_json({"events": [{}, event]})
    for raised in (data, map_):
        assert "secret" not in "".join(traceback.format_exception(raised.value))
