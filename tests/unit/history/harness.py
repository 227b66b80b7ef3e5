"""A run with a store of lists: applies transitions, and after each folds the run again from what was written.

Every test that drives the engine through `Run` therefore also tests D-3: what is in memory is what a restart would
load, deadlines included, and no deadline lies before the stored wake-up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import msgspec

from perdure.core.ids import QueueKey, QueueKind, TaskRowId
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import SECOND_NS
from perdure.entity.env import Env
from perdure.entity.transition import FactChange, Task
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history import transitions
from perdure.history.draft.deadlines import live_deadlines
from perdure.history.draft.replies import ActivityTaskReply, CompletionReply, WorkflowTaskReply
from perdure.history.draft.tokens import WorkflowTaskToken
from perdure.history.draft.transition import RunTransition
from perdure.history.loader import load_run
from perdure.history.state.facts import FACT_TYPES
from perdure.history.state.pointer import CurrentRun
from perdure.history.state.run_state import RunState
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, enums, history, taskqueue, workflowservice
from perdure.wire.errors import RpcError
from perdure.wire.events import parse_rows
from perdure.wire.times import duration
from tests.transcripts.soundness import assert_sound

NAMESPACE = "namespace-id"
QUEUE = "queue"
STICKY = "sticky-queue"
T0_NS = 1_700_000_000 * SECOND_NS

StartRequest = workflowservice.StartWorkflowExecutionRequest
CompletedRequest = workflowservice.RespondWorkflowTaskCompletedRequest


def start_request(**fields: Any) -> StartRequest:
    """A plain start; `fields` replace or add."""
    values: dict[str, Any] = {
        "workflow_id": "wf",
        "workflow_type": common.WorkflowType(name="Greeting"),
        "task_queue": taskqueue.TaskQueue(name=QUEUE, kind=enums.TASK_QUEUE_KIND_NORMAL),
        "request_id": "start-1",
        "identity": "caller",
    }
    return StartRequest(**(values | fields))


def completed(
    commands: Sequence[commands_api.Command] = (), *, sticky: bool = True, **fields: Any
) -> CompletedRequest:
    """What an SDK's worker sends: sticky, and ready to take the next task inline."""
    values: dict[str, Any] = {"identity": "worker", "return_new_workflow_task": True}
    if sticky:
        values["sticky_attributes"] = taskqueue.StickyExecutionAttributes(
            worker_task_queue=taskqueue.TaskQueue(
                name=STICKY, kind=enums.TASK_QUEUE_KIND_STICKY, normal_name=QUEUE
            ),
            schedule_to_start_timeout=duration(10 * SECOND_NS),
        )
    return CompletedRequest(commands=commands, **(values | fields))


class Run:
    """One workflow run and what a store would hold of it."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS, now_ns: int = T0_NS) -> None:
        self.now_ns = now_ns
        self.limits = limits
        self._ids = count(1)
        self._polls = count(1)
        self._sequence = count(1)
        self._state: RunState | None = None
        self.rows: list[bytes] = []
        self.facts: dict[tuple[int, str], bytes] = {}
        self.tasks: dict[TaskRowId, Task] = {}
        self.offered: list[Task] = []
        """All tasks that were ever made, of both kinds."""
        self.wake_at_ns = 0
        self.current: CurrentRun | None = None
        self.delete_at_ns = 0
        self.last: RunTransition | None = None
        self.successor: Run | None = None
        """The run that followed in the same commit."""

    # The world.

    @property
    def env(self) -> Env:
        return Env(now_ns=self.now_ns, new_id=lambda: f"id-{next(self._ids)}", limits=self.limits)

    @property
    def state(self) -> RunState:
        assert self._state is not None, "the run is not started"
        return self._state

    def pass_time(self, ns: int) -> None:
        """Only the clock moves; `wake` is a step of its own."""
        self.now_ns += ns

    # Applying.

    def do(self, verb: Callable[..., RunTransition], *arguments: Any) -> Any:
        """`verb(state, *arguments, env)`, committed; its reply, raised when that is an error."""
        before = self.state.snapshot()
        try:
            transition = verb(self.state, *arguments, self.env)
        except RpcError:
            assert self.state.snapshot() == before, "an error that was raised changed the run"
            raise
        return self.commit(transition)

    def commit(self, transition: RunTransition, *, is_wake: bool = False) -> Any:
        """Write what the transition says, load the run again, compare; its reply."""
        self.last = transition
        if transition.state is not None:
            self._state = transition.state
        if transition.events is not None:
            assert transition.events.first_event_id == len(self.events) + 1
            self.rows.append(transition.events.data)
            assert transition.events.count == len(parse_rows([transition.events.data]).events)
        self._write_facts(transition.facts)
        for row in transition.finished_tasks:
            del self.tasks[row]
        self.offered += transition.tasks
        for task in transition.tasks:
            assert task.entity == self.state.key
            self.tasks[TaskRowId(task.queue, 0, next(self._sequence))] = task
        if transition.wake_at_ns is not None:
            replaces = is_wake or not self.wake_at_ns
            self.wake_at_ns = (
                transition.wake_at_ns if replaces else min(self.wake_at_ns, transition.wake_at_ns)
            )
        self.current = transition.current or self.current
        self.delete_at_ns = transition.delete_at_ns or self.delete_at_ns
        self.check()
        for other in transition.also:
            self._follow(other)
        if isinstance(transition.reply, RpcError):
            raise transition.reply
        return transition.reply

    def _follow(self, transition: RunTransition) -> None:
        self.successor = Run(limits=self.limits, now_ns=self.now_ns)
        self.successor._ids = self._ids
        self.successor.commit(transition)

    def _write_facts(self, facts: Sequence[FactChange]) -> None:
        for change in facts:
            if change.value is None:
                self.facts.pop((change.kind, change.key), None)
            else:
                assert type(change.value) is FACT_TYPES[change.kind]
                self.facts[change.kind, change.key] = msgspec.msgpack.encode(change.value)

    def load(self) -> RunState:
        """The run as a restart would see it."""
        facts = [
            FactChange(kind, key, msgspec.msgpack.decode(data, type=FACT_TYPES[kind]))
            for (kind, key), data in self.facts.items()
        ]
        return load_run(self.state.key, self.rows, facts)

    def check(self) -> None:
        """Memory equals what is stored, and nothing that is due can be slept through."""
        state, loaded = self.state, self.load()
        assert loaded.snapshot() == state.snapshot()
        live = live_deadlines(state)
        assert loaded.deadlines == live_deadlines(loaded)
        for deadline in live:
            assert any(
                entry.kind == deadline.kind
                and entry.key == deadline.key
                and entry.at_ns <= deadline.at_ns
                for entry in state.deadlines
            ), f"nobody watches {deadline}"
        if live:
            assert 0 < self.wake_at_ns <= live[0].at_ns, "the run would sleep through a deadline"
        if state.buffered:
            assert state.workflow_task_is_started, "events wait for a task that is not started"
        assert_sound(state, parse_rows(self.rows))

    def restart(self) -> None:
        """The process died: only what was written is left."""
        self._state = self.load()

    # Verbs, shortened.

    def start(self, request: StartRequest | None = None) -> Any:
        """Start the run, as the first of its workflow id."""
        (transition,) = transitions.start(
            None, None, request or start_request(), NAMESPACE, self.env
        )
        return self.commit(transition)

    def poll(
        self,
        queue: str = QUEUE,
        *,
        kind: QueueKind = QueueKind.WORKFLOW,
        identity: str = "worker",
        request_id: str = "",
    ) -> WorkflowTaskReply | ActivityTaskReply | None:
        """The oldest task of the queue that the run still wants, started; None when there is none."""
        poll = PollInfo(identity=identity, request_id=request_id or f"poll-{next(self._polls)}")
        key = QueueKey(NAMESPACE, queue, kind)
        for row in [row for row in self.tasks if row.queue == key]:
            verb = (
                transitions.start_workflow_task
                if kind is QueueKind.WORKFLOW
                else transitions.start_activity
            )
            reply = self.do(verb, self.tasks[row], row, poll)
            if not isinstance(reply, StaleTask):
                return reply
        return None

    def poll_workflow(self, queue: str = QUEUE, **options: Any) -> WorkflowTaskReply:
        reply = self.poll(queue, **options)
        assert isinstance(reply, WorkflowTaskReply), f"no workflow task on {queue}"
        return reply

    def poll_activity(self, queue: str = QUEUE, **options: Any) -> ActivityTaskReply:
        reply = self.poll(queue, kind=QueueKind.ACTIVITY, **options)
        assert isinstance(reply, ActivityTaskReply), f"no activity task on {queue}"
        return reply

    def complete(
        self,
        task: WorkflowTaskReply | WorkflowTaskToken,
        commands: Sequence[commands_api.Command] = (),
        **fields: Any,
    ) -> CompletionReply:
        """The worker completes its workflow task with these commands."""
        token = task.token if isinstance(task, WorkflowTaskReply) else task
        return self.do(transitions.complete_workflow_task, token, completed(commands, **fields))

    def step(self, *commands: commands_api.Command, **fields: Any) -> CompletionReply:
        """Poll whichever queue has the task and complete it."""
        task = self.poll(STICKY) or self.poll(QUEUE)
        assert isinstance(task, WorkflowTaskReply)
        return self.complete(task, commands, **fields)

    def wake(self) -> None:
        self.commit(transitions.wake(self.state, self.env), is_wake=True)

    def sleep(self, ns: int) -> None:
        """Time passes; the run is woken when its stored wake-up says so, as the shell does it."""
        until_ns = self.now_ns + ns
        while 0 < self.wake_at_ns <= until_ns:
            self.now_ns = max(self.now_ns, self.wake_at_ns)
            before_ns = self.wake_at_ns
            self.wake()
            assert self.wake_at_ns == 0 or self.wake_at_ns > before_ns, "a wake-up that never ends"
        self.now_ns = until_ns

    def signal(self, name: str = "go", **fields: Any) -> Any:
        request = workflowservice.SignalWorkflowExecutionRequest(signal_name=name, **fields)
        return self.do(transitions.signal, request)

    # Looking.

    @property
    def events(self) -> list[history.HistoryEvent]:
        return list(parse_rows(self.rows).events)

    @property
    def kinds(self) -> list[str]:
        """Short names of the events, such as "WorkflowTaskStarted"."""
        return [event_kind(event) for event in self.events]

    def event(self, kind: str, number: int = -1) -> Any:
        """The attributes of the last (or given) event of this kind."""
        matching = [event for event in self.events if event_kind(event) == kind]
        event = matching[number]
        field = event.WhichOneof("attributes")
        assert field is not None
        return getattr(event, field)


def event_kind(event: history.HistoryEvent) -> str:
    name = enums.EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    return name.title().replace("_", "")


# Commands.


def command(**attributes: Any) -> commands_api.Command:
    """The command with these attributes; its type follows from them."""
    (field,) = attributes
    name = field.removesuffix("_command_attributes").upper()
    return commands_api.Command(
        command_type=enums.CommandType.Value(f"COMMAND_TYPE_{name}"), **attributes
    )


def complete_workflow(result: str = "done") -> commands_api.Command:
    attributes = commands_api.CompleteWorkflowExecutionCommandAttributes(result=payloads(result))
    return command(complete_workflow_execution_command_attributes=attributes)


def schedule_activity(activity_id: str = "1", **fields: Any) -> commands_api.Command:
    values: dict[str, Any] = {
        "activity_id": activity_id,
        "activity_type": common.ActivityType(name="Compose"),
        "task_queue": taskqueue.TaskQueue(name=QUEUE),
        "start_to_close_timeout": duration(10 * SECOND_NS),
    }
    attributes = commands_api.ScheduleActivityTaskCommandAttributes(**(values | fields))
    return command(schedule_activity_task_command_attributes=attributes)


def start_timer(timer_id: str = "1", ns: int = 60 * SECOND_NS) -> commands_api.Command:
    attributes = commands_api.StartTimerCommandAttributes(
        timer_id=timer_id, start_to_fire_timeout=duration(ns)
    )
    return command(start_timer_command_attributes=attributes)


def cancel_timer(timer_id: str = "1") -> commands_api.Command:
    attributes = commands_api.CancelTimerCommandAttributes(timer_id=timer_id)
    return command(cancel_timer_command_attributes=attributes)


def payloads(*values: str) -> common.Payloads:
    return common.Payloads(
        payloads=[
            common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{value}"'.encode())
            for value in values
        ]
    )
