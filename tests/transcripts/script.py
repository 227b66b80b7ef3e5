"""The language of transcripts: a verb per line, options as `name=value`; indented lines are a completion's commands.

A line that starts with a dot sets the scene: what it does is not shown. A block ends at `----`; what follows, up to an
empty line, is what the engine did. `reload` is a process that died: the rest goes on from what was stored.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from perdure.core.ids import QueueKind
from perdure.core.limits import DEFAULT_LIMITS
from perdure.history import activity, cancel, signal, terminate, workflow_task
from perdure.history.facts import FactKind
from perdure.history.replies import ActivityTaskReply, CompletionReply, PollInfo, WorkflowTaskReply
from perdure.history.tokens import ActivityTaskToken, WorkflowTaskToken
from perdure.history.transition import Transition
from perdure.wire.api import command, common, enums, failure, workflowservice
from perdure.wire.errors import RpcError
from perdure.wire.times import duration
from tests.transcripts.render import transition_lines
from tests.transcripts.world import World

Options = dict[str, str]
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


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
    fact_kinds: frozenset[FactKind]


def run(path: Path) -> Outcome:
    """Run a transcript."""
    text = path.read_text()
    script = Script()
    out: list[str] = []
    for block in parse(text):
        out += [*block.comment, *block.lines, "----", *script.run(block.lines), ""]
    return Outcome(text, "\n".join(out), frozenset(script.world.fact_kinds_seen))


def span(text: str) -> int:
    """ "10s" in nanoseconds."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h)", text)
    assert match, f"no span of time: {text}"
    return int(match[1]) * _UNITS[match[2]]


def payloads(text: str) -> common.Payloads:
    return common.Payloads(payloads=[common.Payload(data=text.encode())])


def failure_of(options: Options) -> failure.Failure:
    result = failure.Failure(message=options.get("message", "oops"))
    info = result.application_failure_info
    info.type = options.get("type", "")
    info.non_retryable = "non_retryable" in options
    if "delay" in options:
        info.next_retry_delay.CopyFrom(duration(span(options["delay"])))
    return result


class Script:
    """The state of a transcript between its lines: the world, and the tokens that its workers hold."""

    def __init__(self) -> None:
        self.world = World()
        self.task_token: WorkflowTaskToken | None = None
        self.activity_tokens: dict[str, ActivityTaskToken] = {}
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
        verb, names, options = _split(words)
        method: Callable[..., Transition | list[str] | None] = getattr(
            self, f"_do_{verb.replace('-', '_')}"
        )
        try:
            if commands:
                options["commands"] = "\n".join(commands)
            transition = method(*names, options=options)
        except RpcError as error:
            self.world.check()
            return [f"error {type(error).__name__}: {error.message}"]
        if transition is None or isinstance(transition, list):
            return transition or []
        self._remember(transition.reply)
        return transition_lines(transition, self.world.now_ns) or ["nothing"]

    def _remember(self, reply: Any) -> None:
        match reply:
            case WorkflowTaskReply():
                self.task_token = reply.token
            case ActivityTaskReply():
                self.activity_tokens[reply.token.activity_id] = reply.token
            case CompletionReply():
                self._remember(reply.workflow_task)
                for each in reply.activities:
                    self._remember(each)
            case _:
                pass

    # Verbs of the world.

    def _do_limits(self, options: Options) -> None:
        changed = {name: int(value) for name, value in options.items()}
        self.world.limits = msgspec.structs.replace(DEFAULT_LIMITS, **changed)

    def _do_start(self, options: Options) -> Transition:
        request = workflowservice.StartWorkflowExecutionRequest(
            workflow_id=options.get("id", "w"),
            request_id=options.get("request", "start"),
            identity="client",
        )
        request.workflow_type.name = "Order"
        request.task_queue.name = "q"
        for name, field in (
            ("run_timeout", "workflow_run_timeout"),
            ("execution_timeout", "workflow_execution_timeout"),
            ("task_timeout", "workflow_task_timeout"),
            ("delay", "workflow_start_delay"),
        ):
            if name in options:
                getattr(request, field).CopyFrom(duration(span(options[name])))
        return self.world.start(request)

    def _do_wait(self, how_long: str, options: Options) -> None:
        self.world.advance_to(self.world.now_ns + span(how_long))

    def _do_wake(self, how_long: str = "0s", *, options: Options) -> Transition:
        self._do_wait(how_long, options)
        return self.world.wake()

    def _do_show(self, *names: str, options: Options) -> list[str]:
        def text(items: tuple[tuple[str, bytes], ...]) -> str:
            decoded = {key: common.Payload.FromString(value).data.decode() for key, value in items}
            return str(decoded)

        state = self.world.run
        return [f"{name} {text(getattr(state, name))}" for name in names]

    def _do_reload(self, options: Options) -> None:
        self.world.reload()

    # Verbs of workers.

    def _poll_info(self, options: Options) -> PollInfo:
        self._deliveries += 1
        request_id = options.get("request", f"poll-{self._deliveries}")
        return PollInfo(identity="worker", request_id=request_id)

    def _do_poll(self, what: str, options: Options) -> Transition:
        kind = QueueKind.WORKFLOW if what == "workflow" else QueueKind.ACTIVITY
        waiting = self.world.queue(kind, options.get("queue"))
        assert waiting, f"no task waits on a {what} queue"
        row, task = waiting[int(options.get("skip", 0))]
        start = workflow_task.start_workflow_task
        if kind is QueueKind.ACTIVITY:
            start = activity.start_activity
        world = self.world
        return world.commit(start(world.run, task, row, self._poll_info(options), world.env))

    def _do_complete(self, options: Options) -> Transition:
        request = workflowservice.RespondWorkflowTaskCompletedRequest(identity="worker")
        for line in options.get("commands", "").splitlines():
            request.commands.append(command_of(line))
        if "sticky" in options:
            request.sticky_attributes.worker_task_queue.name = options["sticky"]
            request.sticky_attributes.schedule_to_start_timeout.FromSeconds(10)
        request.return_new_workflow_task = "inline" in options
        request.force_create_new_workflow_task = "force" in options
        world = self.world
        assert self.task_token is not None, "poll first"
        return world.commit(
            workflow_task.complete_workflow_task(world.run, self.task_token, request, world.env)
        )

    def _do_reset_sticky(self, options: Options) -> Transition:
        return self.world.commit(workflow_task.reset_sticky(self.world.run, self.world.env))

    def _do_fail_task(self, options: Options) -> Transition:
        request = workflowservice.RespondWorkflowTaskFailedRequest(
            cause=enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
            identity="worker",
        )
        world = self.world
        assert self.task_token is not None, "poll first"
        return world.commit(
            workflow_task.fail_workflow_task(world.run, self.task_token, request, world.env)
        )

    def _token(self, activity_id: str, options: Options) -> ActivityTaskToken:
        if "by_id" in options:
            return activity.activity_token_by_id(self.world.run, activity_id)
        return self.activity_tokens[activity_id]

    def _do_done(self, activity_id: str, result: str = "", *, options: Options) -> Transition:
        kind = workflowservice.RespondActivityTaskCompletedRequest
        if "by_id" in options:
            kind = workflowservice.RespondActivityTaskCompletedByIdRequest
        request = kind(identity="worker", result=payloads(result) if result else None)
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.complete_activity(world.run, token, request, world.env))

    def _do_failed(self, activity_id: str, options: Options) -> Transition:
        request = workflowservice.RespondActivityTaskFailedRequest(
            identity="worker", failure=failure_of(options)
        )
        if "details" in options:
            request.last_heartbeat_details.CopyFrom(payloads(options["details"]))
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.fail_activity(world.run, token, request, world.env))

    def _do_canceled(self, activity_id: str, options: Options) -> Transition:
        request = workflowservice.RespondActivityTaskCanceledRequest(identity="worker")
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.cancel_activity(world.run, token, request, world.env))

    def _do_heartbeat(self, activity_id: str, details: str = "", *, options: Options) -> Transition:
        request = workflowservice.RecordActivityTaskHeartbeatRequest(identity="worker")
        if details:
            request.details.CopyFrom(payloads(details))
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.heartbeat(world.run, token, request, world.env))

    def _do_undo(self, activity_id: str, options: Options) -> Transition:
        token = self._token(activity_id, options)
        world = self.world
        return world.commit(activity.undo_activity_start(world.run, token, world.env))

    def _do_void(self, options: Options) -> Transition:
        return self.world.commit(activity.void_started_activities(self.world.run, self.world.env))

    # Verbs of clients.

    def _do_signal(self, name: str, options: Options) -> Transition:
        request = workflowservice.SignalWorkflowExecutionRequest(
            signal_name=name, request_id=options.get("request", ""), identity="client"
        )
        if "input" in options:
            request.input.CopyFrom(payloads(options["input"]))
        return self.world.commit(signal.signal(self.world.run, request, self.world.env))

    def _do_cancel(self, options: Options) -> Transition:
        request = workflowservice.RequestCancelWorkflowExecutionRequest(
            request_id=options.get("request", "cancel"),
            reason=options.get("reason", ""),
            first_execution_run_id=options.get("chain", ""),
        )
        return self.world.commit(cancel.request_cancel(self.world.run, request, self.world.env))

    def _do_terminate(self, options: Options) -> Transition:
        request = workflowservice.TerminateWorkflowExecutionRequest(reason="enough")
        return self.world.commit(terminate.terminate(self.world.run, request, self.world.env))


def _split(words: list[str]) -> tuple[str, list[str], Options]:
    names = [word for word in words[1:] if "=" not in word and not word.startswith("+")]
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    options |= {word[1:]: "" for word in words[1:] if word.startswith("+")}
    return words[0], names, options


def command_of(line: str) -> command.Command:
    """A command of a completed workflow task: `schedule a start_to_close=10s`, `timer t 5s`, …"""
    verb, names, options = _split(shlex.split(line))
    return _COMMANDS[verb](names, options)


def _schedule(names: list[str], options: Options) -> command.Command:
    asked = command.ScheduleActivityTaskCommandAttributes(
        activity_id=names[0], request_eager_execution="eager" in options
    )
    asked.activity_type.name = "Work"
    if "queue" in options:
        asked.task_queue.name = options["queue"]
    for name in ("start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat"):
        if name in options:
            getattr(asked, f"{name}_timeout").CopyFrom(duration(span(options[name])))
    if "attempts" in options:
        asked.retry_policy.maximum_attempts = int(options["attempts"])
    if "coefficient" in options:
        asked.retry_policy.backoff_coefficient = float(options["coefficient"])
    if "never_retry" in options:
        asked.retry_policy.non_retryable_error_types.append(options["never_retry"])
    if "priority" in options:
        asked.priority.priority_key = int(options["priority"])
    if "input" in options:
        asked.input.CopyFrom(payloads(options["input"]))
    return command.Command(
        command_type=enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
        schedule_activity_task_command_attributes=asked,
    )


def _cancel_activity(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
    result.request_cancel_activity_task_command_attributes.scheduled_event_id = int(names[0])
    return result


def _timer(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_START_TIMER)
    result.start_timer_command_attributes.timer_id = names[0]
    delay = names[1]
    asked = -span(delay[1:]) if delay.startswith("-") else span(delay)
    result.start_timer_command_attributes.start_to_fire_timeout.CopyFrom(duration(asked))
    return result


def _cancel_timer(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_CANCEL_TIMER)
    result.cancel_timer_command_attributes.timer_id = names[0]
    return result


def _marker(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_RECORD_MARKER)
    asked = result.record_marker_command_attributes
    asked.marker_name = names[0] if names else ""
    for key, value in options.items():
        asked.details[key].CopyFrom(payloads(value))
    return result


def _upsert(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    fields = result.upsert_workflow_search_attributes_command_attributes.search_attributes
    fields.SetInParent()
    for key, value in options.items():
        fields.indexed_fields[key].data = value.encode()
    return result


def _memo(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    asked = result.modify_workflow_properties_command_attributes.upserted_memo
    asked.SetInParent()
    for key, value in options.items():
        asked.fields[key].data = value.encode()
    return result


def _finish(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    asked = result.complete_workflow_execution_command_attributes
    if names:
        asked.result.CopyFrom(payloads(names[0]))
    else:
        asked.SetInParent()
    return result


def _fail(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    result.fail_workflow_execution_command_attributes.failure.CopyFrom(failure_of(options))
    return result


def _canceled(names: list[str], options: Options) -> command.Command:
    result = command.Command(command_type=enums.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
    result.cancel_workflow_execution_command_attributes.SetInParent()
    return result


_COMMANDS: dict[str, Callable[[list[str], Options], command.Command]] = {
    "schedule": _schedule,
    "cancel-activity": _cancel_activity,
    "timer": _timer,
    "cancel-timer": _cancel_timer,
    "marker": _marker,
    "upsert": _upsert,
    "memo": _memo,
    "finish": _finish,
    "fail": _fail,
    "canceled": _canceled,
}
