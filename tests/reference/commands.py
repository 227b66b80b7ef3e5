"""Short builders for what workers and clients put into their requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from perdure.wire.api import command, common, enums, failure

Command = command.Command


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def payload(text: str) -> common.Payload:
    return common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())


def payloads(*texts: str) -> common.Payloads:
    return common.Payloads(payloads=[payload(text) for text in texts])


def fields(**texts: str) -> dict[str, Any]:
    """The fields of a memo or a header."""
    return {"fields": {name: payload(text) for name, text in texts.items()}}


def attributes(**values: str) -> dict[str, Any]:
    """Search attributes: name to the JSON of the value."""
    kinds = {"CustomInt": "Int", "CustomDouble": "Double", "CustomBool": "Bool"}
    kinds |= {"CustomText": "Text", "CustomDatetime": "Datetime"}
    kinds |= {"CustomKeyword": "Keyword", "CustomKeywordList": "KeywordList"}
    indexed: dict[str, common.Payload] = {}
    for name, value in values.items():
        metadata = {"encoding": b"json/plain"}
        if name in kinds:
            metadata["type"] = kinds[name].encode()
        indexed[name] = common.Payload(metadata=metadata, data=value.encode())
    return {"indexed_fields": indexed}


def application_failure(
    message: str = "it failed", type: str = "Oops", **info: Any
) -> failure.Failure:
    return failure.Failure(
        message=message,
        source="tester",
        application_failure_info=failure.ApplicationFailureInfo(type=type, **info),
    )


def make(kind: str, **attributes: Any) -> Command:
    """A command by the end of its type's name, for example `make("START_TIMER", timer_id="t")`."""
    result = Command(command_type=enums.CommandType.Value(f"COMMAND_TYPE_{kind}"))
    field = f"{kind.lower()}_command_attributes"
    target: Any = getattr(result, field)
    target.SetInParent()
    target.MergeFrom(type(target)(**attributes))
    return result


def complete_workflow(text: str = "done") -> Command:
    return make("COMPLETE_WORKFLOW_EXECUTION", result=payloads(text))


def fail_workflow(message: str = "it failed", **info: Any) -> Command:
    return make("FAIL_WORKFLOW_EXECUTION", failure=application_failure(message, **info))


def cancel_workflow() -> Command:
    return make("CANCEL_WORKFLOW_EXECUTION", details=payloads("canceled"))


def start_timer(timer_id: str = "t", timeout: float = 3600) -> Command:
    return make("START_TIMER", timer_id=timer_id, start_to_fire_timeout=seconds(timeout))


def cancel_timer(timer_id: str = "t") -> Command:
    return make("CANCEL_TIMER", timer_id=timer_id)


def schedule_activity(queue: dict[str, Any], activity_id: str = "a", **fields: Any) -> Command:
    fields.setdefault("activity_type", {"name": "Activity"})
    fields.setdefault("start_to_close_timeout", seconds(600))
    return make("SCHEDULE_ACTIVITY_TASK", activity_id=activity_id, task_queue=queue, **fields)


def cancel_activity(scheduled_event_id: int) -> Command:
    return make("REQUEST_CANCEL_ACTIVITY_TASK", scheduled_event_id=scheduled_event_id)


def no_retry() -> dict[str, Any]:
    return {"maximum_attempts": 1}


def retry(
    attempts: int = 0, initial: float = 0.1, maximum: float = 0.1, **more: Any
) -> dict[str, Any]:
    """A retry policy whose intervals are short."""
    return {
        "initial_interval": seconds(initial),
        "backoff_coefficient": 1.0,
        "maximum_interval": seconds(maximum),
        "maximum_attempts": attempts,
        **more,
    }
