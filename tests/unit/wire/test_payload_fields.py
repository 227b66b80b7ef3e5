"""Which fields are named as places of payloads."""

from __future__ import annotations

from typing import Any, cast

import pytest

from perdure.wire.api import command, common, failure, protocol, workflowservice
from perdure.wire.payload_fields import is_map, payload_fields, type_name, value_type


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (common.Payload, []),
        (common.Payloads, ["payloads"]),
        (common.Memo, ["fields"]),
        # The message itself is walked by those who are given it; above it it is left out.
        (common.SearchAttributes, ["indexed_fields"]),
        (command.UpsertWorkflowSearchAttributesCommandAttributes, []),
        (workflowservice.PollWorkflowTaskQueueRequest, []),
        (workflowservice.SignalWorkflowExecutionRequest, ["input", "header"]),
        (protocol.Message, ["body"]),
        (failure.ApplicationFailureInfo, ["details"]),
    ],
)
def test_the_fields_below_which_payloads_may_be(message: Any, names: list[str]) -> None:
    assert [field.name for field in payload_fields(message.DESCRIPTOR)] == names


def test_a_message_that_contains_itself_is_followed_once() -> None:
    names = [field.name for field in payload_fields(cast("Any", failure.Failure).DESCRIPTOR)]
    assert {"cause", "encoded_attributes", "application_failure_info"} <= set(names)
    assert "message" not in names


def test_maps_and_scalars_are_told_apart() -> None:
    fields = cast("Any", common.Payload).DESCRIPTOR.fields_by_name
    assert (is_map(fields["metadata"]), is_map(fields["data"])) == (True, False)
    assert (value_type(fields["metadata"]), type_name(fields["data"])) == (None, "")
    memo = cast("Any", common.Memo).DESCRIPTOR.fields_by_name["fields"]
    kind = value_type(memo)
    assert kind is not None
    assert kind.full_name == "temporal.api.common.v1.Payload"
    payloads = cast("Any", common.Payloads).DESCRIPTOR.fields_by_name["payloads"]
    assert (is_map(payloads), type_name(payloads)) == (False, "temporal.api.common.v1.Payload")
