"""Values of replay scripts: text into fields of messages and of the engine's commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from perdure.replay import commands as cmd
from perdure.wire.api import common, sdk, workflow
from perdure.wire.api import failure as failures
from tests.harness.values import (
    START_NS,
    payload,
    payload_list,
    set_field,
    set_message,
    span,
)

_MESSAGES: dict[str, type[Any]] = {
    "priority": common.Priority,
    "retry_policy": common.RetryPolicy,
    "search_attributes": common.SearchAttributes,
    "upserted_memo": common.Memo,
    "failure": failures.Failure,
    "versioning_override": workflow.VersioningOverride,
    "cancellation_details": common.Payloads,
    "event_group_markers": sdk.EventGroupMarker,
}
_PAYLOADS = {"summary", "details", "result", "response"}
_PAYLOAD_LISTS = {"arguments", "args", "input"}
_ENUMS: dict[str, Any] = {
    "ScheduleActivity": cmd.ActivityCancellationType,
    "ScheduleLocalActivity": cmd.ActivityCancellationType,
    "StartChildWorkflow": cmd.ChildWorkflowCancellationType,
    "ScheduleNexusOperation": cmd.NexusOperationCancellationType,
}


def command_of(line: str) -> Any:
    """`StartTimer seq=1 start_to_fire_timeout_ns=1s` as the engine's command."""
    name, *words = shlex.split(line)
    pairs = [word.split("=", 1) for word in words if "=" in word]
    if name in _ANSWERS:
        return _ANSWERS[name](words)
    kind: Any = getattr(cmd, name)
    values: dict[str, Any] = {}
    for path, text in pairs:
        head, _, rest = path.partition(".")
        assert head in kind.__struct_fields__, f"{name} has no {head}"
        _set_value(name, values, head, rest, text)
    if "event_group_markers" in values:
        values["event_group_markers"] = (values["event_group_markers"],)
    return kind(**values)


def _set_value(name: str, values: dict[str, Any], head: str, rest: str, text: str) -> None:
    if head in _MESSAGES and not (head == "failure" and not rest and not text):
        message = values.setdefault(head, _MESSAGES[head]())
        if rest:
            set_field(message, rest, text)
        else:
            set_message(message, "", text)
    elif rest:
        values.setdefault(head, {})[rest] = text if head == "nexus_header" else payload(text)
    elif head.endswith("_ns"):
        values[head] = span(text) + (START_NS if head == "original_schedule_time_ns" else 0)
    elif name == "ScheduleNexusOperation" and head == "input":
        values[head] = payload(text)
    elif head in _PAYLOAD_LISTS:
        values[head] = payload_list(text)
    elif head in _PAYLOADS:
        values[head] = payload(text)
    elif head == "cancellation_type":
        values[head] = _ENUMS[name][text]
    elif head == "versioning_intent":
        values[head] = cmd.VersioningIntent[text]
    else:
        values[head] = {"yes": True, "no": False}.get(text, int(text) if text.isdigit() else text)
        if head in {"activity_id", "patch_id", "workflow_id"}:
            values[head] = text


def _answer(words: list[str], response: Any) -> cmd.UpdateResponse:
    return cmd.UpdateResponse(protocol_instance_id=words[0], response=response)


_ANSWERS: dict[str, Callable[[list[str]], cmd.UpdateResponse]] = {
    "Accept": lambda words: _answer(words, cmd.UpdateAccepted()),
    "Reject": lambda words: _answer(words, cmd.UpdateRejected(failures.Failure(message=words[1]))),
    "Finish": lambda words: _answer(
        words, cmd.UpdateCompleted(payload(words[1]) if len(words) > 1 else None)
    ),
}


def local_marker(options: dict[str, str]) -> str:
    """What the marker of a local activity says of it: `marker.seq=1`, `marker.complete=12s`, ..."""

    def time(name: str, since_ns: int = START_NS) -> dict[str, int] | None:
        text = options.get(f"marker.{name}", "none")
        if text == "none":
            return None
        seconds, nanos = divmod(since_ns + span(text), 10**9)
        return {"seconds": seconds, "nanos": nanos}

    index = options.get("marker.index", "none")
    return json.dumps(
        {
            "seq": int(options["marker.seq"]),
            "attempt": int(options.get("marker.attempt", "1")),
            "activity_id": options.get("marker.id", options["marker.seq"]),
            "activity_type": options.get("marker.type", "check"),
            "complete_time": time("complete"),
            "backoff": time("backoff", 0),
            "original_schedule_time": time("original"),
            "activation_index": None if index == "none" else int(index),
        }
    )
