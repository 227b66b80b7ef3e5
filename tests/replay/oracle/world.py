"""The world around a run, as its server sees it: signals, activities, timers, children, time.

Events that happen while a workflow task is started are buffered (S-2).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any, Final

from perdure.wire.api import common, enums, history
from perdure.wire.times import timestamp
from tests.replay.oracle import normal

EVENT_TYPE: Final = enums.EventType
START_NS: Final = 1_700_000_000_000_000_000


class World:
    """A history under construction, and what may happen to it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now_ns = START_NS
        self.events: list[history.HistoryEvent] = []
        self.buffered: list[Callable[[], None]] = []
        self.task_started = False
        self.cancel_requested = False
        self.activities: dict[str, tuple[int, bool]] = {}
        self.cancel_wanted: set[str] = set()
        self.timers: dict[str, int] = {}
        self.children: dict[str, tuple[int, str, str]] = {}
        self.externals: list[tuple[str, int]] = []
        self.nexus: dict[int, str] = {}
        """Scheduled event → state; "cancelling" once it was asked to stop."""

    def add(self, name: str, **fields: Any) -> int:
        """Append an event by its name, with the fields of its attributes; returns its id."""
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        attributes = getattr(history, f"{name}EventAttributes")(**fields)
        event_type = getattr(EVENT_TYPE, f"EVENT_TYPE_{snake.upper()}")
        return self.append(event_type, **{f"{snake}_event_attributes": attributes})

    def append(self, event_type: Any, **attributes: Any) -> int:
        self.now_ns += self.rng.randrange(1, 2_000_000_000)
        event = history.HistoryEvent(
            event_id=len(self.events) + 1,
            event_time=timestamp(self.now_ns),
            event_type=event_type,
            **attributes,
        )
        self.events.append(event)
        return event.event_id

    def happens(self, event: Callable[[], None]) -> None:
        """Something outside the task: buffered while a task is started (S-2)."""
        if self.task_started:
            self.buffered.append(event)
        else:
            event()

    def outside(self) -> None:
        """One random thing happens."""
        options: list[Callable[[], None]] = [self.signal]
        options += [self.resolve_activity] * (3 if self.activities else 0)
        options += [self.fire_timer] * (3 if self.timers else 0)
        options += [self.resolve_child] * (3 if self.children else 0)
        options += [self.resolve_nexus] * (3 if self.nexus else 0)
        options += [self.resolve_external] * (3 if self.externals else 0)
        if not self.cancel_requested and self.rng.random() < 0.1:
            options.append(self.request_cancel)
        self.happens(self.rng.choice(options))

    def signal(self) -> None:
        name = self.rng.choice(("go", "stop"))
        self.add(
            "WorkflowExecutionSignaled",
            signal_name=name,
            identity="somebody",
            input=common.Payloads(payloads=[normal.payload(name)]),
        )

    def request_cancel(self) -> None:
        self.cancel_requested = True
        self.add("WorkflowExecutionCancelRequested", cause="enough")

    def fire_timer(self) -> None:
        if not self.timers:
            return
        timer_id = self.rng.choice(list(self.timers))
        started = self.timers.pop(timer_id)
        self.add("TimerFired", timer_id=timer_id, started_event_id=started)

    def resolve_activity(self) -> None:
        if not self.activities:
            return
        activity_id = self.rng.choice(list(self.activities))
        scheduled, started = self.activities.pop(activity_id)
        ids = {"scheduled_event_id": scheduled, "started_event_id": len(self.events)}
        failure = normal.failures.Failure(message="it broke")
        if not started and self.rng.random() < 0.2:
            self.add("ActivityTaskTimedOut", scheduled_event_id=scheduled, failure=failure)
            return
        if not started:
            ids["started_event_id"] = self.add("ActivityTaskStarted", scheduled_event_id=scheduled)
        kinds = ["completed", "failed", "timed_out"]
        if activity_id in self.cancel_wanted:
            kinds += ["canceled", "canceled"]
        match self.rng.choice(kinds):
            case "completed":
                self.add(
                    "ActivityTaskCompleted",
                    result=common.Payloads(payloads=[normal.payload("r")]),
                    **ids,
                )
            case "failed":
                self.add(
                    "ActivityTaskFailed", failure=failure, identity="worker", retry_state=4, **ids
                )
            case "timed_out":
                self.add("ActivityTaskTimedOut", failure=failure, retry_state=2, **ids)
            case _:
                self.add(
                    "ActivityTaskCanceled",
                    details=common.Payloads(payloads=[normal.payload("c")]),
                    identity="worker",
                    **ids,
                )

    def resolve_child(self) -> None:
        if not self.children:
            return
        child_id = self.rng.choice(list(self.children))
        initiated, name, state = self.children[child_id]
        execution = common.WorkflowExecution(workflow_id=child_id, run_id=f"run-of-{child_id}")
        if state == "initiated":
            if self.rng.random() < 0.2:
                del self.children[child_id]
                self.add(
                    "StartChildWorkflowExecutionFailed",
                    initiated_event_id=initiated,
                    workflow_id=child_id,
                    cause=1,
                )
                return
            self.children[child_id] = (initiated, name, "started")
            self.add(
                "ChildWorkflowExecutionStarted",
                initiated_event_id=initiated,
                workflow_execution=execution,
            )
            return
        del self.children[child_id]
        kind = self.rng.choice(("Completed", "Failed", "TimedOut", "Canceled", "Terminated"))
        self._child_outcome(kind, initiated)

    def _child_outcome(self, kind: str, initiated: int) -> None:
        extra: dict[str, Any] = {"initiated_event_id": initiated}
        if kind == "Completed":
            extra["result"] = common.Payloads(payloads=[normal.payload("child")])
        if kind == "Failed":
            extra["failure"] = normal.failures.Failure(message="child broke")
            extra["retry_state"] = 3
        self.add(f"ChildWorkflowExecution{kind}", **extra)

    def resolve_nexus(self) -> None:
        if not self.nexus:
            return
        scheduled = self.rng.choice(list(self.nexus))
        state = self.nexus[scheduled]
        if state == "scheduled" and self.rng.random() < 0.6:
            self.nexus[scheduled] = "started"
            self.add("NexusOperationStarted", scheduled_event_id=scheduled, operation_token="t")
            return
        if state == "cancelling" and self.rng.random() < 0.6:
            self.nexus[scheduled] = "started"
            outcome = self.rng.choice(("Completed", "Failed"))
            self.add(f"NexusOperationCancelRequest{outcome}", scheduled_event_id=scheduled)
            return
        del self.nexus[scheduled]
        kind = self.rng.choice(("Completed", "Failed", "TimedOut", "Canceled"))
        extra: dict[str, Any] = {"scheduled_event_id": scheduled}
        if kind == "Completed":
            extra["result"] = normal.payload("n")
        elif self.rng.random() < 0.8:
            extra["failure"] = normal.failures.Failure(message="nexus broke")
        self.add(f"NexusOperation{kind}", **extra)

    def resolve_external(self) -> None:
        if not self.externals:
            return
        kind, initiated = self.externals.pop(self.rng.randrange(len(self.externals)))
        failed = self.rng.random() < 0.3
        if kind == "signal" and failed:
            self.add(
                "SignalExternalWorkflowExecutionFailed",
                initiated_event_id=initiated,
                cause=self.rng.choice((1, 2, 3)),
            )
        elif kind == "signal":
            self.add("ExternalWorkflowExecutionSignaled", initiated_event_id=initiated)
        elif failed:
            self.add(
                "RequestCancelExternalWorkflowExecutionFailed",
                initiated_event_id=initiated,
                cause=self.rng.choice((1, 2)),
            )
        else:
            self.add("ExternalWorkflowExecutionCancelRequested", initiated_event_id=initiated)
