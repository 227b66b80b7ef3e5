"""Builders for commands, messages and other parts of requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from perdure.wire.api import command, common, enums, failure, protocol
from perdure.wire.api import update as api_update

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
    """Search attributes: name → value as JSON."""
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
    """Build a command from the end of its type's name, for example `make("START_TIMER", timer_id="t")`."""
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


def continue_as_new(queue: dict[str, Any], **fields: Any) -> Command:
    fields.setdefault("workflow_type", {"name": "Type"})
    return make("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", task_queue=queue, **fields)


def start_timer(timer_id: str = "t", timeout_s: float = 3600) -> Command:
    return make("START_TIMER", timer_id=timer_id, start_to_fire_timeout=seconds(timeout_s))


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
    attempts: int = 0, initial_s: float = 0.1, maximum_s: float = 0.1, **more: Any
) -> dict[str, Any]:
    """A retry policy with short intervals."""
    return {
        "initial_interval": seconds(initial_s),
        "backoff_coefficient": 1.0,
        "maximum_interval": seconds(maximum_s),
        "maximum_attempts": attempts,
        **more,
    }


# ── updates ──────────────────────────────────────────────────────────────────────────────────────────


def update(update_id: str = "u", name: str = "update", *texts: str) -> dict[str, Any]:
    """The request of an update."""
    return {"meta": {"update_id": update_id}, "input": {"name": name, "args": payloads(*texts)}}


def accept(message: protocol.Message) -> protocol.Message:
    """The worker accepts an update."""
    request = api_update.Request()
    message.body.Unpack(request)
    return _answer(
        message,
        "accept",
        api_update.Acceptance(
            accepted_request_message_id=message.id,
            accepted_request_sequencing_event_id=message.event_id,
            accepted_request=request,
        ),
    )


def reject(message: protocol.Message, text: str = "not now") -> protocol.Message:
    """The worker rejects an update."""
    request = api_update.Request()
    message.body.Unpack(request)
    return _answer(
        message,
        "reject",
        api_update.Rejection(
            rejected_request_message_id=message.id,
            rejected_request_sequencing_event_id=message.event_id,
            rejected_request=request,
            failure=application_failure(text),
        ),
    )


def respond(update_id: str, text: str = "result") -> protocol.Message:
    """The worker has completed an update."""
    return _outcome(update_id, api_update.Outcome(success=payloads(text)))


def respond_failed(update_id: str, text: str = "it failed") -> protocol.Message:
    """The update has failed."""
    return _outcome(update_id, api_update.Outcome(failure=application_failure(text)))


def _outcome(update_id: str, outcome: api_update.Outcome) -> protocol.Message:
    response = api_update.Response(meta=api_update.Meta(update_id=update_id), outcome=outcome)
    result = protocol.Message(id=f"{update_id}/complete", protocol_instance_id=update_id)
    result.body.Pack(response)
    return result


def _answer(message: protocol.Message, kind: str, body: Message) -> protocol.Message:
    instance = message.protocol_instance_id
    result = protocol.Message(id=f"{instance}/{kind}", protocol_instance_id=instance)
    result.body.Pack(body)
    return result


def at_this_point(*messages: protocol.Message) -> list[Command]:
    """Commands that mark the place of messages among the other commands."""
    return [make("PROTOCOL_MESSAGE", message_id=message.id) for message in messages]
