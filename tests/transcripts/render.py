"""Transitions as text: short enough to read, complete enough to catch any change.

Every field of an event, fact, task and effect is shown unless it has the value that `usual.py` names, except sizes of
histories. Times are shown relative to the start of the transcript.
"""

from __future__ import annotations

from typing import Any

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.core.ids import QueueKey
from perdure.entity.transition import Effect, FactChange, Task
from perdure.entity.workers import StaleTask
from perdure.history.draft.effects import decode_body
from perdure.history.draft.replies import (
    ActivityTaskReply,
    CompletionReply,
    EagerStartReply,
    WorkflowTaskReply,
)
from perdure.history.draft.transition import RunTransition
from perdure.history.draft.update_values import UpdateAdmission
from perdure.history.run.update_with_start import StartedAndAdmitted
from perdure.history.state.facts import BufferedEvent, FactKind
from perdure.wire.api import common, enums, failure, history
from perdure.wire.errors import RpcError
from perdure.wire.events import attributes_of, parse_rows
from perdure.wire.times import duration_ns, timestamp_ns
from tests.harness.values import START_NS
from tests.transcripts.usual import USUAL, unusual

_NOT_SHOWN = {"history_size_bytes"}
_UNITS = ((3600 * 10**9, "h"), (60 * 10**9, "m"), (10**9, "s"), (10**6, "ms"))


def transition_lines(transition: RunTransition, now_ns: int) -> list[str]:
    """What a shard would write for it and then answer."""
    lines: list[str] = []
    if transition.events is not None:
        events = parse_rows([transition.events.data]).events
        lines += ["event " + event_text(event, now_ns) for event in events]
    lines += [fact_text(change) for change in transition.facts]
    lines += ["task " + task_text(task) for task in transition.tasks]
    lines += ["task row removed" for _ in transition.finished_tasks]
    if transition.wake_at_ns is not None:
        lines.append(f"wake at {at_text(transition.wake_at_ns)}")
    lines += ["effect " + effect_text(effect) for effect in transition.effects]
    if transition.current is not None:
        lines.append(f"pointer {struct_text(transition.current)}")
    if transition.visibility is not None:
        lines.append(f"visible {struct_text(transition.visibility, _NOT_SHOWN)}")
    if transition.delete_at_ns is not None:
        lines.append(f"delete at {at_text(transition.delete_at_ns)}")
    for other in transition.also:
        lines.append(f"also run {other.key.run_id}")
        lines += ["  " + line for line in transition_lines(other, now_ns)]
    reply = reply_text(transition.reply)
    return [*lines, f"reply {reply}"] if reply else lines


def effect_text(effect: Effect) -> str:
    body = struct_text(decode_body(effect))
    key = effect.destination
    where = f"{key.namespace_id}/{key.name}"
    return f"{effect.kind} to {where} request={effect.request_id} {body}"


def event_text(event: history.HistoryEvent, now_ns: int) -> str:
    name = enums.EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    words = [str(event.event_id)] if event.event_id else []
    words.append(name.title().replace("_", ""))
    time_ns = timestamp_ns(event.event_time)
    if time_ns != now_ns:
        words.append(f"at {at_text(time_ns)}")
    words.append(unusual_text(attributes_of(event)))
    if event.HasField("user_metadata"):
        words.append(f"user_metadata=({fields_text(event.user_metadata)})")
    words += [f"link=({fields_text(link)})" for link in event.links]
    return " ".join(filter(None, words))


def fact_text(change: FactChange) -> str:
    words = ["fact", FactKind(change.kind).name, change.key]
    value = change.value
    if value is None:
        words.append("removed")
    elif isinstance(value, BufferedEvent):
        event = history.HistoryEvent.FromString(value.event)
        words.append(event_text(event, timestamp_ns(event.event_time)))
    else:
        words.append(struct_text(value))
    return " ".join(word for word in words if word)


def struct_text(value: msgspec.Struct, without: set[str] | frozenset[str] = frozenset()) -> str:
    """The fields that differ from their defaults, and from what is usual."""
    kind = type(value).__name__
    fields: dict[str, str] = {}
    for field in msgspec.structs.fields(value):
        item: Any = getattr(value, field.name)
        is_shown = item != field.default or field.name in USUAL.get(kind, {})
        if is_shown and field.name not in without:
            fields[field.name] = _value_text(field.name, item)
    return " ".join(unusual(kind, fields))


def _value_text(name: str, value: Any) -> str:
    if name.endswith("_interval_ns") or name in {"start_to_close_ns", "schedule_to_start_ns"}:
        return span_text(value)
    if name.endswith("_ns"):
        return at_text(value)
    if name == "last_failure":
        return fields_text(failure.Failure.FromString(value), brackets=True)
    if name == "heartbeat_details":
        return fields_text(common.Payloads.FromString(value), brackets=True)
    if isinstance(value, msgspec.Struct):
        return f"({struct_text(value)})"
    return str(int(value)) if isinstance(value, int) else str(value)


def task_text(task: Task) -> str:
    queue: QueueKey = task.queue
    words = [queue.kind.name.lower(), queue.name, f"of event {task.scheduled_event_id}"]
    if task.stamp:
        words.append(f"stamp={task.stamp}")
    if task.priority != 3:
        words.append(f"priority={task.priority}")
    return " ".join(words)


def reply_text(reply: Any) -> str:
    match reply:
        case None:
            return ""
        case RpcError():
            return f"{type(reply).__name__}: {reply.message}"
        case StaleTask():
            return "stale task"
        case WorkflowTaskReply():
            kind = "sticky " if reply.is_sticky else ""
            shown = f" shown={[event.event_id for event in reply.transient_events]}"
            return (
                f"{kind}workflow task attempt={reply.attempt} started={reply.started_event_id} "
                f"previous={reply.previous_started_event_id} "
                f"events={reply.first_event_id}..{reply.last_event_id}"
                f"{shown if reply.transient_events else ''}"
            )
        case ActivityTaskReply():
            details = reply.heartbeat_details
            words = f" heartbeat={_value_text('heartbeat_details', details)}" if details else ""
            return f"activity task of event {reply.token.scheduled_event_id} attempt={reply.attempt}{words}"
        case CompletionReply():
            parts = [reply_text(reply.workflow_task), *map(reply_text, reply.activities)]
            parts += [
                f"rejects {refused.update_id} ({fields_text(refused.failure)})"
                for refused in reply.rejected_updates
            ]
            return " ".join(["completed", *filter(None, parts)])
        case EagerStartReply():
            return f"{reply_text(reply.response)} and {reply_text(reply.task)}"
        case UpdateAdmission():
            return f"update of {reply.run_id} {'new' if reply.is_new else 'known'}"
        case StartedAndAdmitted():
            return f"{reply_text(reply.started)} and {reply_text(reply.admission)}"
        case bool():
            return str(reply)
        case Message():
            name = type(reply).__name__.removesuffix("Response")
            return f"{name} {unusual_text(reply)}".rstrip()
        case _:
            raise AssertionError(f"no text for the reply {type(reply).__name__}")


def error_lines(error: RpcError) -> list[str]:
    """An error that was raised: nothing is written."""
    details = [f"  {type(each).__name__} {fields_text(each)}".rstrip() for each in error.details]
    return [f"error {type(error).__name__}: {error.message}", *details]


def unusual_text(message: Message) -> str:
    """The fields of an event or a reply that differ from what is usual, `name=value`."""
    kind = message.DESCRIPTOR.name.removesuffix("EventAttributes")
    return " ".join(unusual(kind, _fields(message)))


def fields_text(message: Message, *, brackets: bool = False) -> str:
    """The set fields of a message, `name=value`."""
    text = _special(message)
    if text is None:
        text = " ".join(f"{name}={value}" for name, value in _fields(message).items())
        if brackets:
            text = f"({text})"
    return text


def _fields(message: Message) -> dict[str, str]:
    return {
        field.name: _field_text(field, value)
        for field, value in message.ListFields()
        if field.name not in _NOT_SHOWN
    }


def _special(message: Message) -> str | None:
    match message:
        case Duration():
            return span_text(duration_ns(message))
        case Timestamp():
            return at_text(timestamp_ns(message))
        case common.Payload():
            return message.data.decode(errors="replace")
        case common.Payloads():
            return "[" + ", ".join(fields_text(item) for item in message.payloads) + "]"
        case _:
            return None


def _field_text(field: Any, value: Any) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        items = ((key, value[key]) for key in sorted(value))
        shown = (f"{key}: {fields_text(v) if isinstance(v, Message) else v}" for key, v in items)
        return "{" + ", ".join(shown) + "}"
    if isinstance(value, Message):
        return fields_text(value, brackets=True)
    if field.enum_type is not None and not field.is_repeated:
        name: str = field.enum_type.values_by_number[value].name
        prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in field.enum_type.name)
        return name.removeprefix(prefix.lstrip("_") + "_")
    if field.is_repeated:
        shown = (fields_text(v, brackets=True) if isinstance(v, Message) else str(v) for v in value)
        return "[" + ", ".join(shown) + "]"
    return str(value)


def at_text(at_ns: int) -> str:
    """A point in time, from the start of the world; "never" for 0."""
    return "never" if at_ns == 0 else "+" + span_text(at_ns - START_NS)


def span_text(ns: int) -> str:
    for size, unit in _UNITS:
        if ns and ns % size == 0:
            return f"{ns // size}{unit}"
    return f"{ns}ns" if ns else "0s"
