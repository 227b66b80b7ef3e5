"""What the replay engine says, as text: every field that is set, so that no change goes unnoticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from google.protobuf.message import Message

from perdure.replay.events import type_name
from perdure.replay.jobs import Activation
from perdure.replay.local import LocalActivityCancel, LocalRequest
from perdure.replay.mismatch import CommandFact, EventFact, Mismatch
from perdure.replay.task import Answer, Completion, Fatal, QueryAnswer
from perdure.wire.api import enums, protocol, query, update
from tests.transcripts.render import at_text, fields_text, span_text

_SHOWN_APART = {"run_id", "time_ns", "is_replaying", "history_length", "jobs"}
_POINTS_IN_TIME = {"start_time_ns", "original_schedule_time_ns"}


def activation_lines(activation: Activation) -> list[str]:
    how = "replay" if activation.is_replaying else "new"
    words = ["activation", how, at_text(activation.time_ns), f"length={activation.history_length}"]
    words += _fields(activation, _SHOWN_APART)
    return [" ".join(words), *(f"  {_struct(job)}" for job in activation.jobs)]


def request_lines(requests: Sequence[LocalRequest]) -> list[str]:
    return [
        f"stop local activity {request.seq}"
        if isinstance(request, LocalActivityCancel)
        else f"run local activity {' '.join(_fields(request.command, set()))}"
        for request in requests
    ]


def answer_lines(answer: Answer | None) -> list[str]:
    if answer is None:
        return []
    if isinstance(answer, QueryAnswer):
        return [f"query answer {' '.join(_fields(answer, set()))}"]
    return _completion_lines(answer)


def _completion_lines(completion: Completion) -> list[str]:
    words = ["completion", fields_text(completion.sdk_metadata)]
    words += ["terminal"] * completion.is_terminal
    words += ["force"] * completion.force_create_new_workflow_task
    if completion.versioning_behavior:
        words.append(f"behavior={completion.versioning_behavior}")
    lines = [" ".join(filter(None, words))]
    for command in completion.commands:
        name = enums.CommandType.Name(command.command_type).removeprefix("COMMAND_TYPE_")
        field = command.WhichOneof("attributes")
        assert field is not None
        parts = [f"  {name}", fields_text(getattr(command, field))]
        if command.HasField("user_metadata"):
            parts.append(f"user_metadata=({fields_text(command.user_metadata)})")
        parts += [f"group=({fields_text(each)})" for each in command.event_group_markers]
        lines.append(" ".join(filter(None, parts)))
    lines += [_message(message) for message in completion.messages]
    for query_id, result in sorted(completion.query_results.items()):
        lines.append(f"  query {query_id} {_query_result(result)}")
    return lines


def _message(message: protocol.Message) -> str:
    for kind in (update.Acceptance, update.Rejection, update.Response):
        body: Any = kind()
        if message.body.Unpack(body):
            where = f"{message.id} of {message.protocol_instance_id}"
            return f"  message {where} {kind.__name__} {fields_text(body)}"
    raise AssertionError(f"no text for a message of type {message.body.type_url}")


def _query_result(result: query.WorkflowQueryResult) -> str:
    return fields_text(result)


def error_line(error: Mismatch | Fatal) -> str:
    if isinstance(error, Fatal):
        return f"fatal event={error.event_id} {error.message}"
    words = [f"mismatch {error.rule.value} at {_fact(error.event)} in code {_fact(error.command)}"]
    words.append(f"task={error.task_started_event_id}")
    words.append(f"history=[{', '.join(map(_fact, error.task_events))}]")
    words.append(f"commands=[{', '.join(map(_fact, error.task_commands))}]")
    if error.difference is not None:
        words.append(
            f"{error.difference.attribute}: {error.difference.in_history} is {error.difference.in_code}"
        )
    words.append(f"written by {' '.join(error.history_sdk)} read by {' '.join(error.our_sdk)}")
    return " ".join(words)


def _fact(fact: EventFact | CommandFact | None) -> str:
    if fact is None:
        return "nothing"
    words = [str(fact.event_id)] if isinstance(fact, EventFact) else []
    words += [type_name(fact.event_type), fact.name, fact.id]
    return " ".join(filter(None, words))


def _struct(value: msgspec.Struct) -> str:
    return " ".join([type(value).__name__, *_fields(value, set())])


def _fields(value: msgspec.Struct, without: set[str]) -> list[str]:
    words: list[str] = []
    known = defaults(type(value))
    for name in value.__struct_fields__:
        item: Any = getattr(value, name)
        is_empty = isinstance(item, Sequence | Mapping) and not item
        if name not in without and not is_empty and item != known.get(name, item is None):
            words.append(f"{name}={_text(name, item)}")
    return words


def defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of a struct's fields, without resolving their annotations."""
    values = kind.__struct_defaults__
    named = zip(
        kind.__struct_fields__[-len(values) or len(kind.__struct_fields__) :], values, strict=True
    )
    return {name: value for name, value in named if value is not msgspec.NODEFAULT}


def _text(name: str, value: Any) -> str:
    match value:
        case Message():
            return fields_text(value, brackets=True)
        case msgspec.Struct():
            return f"({_struct(value)})"
        case frozenset():
            return str(sorted(cast("frozenset[int]", value)))
        case str() | bool() | None:
            return str(value)
        case Mapping():
            items = cast("Mapping[str, Any]", value).items()
            return "{" + ", ".join(f"{key}: {_text('', item)}" for key, item in items) + "}"
        case Sequence():
            items = cast("Sequence[Any]", value)
            return "[" + ", ".join(_text("", item) for item in items) + "]"
        case int():
            if name in _POINTS_IN_TIME:
                return at_text(value)
            return span_text(value) if name.endswith("_ns") else str(int(value))
        case _:
            raise AssertionError(f"no text for {name} = {value!r}")
