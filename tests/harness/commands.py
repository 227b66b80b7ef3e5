"""Commands and messages of a completed workflow task, as lines: `schedule a start_to_close=10s`, `timer t 5s`.

A line that begins with a capital letter names any command of the API, with fields of its attributes:
`StartChildWorkflowExecution workflow_id=child workflow_type=Sub`. Messages of updates are `accept u`, `reject u no` and
`respond u result`; `mention u/accept` says where among the commands a message belongs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from google.protobuf.message import Message

from perdure.wire.api import command, common, enums, failure, protocol, update
from perdure.wire.times import duration
from tests.harness.values import set_field, span

Options = dict[str, str]


def payloads(text: str) -> common.Payloads:
    return common.Payloads(payloads=[common.Payload(data=text.encode())])


def failure_of(options: Options) -> failure.Failure:
    result = failure.Failure(message=options.get("message", "oops"))
    info = result.application_failure_info
    info.type = options.get("type", "")
    info.non_retryable = "non_retryable" in options
    if "delay" in options:
        info.next_retry_delay.CopyFrom(duration(span(options["delay"])))
    return result


def split(words: list[str]) -> tuple[str, list[str], Options]:
    names = [word for word in words[1:] if "=" not in word and not word.startswith("+")]
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    options |= {word[1:]: "" for word in words[1:] if word.startswith("+")}
    return words[0], names, options


def command_of(line: str) -> command.Command:
    """A command of a completed workflow task: `schedule a start_to_close=10s`, `timer t 5s`, …"""
    words = shlex.split(line)
    if words[0][0].isupper():
        return _any_command(words[0], words[1:])
    verb, names, options = split(words)
    return _COMMANDS[verb](names, options)


def _any_command(name: str, words: list[str]) -> command.Command:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    result = command.Command(command_type=enums.CommandType.Value(f"COMMAND_TYPE_{snake.upper()}"))
    attributes = getattr(result, f"{snake}_command_attributes")
    attributes.SetInParent()
    for word in words:
        path, _, value = word.partition("=")
        target = result if path.startswith("user_metadata") else attributes
        set_field(target, path, value)
    return result


def is_message(line: str) -> bool:
    return line.split(maxsplit=1)[0] in _MESSAGES


def message_of(line: str) -> protocol.Message:
    """A message of an update: `accept u`, `reject u no`, `respond u result`."""
    verb, names, options = split(shlex.split(line))
    message = protocol.Message(
        id=options.get("id", f"{names[0]}/{verb}"), protocol_instance_id=options.get("of", names[0])
    )
    body = _MESSAGES[verb](names, options)
    if "empty" not in options:
        message.body.Pack(body)
    if "broken" in options:
        message.body.value = b"\xff"
    return message


def _accept(names: list[str], options: Options) -> Message:
    body = update.Acceptance(
        accepted_request_message_id=f"{names[0]}/request", accepted_request_sequencing_event_id=2
    )
    if "own" in options:
        body.accepted_request.meta.update_id = names[0]
        body.accepted_request.input.name = options["own"]
    return body


def _reject(names: list[str], options: Options) -> Message:
    return update.Rejection(failure=failure.Failure(message=names[1]))


def _respond(names: list[str], options: Options) -> Message:
    body = update.Response(meta=update.Meta(update_id=names[0]))
    if len(names) > 1:
        body.outcome.success.CopyFrom(payloads(names[1]))
    elif "failed" in options:
        body.outcome.failure.message = options["failed"]
    return body


def _unknown(names: list[str], options: Options) -> Message:
    return update.Meta(update_id=names[0])


_MESSAGES: dict[str, Callable[[list[str], Options], Message]] = {
    "accept": _accept,
    "reject": _reject,
    "respond": _respond,
    "babble": _unknown,
}


def _mention(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_PROTOCOL_MESSAGE)
    result.protocol_message_command_attributes.message_id = names[0] if names else ""
    return result


def _schedule(names: list[str], options: Options) -> command.Command:
    attributes = command.ScheduleActivityTaskCommandAttributes(
        activity_id=names[0], request_eager_execution="eager" in options
    )
    attributes.activity_type.name = "Work"
    if "queue" in options:
        attributes.task_queue.name = options["queue"]
    for name in ("start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat"):
        if name in options:
            getattr(attributes, f"{name}_timeout").CopyFrom(duration(span(options[name])))
    if "attempts" in options:
        attributes.retry_policy.maximum_attempts = int(options["attempts"])
    if "coefficient" in options:
        attributes.retry_policy.backoff_coefficient = float(options["coefficient"])
    if "never_retry" in options:
        attributes.retry_policy.non_retryable_error_types.append(options["never_retry"])
    if "priority" in options:
        attributes.priority.priority_key = int(options["priority"])
    if "input" in options:
        attributes.input.CopyFrom(payloads(options["input"]))
    return command.Command(
        command_type=enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
        schedule_activity_task_command_attributes=attributes,
    )


def _cancel_activity(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
    result.request_cancel_activity_task_command_attributes.scheduled_event_id = int(names[0])
    return result


def _timer(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_START_TIMER)
    result.start_timer_command_attributes.timer_id = names[0]
    delay = names[1]
    attributes = -span(delay[1:]) if delay.startswith("-") else span(delay)
    result.start_timer_command_attributes.start_to_fire_timeout.CopyFrom(duration(attributes))
    return result


def _cancel_timer(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_CANCEL_TIMER)
    result.cancel_timer_command_attributes.timer_id = names[0]
    return result


def _marker(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_RECORD_MARKER)
    attributes = result.record_marker_command_attributes
    attributes.marker_name = names[0] if names else ""
    for key, value in options.items():
        attributes.details[key].CopyFrom(payloads(value))
    return result


def _upsert(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    fields = result.upsert_workflow_search_attributes_command_attributes.search_attributes
    fields.SetInParent()
    for key, value in options.items():
        fields.indexed_fields[key].data = value.encode()
    return result


def _memo(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    attributes = result.modify_workflow_properties_command_attributes.upserted_memo
    attributes.SetInParent()
    for key, value in options.items():
        attributes.fields[key].data = value.encode()
    return result


def _finish(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    attributes = result.complete_workflow_execution_command_attributes
    if names:
        attributes.result.CopyFrom(payloads(names[0]))
    else:
        attributes.SetInParent()
    return result


def _fail(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    result.fail_workflow_execution_command_attributes.failure.CopyFrom(failure_of(options))
    return result


def _canceled(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
    result.cancel_workflow_execution_command_attributes.SetInParent()
    return result


_COMMANDS: dict[str, Callable[[list[str], Options], command.Command]] = {
    "schedule": _schedule,
    "cancel-activity": _cancel_activity,
    "timer": _timer,
    "cancel-timer": _cancel_timer,
    "marker": _marker,
    "upsert": _upsert,
    "memo": _memo,
    "finish": _finish,
    "fail": _fail,
    "canceled": _canceled,
    "mention": _mention,
}
