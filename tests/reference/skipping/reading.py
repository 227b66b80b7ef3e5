"""Brings the record of a walk into a form in which two servers can be compared.

Event ids are replaced by names (`ACTIVITY_TASK_SCHEDULED a0`), and the start events of activities are moved out of the
history. The reference does not write all of them, and a missing event would change the ids of all later ones.
"""

from __future__ import annotations

import json
import re
from typing import Any

_NO_TIME = re.compile(r"<time -\d{6,}m>")
"""The year 1970, which the reference writes for a time that is not set."""

CAUSES = {
    "TIMER_FIRED",
    "ACTIVITY_TASK_COMPLETED",
    "ACTIVITY_TASK_FAILED",
    "ACTIVITY_TASK_TIMED_OUT",
    "ACTIVITY_TASK_CANCELED",
    "WORKFLOW_EXECUTION_SIGNALED",
    "WORKFLOW_EXECUTION_CANCEL_REQUESTED",
    "WORKFLOW_EXECUTION_TIMED_OUT",
    "WORKFLOW_EXECUTION_TERMINATED",
}
"""The events that do not follow from a workflow task."""


def readable(result: dict[str, Any]) -> dict[str, Any]:
    """The result of `play` in comparable form."""
    result = json.loads(_NO_TIME.sub("<no time>", json.dumps(result)))
    notes = {who: [_note(step) for step in steps] for who, steps in result.items() if who != "runs"}
    return {**notes, "runs": [_run(run) for run in result["runs"]]}


def is_clear(result: dict[str, Any]) -> bool:
    """Whether no two things happen in the same minute, so that the order of all events is defined."""
    looks = [
        step["at"] for step in result["client"] if step["call"].startswith("look before: look")
    ]
    retries = [
        steps[0]["at"]
        for who, steps in result.items()
        if " attempt " in who and " attempt 1 " not in who
    ]
    ops = {step["at"] for step in result["client"]}
    for run in result["runs"]:
        causes = [e["event_time"] for e in run["history"] if _kind(e) in CAUSES]
        if len(causes) != len(set(causes)) or set(causes) & {*looks, *retries}:
            return False
    return len(retries) == len(set(retries)) and not ops & set(retries)


def before(result: dict[str, Any], minute: int) -> dict[str, Any]:
    """The part of a readable result before some minute."""
    kept: dict[str, Any] = {
        who: [step for step in steps if minute_of(step["at"]) < minute]
        for who, steps in result.items()
        if who != "runs"
    }
    runs = [
        {
            "history": [e for e in run["history"] if minute_of(e["event_time"]) < minute],
            "started": {
                name: event
                for name, event in run["started"].items()
                if minute_of(event["event_time"]) < minute
            },
        }
        for run in result["runs"]
    ]
    return {
        **{who: steps for who, steps in kept.items() if steps},
        "runs": [run for run in runs if run["history"]],
    }


def minute_of(time: str) -> int:
    """`<time +37m>` as 37."""
    found = re.fullmatch(r"<time(?: ([+-]\d+)m)?>", time)
    assert found, f"{time} is not a time"
    return int(found[1] or 0)


def _run(run: dict[str, Any]) -> dict[str, Any]:
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    for event in run["history"]:
        kind = _kind(event)
        attributes = _attributes(event)
        step = attributes.get("activity_id") or attributes.get("timer_id")
        if step is None and "scheduled_event_id" in attributes and kind.startswith("ACTIVITY"):
            step = names[attributes["scheduled_event_id"]].rpartition(" ")[2]
        if step is None:
            counts[kind] = counts.get(kind, 0) + 1
        names[event["event_id"]] = f"{kind} {step or counts[kind]}"
    history = [(names[e["event_id"]], _named(e, names)) for e in run["history"]]
    started = "ACTIVITY_TASK_STARTED "
    return {
        "history": [event for name, event in history if not name.startswith(started)],
        "started": {
            name.removeprefix(started): event for name, event in history if name.startswith(started)
        },
        "description": _description(run["description"]),
    }


def _note(step: dict[str, Any]) -> dict[str, Any]:
    if "workflow_execution_info" not in step.get("response", {}):
        return step
    return {**step, "response": _description(step["response"])}


def _description(description: dict[str, Any]) -> dict[str, Any]:
    """A description. The activities of a closed run, which should have none, get another name."""
    if description["workflow_execution_info"]["status"] == "WORKFLOW_EXECUTION_STATUS_RUNNING":
        return description
    names = {"pending_activities": "activities_of_closed_run"}
    return {names.get(key, key): value for key, value in description.items()}


def _kind(event: dict[str, Any]) -> str:
    return str(event["event_type"]).removeprefix("EVENT_TYPE_")


def _attributes(event: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = [
        value for key, value in event.items() if key.endswith("_attributes")
    ]
    return found[0] if found else {}


def _named(event: dict[str, Any], names: dict[int, str]) -> dict[str, Any]:
    """An event with names in place of event ids, and with its attributes as fields of its own."""
    fields = {key: value for key, value in event.items() if not key.endswith("_attributes")}
    del fields["event_id"]
    for key, value in _attributes(event).items():
        is_reference = key.endswith("_event_id") and isinstance(value, int)
        fields[key] = names.get(value, f"event {value}") if is_reference else value
    return fields
