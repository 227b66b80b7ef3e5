"""Histories in a few words, and a driver that plays user code."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from perdure.replay import commands as cmd
from perdure.replay.engine import WorkflowReplay
from perdure.replay.jobs import Activation
from perdure.replay.markers import (
    CHANGE_VERSION_KEY,
    PATCH_MARKER,
    change_version_payload,
    patch_details,
)
from perdure.replay.task import EngineConfig, NeedPage, RunInfo, WorkflowTask
from perdure.wire.api import common, enums, history, sdk
from perdure.wire.times import timestamp

SECOND_NS = 1_000_000_000
RUN = RunInfo("default", "wf-1", "run-1", "Order", "queue")
ALL_FLAGS = sdk.WorkflowTaskCompletedMetadata(core_used_flags=[1, 2, 3, 4])


def payload(text: str = "x") -> common.Payload:
    return common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())


class Events(list[history.HistoryEvent]):
    """A history under construction; event n happens at second n."""

    def add(self, name: str, **fields: Any) -> int:
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        event = history.HistoryEvent(
            event_id=len(self) + 1,
            event_time=timestamp((len(self) + 1) * SECOND_NS),
            event_type=getattr(enums.EventType, f"EVENT_TYPE_{snake.upper()}"),
        )
        attributes = getattr(event, f"{snake}_event_attributes")
        attributes.SetInParent()
        attributes.MergeFrom(type(attributes)(**fields))
        self.append(event)
        return event.event_id

    def start(self) -> Events:
        self.add(
            "WorkflowExecutionStarted",
            workflow_type=common.WorkflowType(name="Order"),
            original_execution_run_id="run-1",
            attempt=1,
        )
        return self.task()

    def task(self) -> Events:
        """A workflow task that starts."""
        scheduled = self.add("WorkflowTaskScheduled")
        self.add("WorkflowTaskStarted", scheduled_event_id=scheduled)
        return self

    def completed(self, metadata: sdk.WorkflowTaskCompletedMetadata | None = ALL_FLAGS) -> Events:
        """… and completes."""
        started = len(self)
        self.add(
            "WorkflowTaskCompleted",
            scheduled_event_id=started - 1,
            started_event_id=started,
            sdk_metadata=metadata,
        )
        return self

    def activity(self, activity_id: str = "1", name: str = "charge") -> int:
        return self.add(
            "ActivityTaskScheduled",
            activity_id=activity_id,
            activity_type=common.ActivityType(name=name),
        )

    def activity_done(self, scheduled: int, outcome: str = "Completed", **fields: Any) -> Events:
        started = self.add("ActivityTaskStarted", scheduled_event_id=scheduled)
        self.add(
            f"ActivityTask{outcome}",
            scheduled_event_id=scheduled,
            started_event_id=started,
            **fields,
        )
        return self

    def timer(self, timer_id: str = "1") -> int:
        return self.add("TimerStarted", timer_id=timer_id)

    def fired(self, started: int, timer_id: str = "1") -> Events:
        self.add("TimerFired", timer_id=timer_id, started_event_id=started)
        return self

    def signal(self, name: str = "go") -> Events:
        self.add("WorkflowExecutionSignaled", signal_name=name)
        return self

    def marker(self, patch_id: str, *, deprecated: bool = False) -> int:
        return self.add(
            "MarkerRecorded",
            marker_name=PATCH_MARKER,
            details=patch_details(patch_id, deprecated=deprecated),
        )

    def change_version(self, *patch_ids: str) -> int:
        value = change_version_payload(patch_ids)
        assert value is not None
        return self.add(
            "UpsertWorkflowSearchAttributes",
            search_attributes=common.SearchAttributes(indexed_fields={CHANGE_VERSION_KEY: value}),
        )

    def failed(self, cause: int = 24, **fields: Any) -> Events:
        started = len(self)
        self.add(
            "WorkflowTaskFailed",
            scheduled_event_id=started - 1,
            started_event_id=started,
            cause=cause,
            **fields,
        )
        return self

    def done(self) -> Events:
        self.add("WorkflowExecutionCompleted")
        return self


Code = Callable[[Activation], Sequence[cmd.Command]]


def script(*steps: Sequence[cmd.Command]) -> Code:
    """User code that issues ``steps[n]`` on its n-th activation, then nothing."""
    left = list(steps)
    return lambda _activation: left.pop(0) if left else ()


class Driver:
    """An engine with user code, and every activation it was given."""

    def __init__(self, code: Code, config: EngineConfig | None = None) -> None:
        self.engine = WorkflowReplay(RUN, config or EngineConfig("ours", "1"))
        self.code = code
        self.seen: list[Activation] = []
        self.needs: list[NeedPage] = []

    def feed(self, task: WorkflowTask, pages: Sequence[Sequence[history.HistoryEvent]] = ()) -> Any:
        """Run the task to its answer."""
        left = list(pages)

        def fetch(need: NeedPage | None) -> None:
            while need is not None:
                self.needs.append(need)
                page = left.pop(0)
                need = self.engine.feed_page(page, b"more" if left else b"")

        fetch(self.engine.feed(task))
        while (activation := self.engine.next()) is not None:
            self.seen.append(activation)
            fetch(self.engine.commit(cmd.ActivationResult(commands=self.code(activation))))
        return self.engine.ready()

    def replay(self, events: Sequence[history.HistoryEvent]) -> Driver:
        """Replay a recorded history."""
        self.feed(WorkflowTask.from_history(events))
        return self

    @property
    def jobs(self) -> list[list[str]]:
        """Names of the jobs of each activation."""
        return [[type(job).__name__ for job in activation.jobs] for activation in self.seen]


def live(events: Sequence[history.HistoryEvent], previous: int = 0, **more: Any) -> WorkflowTask:
    """A task whose newest event is its start, delivered with all of ``events``."""
    return WorkflowTask(events, previous, events[-1].event_id, **more)


def timer(seq: int = 1) -> cmd.StartTimer:
    return cmd.StartTimer(seq=seq, start_to_fire_timeout_ns=SECOND_NS)


def activity(
    seq: int = 1,
    name: str = "charge",
    cancel: cmd.ActivityCancellationType = cmd.ActivityCancellationType.TRY_CANCEL,
) -> cmd.ScheduleActivity:
    return cmd.ScheduleActivity(
        seq=seq, activity_type=name, start_to_close_timeout_ns=SECOND_NS, cancellation_type=cancel
    )
