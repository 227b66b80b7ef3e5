"""The workflow of a walk: a pure function from a history to the commands of the next workflow task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.wire.api import command, enums
from perdure.wire.api import history as history_pb
from tests.reference.commands import (
    cancel_activity,
    cancel_timer,
    cancel_workflow,
    complete_workflow,
    fail_workflow,
    make,
    payloads,
    schedule_activity,
    seconds,
    start_timer,
)
from tests.reference.skipping.plan import Activity, Retry, Timer, Walk


class Decider:
    """Reads a history and decides the next commands."""

    def __init__(
        self,
        walk: Walk,
        events: Sequence[history_pb.HistoryEvent],
        served: dict[str, Any],
        nobody: dict[str, Any],
    ) -> None:
        self._walk = walk
        self._queues = {"served": served, "nobody": nobody}
        self.waiting: list[Activity] = []
        """Activities that this task schedules in the queue that nobody polls."""
        self._begun: dict[str, int] = {}
        self._asked: set[str] = set()
        self._closed: set[str] = set()
        self._is_cancelled = False
        self._is_continued = False
        self._to_cancel: list[str] = []
        by_id: dict[int, str] = {}
        for event in events:
            self._read(event, by_id)

    def _read(self, event: history_pb.HistoryEvent, by_id: dict[int, str]) -> None:
        kind = enums.EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        attributes: Any = getattr(event, str(event.WhichOneof("attributes")))
        if kind == "ACTIVITY_TASK_SCHEDULED":
            by_id[event.event_id] = attributes.activity_id
            self._begun[attributes.activity_id] = event.event_id
        elif kind == "TIMER_STARTED":
            self._begun[attributes.timer_id] = event.event_id
        elif kind in ("TIMER_FIRED", "TIMER_CANCELED"):
            self._closed.add(attributes.timer_id)
        elif kind == "ACTIVITY_TASK_CANCEL_REQUESTED":
            self._asked.add(by_id[attributes.scheduled_event_id])
        elif kind.startswith("ACTIVITY_TASK_") and kind != "ACTIVITY_TASK_STARTED":
            self._closed.add(by_id[attributes.scheduled_event_id])
        elif kind == "WORKFLOW_EXECUTION_STARTED":
            self._is_continued = bool(attributes.continued_execution_run_id)
        elif kind == "WORKFLOW_EXECUTION_CANCEL_REQUESTED":
            self._is_cancelled = True
        elif kind == "WORKFLOW_EXECUTION_SIGNALED" and attributes.signal_name != "signal":
            self._to_cancel.append(attributes.signal_name.removeprefix("cancel "))

    def decide(self) -> list[command.Command]:
        """The commands of this workflow task."""
        commands: list[command.Command] = []
        for step_id in dict.fromkeys(self._to_cancel):
            self._cancel(step_id, commands)
        if self._is_cancelled and self._walk.on_cancel != "ignore":
            if self._walk.on_cancel == "steps":
                for step_id in self._begun:
                    self._cancel(step_id, commands)
            if self._walk.on_cancel == "once" or self._begun.keys() <= self._closed:
                return [*commands, cancel_workflow()]
            return commands
        for stage in self._walk.stages:
            if not self._begun.keys() >= {step.id for step in stage}:
                return [*commands, *(self._begin(step) for step in stage)]
            if not self._closed.issuperset(step.id for step in stage):
                return commands
        return [*commands, self._end()]

    def _cancel(self, step_id: str, commands: list[command.Command]) -> None:
        if step_id not in self._begun or step_id in self._closed | self._asked:
            return
        if isinstance(self._walk.steps[step_id], Timer):
            self._closed.add(step_id)
            commands.append(cancel_timer(step_id))
        else:
            self._asked.add(step_id)
            commands.append(cancel_activity(self._begun[step_id]))

    def _begin(self, step: Timer | Activity) -> command.Command:
        if isinstance(step, Timer):
            return start_timer(step.id, step.length_minutes * 60)
        if step.queue == "nobody":
            self.waiting.append(step)
        limits: dict[str, Any] = {
            f"{name}_timeout": seconds(minutes * 60)
            for name, minutes in (
                ("start_to_close", step.start_to_close_minutes),
                ("schedule_to_start", step.schedule_to_start_minutes),
                ("schedule_to_close", step.schedule_to_close_minutes),
                ("heartbeat", step.heartbeat_minutes),
            )
        }
        if step.retry is not None:
            limits["retry_policy"] = policy(step.retry)
        return schedule_activity(
            self._queues[step.queue], step.id, input=payloads(step.id), **limits
        )

    def _end(self) -> command.Command:
        match self._walk.end:
            case "complete" | "continue" if self._is_continued or self._walk.end == "complete":
                return complete_workflow()
            case "continue" if not self._is_continued:
                return make("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", workflow_type={"name": "Walk"})
            case end:
                return fail_workflow(non_retryable=end == "fail for good")


def policy(retry: Retry) -> dict[str, Any]:
    """The fields of a retry policy."""
    fields: dict[str, Any] = {
        "initial_interval": seconds(retry.initial_minutes * 60),
        "backoff_coefficient": retry.coefficient,
        "maximum_attempts": retry.attempts,
        "non_retryable_error_types": retry.final_types,
    }
    if retry.maximum_minutes:
        fields["maximum_interval"] = seconds(retry.maximum_minutes * 60)
    return fields
