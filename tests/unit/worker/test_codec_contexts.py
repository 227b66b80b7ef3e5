"""Which context the codec gets for each payload of a task, a page of history and an answer, one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

import pytest

from perdure.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.wire.api import command as api
from perdure.wire.api import common, enums, history, workflowservice
from perdure.worker.polling.run_codec import RunCodec

Seen = list[tuple[str, SerializationContext | None]]


class Plain(PayloadCodec):
    """Reverses; notes what it was given."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.context: SerializationContext | None = None

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return self._turned("encode", payloads)

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return self._turned("decode", payloads)

    def _turned(self, what: str, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        self.seen += [(f"{what} {each.data.decode()}", self.context) for each in payloads]
        return [common.Payload(data=each.data[::-1]) for each in payloads]


class Contextual(Plain, WithSerializationContext):
    def with_context(self, context: SerializationContext) -> Self:
        made = type(self)(self.seen)
        made.context = context
        return made


def codec_over(kind: type[Plain], *, headers: bool = False) -> tuple[RunCodec, Seen]:
    seen: Seen = []
    made = RunCodec(
        kind(seen),
        namespace="ns",
        workflow_id="w",
        workflow_type="Flow",
        task_queue="q",
        headers=headers,
    )
    return made, seen


def of_workflow(workflow_id: str = "w") -> SerializationContext:
    return WorkflowSerializationContext(namespace="ns", workflow_id=workflow_id)


def of_activity(*, is_local: bool = False, queue: str = "other") -> SerializationContext:
    return ActivitySerializationContext(
        namespace="ns",
        workflow_id="w",
        workflow_type="Flow",
        activity_type="act",
        activity_id="a-1",
        activity_task_queue=queue,
        is_local=is_local,
    )


def payloads(text: str) -> common.Payloads:
    return common.Payloads(payloads=[common.Payload(data=text.encode())])


def marker_details(name: str) -> dict[str, common.Payloads]:
    data = {
        "local": {"activity_id": "a-1", "activity_type": "act"},
        "nameless": {"activity_id": "a-1"},
        "list": ["a-1"],
    }
    text = json.dumps(data[name]) if name in data else "{"
    return {"result": payloads("result"), "data": payloads(text)}


# Answers ------------------------------------------------------------------------------------------


def commands() -> list[tuple[api.Command, SerializationContext]]:
    kinds = api.Command
    scheduled = kinds(command_type=enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    activity = scheduled.schedule_activity_task_command_attributes
    activity.activity_id, activity.activity_type.name, activity.task_queue.name = (
        "a-1",
        "act",
        "other",
    )
    activity.input.CopyFrom(payloads("activity"))
    child = kinds(command_type=enums.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    child.start_child_workflow_execution_command_attributes.workflow_id = "c"
    child.start_child_workflow_execution_command_attributes.input.CopyFrom(payloads("child"))
    signal = kinds(command_type=enums.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    external = signal.signal_external_workflow_execution_command_attributes
    external.execution.workflow_id = "o"
    external.input.CopyFrom(payloads("signal"))
    marker = kinds(command_type=enums.COMMAND_TYPE_RECORD_MARKER)
    marker.record_marker_command_attributes.marker_name = "core_local_activity"
    for key, value in marker_details("local").items():
        marker.record_marker_command_attributes.details[key].CopyFrom(value)
    own = kinds(command_type=enums.COMMAND_TYPE_RECORD_MARKER)
    own.record_marker_command_attributes.marker_name = "mine"
    own.record_marker_command_attributes.details["result"].CopyFrom(payloads("mine"))
    end = kinds(command_type=enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    end.complete_workflow_execution_command_attributes.result.CopyFrom(payloads("end"))
    summary = kinds(command_type=enums.COMMAND_TYPE_START_TIMER)
    summary.user_metadata.summary.data = b"timer"
    return [
        (scheduled, of_activity()),
        (child, of_workflow("c")),
        (signal, of_workflow("o")),
        (marker, of_activity(is_local=True, queue="q")),
        (own, of_workflow()),
        (end, of_workflow()),
        (summary, of_workflow()),
    ]


async def test_each_command_is_encoded_for_what_it_belongs_to() -> None:
    codec, seen = codec_over(Contextual)
    request = workflowservice.RespondWorkflowTaskCompletedRequest()
    request.query_results["q"].answer.CopyFrom(payloads("answer"))
    given = commands()
    request.commands.extend(command for command, _ in given)
    await codec.encode(request)
    assert seen == [
        ("encode answer", of_workflow()),
        *zip(
            [
                f"encode {text}"
                for text in ("activity", "child", "signal", "result", "mine", "end", "timer")
            ],
            [context for _, context in given],
            strict=True,
        ),
    ]
    assert [each.command_type for each in request.commands] == [
        command.command_type for command, _ in given
    ]
    first = request.commands[0].schedule_activity_task_command_attributes
    assert first.input == payloads("ytivitca")
    assert request.query_results["q"].answer == payloads("rewsna")


async def test_other_answers_are_the_workflows() -> None:
    codec, seen = codec_over(Contextual)
    failed = workflowservice.RespondWorkflowTaskFailedRequest()
    failed.failure.application_failure_info.details.CopyFrom(payloads("failure"))
    query = workflowservice.RespondQueryTaskCompletedRequest(query_result=payloads("query"))
    await codec.encode(failed)
    await codec.encode(query)
    assert seen == [("encode failure", of_workflow()), ("encode query", of_workflow())]
    assert query.query_result == payloads("yreuq")


# History ------------------------------------------------------------------------------------------


def event(number: int, name: str, text: str, **names: str) -> history.HistoryEvent:
    """An event with one payload."""
    made = history.HistoryEvent(event_id=number)
    attributes: Any = getattr(made, f"{name}_event_attributes")
    for field in ("result", "input"):
        if field in attributes.DESCRIPTOR.fields_by_name:
            getattr(attributes, field).CopyFrom(payloads(text))
            break
    else:
        attributes.failure.application_failure_info.details.CopyFrom(payloads(text))
    for field, value in names.items():
        target = attributes
        *path, last = field.split("__")
        for each in path:
            target = getattr(target, each)
        setattr(target, last, value)
    return made


def scheduled_event() -> history.HistoryEvent:
    return event(
        5, "activity_task_scheduled", "scheduled",
        activity_id="a-1", activity_type__name="act", task_queue__name="other",
    )  # fmt: skip


def completed_event(scheduled: int) -> history.HistoryEvent:
    made = event(6, "activity_task_completed", "completed")
    made.activity_task_completed_event_attributes.scheduled_event_id = scheduled
    return made


def marker_event(name: str, details: str) -> history.HistoryEvent:
    made = history.HistoryEvent(event_id=7)
    attributes = made.marker_recorded_event_attributes
    attributes.marker_name = name
    for key, value in marker_details(details).items():
        attributes.details[key].CopyFrom(value)
    return made


EVENTS: dict[str, tuple[list[history.HistoryEvent], list[SerializationContext]]] = {
    "start": ([event(1, "workflow_execution_started", "x")], [of_workflow()]),
    "end": ([event(1, "workflow_execution_completed", "x")], [of_workflow()]),
    "activity": ([scheduled_event(), completed_event(5)], [of_activity(), of_activity()]),
    "activity unknown": ([scheduled_event(), completed_event(4)], [of_activity(), of_workflow()]),
    "child": (
        [
            event(5, "start_child_workflow_execution_initiated", "x", workflow_id="c"),
            event(
                6, "child_workflow_execution_completed", "x", workflow_execution__workflow_id="c"
            ),
            event(6, "child_workflow_execution_failed", "x", workflow_execution__workflow_id="c"),
        ],
        [of_workflow("c")] * 3,
    ),
    "signal": (
        [
            event(
                5,
                "signal_external_workflow_execution_initiated",
                "x",
                workflow_execution__workflow_id="o",
            ),
            event(6, "workflow_execution_signaled", "x"),
        ],
        [of_workflow("o"), of_workflow()],
    ),
    "local activity": (
        [marker_event("core_local_activity", "local")],
        [of_activity(is_local=True, queue="q")],
    ),
    "marker of a local activity without a type": (
        [marker_event("core_local_activity", "nameless")],
        [of_workflow()],
    ),
    "marker of a local activity with a list": (
        [marker_event("core_local_activity", "list")],
        [of_workflow()],
    ),
    "marker of a local activity with nonsense": (
        [marker_event("core_local_activity", "nonsense")],
        [of_workflow()],
    ),
}


@pytest.mark.parametrize("name", EVENTS)
async def test_each_event_is_decoded_for_what_it_belongs_to(name: str) -> None:
    events, contexts = EVENTS[name]
    codec, seen = codec_over(Contextual)
    page = workflowservice.GetWorkflowExecutionHistoryResponse()
    page.history.events.extend(events)
    await codec.decode(page)
    assert [context for _, context in seen] == contexts
    assert [each.event_id for each in page.history.events] == [each.event_id for each in events]


async def test_a_marker_of_ones_own_is_the_workflows() -> None:
    codec, seen = codec_over(Contextual)
    page = workflowservice.GetWorkflowExecutionHistoryResponse()
    page.history.events.append(marker_event("mine", "local"))
    await codec.decode(page)
    assert {context for _, context in seen} == {of_workflow()}
    assert len(seen) == 2, "its data as well"


async def test_an_event_without_attributes_and_a_marker_without_data() -> None:
    codec, seen = codec_over(Contextual)
    bare = history.HistoryEvent(event_id=1)
    bare.user_metadata.summary.data = b"summary"
    marker = marker_event("core_local_activity", "local")
    del marker.marker_recorded_event_attributes.details["data"]
    await codec.decode_events([bare, marker])
    assert seen == [("decode summary", of_workflow()), ("decode result", of_workflow())]


async def test_a_task_is_decoded_with_its_history_and_its_queries() -> None:
    codec, seen = codec_over(Contextual)
    task = workflowservice.PollWorkflowTaskQueueResponse()
    task.history.events.extend([scheduled_event(), completed_event(5)])
    task.queries["q"].query_args.CopyFrom(payloads("question"))
    await codec.decode(task)
    assert seen == [
        ("decode question", of_workflow()),
        ("decode scheduled", of_activity()),
        ("decode completed", of_activity()),
    ]
    (first, second) = task.history.events
    assert first.activity_task_scheduled_event_attributes.input == payloads("deludehcs")
    assert second.activity_task_completed_event_attributes.result == payloads("detelpmoc")
    assert task.queries["q"].query_args == payloads("noitseuq")


@pytest.mark.parametrize("headers", [False, True])
@pytest.mark.parametrize("kind", [Plain, Contextual])
async def test_headers_are_replaced_where_that_is_asked_for(
    kind: type[Plain], headers: bool
) -> None:
    codec, seen = codec_over(kind, headers=headers)
    request = workflowservice.RespondWorkflowTaskCompletedRequest()
    command = request.commands.add(command_type=enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    command.schedule_activity_task_command_attributes.header.fields["k"].data = b"header"
    await codec.encode(request)
    page = workflowservice.GetWorkflowExecutionHistoryResponse()
    started = page.history.events.add(event_id=1)
    started.workflow_execution_started_event_attributes.header.fields["k"].data = b"header"
    await codec.decode(page)
    assert [what for what, _ in seen] == (["encode header", "decode header"] if headers else [])


async def test_a_codec_without_contexts_sees_the_same_payloads() -> None:
    codec, seen = codec_over(Plain)
    request = workflowservice.RespondWorkflowTaskCompletedRequest()
    request.commands.extend(command for command, _ in commands())
    await codec.encode(request)
    page = workflowservice.GetWorkflowExecutionHistoryResponse()
    page.history.events.extend([scheduled_event(), completed_event(5)])
    await codec.decode(page)
    await codec.decode_events([completed_event(5)])
    assert [what for what, _ in seen] == [
        *(f"encode {text}" for text in ("activity", "child", "signal", "result", "mine", "end", "timer")),
        "decode scheduled", "decode completed", "decode completed",
    ]  # fmt: skip
    assert {context for _, context in seen} == {None}


async def test_without_a_codec_nothing_is_touched() -> None:
    codec = RunCodec(None, namespace="ns", workflow_id="w", workflow_type="Flow", task_queue="q")
    page = workflowservice.GetWorkflowExecutionHistoryResponse()
    page.history.events.append(scheduled_event())
    await codec.decode(page)
    await codec.decode_events(page.history.events)
    assert list(page.history.events) == [scheduled_event()]
    query = workflowservice.RespondQueryTaskCompletedRequest(query_result=payloads("query"))
    await codec.encode(query)
    assert query.query_result == payloads("query")
