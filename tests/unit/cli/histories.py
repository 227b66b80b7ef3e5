"""Histories written by hand for the tests of the command line."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import common, enums, failure, history
from perdure.wire.times import NS_PER_SECOND, duration, timestamp

BEGIN_NS = 1_780_000_000 * NS_PER_SECOND


def json_payload(text: str) -> common.Payload:
    return common.Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


def json_payloads(*texts: str) -> common.Payloads:
    return common.Payloads(payloads=[json_payload(text) for text in texts])


def failed(message: str, kind: str = "") -> failure.Failure:
    return failure.Failure(
        message=message, application_failure_info=failure.ApplicationFailureInfo(type=kind)
    )


class Script:
    """Adds events one after the other; `at` is seconds after the workflow's start."""

    def __init__(self) -> None:
        self.history = history.History()

    def add(self, kind: str, at: float, **attributes: Any) -> history.HistoryEvent:
        event = self.history.events.add()
        event.event_id = len(self.history.events)
        event.event_time.CopyFrom(timestamp(BEGIN_NS + round(at * NS_PER_SECOND)))
        event.event_type = enums.EventType.Value(f"EVENT_TYPE_{kind.upper()}")
        # An empty attributes message must be present too: it tells the kind.
        chosen = getattr(event, f"{kind}_event_attributes")
        chosen.CopyFrom(type(chosen)(**attributes))
        return event

    def workflow_task(self, at: float) -> None:
        scheduled = self.add("workflow_task_scheduled", at)
        started = self.add("workflow_task_started", at, scheduled_event_id=scheduled.event_id)
        self.add(
            "workflow_task_completed",
            at,
            scheduled_event_id=scheduled.event_id,
            started_event_id=started.event_id,
        )

    def activity(self, name: str, begin: float, end: float, result: str) -> None:
        scheduled = self.add(
            "activity_task_scheduled",
            begin,
            activity_type=common.ActivityType(name=name),
            input=json_payloads('"World"'),
        )
        started = self.add(
            "activity_task_started", end, scheduled_event_id=scheduled.event_id, attempt=1
        )
        self.add(
            "activity_task_completed",
            end,
            scheduled_event_id=scheduled.event_id,
            started_event_id=started.event_id,
            result=json_payloads(result),
        )


def greeting(*, closed: bool = True) -> history.History:
    """Started, a ten-second timer, a signal meanwhile, an activity, completed."""
    script = Script()
    started = script.add(
        "workflow_execution_started",
        0.0,
        workflow_type=common.WorkflowType(name="Greeting"),
        workflow_id="greeting-1",
        input=json_payloads('"World"'),
        original_execution_run_id="run-1",
        attempt=1,
    )
    started.workflow_execution_started_event_attributes.task_queue.name = "greetings"
    script.workflow_task(0.01)
    timer = script.add(
        "timer_started", 0.02, timer_id="1", start_to_fire_timeout=duration(10 * NS_PER_SECOND)
    )
    script.add("workflow_execution_signaled", 4.0, signal_name="hurry", input=json_payloads("3"))
    script.workflow_task(4.0)
    script.add("timer_fired", 10.03, timer_id="1", started_event_id=timer.event_id)
    script.workflow_task(10.04)
    script.activity("compose_greeting", 10.05, 10.25, '"Hello, World!"')
    if closed:
        script.workflow_task(10.26)
        script.add("workflow_execution_completed", 10.3, result=json_payloads('"Hello, World!"'))
    return script.history
