"""What each type of event says, alone and as part of a step."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.rendering.event_text import CLOSING, INSTANT, NOTES, OPENING
from perdure.rendering.steps import State, Step, each_event, one_event, steps
from perdure.wire.api import common, enums, failure
from perdure.wire.times import NS_PER_SECOND, duration
from tests.unit.cli.histories import BEGIN_NS, Script, failed, json_payload, json_payloads

RUN = common.WorkflowExecution(workflow_id="other", run_id="other-run")
TWO = json_payloads("1", '"two"')
NO_FUNDS = failed("no\nfunds", "Declined")

Said = tuple[str, str, State]


def update(name: str) -> dict[str, Any]:
    return {"input": {"name": name, "args": TWO}}


def outcome(**fields: Any) -> dict[str, Any]:
    return {"outcome": fields}


MOMENTS: list[tuple[str, dict[str, Any], Said]] = [
    ("workflow_execution_started", {}, ("workflow started", "()", State.INSTANT)),
    (
        "workflow_execution_started",
        {
            "workflow_type": {"name": "T"}, "input": TWO, "attempt": 2, "continued_execution_run_id": "before",
            "parent_workflow_execution": RUN, "cron_schedule": "* * * * *",
        },
        ("workflow started", 'T(1, "two")  attempt 2  continues before  child of other  cron * * * * *', State.INSTANT),
    ),
    ("workflow_execution_started", {"attempt": 1}, ("workflow started", "()", State.INSTANT)),
    ("workflow_execution_signaled", {"signal_name": "s", "input": TWO}, ("signal s", '(1, "two")', State.INSTANT)),
    ("workflow_execution_signaled", {"signal_name": "s"}, ("signal s", "", State.INSTANT)),
    ("workflow_execution_cancel_requested", {"cause": "why"}, ("cancel requested", "why", State.INSTANT)),
    (
        "workflow_execution_update_admitted",
        {"request": update("u")},
        ("update u admitted", '(1, "two")', State.INSTANT),
    ),
    (
        "workflow_task_failed",
        {"cause": enums.WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR},
        ("workflow task failed", "non deterministic error", State.FAILED),
    ),
    (
        "workflow_task_failed",
        {
            "cause": enums.WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED,
            "failure": NO_FUNDS,
        },
        ("workflow task failed", "unspecified: Declined: no funds", State.FAILED),
    ),
    (
        "workflow_task_timed_out",
        {"timeout_type": enums.TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START},
        ("worker gone", "the worker that had it did not take its task; any worker may", State.INSTANT),
    ),
    (
        "workflow_task_timed_out",
        {"timeout_type": enums.TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE},
        ("workflow task timed out", "start to close; it is given out again", State.FAILED),
    ),
    (
        "marker_recorded",
        {
            "marker_name": "m",
            "details": {
                "patch-id": json_payloads('"p"'), "result": TWO, "secret": json_payloads('"not shown"'),
            },
        },
        ("marker m", 'patch-id "p"  result 1, "two"', State.INSTANT),
    ),
    ("marker_recorded", {"marker_name": "m", "failure": NO_FUNDS}, ("marker m", "Declined: no funds", State.FAILED)),
    (
        "upsert_workflow_search_attributes",
        {"search_attributes": {"indexed_fields": {"b": json_payload("1"), "a": json_payload('"x"')}}},
        ("search attributes", "a='x', b=1", State.INSTANT),
    ),
    (
        "workflow_properties_modified",
        {"upserted_memo": {"fields": {"b": json_payload("1"), "a": json_payload("null")}}},
        ("memo changed", "a=None, b=1", State.INSTANT),
    ),
    ("workflow_execution_completed", {"result": TWO}, ("workflow completed", '→ 1, "two"', State.DONE)),
    ("workflow_execution_completed", {}, ("workflow completed", "", State.DONE)),
    ("workflow_execution_failed", {"failure": NO_FUNDS}, ("workflow failed", "Declined: no funds", State.FAILED)),
    (
        "workflow_execution_failed",
        {"failure": NO_FUNDS, "new_execution_run_id": "next"},
        ("workflow failed", "Declined: no funds  goes on as run next", State.FAILED),
    ),
    ("workflow_execution_timed_out", {}, ("workflow timed out", "", State.FAILED)),
    ("workflow_execution_canceled", {}, ("workflow canceled", "", State.CANCELED)),
    (
        "workflow_execution_terminated",
        {"reason": "enough", "identity": "me"},
        ("workflow terminated", "enough by me", State.FAILED),
    ),
    ("workflow_execution_terminated", {"identity": "me"}, ("workflow terminated", "by me", State.FAILED)),
    ("workflow_execution_terminated", {"reason": "enough"}, ("workflow terminated", "enough", State.FAILED)),
    (
        "workflow_execution_continued_as_new",
        {"new_execution_run_id": "next", "input": TWO},
        ("continued as new", 'run next (1, "two")', State.DONE),
    ),
    (
        "workflow_execution_continued_as_new",
        {"new_execution_run_id": "next"},
        ("continued as new", "run next", State.DONE),
    ),
    ("workflow_execution_paused", {"reason": "why"}, ("workflow paused", "why", State.INSTANT)),
    ("workflow_execution_unpaused", {}, ("workflow unpaused", "", State.INSTANT)),
    # What has no words of its own is shown under its name.
    ("activity_properties_modified_externally", {}, ("ActivityPropertiesModifiedExternally", "", State.INSTANT)),
]  # fmt: skip


def only_step(script: Script) -> Step:
    (found,) = steps(script.history.events)
    return found


@pytest.mark.parametrize(("kind", "attributes", "said"), MOMENTS)
def test_a_moment(kind: str, attributes: dict[str, Any], said: Said):
    script = Script()
    event = script.add(kind, 2, **attributes)
    step = only_step(script)
    assert (step.what, step.detail, step.state) == said
    at_ns = BEGIN_NS + 2 * NS_PER_SECOND
    assert (step.event_ids, step.begin_ns, step.end_ns) == ((1,), at_ns, at_ns)
    assert one_event(event) == step
    (unfolded,) = each_event([event])
    assert (unfolded.detail, unfolded.state) == said[1:]
    words = [word.capitalize() for word in kind.split("_")]
    assert unfolded.what == "".join(words)


OPENED: dict[str, tuple[dict[str, Any], str, str]] = {
    "activity_task_scheduled": (
        {"activity_type": {"name": "charge"}, "input": TWO}, "activity charge", '(1, "two")',
    ),
    "timer_started": (
        {"timer_id": "t", "start_to_fire_timeout": duration(90 * NS_PER_SECOND)}, "timer 1m30s", "",
    ),
    "start_child_workflow_execution_initiated": (
        {"workflow_type": {"name": "C"}, "workflow_id": "c-1", "input": TWO}, "child C", 'c-1 (1, "two")',
    ),
    "signal_external_workflow_execution_initiated": (
        {"signal_name": "s", "workflow_execution": RUN, "input": TWO}, "signal s to other", '(1, "two")',
    ),
    "request_cancel_external_workflow_execution_initiated": (
        {"workflow_execution": RUN, "reason": "why"}, "cancel other", "why",
    ),
    "workflow_execution_update_accepted": ({"accepted_request": update("u")}, "update u", '(1, "two")'),
    "nexus_operation_scheduled": (
        {"service": "s", "operation": "o", "input": json_payload("1")}, "nexus s.o", "(1)",
    ),
}  # fmt: skip
BY = {
    "activity_task_scheduled": "scheduled_event_id", "timer_started": "started_event_id",
    "start_child_workflow_execution_initiated": "initiated_event_id",
    "signal_external_workflow_execution_initiated": "initiated_event_id",
    "request_cancel_external_workflow_execution_initiated": "initiated_event_id",
    "workflow_execution_update_accepted": "accepted_event_id", "nexus_operation_scheduled": "scheduled_event_id",
}  # fmt: skip
ACTIVITY, TIMER, CHILD, SIGNAL, CANCEL, UPDATE, NEXUS = OPENED
_CHILD_CAUSE = enums.StartChildWorkflowExecutionFailedCause
_SIGNAL_CAUSE = enums.SignalExternalWorkflowExecutionFailedCause
_CANCEL_CAUSE = enums.CancelExternalWorkflowExecutionFailedCause

FOLLOWING: list[tuple[str, str, dict[str, Any], str, State]] = [
    (ACTIVITY, "activity_task_started", {"attempt": 1}, "", State.OPEN),
    (ACTIVITY, "activity_task_started", {"attempt": 2}, "attempt 2", State.OPEN),
    (
        ACTIVITY, "activity_task_started", {"attempt": 2, "last_failure": NO_FUNDS},
        "attempt 2 after Declined: no funds", State.OPEN,
    ),
    (ACTIVITY, "activity_task_cancel_requested", {}, "cancel requested", State.OPEN),
    (ACTIVITY, "activity_task_completed", {"result": TWO}, '→ 1, "two"', State.DONE),
    (ACTIVITY, "activity_task_completed", {}, "", State.DONE),
    (ACTIVITY, "activity_task_failed", {"failure": NO_FUNDS}, "Declined: no funds", State.FAILED),
    (ACTIVITY, "activity_task_timed_out", {"failure": NO_FUNDS}, "Declined: no funds", State.FAILED),
    (ACTIVITY, "activity_task_canceled", {}, "canceled", State.CANCELED),
    (TIMER, "timer_fired", {}, "fired", State.DONE),
    (TIMER, "timer_canceled", {}, "canceled", State.CANCELED),
    (CHILD, "child_workflow_execution_started", {}, "", State.OPEN),
    (
        CHILD, "start_child_workflow_execution_failed",
        {"cause": _CHILD_CAUSE.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS},
        "not started: workflow already exists", State.FAILED,
    ),
    (CHILD, "child_workflow_execution_completed", {"result": TWO}, '→ 1, "two"', State.DONE),
    (CHILD, "child_workflow_execution_failed", {"failure": NO_FUNDS}, "Declined: no funds", State.FAILED),
    (CHILD, "child_workflow_execution_canceled", {}, "canceled", State.CANCELED),
    (CHILD, "child_workflow_execution_timed_out", {}, "timed out", State.FAILED),
    (CHILD, "child_workflow_execution_terminated", {}, "terminated", State.FAILED),
    (SIGNAL, "external_workflow_execution_signaled", {}, "delivered", State.DONE),
    (
        SIGNAL, "signal_external_workflow_execution_failed",
        {
            "cause": _SIGNAL_CAUSE.
            SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND
        },
        "external workflow execution not found", State.FAILED,
    ),
    (CANCEL, "external_workflow_execution_cancel_requested", {}, "delivered", State.DONE),
    (
        CANCEL, "request_cancel_external_workflow_execution_failed",
        {"cause": _CANCEL_CAUSE.CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND},
        "namespace not found", State.FAILED,
    ),
    (UPDATE, "workflow_execution_update_completed", outcome(success=TWO), '→ 1, "two"', State.DONE),
    (UPDATE, "workflow_execution_update_completed", outcome(failure=NO_FUNDS), "Declined: no funds", State.FAILED),
    (NEXUS, "nexus_operation_started", {}, "", State.OPEN),
    (NEXUS, "nexus_operation_cancel_requested", {}, "cancel requested", State.OPEN),
    (NEXUS, "nexus_operation_completed", {"result": json_payload("7")}, "→ 7", State.DONE),
    (NEXUS, "nexus_operation_failed", {"failure": NO_FUNDS}, "Declined: no funds", State.FAILED),
    (NEXUS, "nexus_operation_canceled", {}, "canceled", State.CANCELED),
    (NEXUS, "nexus_operation_timed_out", {}, "timed out", State.FAILED),
]  # fmt: skip


@pytest.mark.parametrize("kind", OPENED)
def test_a_step_that_begins(kind: str):
    script = Script()
    attributes, what, detail = OPENED[kind]
    event = script.add(kind, 3, **attributes)
    step = only_step(script)
    begin_ns = BEGIN_NS + 3 * NS_PER_SECOND
    assert (step.what, step.detail, step.state) == (what, detail, State.OPEN)
    assert (step.event_ids, step.begin_ns, step.end_ns) == ((1,), begin_ns, None)
    alone = one_event(event)
    assert alone is not None
    assert (alone.what, alone.detail, alone.state) == (what, detail, State.INSTANT)
    bare = Script()
    bare.add(kind, 3)
    assert only_step(bare).detail == ""


@pytest.mark.parametrize(
    ("opening", "kind", "more", "detail", "state"), FOLLOWING, ids=[one[1] for one in FOLLOWING]
)
def test_what_follows(opening: str, kind: str, more: dict[str, Any], detail: str, state: State):
    script = Script()
    script.add("workflow_execution_started", 0)
    attributes, what, before = OPENED[opening]
    other = script.add(opening, 1, **attributes)
    opened = script.add(opening, 2, **attributes)
    event = script.add(kind, 5, **{BY[opening]: opened.event_id}, **more)
    _, untouched, step = steps(script.history.events)
    assert (untouched.event_ids, untouched.state) == ((other.event_id,), State.OPEN)
    assert (step.what, step.event_ids) == (what, (opened.event_id, event.event_id))
    assert step.detail == "  ".join(part for part in (before, detail) if part)
    assert step.state is state
    assert step.begin_ns == BEGIN_NS + 2 * NS_PER_SECOND
    assert step.end_ns == (None if state is State.OPEN else BEGIN_NS + 5 * NS_PER_SECOND)
    alone = one_event(event)
    assert alone is not None
    assert (alone.detail, alone.event_ids) == (detail, (event.event_id,))
    assert alone.state is (State.INSTANT if state is State.OPEN else state)
    assert alone.what == "".join(word.capitalize() for word in kind.split("_"))


def test_every_event_type_with_words_is_in_a_table_above():
    shown = (
        {kind for kind, _, _ in MOMENTS} | set(OPENED) | {kind for _, kind, _, _, _ in FOLLOWING}
    )
    worded = {
        enums.EventType.Name(kind).removeprefix("EVENT_TYPE_").lower()
        for table in (OPENING, NOTES, CLOSING, INSTANT)
        for kind in table
    }
    assert worded <= shown


def test_plumbing_is_no_step():
    script = Script()
    script.workflow_task(0)
    assert steps(script.history.events) == []
    assert [one_event(event) for event in script.history.events] == [None] * 3
    names = [step.what for step in each_event(script.history.events)]
    assert names == ["WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"]


def test_a_step_that_is_closed_is_not_closed_again():
    script = Script()
    timer = script.add("timer_started", 0)
    script.add("timer_fired", 1, started_event_id=timer.event_id)
    script.add("timer_canceled", 2, started_event_id=timer.event_id)
    first, second = steps(script.history.events)
    assert (first.event_ids, first.detail) == ((1, 2), "fired")
    assert (second.event_ids, second.what, second.state) == ((3,), "TimerCanceled", State.CANCELED)


def test_steps_are_in_the_order_of_their_first_events():
    script = Script()
    first = script.add("timer_started", 0)
    second = script.add("timer_started", 1)
    script.add("timer_fired", 2, started_event_id=second.event_id)
    script.add("timer_fired", 3, started_event_id=first.event_id)
    assert [step.event_ids for step in steps(script.history.events)] == [(1, 4), (2, 3)]


@pytest.mark.parametrize(
    ("summary", "shown"),
    [('"wait"', "timer 0s (wait)"), ('""', "timer 0s"), ("7", "timer 0s"), ("{", "timer 0s")],
)
def test_a_summary_that_is_text_is_shown(summary: str, shown: str):
    script = Script()
    script.add("timer_started", 0).user_metadata.summary.CopyFrom(json_payload(summary))
    assert only_step(script).what == shown


def test_failures_of_each_kind_are_named():
    from perdure.rendering.payloads import failure_text

    def text(**fields: Any) -> str:
        return failure_text(failure.Failure(**fields))

    assert text(message="m", application_failure_info={"type": "T"}) == "T: m"
    assert text(message="m", application_failure_info={}) == "ApplicationError: m"
    assert (
        text(message="m", activity_failure_info={"activity_type": {"name": "a"}}) == "activity a: m"
    )
    child = {"workflow_type": {"name": "c"}}
    assert text(message="m", child_workflow_execution_failure_info=child) == "child c: m"
    assert text(message="m", canceled_failure_info={}) == "Canceled: m"
    assert text(canceled_failure_info={}) == "Canceled"
    assert text(message=" m\n n ") == "m n"
    assert text() == "failure"
