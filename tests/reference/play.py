"""Plays scripts on a server, and records every call with its answer.

A script is a coroutine function that makes calls through a `Case`. The same script is played on the reference and on
our server. It uses answers only to continue (for example the token of a task); `compare` judges them. The answers must
not depend on the speed of the machine, so a script waits for tasks and events, not for some time to pass.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message

from perdure.core.units import SECOND_NS
from perdure.wire.api import command, enums
from perdure.wire.errors import RpcError
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE, Connection
from tests.reference.normalise import AGAIN, Normaliser

PATIENCE_SECONDS = 75.0
"""How long a script may take. Only a script that hangs takes this long, even on a slow machine."""
POLL_SECONDS = 30.0
TASK_SECONDS = {"seconds": 20}
"""The time-out of workflow tasks, longer than the default because of slow machines."""
METHODS = {**OPERATOR_SERVICE, **WORKFLOW_SERVICE}

Play = Callable[["Case"], Awaitable[None]]


class Script(NamedTuple):
    name: str
    play: Play


SCRIPTS: dict[str, Script] = {}
"""Family and name → script, for example `signals.buffered`."""


def script(play: Play) -> Play:
    """Register a script. Its family is the name of its module."""
    add(f"{play.__module__.rpartition('.')[2]}.{play.__name__}", play)
    return play


def add(name: str, play: Play) -> None:
    """Register a script under a name."""
    assert name not in SCRIPTS, f"two scripts are called {name}"
    SCRIPTS[name] = Script(name, play)


async def play(script: Script, connection: Connection, attempt: int = 1) -> list[Any]:
    """Play a script on one server, and return the normalised calls and answers.

    Args:
        script: The script.
        connection: A connection to the server.
        attempt: How often this server has played the script, this time included. Each attempt uses its own ids.
    """
    case = Case(script.name, connection, attempt)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await script.play(case)
            for pending in case.later:
                await pending.end()
    except Exception as error:  # noqa: BLE001 — an unexpected answer: the script cannot continue
        line = traceback.extract_tb(error.__traceback__)[-1].line
        case.steps.append({"call": "stopped", "error": f"{type(error).__name__}: {line}"})
    return case.steps


class Case:
    """One script on one server.

    `call` makes a call; most other methods make a call with the usual fields filled in. Ids and task queues begin with
    the name of the script, so that scripts can share a server.
    """

    def __init__(self, name: str, connection: Connection, attempt: int = 1) -> None:
        self.name = name + AGAIN * (attempt - 1)
        self.steps: list[Any] = []
        self._connection = connection
        self._normaliser = Normaliser()
        self._requests = 0
        self.later: list[Pending] = []
        """Calls that are awaited when the script has ended."""

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────

    async def call(
        self, name: str, *, label: str = "", seconds: float = POLL_SECONDS, **fields: Any
    ) -> Any:
        """Make a call and record its answer. An error is returned, not raised.

        Args:
            name: The method.
            label: A word that distinguishes this call in the list of differences.
            seconds: The time-out of the call.
            fields: The fields of the request. Namespace and identity are filled in.
        """
        answer = await self.ask(name, seconds=seconds, **fields)
        self.note(f"{name} ({label})" if label else name, answer)
        return answer

    async def ask(self, name: str, *, seconds: float = POLL_SECONDS, **fields: Any) -> Any:
        """Make a call without recording it."""
        method = METHODS[name]
        known = method.request_type.DESCRIPTOR.fields_by_name
        if "namespace" in known:
            fields.setdefault("namespace", "default")
        if "identity" in known:
            fields.setdefault("identity", "tester")
        request = method.request_type(**fields)
        try:
            return await self._connection.call(method, request, timeout_ns=int(seconds * SECOND_NS))
        except RpcError as error:
            return error

    async def seen(self, name: str, **fields: Any) -> None:
        """Repeat a call, without recording it, until it succeeds."""
        while True:
            if not isinstance(await self.ask(name, **fields), RpcError):
                return
            await asyncio.sleep(0.05)

    def note(self, name: str, answer: Any) -> None:
        """Record the answer of a call."""
        step: dict[str, Any] = {"call": name}
        if isinstance(answer, RpcError):
            step["error"] = self._normaliser.error(answer)
        else:
            assert isinstance(answer, Message)
            step["response"] = self._normaliser.message(answer)
        self.steps.append(step)

    def begin(self, name: str, **fields: Any) -> Pending:
        """Begin a call; `Pending.end` waits for its answer and records it."""
        return Pending(self, name, asyncio.ensure_future(self.ask(name, **fields)))

    async def until(self, condition: Callable[[Any], bool], name: str, **fields: Any) -> Any:
        """Repeat a call until its answer fulfils a condition, and record that answer."""
        pause_s = 0.02
        while True:
            answer = await self.ask(name, **fields)
            if isinstance(answer, RpcError) or condition(answer):
                self.note(name, answer)
                return answer
            await asyncio.sleep(pause_s)
            pause_s = min(0.5, 1.5 * pause_s)

    def request_id(self) -> str:
        """A new request id."""
        self._requests += 1
        return f"{self.name}-request-{self._requests}"

    def id(self, name: str = "w") -> str:
        return f"{self.name}:{name}"

    @property
    def queue(self) -> dict[str, Any]:
        return self.queue_named("queue")

    def queue_named(self, name: str) -> dict[str, Any]:
        """Another queue. Tasks that are polled in a fixed order need their own, because a queue promises no order."""
        return {"name": self.id(name)}

    def execution(self, name: str = "w", run_id: str = "") -> dict[str, Any]:
        return {"workflow_id": self.id(name), "run_id": run_id}

    async def old_enough(self) -> None:
        """Wait until the run is more than a second old. The reference replaces a younger one late or not at all."""
        await asyncio.sleep(1.2)

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────

    def start_fields(self, name: str = "w", **fields: Any) -> dict[str, Any]:
        return {
            "workflow_id": self.id(name),
            "workflow_type": {"name": "Type"},
            "task_queue": self.queue,
            "request_id": self.request_id(),
            "workflow_task_timeout": TASK_SECONDS,
            **fields,
        }

    async def start(self, name: str = "w", **fields: Any) -> Any:
        return await self.call("StartWorkflowExecution", **self.start_fields(name, **fields))

    async def signal(self, signal: str = "signal", name: str = "w", **fields: Any) -> Any:
        fields.setdefault("workflow_execution", self.execution(name))
        fields.setdefault("request_id", self.request_id())
        return await self.call("SignalWorkflowExecution", signal_name=signal, **fields)

    async def signal_with_start(self, name: str = "w", **fields: Any) -> Any:
        fields.setdefault("signal_name", "signal")
        return await self.call(
            "SignalWithStartWorkflowExecution", **self.start_fields(name, **fields)
        )

    async def cancel(self, name: str = "w", **fields: Any) -> Any:
        fields.setdefault("workflow_execution", self.execution(name))
        fields.setdefault("request_id", self.request_id())
        return await self.call("RequestCancelWorkflowExecution", **fields)

    async def terminate(self, name: str = "w", **fields: Any) -> Any:
        fields.setdefault("workflow_execution", self.execution(name))
        return await self.call("TerminateWorkflowExecution", **fields)

    async def describe(self, name: str = "w", run_id: str = "") -> Any:
        return await self.call("DescribeWorkflowExecution", execution=self.execution(name, run_id))

    async def history(self, name: str = "w", run_id: str = "", **fields: Any) -> Any:
        fields.setdefault("execution", self.execution(name, run_id))
        return await self.call("GetWorkflowExecutionHistory", **fields)

    async def closed(self, name: str = "w", run_id: str = "") -> Any:
        """Wait until a run has closed, then record its history and its description."""
        await self.ask(
            "GetWorkflowExecutionHistory",
            execution=self.execution(name, run_id),
            wait_new_event=True,
            history_event_filter_type=enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        await self.history(name, run_id)
        return await self.until(
            _is_closed, "DescribeWorkflowExecution", execution=self.execution(name, run_id)
        )

    async def happened(self, *events: str, name: str = "w", run_id: str = "") -> Any:
        """Wait until the history has these events, in any order, and record it."""
        wanted = [enums.EventType.Value(f"EVENT_TYPE_{event}") for event in events]

        def there(answer: Any) -> bool:
            types = [event.event_type for event in answer.history.events]
            return all(types.count(event) >= wanted.count(event) for event in wanted)

        return await self.until(
            there, "GetWorkflowExecutionHistory", execution=self.execution(name, run_id)
        )

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────

    async def poll(self, queue: dict[str, Any] | None = None, **fields: Any) -> Any:
        """Wait for a workflow task."""
        return await self.until(
            _has_token, "PollWorkflowTaskQueue", task_queue=queue or self.queue, **fields
        )

    async def poll_activity(self, queue: dict[str, Any] | None = None, **fields: Any) -> Any:
        """Wait for an activity task."""
        return await self.until(
            _has_token, "PollActivityTaskQueue", task_queue=queue or self.queue, **fields
        )

    async def complete(self, task: Any, *commands: command.Command, **fields: Any) -> Any:
        """Complete a workflow task with commands."""
        return await self.call(
            "RespondWorkflowTaskCompleted", task_token=task.task_token, commands=commands, **fields
        )

    async def fail(self, task: Any, **fields: Any) -> Any:
        """Fail a workflow task."""
        return await self.call("RespondWorkflowTaskFailed", task_token=task.task_token, **fields)

    async def step(self, *commands: command.Command, **fields: Any) -> Any:
        """Wait for a workflow task and complete it with commands."""
        return await self.complete(await self.poll(), *commands, **fields)

    async def heartbeat(self, task: Any, **fields: Any) -> Any:
        return await self.call("RecordActivityTaskHeartbeat", task_token=task.task_token, **fields)

    async def complete_activity(self, task: Any, **fields: Any) -> Any:
        return await self.call("RespondActivityTaskCompleted", task_token=task.task_token, **fields)

    async def fail_activity(self, task: Any, **fields: Any) -> Any:
        return await self.call("RespondActivityTaskFailed", task_token=task.task_token, **fields)


class Pending(NamedTuple):
    """A call under way."""

    case: Case
    name: str
    answer: asyncio.Future[Any]

    async def end(self) -> Any:
        """Wait for the answer and record it."""
        answer = await self.answer
        self.case.note(self.name, answer)
        return answer


def _has_token(answer: Any) -> bool:
    return bool(answer.task_token)


def _is_closed(answer: Any) -> bool:
    return answer.workflow_execution_info.status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING
