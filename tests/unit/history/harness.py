"""A stored run with the verbs of clients and workers, and the requests and commands that its tests send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from perdure.core.ids import QueueKind
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import SECOND_NS
from perdure.entity.workers import PollInfo, StaleTask
from perdure.history import transitions
from perdure.history.draft.replies import ActivityTaskReply, CompletionReply, WorkflowTaskReply
from perdure.history.draft.tokens import WorkflowTaskToken
from perdure.history.draft.transition import RunTransition
from perdure.wire.api import command as commands_api
from perdure.wire.api import common, enums, history, taskqueue, workflowservice
from perdure.wire.errors import RpcError
from perdure.wire.times import duration
from tests.harness import builders
from tests.harness.builders import json_payloads
from tests.harness.stored_run import StoredRun

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


class Run(StoredRun):
    """One workflow run; each verb is committed, and what it replies is returned, or raised when it is an error."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS, now_ns: int = T0_NS) -> None:
        super().__init__(limits, now_ns)
        self._polls = count(1)
        self.successor: Run | None = None
        """The run that followed in the same commit."""

    def pass_time(self, ns: int) -> None:
        """Only the clock moves; `wake` is a step of its own."""
        self.now_ns += ns

    def do(self, verb: Callable[..., RunTransition], *arguments: Any) -> Any:
        """`verb(state, *arguments, env)`, committed; its reply."""
        before = self.state.snapshot()
        try:
            transition = verb(self.state, *arguments, self.env)
        except RpcError:
            assert self.state.snapshot() == before, "an error that was raised changed the run"
            raise
        return self.reply_of(transition)

    def reply_of(self, transition: RunTransition) -> Any:
        """Commit a transition; its reply."""
        self.commit(transition)
        if isinstance(transition.reply, RpcError):
            raise transition.reply
        return transition.reply

    def follow_with(self, transition: RunTransition) -> None:
        self.successor = Run(limits=self.limits, now_ns=self.now_ns)
        self.successor.new_id = self.new_id
        self.successor.commit(transition)

    # Verbs, shortened.

    def start(self, request: StartRequest | None = None) -> Any:
        """Start the run, as the first of its workflow id."""
        (transition,) = transitions.start(
            None, None, request or start_request(), NAMESPACE, self.env
        )
        return self.reply_of(transition)

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
        for row, _ in self.queue(kind, queue):
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

    def sleep(self, ns: int) -> None:
        """Time passes; the run is woken when its stored wake-up says so, as the shell does it."""
        until_ns = self.now_ns + ns
        while 0 < self.wake_at_ns <= until_ns:
            self.now_ns = max(self.now_ns, self.wake_at_ns)
            self.wake()
        self.now_ns = until_ns

    def signal(self, name: str = "go", **fields: Any) -> Any:
        request = workflowservice.SignalWorkflowExecutionRequest(signal_name=name, **fields)
        return self.do(transitions.signal, request)

    # Looking.

    @property
    def events(self) -> list[history.HistoryEvent]:
        return list(self.history.events)

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
    return builders.complete_workflow(result=json_payloads(result))


def schedule_activity(activity_id: str = "1", **fields: Any) -> commands_api.Command:
    usual: dict[str, Any] = {"activity_type": {"name": "Compose"}}
    return builders.schedule_activity(activity_id, QUEUE, **(usual | fields))


def start_timer(timer_id: str = "1", ns: int = 60 * SECOND_NS) -> commands_api.Command:
    return builders.start_timer(timer_id, ns)
