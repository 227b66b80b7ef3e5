"""Workers, clients and time at work on a universe of runs, in steps made of small numbers.

A step is a verb and three numbers, so that a seeded generator can tell long stories and Hypothesis can shrink short
ones. `end` lets every effect arrive and then asks what must be true of all runs together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from perdure.core.limits import Limits
from perdure.core.units import SECOND_NS
from perdure.history import transitions
from perdure.history.draft.replies import CompletionReply, WorkflowTaskReply
from perdure.history.draft.tokens import WorkflowTaskToken
from perdure.wire.api import command as api
from perdure.wire.api import enums, failure, protocol, update, workflowservice
from perdure.wire.errors import RpcError
from tests.harness.builders import cancel_external, continue_as_new, signal_external, start_child
from tests.harness.commands import command_of
from tests.properties.universe import RunWorld, Universe
from tests.transcripts.world import NAMESPACE_ID

LIMITS = Limits(
    buffered_events_max=8,
    pending_children_max=5,
    pending_signals_external_max=4,
    pending_cancels_external_max=4,
    signals_per_run_max=30,
    updates_in_flight_max=3,
    updates_per_run_max=8,
)
WORKFLOW_IDS = "pqrs"
POLICIES = (1, 1, 2, 3)
"""Parent close policies: terminate, abandon, request cancel."""
REUSES = (0, 0, 0, 2, 3)


class Story:
    """See the module."""

    def __init__(self) -> None:
        self.universe = Universe(LIMITS)
        self.tokens: dict[str, WorkflowTaskToken] = {}
        self.inbox: dict[str, list[str]] = {}
        """Run id -> updates that its worker knows and has not answered."""
        self.outcomes: dict[tuple[str, str], int] = {}
        """What callers of updates were told: (run id, update id) -> event of the outcome."""
        self.names = Counter[str]()
        self._polls = 0

    def step(self, verb: str, a: int, b: int, c: int) -> None:
        """Do something. What is refused changes nothing, which the universe has checked."""
        try:
            VERBS[verb](self, a, b, c)
        except RpcError as error:
            self.names[type(error).__name__] += 1
        for world in self.universe.running():
            self._is_sound(world)
        self._one_run_of_each_id()

    # Clients.

    def _start_request(self, a: int, b: int) -> workflowservice.StartWorkflowExecutionRequest:
        request = workflowservice.StartWorkflowExecutionRequest(
            workflow_id=WORKFLOW_IDS[a % 4], request_id=f"start-{b % 7}"
        )
        request.workflow_type.name = "Order"
        request.task_queue.name = "q"
        if b % 5 == 1:
            request.workflow_run_timeout.FromSeconds(20)
        if b % 5 == 2:
            request.retry_policy.maximum_attempts = 2
        request.workflow_id_conflict_policy = (
            enums.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED,
            enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
            enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
        )[b % 3]
        return request

    def start(self, a: int, b: int, c: int) -> None:
        request = self._start_request(a, b)
        self.universe.start_with(
            request.workflow_id,
            lambda current, existing, env: transitions.start(
                current, existing, request, NAMESPACE_ID, env
            ),
        )

    def signal_with_start(self, a: int, b: int, c: int) -> None:
        start = self._start_request(a, b)
        request = workflowservice.SignalWithStartWorkflowExecutionRequest(
            workflow_id=start.workflow_id,
            request_id=start.request_id,
            workflow_type=start.workflow_type,
            task_queue=start.task_queue,
            signal_name="go",
        )
        self.universe.start_with(
            request.workflow_id,
            lambda current, existing, env: transitions.signal_with_start(
                current, existing, request, NAMESPACE_ID, env
            ),
        )

    def update_with_start(self, a: int, b: int, c: int) -> None:
        start, update_id = self._start_request(a, b), f"u{c % 4}"
        known = self.universe.updates

        def change(current: Any, existing: Any, env: Any) -> Any:
            waiting: int | None = 0
            if existing is not None:
                waiting = known.count_others(existing, update_id)
                if known.find(existing.key, update_id) is not None:
                    waiting = None
            return transitions.update_with_start(
                current, existing, start, update_id, waiting, NAMESPACE_ID, env
            )

        made = self.universe.start_with(start.workflow_id, change)
        if made.admission.is_new:
            self._admit(self.universe.find(start.workflow_id, made.admission.run_id), update_id)

    def send_update(self, a: int, b: int, c: int) -> None:
        world, update_id = self.universe.find(WORKFLOW_IDS[a % 4]), f"u{b % 4}"
        known = self.universe.updates
        admission = self.universe.change(
            world,
            lambda state, env: transitions.request_update(
                state, update_id, "", known.count_others(state, update_id), env
            ),
        )
        if admission.is_new:
            self._admit(world, update_id)

    def _admit(self, world: RunWorld, update_id: str) -> None:
        request = update.Request(meta=update.Meta(update_id=update_id))
        request.input.name = "add"
        self.universe.updates.admit(
            world.state.key, update_id, request, world.state.last_started_event_id
        )

    def signal(self, a: int, b: int, c: int) -> None:
        request = workflowservice.SignalWorkflowExecutionRequest(
            signal_name="go", request_id=f"s{b}" if b % 2 else ""
        )
        self.universe.change(
            self.universe.find(WORKFLOW_IDS[a % 4]),
            lambda state, env: transitions.signal(state, request, env),
        )

    def cancel(self, a: int, b: int, c: int) -> None:
        request = workflowservice.RequestCancelWorkflowExecutionRequest(request_id="c")
        self.universe.change(
            self.universe.find(WORKFLOW_IDS[a % 4]),
            lambda state, env: transitions.request_cancel(state, request, env),
        )

    def terminate(self, a: int, b: int, c: int) -> None:
        request = workflowservice.TerminateWorkflowExecutionRequest()
        self.universe.change(
            self.universe.find(WORKFLOW_IDS[a % 4]),
            lambda state, env: transitions.terminate(state, request, env),
        )

    # Workers.

    def poll(self, a: int, b: int, c: int) -> None:
        worlds = [world for world in self.universe.running() if world.state.workflow_task]
        if worlds:
            self._take(worlds[a % len(worlds)])

    def _take(self, world: RunWorld) -> None:
        if world.state.workflow_task_is_started:
            return
        self._polls += 1
        self._remember(self.universe.poll(world, f"poll-{self._polls}"))

    def _remember(self, reply: Any) -> None:
        if isinstance(reply, WorkflowTaskReply):
            run_id = reply.token.run_id
            self.tokens[run_id] = reply.token
            if not reply.is_sticky:
                self.inbox[run_id] = []
            carried = self.universe.updates.messages(reply)
            self.inbox.setdefault(run_id, []).extend(each.protocol_instance_id for each in carried)

    def work(self, a: int, b: int, c: int) -> None:
        """Complete a workflow task; the numbers choose its commands."""
        worlds = [world for world in self.universe.running() if world.state.workflow_task]
        if not worlds:
            return
        world = worlds[a % len(worlds)]
        self._take(world)
        token = self.tokens.get(world.state.key.run_id)
        if token is None:
            return
        request = workflowservice.RespondWorkflowTaskCompletedRequest(
            return_new_workflow_task=bool(c & 1),
            force_create_new_workflow_task=c % 16 == 3,
        )
        if c & 2:
            request.sticky_attributes.worker_task_queue.name = "cache"
            request.sticky_attributes.schedule_to_start_timeout.FromSeconds(2)
        taken = self._answer_updates(world, request, c // 16)
        self._command(request, b, c, ends=c % 3 == 0 or world.state.info.parent is not None)
        self._complete(world, token, request, taken)

    def _command(
        self,
        request: workflowservice.RespondWorkflowTaskCompletedRequest,
        b: int,
        c: int,
        *,
        ends: bool,
    ) -> None:
        while b:
            b, kind = divmod(b, 9)
            target = WORKFLOW_IDS[(b + c) % 4]
            match kind:
                case 1 | 2 | 3:
                    request.commands.append(_child(target, b))
                case 4 | 5:
                    request.commands.append(_signal(target, only_child=b % 4 == 0))
                case 6:
                    request.commands.append(_cancel(target, only_child=b % 4 == 0))
                case 7:
                    request.commands.append(command_of(f"timer t{b % 3} {b % 4}s"))
                case 8 if ends:
                    end = ("finish", "fail", "canceled", "again")[b % 4]
                    request.commands.append(_again() if end == "again" else command_of(end))
                case _:
                    pass

    def _answer_updates(
        self,
        world: RunWorld,
        request: workflowservice.RespondWorkflowTaskCompletedRequest,
        how: int,
    ) -> list[str]:
        """Answer what the worker knows; the updates that it then knows no more."""
        answered: list[str] = []
        for update_id in self.inbox.get(world.state.key.run_id, ()):
            how, answer = divmod(how, 4)
            if answer == 3:
                _say(request, update_id, update.Rejection(failure=failure.Failure(message="no")))
            else:
                accepted = update.Request(meta=update.Meta(update_id=update_id))
                _say(request, update_id, update.Acceptance(accepted_request=accepted))
                if answer == 2:
                    _say(request, update_id, _outcome(update_id))
            answered.append(update_id)
        for update_id, known in world.state.updates.items():
            how, answer = divmod(how, 5)
            if answer == 4 or (answer > 1 and not known.completed_event_id):
                _say(request, update_id, _outcome(update_id))
        return answered

    def _complete(
        self,
        world: RunWorld,
        token: WorkflowTaskToken,
        request: workflowservice.RespondWorkflowTaskCompletedRequest,
        taken: list[str],
    ) -> None:
        known = self.universe.updates

        def change(state: Any, env: Any) -> Any:
            made = transitions.complete_workflow_task(
                state, token, request, env, known.of_task(state)
            )
            if isinstance(made.reply, CompletionReply):
                known.answered(state, token.started_event_id, made.reply)
            else:
                known.failed(state.key, token.started_event_id)
            return made

        try:
            reply: CompletionReply = self.universe.change(world, change)
        except RpcError:
            self.inbox.pop(world.state.key.run_id, None)  # evicted
            raise
        knows = self.inbox.get(world.state.key.run_id, [])
        self.inbox[world.state.key.run_id] = [each for each in knows if each not in taken]
        self._remember(reply.workflow_task)

    def fail_task(self, a: int, b: int, c: int) -> None:
        worlds = [
            world for world in self.universe.running() if world.state.workflow_task_is_started
        ]
        if not worlds:
            return
        world = worlds[a % len(worlds)]
        request = workflowservice.RespondWorkflowTaskFailedRequest()
        token = self.tokens[world.state.key.run_id]
        self.universe.change(
            world, lambda state, env: transitions.fail_workflow_task(state, token, request, env)
        )

    # The world.

    def deliver(self, a: int, b: int, c: int) -> None:
        universe = self.universe
        if c % 3 == 0:
            verb = ("terminate", "work", "poll", "start", "cancel")[c // 3 % 5]
            which = (c // 15 + a) % 8
            universe.meanwhile = [None] * (b // 12 % 4)
            universe.meanwhile.append(lambda: self.step(verb, which, b // 48, c // 60))
        universe.deliver(a, dies_after=b // 3 % 4 + 1 if b % 3 == 0 else None)
        universe.meanwhile = []

    def time(self, a: int, b: int, c: int) -> None:
        self.universe.pass_time(a % 4 * SECOND_NS)

    def kill(self, a: int, b: int, c: int) -> None:
        self.universe.kill()

    # What is always true.

    def _is_sound(self, world: RunWorld) -> None:
        state = world.state
        still_open = sum(not each.completed_event_id for each in state.updates.values())
        assert state.open_updates == still_open
        task = state.workflow_task
        if task is not None and not task.started_event_id:
            offered = [
                each
                for _, each in world.tasks.items()
                if (each.scheduled_event_id, each.stamp) == (task.scheduled_event_id, task.stamp)
            ]
            assert offered, "a workflow task that nobody can take"

    def _one_run_of_each_id(self) -> None:
        running = [world.state.key for world in self.universe.running()]
        assert len({key.name for key in running}) == len(running), "two runs of one workflow id"
        for key in running:
            assert self.universe.pointers[key.name].run_id == key.run_id
        for world in self.universe.running():
            for update_id, known in world.state.updates.items():
                place = (world.state.key.run_id, update_id)
                told = self.outcomes.setdefault(place, known.completed_event_id)
                assert told in (0, known.completed_event_id), "an outcome does not change"
                self.outcomes[place] = known.completed_event_id


def _say(
    request: workflowservice.RespondWorkflowTaskCompletedRequest, update_id: str, body: Message
) -> None:
    packed = AnyMessage()
    packed.Pack(body)
    name = type(body).__name__
    request.messages.append(
        protocol.Message(id=f"{update_id}/{name}", protocol_instance_id=update_id, body=packed)
    )


def _outcome(update_id: str) -> update.Response:
    result = update.Response(meta=update.Meta(update_id=update_id))
    result.outcome.success.SetInParent()
    return result


def _child(workflow_id: str, b: int) -> api.Command:
    result = start_child(workflow_id, workflow_type={"name": "Order"})
    asked = result.start_child_workflow_execution_command_attributes
    asked.parent_close_policy = enums.ParentClosePolicy.ValueType(POLICIES[b % 4])
    asked.workflow_id_reuse_policy = enums.WorkflowIdReusePolicy.ValueType(REUSES[b % 5])
    if b % 7 == 0:
        asked.workflow_run_timeout.FromSeconds(3)
    if b % 7 == 1:
        asked.retry_policy.maximum_attempts = 2
    return result


def _signal(workflow_id: str, *, only_child: bool) -> api.Command:
    return signal_external(workflow_id, child_workflow_only=only_child)


def _cancel(workflow_id: str, *, only_child: bool) -> api.Command:
    return cancel_external(workflow_id, child_workflow_only=only_child)


def _again() -> api.Command:
    return continue_as_new(input={"payloads": [{"data": b"1"}]})


Verb = Callable[[Story, int, int, int], None]
VERBS: dict[str, Verb] = {
    "start": Story.start,
    "signal with start": Story.signal_with_start,
    "update with start": Story.update_with_start,
    "update": Story.send_update,
    "signal": Story.signal,
    "cancel": Story.cancel,
    "terminate": Story.terminate,
    "poll": Story.poll,
    "work": Story.work,
    "fail task": Story.fail_task,
    "deliver": Story.deliver,
    "time": Story.time,
    "kill": Story.kill,
}
