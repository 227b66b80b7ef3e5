"""Values that this version does not know, or that do not fit: commands show them or say so, without a traceback."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from perdure.cli.exits import CommandError
from perdure.cli.workflow_read import show_description, status_name
from perdure.rendering.event_text import CLOSING
from perdure.rendering.steps import one_event
from perdure.wire.api import enums, history, workflowservice

if TYPE_CHECKING:
    from perdure.cli.options import OutputFormat

UNKNOWN = 999
E = enums.EventType
FIELDS = {
    E.EVENT_TYPE_WORKFLOW_TASK_FAILED: "workflow_task_failed_event_attributes.cause",
    E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: "workflow_task_timed_out_event_attributes.timeout_type",
    E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: "start_child_workflow_execution_failed_event_attributes.cause",
    E.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: (
        "signal_external_workflow_execution_failed_event_attributes.cause"
    ),
    E.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: (
        "request_cancel_external_workflow_execution_failed_event_attributes.cause"
    ),
}


@pytest.mark.parametrize("kind", FIELDS, ids=E.Name)
def test_an_event_with_a_cause_of_a_later_version_is_shown(kind: E.ValueType) -> None:
    event = history.HistoryEvent(event_id=5, event_type=kind)
    attributes, _, field = FIELDS[kind].partition(".")
    setattr(getattr(event, attributes), field, UNKNOWN)
    if kind in CLOSING:
        text = CLOSING[kind](event)[1]
    else:
        step = one_event(event)
        assert step is not None
        text = step.detail
    assert "999" in text


def test_an_unknown_status_is_a_number() -> None:
    assert status_name(UNKNOWN) == "999"  # pyright: ignore[reportArgumentType] - that is the point
    assert status_name(enums.WORKFLOW_EXECUTION_STATUS_RUNNING) == "RUNNING"


@contextlib.contextmanager
def printed() -> Generator[io.StringIO]:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        yield text


def test_an_activity_in_an_unknown_state_is_described() -> None:
    answer = workflowservice.DescribeWorkflowExecutionResponse()
    answer.workflow_execution_info.status = UNKNOWN  # pyright: ignore[reportAttributeAccessIssue]
    answer.pending_activities.add(activity_id="5", state=UNKNOWN)
    with printed() as text:
        show_description(answer, "text", 0)
    assert text.getvalue().count("999") == 2


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_time_that_json_does_not_have_is_an_error_of_the_command(form: OutputFormat) -> None:
    answer = workflowservice.DescribeWorkflowExecutionResponse()
    answer.workflow_execution_info.start_time.seconds = 2**62
    with pytest.raises(CommandError, match="the answer cannot be shown as JSON"):
        show_description(answer, form, 0)
    with printed() as text:
        show_description(answer, "text", 0)
    assert "Execution:" in text.getvalue()
