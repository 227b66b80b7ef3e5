"""Valid random histories: the scripted workflow on our engine, against a small server.

The server keeps the rules that make a history valid (S-1, S-2, S-4, S-5, S-8, S-16, S-17) and
nothing else. It also checks, at every task, that a worker which lost its cache sees the same
activations as the one that did not.
"""

from __future__ import annotations

import random
from typing import Any, Final

from perdure.replay.engine import WorkflowReplay
from perdure.replay.jobs import Activation, Cancelled, Completed, DoUpdate, Failed
from perdure.replay.local import LocalActivityRequest, LocalResult
from perdure.replay.task import Completion, EngineConfig, RunInfo, WorkflowTask
from perdure.wire.api import command as api
from perdure.wire.api import common, enums, history, protocol, taskqueue, update
from perdure.wire.times import duration
from tests.replay.oracle import normal
from tests.replay.oracle.ours import step
from tests.replay.oracle.script import Scripted
from tests.replay.oracle.world import START_NS, World

_E: Final = enums.EventType
_C: Final = enums.CommandType
MAX_TASKS: Final = 40


class Inconsistent(AssertionError):
    """A cold replay saw something else than the cached run."""


class Server(World):
    """One run: its history, what is pending, and its worker."""

    def __init__(self, seed: int) -> None:
        super().__init__(random.Random(seed ^ 0x5EED))
        self.seed = seed
        self.run_id = f"{seed:08x}-0000-4000-8000-000000000000"
        self.closed = False
        self.accepted: dict[str, int] = {}
        self.updates = 0
        self.previous_started = 0
        self.completed_at = 0
        self.had_commands = False
        self.local: dict[int, LocalActivityRequest] = {}
        self.merged = self.forced = False
        self.heartbeats = 3
        """How many workflow tasks may still be ended early for local activities."""
        self.engine: WorkflowReplay | None = None
        self.script = Scripted(seed)
        self.seen: list[Activation] = []
        self.add(
            "WorkflowExecutionStarted",
            workflow_type=common.WorkflowType(name="Script"),
            task_queue=taskqueue.TaskQueue(name="queue"),
            workflow_task_timeout=duration(10_000_000_000),
            original_execution_run_id=self.run_id,
            first_execution_run_id=self.run_id,
            input=common.Payloads(payloads=[normal.payload("in")]),
            attempt=1,
        )

    # --- the run ---

    def run(self) -> list[history.HistoryEvent]:
        """Run the workflow to its end, or until it has had enough tasks."""
        self.task()
        for _ in range(MAX_TASKS):
            if self.closed:
                break
            for _ in range(self.rng.choice((0, 1, 1, 1, 2, 3))):
                self.outside()
            self.task()
        return self.events

    # --- workflow tasks ---

    def task(self) -> None:
        """One workflow task: perhaps it is lost, perhaps the worker's cache is."""
        while len(self.events) > self.completed_at and self.rng.random() < 0.12:
            self.lost_task()
        happened = len(self.events) > self.completed_at
        news = happened or self.forced
        self.forced = False
        # After a task without commands, a cold worker cannot tell an update's task from a
        # heartbeat: both engines then merge the two, so no such history is made here.
        tells_tasks_apart = happened or self.had_commands
        speculative = not news and self.had_commands
        if not news and not speculative:
            self.signal()
        mark = len(self.events)
        scheduled = self.add("WorkflowTaskScheduled", attempt=1)
        started = self.add(
            "WorkflowTaskStarted",
            scheduled_event_id=scheduled,
            history_size_bytes=len(self.events) * 100,
            suggest_continue_as_new=len(self.events) > 60,
        )
        self.task_started = True
        count = self.rng.choice((1, 2)) if speculative else self.rng.choice((0, 0, 0, 1, 2))
        if not tells_tasks_apart:
            count = 0
        messages = [self.update_request(started - 1) for _ in range(count)]
        known = len(self.seen)
        completion = self.work(started, messages)
        while self.rng.random() < 0.15:
            self.outside()
        self.task_started = False
        if speculative and not completion.commands and not self.buffered:
            # Only rejections: the task never was (S-16).
            del self.events[mark:]
            assert self.engine is not None
            self.engine.task_reported(self.previous_started)
        elif completion.is_terminal and self.buffered:
            self._task_failed(scheduled, started, 27)  # UNHANDLED_COMMAND, S-4
            self.engine = None
            del self.seen[known:]
        else:
            self.previous_started = started
            self.complete(scheduled, started, completion)
            self.completed_at = len(self.events)
            self.had_commands = bool(completion.commands)
            if completion.force_create_new_workflow_task:
                self.heartbeats -= 1
                self.merged = True
                self.forced = True
        waiting, self.buffered = self.buffered, []
        if not self.closed:
            for event in waiting:
                event()

    def lost_task(self) -> None:
        """A task that no worker answered."""
        scheduled = self.add("WorkflowTaskScheduled", attempt=1)
        how = self.rng.choice(("sticky", "timed_out", "failed", "reset"))
        started = 0
        if how != "sticky":
            started = self.add("WorkflowTaskStarted", scheduled_event_id=scheduled)
        if how in {"sticky", "timed_out"}:
            self.add("WorkflowTaskTimedOut", scheduled_event_id=scheduled, started_event_id=started)
        else:
            reset = enums.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
            self._task_failed(scheduled, started, reset if how == "reset" else 24)
        if self.rng.random() < 0.5:
            self.outside()

    def _task_failed(self, scheduled: int, started: int, cause: Any) -> None:
        self.add(
            "WorkflowTaskFailed",
            scheduled_event_id=scheduled,
            started_event_id=started,
            cause=cause,
            new_run_id=f"reset-{self.rng.randrange(1000)}",
        )

    def update_request(self, sequencing_event_id: int) -> protocol.Message:
        self.updates += 1
        name = self.rng.choice(("set", "bad"))
        request = update.Request(
            meta=update.Meta(update_id=f"u{self.updates}", identity="somebody"),
            input=update.Input(name=name),
        )
        message = protocol.Message(
            id=f"u{self.updates}/request",
            protocol_instance_id=f"u{self.updates}",
            event_id=sequencing_event_id,
        )
        message.body.Pack(request)
        return message

    def work(self, started: int, messages: list[protocol.Message]) -> Completion:
        """Let the worker run the task, from its cache or from the beginning."""
        first = 1
        if self.engine is not None and self.rng.random() < 0.6:
            first = self.previous_started + 1
        else:
            info = RunInfo("default", "wf", self.run_id, "Script", "queue")
            self.local.clear()
            self.engine = WorkflowReplay(info, EngineConfig(sdk_version="1"))
            self.script = Scripted(self.seed)
            known, self.seen = self.seen, []
            self._advance(first, started, messages)
            answer = self._answer()
            before = self._comparable(known)
            again = self._comparable(self.seen)[: len(before)]
            if again != before:
                raise Inconsistent(f"seed {self.seed}: cold replay saw\n{again}\nbut\n{before}")
            return answer
        self._advance(first, started, messages)
        return self._answer()

    def _comparable(self, activations: list[Activation]) -> list[Any]:
        """What must be equal for a cached run and its cold replay.

        Tasks that were kept alive are merged on replay, so times and lengths differ (R-3); one
        that only brings patches causes an activation on replay that did not happen live.
        """
        facts = [_facts(activation) for activation in activations]
        return [each[2:] if self.merged else each for each in facts if each[2]]

    def _advance(self, first: int, started: int, messages: list[protocol.Message]) -> None:
        assert self.engine is not None
        need = self.engine.feed(
            WorkflowTask(
                self.events[first - 1 :], self.previous_started, started, messages=messages
            )
        )
        assert need is None
        while True:
            activation = self.engine.next()
            if activation is None:
                if not self._run_local_activity():
                    return
                continue
            rejected_only = all(
                isinstance(job, DoUpdate) and job.run_validator and job.name == "bad"
                for job in activation.jobs
            )
            if not rejected_only:
                self.seen.append(activation)
            assert self.engine.commit(step(self.script, activation)) is None

    def _run_local_activity(self) -> bool:
        """One local activity ends; False when none runs, or the task is kept alive instead."""
        engine = self.engine
        assert engine is not None
        for request in engine.local_requests():
            if isinstance(request, LocalActivityRequest):
                self.local[request.command.seq] = request
        if engine.error is not None or not engine.waits_for_local_activities:
            self.local.clear()
            return False
        if self.heartbeats and self.rng.random() < 0.15:
            return False
        seq = self.rng.choice(list(self.local))
        del self.local[seq]
        engine.local_result(seq, self._local_result())
        return True

    def _local_result(self) -> LocalResult:
        failure = normal.failures.Failure(message="it broke")
        canceled = normal.failures.Failure(
            canceled_failure_info=normal.failures.CanceledFailureInfo()
        )
        outcomes = (Completed(normal.payload("l")), Failed(failure), Cancelled(canceled))
        outcome = self.rng.choice(outcomes)
        backoff = (
            90_000_000_000 if isinstance(outcome, Failed) and self.rng.random() < 0.3 else None
        )
        return LocalResult(
            outcome,
            runtime_ns=self.rng.randrange(1_000_000),
            backoff_ns=backoff,
            original_schedule_time_ns=START_NS,
        )

    def _answer(self) -> Completion:
        assert self.engine is not None
        if self.engine.error is not None:
            raise Inconsistent(f"seed {self.seed}: {self.engine.error}")
        answer = self.engine.ready() or self.engine.heartbeat()
        assert isinstance(answer, Completion), answer
        return answer

    # --- commands ---

    def complete(self, scheduled: int, started: int, completion: Completion) -> None:
        completed = self.add(
            "WorkflowTaskCompleted",
            scheduled_event_id=scheduled,
            started_event_id=started,
            sdk_metadata=completion.sdk_metadata,
        )
        messages = {message.id: message for message in completion.messages}
        for command in completion.commands:
            if self.closed:
                break
            self._record(command, completed, messages)

    def _record(
        self, command: api.Command, completed: int, messages: dict[str, protocol.Message]
    ) -> None:
        name = _C.Name(command.command_type).removeprefix("COMMAND_TYPE_").lower()
        attributes: Any = getattr(
            command,
            f"{name}_command_attributes",
            None,
        )
        if name == "protocol_message":
            self._record_message(messages[attributes.message_id])
            return
        if name == "cancel_timer":
            started = self.timers.pop(attributes.timer_id)
            self.add("TimerCanceled", timer_id=attributes.timer_id, started_event_id=started)
            return
        event_name, copied = _RECORDED[name]
        event_attributes: Any = getattr(history, f"{_pascal(event_name)}EventAttributes")()
        for field in copied:
            value = getattr(attributes, field)
            target = {"execution": "workflow_execution"}.get(field, field)
            if isinstance(value, (str, int, bool)):
                setattr(event_attributes, target, value)
            else:
                getattr(event_attributes, target).CopyFrom(value)
        if name == "request_cancel_external_workflow_execution":
            event_attributes.workflow_execution.workflow_id = attributes.workflow_id
        if name == "record_marker":
            if attributes.HasField("failure"):
                event_attributes.failure.CopyFrom(attributes.failure)
            for key in attributes.details:
                event_attributes.details[key].CopyFrom(attributes.details[key])
        event_id = self.append(
            getattr(_E, f"EVENT_TYPE_{event_name.upper()}"),
            **{f"{event_name}_event_attributes": event_attributes},
        )
        self._remember(name, attributes, event_id)

    def _remember(self, name: str, attributes: Any, event_id: int) -> None:
        match name:
            case "schedule_activity_task":
                self.activities[attributes.activity_id] = (event_id, False)
            case "request_cancel_activity_task":
                scheduled = attributes.scheduled_event_id
                self.cancel_wanted.update(
                    key for key, (known, _) in self.activities.items() if known == scheduled
                )
            case "start_timer":
                self.timers[attributes.timer_id] = event_id
            case "start_child_workflow_execution":
                child = (event_id, attributes.workflow_type.name, "initiated")
                self.children[attributes.workflow_id] = child
            case "schedule_nexus_operation":
                self.nexus[event_id] = "scheduled"
            case "request_cancel_nexus_operation":
                if self.nexus.get(attributes.scheduled_event_id) == "started":
                    self.nexus[attributes.scheduled_event_id] = "cancelling"
            case "signal_external_workflow_execution":
                self.externals.append(("signal", event_id))
            case "request_cancel_external_workflow_execution":
                self.externals.append(("cancel", event_id))
            case (
                "record_marker" | "upsert_workflow_search_attributes" | "modify_workflow_properties"
            ):
                pass
            case _:
                self.closed = True

    def _record_message(self, message: protocol.Message) -> None:
        instance = message.protocol_instance_id
        accepted, response = update.Acceptance(), update.Response()
        if message.body.Unpack(accepted):
            self.accepted[instance] = self.add(
                "WorkflowExecutionUpdateAccepted",
                protocol_instance_id=instance,
                accepted_request_message_id=accepted.accepted_request_message_id,
                accepted_request_sequencing_event_id=(
                    accepted.accepted_request_sequencing_event_id
                ),
                accepted_request=accepted.accepted_request,
            )
        elif message.body.Unpack(response):
            self.add(
                "WorkflowExecutionUpdateCompleted",
                meta=response.meta,
                accepted_event_id=self.accepted[instance],
                outcome=response.outcome,
            )


def _facts(activation: Activation) -> Any:
    """What must be the same whether the worker had the run in its cache or not."""
    facts = normal.activation(activation)
    jobs = [
        ("update", *job[1:3], job[4]) if job[0] == "update" else job
        for job in facts["jobs"]
        if job[0] != "patch" and not (job[0] == "update" and job[2] == "bad")
    ]
    return facts["time_ns"], facts["history_length"], jobs


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_RECORDED: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "start_timer": ("timer_started", ("timer_id",)),
    "schedule_activity_task": ("activity_task_scheduled", ("activity_id", "activity_type")),
    "request_cancel_activity_task": ("activity_task_cancel_requested", ("scheduled_event_id",)),
    "record_marker": ("marker_recorded", ("marker_name",)),
    "upsert_workflow_search_attributes": (
        "upsert_workflow_search_attributes",
        ("search_attributes",),
    ),
    "modify_workflow_properties": ("workflow_properties_modified", ("upserted_memo",)),
    "schedule_nexus_operation": (
        "nexus_operation_scheduled",
        ("endpoint", "service", "operation"),
    ),
    "request_cancel_nexus_operation": ("nexus_operation_cancel_requested", ("scheduled_event_id",)),
    "start_child_workflow_execution": (
        "start_child_workflow_execution_initiated",
        ("namespace", "workflow_id", "workflow_type"),
    ),
    "signal_external_workflow_execution": (
        "signal_external_workflow_execution_initiated",
        ("signal_name", "execution", "child_workflow_only"),
    ),
    "request_cancel_external_workflow_execution": (
        "request_cancel_external_workflow_execution_initiated",
        ("reason", "child_workflow_only"),
    ),
    "complete_workflow_execution": ("workflow_execution_completed", ("result",)),
    "fail_workflow_execution": ("workflow_execution_failed", ("failure",)),
    "cancel_workflow_execution": ("workflow_execution_canceled", ("details",)),
    "continue_as_new_workflow_execution": (
        "workflow_execution_continued_as_new",
        ("workflow_type",),
    ),
}


def generate(seed: int) -> list[history.HistoryEvent]:
    """The history of run number ``seed``."""
    return Server(seed).run()
