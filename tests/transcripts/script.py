"""The language of transcripts: a verb per line, options as `name=value`; indented lines are a completion's commands.

A line that starts with a dot sets the scene: what it does is not shown. A block ends at `----`; what follows, up to an
empty line, is what the engine did. `reload` is a process that died: the rest goes on from what was stored.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from perdure.core.ids import QueueKind, TaskRowId
from perdure.entity.transition import Task
from perdure.entity.workers import PollInfo
from perdure.history.activity import attempts as activity
from perdure.history.draft.replies import (
    ActivityTaskReply,
    CompletionReply,
    EagerStartReply,
    WorkflowTaskReply,
)
from perdure.history.draft.tokens import ActivityTaskToken, WorkflowTaskToken
from perdure.history.draft.transition import RunTransition
from perdure.history.workflow_task import attempts as workflow_task
from perdure.wire.api import common, enums, workflowservice
from perdure.wire.errors import RpcError
from tests.harness.commands import (
    Options,
    command_of,
    failure_of,
    is_message,
    message_of,
    payloads,
    split,
)
from tests.harness.values import set_field, span
from tests.transcripts.others import Others
from tests.transcripts.render import error_lines, transition_lines
from tests.transcripts.world import LIMITS


class Block(NamedTuple):
    """A piece of a transcript: text before it, what to do, and what should come of it."""

    comment: list[str]
    lines: list[str]
    expected: list[str]


def parse(text: str) -> list[Block]:
    blocks: list[Block] = []
    comment: list[str] = []
    lines: list[str] = []
    rest = iter(text.splitlines())
    for line in rest:
        if line == "----":
            expected: list[str] = []
            for result in rest:
                if not result:
                    break
                expected.append(result)
            blocks.append(Block(comment, lines, expected))
            comment, lines = [], []
        elif lines or (line and not line.startswith("#")):
            lines.append(line)
        else:
            comment.append(line)
    assert not lines, f"a block without ----: {lines}"
    return blocks


class Outcome(NamedTuple):
    """A transcript that was run: its text, what the text should be, and which facts it wrote."""

    written: str
    actual: str
    fact_kinds: frozenset[int]


def run(path: Path) -> Outcome:
    """Run a transcript."""
    text = path.read_text()
    script = Script()
    out: list[str] = []
    for block in parse(text):
        out += [*block.comment, *block.lines, "----", *script.run(block.lines), ""]
    return Outcome(text, "\n".join(out), frozenset(script.world.fact_kinds_seen))


class Script(Others):
    """The state of a transcript between its lines: the world, and the tokens that its workers hold."""

    def __init__(self) -> None:
        super().__init__()
        self.task_token: WorkflowTaskToken | None = None
        self.activity_tokens: dict[str, ActivityTaskToken] = {}
        self.previous_tokens: dict[str, ActivityTaskToken] = {}
        self.polled: tuple[TaskRowId, Task] | None = None
        self._deliveries = 0

    def run(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        position = 0
        while position < len(lines):
            words = shlex.split(lines[position])
            position += 1
            commands: list[str] = []
            while position < len(lines) and lines[position].startswith(" "):
                commands.append(lines[position].strip())
                position += 1
            done = self._line([words[0].removeprefix("."), *words[1:]], commands)
            out += [] if words[0].startswith(".") else done
        return out

    def _line(self, words: list[str], commands: list[str]) -> list[str]:
        verb, names, options = split(words)
        method: Callable[..., RunTransition | list[RunTransition | str] | None] = getattr(
            self, f"_do_{verb.replace('-', '_')}"
        )
        try:
            if commands:
                options["commands"] = "\n".join(commands)
            transition = method(*names, options=options)
        except RpcError as error:
            self.world.check()
            return error_lines(error)
        if transition is None:
            return []
        out: list[str] = []
        for each in transition if isinstance(transition, list) else [transition]:
            if isinstance(each, str):
                out.append(each)
                continue
            self._remember(each.reply)
            out += transition_lines(each, self.world.now_ns) or ["nothing"]
        return out

    def _remember(self, reply: Any) -> None:
        match reply:
            case WorkflowTaskReply():
                self.task_token = reply.token
            case ActivityTaskReply():
                name = reply.token.activity_id
                if name in self.activity_tokens:
                    self.previous_tokens[name] = self.activity_tokens[name]
                self.activity_tokens[name] = reply.token
            case EagerStartReply():
                self._remember(reply.task)
            case CompletionReply():
                self._remember(reply.workflow_task)
                for each in reply.activities:
                    self._remember(each)
            case _:
                pass

    # Verbs of the world.

    def _do_limits(self, options: Options) -> None:
        changed = {name: int(value) for name, value in options.items()}
        self.world.limits = msgspec.structs.replace(LIMITS, **changed)

    def _do_wait(self, how_long: str, options: Options) -> None:
        self.world.advance_to(self.world.now_ns + span(how_long))

    def _do_wake(self, how_long: str = "0s", *, options: Options) -> RunTransition:
        self._do_wait(how_long, options)
        return self.world.wake()

    def _do_show(self, *names: str, options: Options) -> list[str]:
        def text(items: tuple[tuple[str, bytes], ...]) -> str:
            decoded = {key: common.Payload.FromString(value).data.decode() for key, value in items}
            return str(decoded)

        state = self.world.state
        return [f"{name} {text(getattr(state, name))}" for name in names]

    def _do_reload(self, options: Options) -> None:
        self.world.reload()

    # Verbs of workers.

    def _poll_info(self, options: Options) -> PollInfo:
        self._deliveries += 1
        request_id = options.get("request", f"poll-{self._deliveries}")
        return PollInfo(
            identity="worker", request_id=request_id, queue_name=options.get("worker", "")
        )

    def _do_poll(self, what: str, options: Options) -> RunTransition:
        kind = QueueKind.WORKFLOW if what == "workflow" else QueueKind.ACTIVITY
        waiting = self.world.queue(kind, options.get("queue"))
        assert waiting, f"no task waits on a {what} queue"
        row, task = self.polled = waiting[int(options.get("skip", 0))]
        return self._start_task(kind, row, task, options)

    def _do_poll_again(self, what: str, options: Options) -> RunTransition:
        """A poll that gets the task of the last one again, or the oldest when there was none."""
        kind = QueueKind.WORKFLOW if what == "workflow" else QueueKind.ACTIVITY
        known = self.polled
        if (
            known is None
            or known[1].queue.kind is not kind
            or known[1].entity != self.world.state.key
        ):
            known = self.polled = self.world.queue(kind)[0]
        row, task = known
        return self._start_task(kind, row if row in self.world.tasks else None, task, options)

    def _start_task(
        self, kind: QueueKind, row: TaskRowId | None, task: Task, options: Options
    ) -> RunTransition:
        world, poll = self.world, self._poll_info(options)
        start = workflow_task.start_workflow_task
        if kind is QueueKind.ACTIVITY:
            start = activity.start_activity
        return world.commit(start(world.state, task, row, poll, world.env))

    def _do_complete(self, options: Options) -> RunTransition:
        request = workflowservice.RespondWorkflowTaskCompletedRequest(identity="worker")
        for path in [path for path in options if "." in path or path == "binary_checksum"]:
            set_field(request, path, options[path])
        for line in options.get("commands", "").splitlines():
            if is_message(line):
                request.messages.append(message_of(line))
            else:
                request.commands.append(command_of(line))
        if "sticky" in options:
            request.sticky_attributes.worker_task_queue.name = options["sticky"]
            request.sticky_attributes.schedule_to_start_timeout.FromSeconds(10)
        request.return_new_workflow_task = "inline" in options
        request.force_create_new_workflow_task = "force" in options
        world = self.world
        assert self.task_token is not None, "poll first"
        return world.commit(
            workflow_task.complete_workflow_task(
                world.state, self.task_token, request, world.env, self.updates_of(options)
            )
        )

    def _do_reset_sticky(self, options: Options) -> RunTransition:
        return self.world.commit(workflow_task.reset_sticky(self.world.state, self.world.env))

    def _do_fail_task(self, options: Options) -> RunTransition:
        request = workflowservice.RespondWorkflowTaskFailedRequest(
            cause=enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
            identity="worker",
        )
        for path, value in options.items():
            set_field(request, path, value)
        world = self.world
        assert self.task_token is not None, "poll first"
        return world.commit(
            workflow_task.fail_workflow_task(world.state, self.task_token, request, world.env)
        )

    def _token(self, activity_id: str, options: Options) -> ActivityTaskToken:
        if "by_id" in options:
            return activity.activity_token_by_id(self.world.state, activity_id)
        if "previous" in options:
            return self.previous_tokens[activity_id]
        return self.activity_tokens[activity_id]

    def _do_done(self, activity_id: str, result: str = "", *, options: Options) -> RunTransition:
        kind = workflowservice.RespondActivityTaskCompletedRequest
        if "by_id" in options:
            kind = workflowservice.RespondActivityTaskCompletedByIdRequest
        request = kind(identity="worker", result=payloads(result) if result else None)
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.complete_activity(world.state, token, request, world.env))

    def _do_failed(self, activity_id: str, options: Options) -> RunTransition:
        fail_kind = workflowservice.RespondActivityTaskFailedRequest
        if "by_id" in options:
            fail_kind = workflowservice.RespondActivityTaskFailedByIdRequest
        request = fail_kind(identity="worker", failure=failure_of(options))
        if "none" in options:
            request.ClearField("failure")
        for path in [path for path in options if path.startswith("failure.")]:
            set_field(request, path, options[path])
        if "details" in options:
            request.last_heartbeat_details.CopyFrom(payloads(options["details"]))
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.fail_activity(world.state, token, request, world.env))

    def _do_canceled(self, activity_id: str, options: Options) -> RunTransition:
        cancel_kind = workflowservice.RespondActivityTaskCanceledRequest
        if "by_id" in options:
            cancel_kind = workflowservice.RespondActivityTaskCanceledByIdRequest
        request = cancel_kind(identity="worker")
        if "details" in options:
            request.details.CopyFrom(payloads(options["details"]))
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.cancel_activity(world.state, token, request, world.env))

    def _do_heartbeat(
        self, activity_id: str, details: str = "", *, options: Options
    ) -> RunTransition:
        kind = workflowservice.RecordActivityTaskHeartbeatRequest
        if "by_id" in options:
            kind = workflowservice.RecordActivityTaskHeartbeatByIdRequest
        request = kind(identity="worker")
        if details:
            request.details.CopyFrom(payloads(details))
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.heartbeat(world.state, token, request, world.env))

    def _do_undo(self, activity_id: str, options: Options) -> RunTransition:
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.undo_activity_start(world.state, token, world.env))
