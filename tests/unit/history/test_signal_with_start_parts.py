"""A signal-with-start is a start and a signal: every field of the request reaches the part that it belongs to."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from perdure.history.run import signal_with_start as parts
from perdure.history.transitions import start_part
from perdure.wire.api import common, enums, workflowservice

_Request = workflowservice.SignalWithStartWorkflowExecutionRequest


def fill(message: Any) -> None:
    """Give every field a value."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            value: Any = "x" if field.type == FieldDescriptor.TYPE_STRING else 1
            setattr(message, field.name, value)
        elif field.is_repeated and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["k"].SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).add()
        else:
            getattr(message, field.name).SetInParent()


def full() -> _Request:
    request = _Request()
    fill(request)
    request.workflow_id_conflict_policy = enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL
    request.signal_input.payloads.append(common.Payload(data=b"of the signal"))
    request.header.fields["h"].data = b"v"
    return request


def named(message: Any) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}


def test_the_start_takes_all_that_starts_have_in_common_with_it() -> None:
    request = full()
    only_here = {"signal_name", "signal_input", "control"}
    assert named(start_part(request)) == {
        name: value for name, value in named(request).items() if name not in only_here
    }


def test_the_signal_takes_what_signals_have() -> None:
    request = full()
    expected = {
        name: value
        for name, value in named(request).items()
        if name in {"namespace", "signal_name", "identity", "request_id", "header", "links"}
    }
    assert named(parts.signal_part(request)) == expected | {"input": request.signal_input}


def test_parts_of_a_request_that_says_little_say_little() -> None:
    request = _Request(workflow_id="w", signal_name="go")
    existing = enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    assert named(start_part(request)) == {
        "workflow_id": "w",
        "workflow_id_conflict_policy": existing,
    }
    assert named(parts.signal_part(request)) == {"signal_name": "go"}
    request.workflow_id_reuse_policy = enums.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
    assert start_part(request).workflow_id_conflict_policy == 0
