"""The language of replay scripts: a history event by event, what the code asks for, and tasks fed to the engine.

A line that begins with a capital letter appends an event: `TimerFired timer_id=1 started_event_id=5`. A line that
begins with `>` is what the code issues on its next activation, commands parted by `;`. Other lines are verbs: the
`_do_` methods. A block ends at `----`; what follows, up to an empty line, is what the engine made of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from perdure.replay import commands as cmd
from perdure.replay.engine import WorkflowReplay
from perdure.replay.jobs import (
    Activation,
    Cancelled,
    Completed,
    DeploymentVersion,
    Failed,
    QueryWorkflow,
)
from perdure.replay.local import LocalResult
from perdure.replay.report import render
from perdure.replay.task import EngineConfig, NeedPage, WorkflowTask
from perdure.wire.api import enums, history, protocol, query, update
from perdure.wire.api import failure as failures
from perdure.wire.times import timestamp
from tests.harness.values import START_NS, payload, set_field, span
from tests.transcripts.script import parse
from tests.unit.replay.build import ALL_FLAGS, RUN, SECOND_NS, Events
from tests.unit.replay.script_values import command_of, local_marker
from tests.unit.replay.show import activation_lines, answer_lines, error_line, request_lines

Options = dict[str, str]


def run(path: Path) -> tuple[str, str]:
    """What the file says, and what it should say."""
    text = path.read_text()
    script = Script()
    out: list[str] = []
    for block in parse(text):
        out += [*block.comment, *block.lines, "----", *script.run(block.lines), ""]
    return text, "\n".join(out)


class History(Events):
    """Event n happens at second n, unless it says otherwise."""

    def append_line(self, words: list[str]) -> None:
        name, options = words[0], _options(words[1:])
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        event = history.HistoryEvent(
            event_id=int(options.pop("id", len(self) + 1)),
            event_type=enums.EventType.Value(f"EVENT_TYPE_{snake.upper()}"),
            worker_may_ignore="+ignore" in options,
        )
        at_ns = span(options.pop("at")) if "at" in options else (len(self) + 1) * SECOND_NS
        event.event_time.CopyFrom(timestamp(START_NS + at_ns))
        options.pop("+ignore", None)
        if "+bare" not in options:
            attributes = getattr(event, f"{snake}_event_attributes")
            attributes.SetInParent()
            marker = {k: options.pop(k) for k in list(options) if k.startswith("marker.")}
            for path, value in options.items():
                set_field(attributes, path, value)
            if marker:
                attributes.details["data"].payloads.append(payload(local_marker(marker)))
        self.append(event)


class Script:
    """A run, its history, and the code that is to be replayed."""

    def __init__(self) -> None:
        self.events = History()
        self.config = EngineConfig("ours", "1")
        self.code: list[str] = []
        self.messages: list[protocol.Message] = []
        self.fed = 0
        self.lines: list[str] = []
        self.engine = WorkflowReplay(RUN, self.config)

    def run(self, lines: Sequence[str]) -> list[str]:
        self.lines = []
        for line in lines:
            if line.startswith(">"):
                self.code.append(line[1:].strip())
                continue
            words = shlex.split(line)
            if words[0][0].isupper():
                self.events.append_line(words)
                continue
            names = [word for word in words[1:] if "=" not in word]
            verb: Callable[..., None] = getattr(self, f"_do_{words[0].replace('-', '_')}")
            verb(*names, options=_options([word for word in words[1:] if "=" in word]))
        return self.lines

    # History in short.

    def _stamp(self, count: int) -> None:
        for event in self.events[count:]:
            event.event_time.CopyFrom(timestamp(START_NS + event.event_id * SECOND_NS))

    def _do_start(self, *, options: Options) -> None:
        """WorkflowExecutionStarted, with fields, and a workflow task that starts."""
        fields = {"workflow_type": "Order", "original_execution_run_id": "run-1", "attempt": "1"}
        words = [f"{path}={value}" for path, value in (fields | options).items()]
        self.events.append_line(["WorkflowExecutionStarted", *words])
        self._do_task(options={})

    def _do_task(self, *, options: Options) -> None:
        count = len(self.events)
        self.events.task()
        self._stamp(count)
        for path, value in options.items():
            set_field(self.events[-1].workflow_task_started_event_attributes, path, value)

    def _do_completed(self, *names: str, options: Options) -> None:
        """The started task completed; `old` leaves out the flags that workers of today write."""
        count = len(self.events)
        self.events.completed(None if "old" in names else ALL_FLAGS)
        self._stamp(count)
        for path, value in options.items():
            set_field(self.events[-1].workflow_task_completed_event_attributes, path, value)

    def _do_patch_marker(self, patch_id: str, *names: str, options: Options) -> None:
        count = len(self.events)
        self.events.marker(patch_id, deprecated="deprecated" in names)
        self._stamp(count)

    def _do_change_version(self, *patch_ids: str, options: Options) -> None:
        count = len(self.events)
        self.events.change_version(*patch_ids)
        self._stamp(count)

    # The engine.

    def _do_new(self, *, options: Options) -> None:
        """Another worker, which has nothing in its cache."""
        self.engine = WorkflowReplay(RUN, self.config)
        self.code.clear()
        self.messages.clear()
        self.fed = 0

    def _do_forget(self, *, options: Options) -> None:
        """Another run altogether."""
        self.events = History()
        self._do_new(options=options)

    def _do_config(self, *names: str, options: Options) -> None:
        version = None
        if "deployment" in options:
            name, _, build = options["deployment"].partition("/")
            version = DeploymentVersion(name, build)
        self.config = EngineConfig(
            options.get("name", "ours"), options.get("version", "1"), "mute" not in names, version
        )
        self.engine = WorkflowReplay(RUN, self.config)

    def _do_update(self, update_id: str, *, options: Options) -> None:
        """A request that travels with the next task; `at` is the event that it follows."""
        message = protocol.Message(id=f"{update_id}/request", protocol_instance_id=update_id)
        if "at" in options:
            message.event_id = int(options["at"])
        request = update.Request()
        request.meta.update_id = update_id
        request.meta.identity = options.get("identity", "")
        request.input.name = options.get("name", "set")
        if "input" in options:
            set_field(request, "input.args", options["input"])
        if "header" in options:
            set_field(request, "input.header.fields.h", options["header"])
        message.body.Pack(request)
        self.messages.append(message)

    def _do_drop(self, count: str, *, options: Options) -> None:
        """The last events were never written: the server dropped a speculative task."""
        del self.events[-int(count) :]
        self.fed = len(self.events)

    def _do_replay(self, *, options: Options) -> None:
        """A recorded history, from its beginning."""
        self._feed(WorkflowTask.from_history(self.events), [])

    def _do_feed(self, *names: str, options: Options) -> None:
        """A workflow task: new events since the last one, or with `full` all of them."""
        begin = 0 if "full" in names else self.fed
        begin = int(options.get("begin", begin + 1)) - 1
        events = self.events[begin:]
        self.fed = len(self.events)
        size = int(options.get("page", len(events) or 1))
        pages = [events[at : at + size] for at in range(size, len(events), size)]
        first = events[:size]
        lacks = int(options.get("lacks", 0))
        if "cold" in names:  # What a sticky task brings to a worker without the run.
            first, pages = events, [list(self.events[lacks:begin]), list(self.events[begin:])]
            if "speculative" in names:
                pages[1] = pages[1][:-2]
        if "none" in names:
            first, pages = [], [list(self.events)] if "fetch" in names else []
        started = int(options.get("started", self.events[-1].event_id))
        task = WorkflowTask(
            first,
            int(options.get("previous", 0)),
            started,
            b"more" if pages and "cold" not in names and "none" not in names else b"",
            messages=list(self.messages),
            query=_query(options["query"]) if "query" in options else None,
            queries={
                name.removeprefix("q."): _query(kind)
                for name, kind in options.items()
                if name.startswith("q.")
            },
        )
        self.messages.clear()
        self._feed(task, pages)

    def _feed(self, task: WorkflowTask, pages: list[list[history.HistoryEvent]]) -> None:
        self._fetch(self.engine.feed(task), pages)
        self._go_on(pages)

    def _fetch(self, need: NeedPage | None, pages: list[list[history.HistoryEvent]]) -> None:
        while need is not None:
            self.lines.append(f"need page {need.token.decode() or 'from the start'}")
            page = pages.pop(0)
            need = self.engine.feed_page(page, b"more" if pages else b"")

    def _go_on(self, pages: list[list[history.HistoryEvent]]) -> None:
        self._requests()
        while (activation := self.engine.next()) is not None:
            self.lines += activation_lines(activation)
            self._fetch(self.engine.commit(self._issue(activation)), pages)
            self._requests()
        self._answer()

    def _requests(self) -> None:
        self.lines += request_lines(self.engine.local_requests())

    def _issue(self, activation: Activation) -> cmd.ActivationResult:
        queries = [job for job in activation.jobs if isinstance(job, QueryWorkflow)]
        if queries:
            return cmd.ActivationResult(commands=[_query_answer(job) for job in queries])
        line = self.code.pop(0) if self.code else ""
        flags = re.match(r"flags=([\d,]+)(?: behavior=(\d))? ?", line)
        parts = line[flags.end() :] if flags else line
        commands = [command_of(part.strip()) for part in parts.split(";") if part.strip()]
        if not flags:
            return cmd.ActivationResult(commands=commands)
        used = [int(number) for number in flags[1].split(",")]
        return cmd.ActivationResult(commands, used, int(flags[2] or 0))

    def _answer(self) -> None:
        self.lines += answer_lines(self.engine.ready())
        self._state()

    def _state(self) -> None:
        engine = self.engine
        words = [f"state last={engine.last_event_id} pending={engine.pending_operations}"]
        words += ["replaying"] * engine.is_replaying + ["finished"] * engine.is_finished
        words += ["waits"] * engine.waits_for_local_activities
        # What is remembered of the past: a cached run costs what is pending, not what has happened.
        run = engine._run
        kept = {"named": run.by_event, "updates": run.updates, "tasks": run.tasks}
        if engine.error is None:  # else the report needs them
            kept |= {"sequence": run.sequence, "taken": run.task_commands}
        words += [f"{name}={len(known)}" for name, known in kept.items() if known]
        self.lines.append(" ".join(words))
        if engine.error is not None:
            self.lines.append(error_line(engine.error))

    def _do_report(self, *, options: Options) -> None:
        """The mismatch as people see it."""
        assert self.engine.mismatch is not None, self.engine.error
        self.lines += [f"| {line}".rstrip() for line in render(self.engine.mismatch).splitlines()]

    def _do_reported(self, *, options: Options) -> None:
        self.engine.task_reported(int(options.get("reset", 0)))
        self._state()

    def _do_heartbeat(self, *, options: Options) -> None:
        self.lines += answer_lines(self.engine.heartbeat()) or ["no heartbeat"]
        self._state()

    def _do_local(self, seq: str, kind: str, text: str = "", *, options: Options) -> None:
        """A local activity ended: `completed result`, `failed message`, `canceled`, `nothing`."""
        outcome: Completed | Failed | Cancelled = Completed(payload(text))
        if kind == "failed":
            outcome = Failed(failures.Failure(message=text))
        elif kind == "timed-out":
            outcome = Failed(failures.Failure(timeout_failure_info=failures.TimeoutFailureInfo()))
        elif kind == "canceled":
            info = failures.CanceledFailureInfo()
            outcome = Cancelled(failures.Failure(message=text, canceled_failure_info=info))
        elif kind == "nothing":
            outcome = Completed(None)
        result = LocalResult(
            outcome,
            int(options.get("attempt", 1)),
            runtime_ns=span(options.get("runtime", "0s")),
            backoff_ns=span(options["backoff"]) if "backoff" in options else None,
            original_schedule_time_ns=(
                START_NS + span(options["original"]) if "original" in options else None
            ),
        )
        self.engine.local_result(int(seq), result)
        self._go_on([])


def _options(words: Sequence[str]) -> Options:
    pairs = [word.split("=", 1) if "=" in word else [word, ""] for word in words]
    return dict(pairs)


def _query(kind: str) -> query.WorkflowQuery:
    result = query.WorkflowQuery(query_type=kind)
    set_field(result, "query_args", "argument")
    set_field(result, "header.fields.h", "v")
    return result


def _query_answer(job: QueryWorkflow) -> cmd.QueryResult:
    if job.query_type == "broken":
        return cmd.QueryResult(query_id=job.query_id, failure=failures.Failure(message="no"))
    if job.query_type == "silent":
        return cmd.QueryResult(query_id=job.query_id)
    return cmd.QueryResult(query_id=job.query_id, response=payload(f"of {job.query_type}"))
