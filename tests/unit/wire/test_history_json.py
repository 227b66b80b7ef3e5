"""Histories as JSON, in the spellings that tools of this API write."""

from __future__ import annotations

import json
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
    with pytest.raises(json_format.ParseError):
        history_from_json({"events": [{"eventId": "seven"}]})


SHAPES: list[tuple[Any, str]] = [
    ("[]", "JSON history not a dictionary"),
    ("7", "JSON history not a dictionary"),
    ("{}", "History does not have iterable 'events'"),
    ({"events": {}}, "History does not have iterable 'events'"),
    ({"events": [{}, 1]}, "Event not a dictionary"),
    ("{", "Expecting property name"),
]


@pytest.mark.parametrize(("value", "message"), SHAPES)
def test_other_shapes_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        history_from_json(value)


def test_an_empty_history() -> None:
    assert history_from_json('{"events": []}') == history.History()
