"""Random walks: the seed decides what clients and workers do, which is the same on both servers.

A walk knows from its own actions when a workflow task is due, and waits for it. All answers are compared. A walk uses
only their tokens and event ids, so that the answers do not decide what comes next.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from perdure.wire.api import enums
from tests.reference.commands import (
    Command,
    accept,
    application_failure,
    at_this_point,
    cancel_activity,
    cancel_timer,
    cancel_workflow,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    fields,
    make,
    payloads,
    reject,
    respond,
    retry,
    schedule_activity,
    seconds,
    start_timer,
    update,
)
from tests.reference.play import Case, Pending, add
from tests.reference.scripts.updates import admitted

SEEDS = range(1, 17)
STEPS = 12


class Work(NamedTuple):
    """An activity that the workflow waits for."""

    name: str
    attempts: int
    task: Any = None
    cancel_requested: bool = False


class Walk:
    """One run: its open steps, and what may happen next."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.random = random.Random(seed)
        self.task_is_due = True
        self.cancel_requested = False
        self.timers: list[str] = []
        self.work: dict[str, Work] = {}
        self.open_updates: list[str] = []
        self.pending: list[Pending] = []
        self.failed_tasks = 0
        self.fired = 0
        self.names = 0

    async def run(self) -> None:
        first = await self.case.start(input=payloads("in"), memo=fields(note="n"))
        for _ in range(STEPS):
            await self.random.choice(self._actions())()
        await self.case.describe()
        await self._end(first)
        for pending in self.pending:
            await pending.end()

    def _actions(self) -> Sequence[Callable[[], Awaitable[None]]]:
        if self.task_is_due:
            return [self._work, self._work, self._signal, self._cancel, self._failed_task]
        actions = [self._signal, self._signal, self._cancel, self._update, self._describe]
        if self.work:
            actions += [self._activity] * 3
        return actions

    def _name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}-{self.names}"

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────

    async def _signal(self) -> None:
        name = self._name("signal")
        await self.case.signal(name, input=payloads(name))
        self.task_is_due = True

    async def _cancel(self) -> None:
        await self.case.cancel(reason=self._name("cancel"))
        if not self.cancel_requested:
            self.cancel_requested = self.task_is_due = True

    async def _describe(self) -> None:
        await self.case.describe()

    async def _update(self) -> None:
        update_id = self._name("update")
        self.pending.append(
            self.case.begin(
                "UpdateWorkflowExecution",
                workflow_execution=self.case.execution(),
                request=update(update_id),
                wait_policy={"lifecycle_stage": 3},
            )
        )
        await admitted(self.case, update_id)
        await self._work()

    # ── the workflow ─────────────────────────────────────────────────────────────────────────────────

    async def _failed_task(self) -> None:
        if self.failed_tasks == 2:  # because later attempts have a random time-out
            return
        self.failed_tasks += 1
        task = await self.case.poll()
        await self.case.fail(task, failure=application_failure("the worker is at fault"))

    async def _work(self) -> None:
        """Complete a workflow task; events may arrive in the meantime."""
        task = await self.case.poll()
        self.task_is_due = False
        self.failed_tasks = 0
        messages: list[Any] = []
        for message in task.messages:
            update_id = message.protocol_instance_id
            if self.random.random() < 0.3:
                messages.append(reject(message))
                continue
            messages.append(accept(message))
            self.open_updates.append(update_id)
        if self.open_updates and self.random.random() < 0.7:
            messages += [respond(update_id) for update_id in self.open_updates]
            self.open_updates = []
        if self.random.random() < 0.25:
            await self._signal()
        commands = [*at_this_point(*messages), *await self._commands()]
        await self.case.complete(task, *commands, messages=messages)
        await self._wait_for_what_is_short(commands)

    async def _commands(self) -> list[Command]:
        made: list[Command] = []
        for _ in range(self.random.randrange(3)):
            made += await self._command()
        if self.random.random() < 0.2:  # at most one, because the order of two would be undefined
            made.append(self._short_command())
        return made

    def _short_command(self) -> Command:
        if self.random.random() < 0.5:
            return start_timer(self._name("short"), 0.2)
        queue, name = self.case.queue_named("nobody"), self._name("doomed")
        return schedule_activity(queue, name, schedule_to_start_timeout=seconds(0.5))

    async def _command(self) -> list[Command]:
        match self.random.randrange(6):
            case 0:
                self.timers.append(self._name("timer"))
                return [start_timer(self.timers[-1])]
            case 1 if self.timers:
                return [cancel_timer(self.timers.pop(0))]
            case 2 | 3:
                work = Work(self._name("activity"), self.random.randrange(1, 3))
                self.work[work.name] = work
                policy = retry(work.attempts)
                queue = self.case.queue_named(work.name)
                return [schedule_activity(queue, work.name, retry_policy=policy)]
            case 4 if self.work:
                return await self._cancel_activity()
            case _:
                return [make("RECORD_MARKER", marker_name=self._name("marker"))]

    async def _cancel_activity(self) -> list[Command]:
        work = self.random.choice(list(self.work.values()))
        history = await self.case.ask(
            "GetWorkflowExecutionHistory", execution=self.case.execution()
        )
        for event in history.history.events:
            if event.activity_task_scheduled_event_attributes.activity_id == work.name:
                if work.cancel_requested:
                    return []
                if work.task is None:
                    del self.work[work.name]
                    self.task_is_due = True
                else:
                    self.work[work.name] = work._replace(cancel_requested=True)
                return [cancel_activity(event.event_id)]
        return []  # scheduled by this task

    async def _wait_for_what_is_short(self, commands: list[Command]) -> None:
        """Wait for timers and time-outs before the walk continues, so that the order is the same on both servers."""
        short = [c.start_timer_command_attributes.timer_id for c in commands]
        short += [c.schedule_activity_task_command_attributes.activity_id for c in commands]
        ends = (enums.EVENT_TYPE_TIMER_FIRED, enums.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
        if not any(name.startswith(("short", "doomed")) for name in short):
            return
        self.fired += 1
        await self.case.until(
            lambda answer: sum(e.event_type in ends for e in answer.history.events) >= self.fired,
            "GetWorkflowExecutionHistory",
            execution=self.case.execution(),
        )
        self.task_is_due = True

    # ── activities ───────────────────────────────────────────────────────────────────────────────────

    async def _activity(self) -> None:
        work = self.random.choice(list(self.work.values()))
        if work.task is None:
            task = await self.case.poll_activity(self.case.queue_named(work.name))
            self.work[work.name] = work._replace(task=task)
            return
        match self.random.randrange(4):
            case 0:
                await self.case.heartbeat(work.task, details=payloads(self._name("beat")))
            case 1:
                await self._fail_activity(work)
            case 2 if work.cancel_requested:
                await self.case.call("RespondActivityTaskCanceled", task_token=work.task.task_token)
                self._ended(work)
            case _:
                await self.case.complete_activity(work.task, result=payloads("out"))
                self._ended(work)

    async def _fail_activity(self, work: Work) -> None:
        await self.case.fail_activity(work.task, failure=application_failure(work.name))
        if work.attempts > 1 and not work.cancel_requested:
            self.work[work.name] = work._replace(task=None, attempts=work.attempts - 1)
        else:
            self._ended(work)

    def _ended(self, work: Work) -> None:
        del self.work[work.name]
        self.task_is_due = True

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────

    async def _end(self, first: Any) -> None:
        if not self.task_is_due:
            await self._signal()
        end = self.random.randrange(5)
        if end == 0:
            await self.case.terminate(reason="enough")
        elif end == 1:
            await self.case.old_enough()
            await self.case.step(continue_as_new(self.case.queue))
            await self.case.step(complete_workflow())
        else:
            task = await self.case.poll()
            if end == 2:  # the completion is refused, because there are new events
                await self._signal()
                await self.case.complete(task, complete_workflow())
                task = await self.case.poll()
            closing = cancel_workflow() if self.cancel_requested else complete_workflow()
            await self.case.complete(task, fail_workflow() if end == 3 else closing)
        await self.case.closed(run_id=first.run_id)


async def walk(case: Case, seed: int) -> None:
    await Walk(case, seed).run()


for seed in SEEDS:
    add(f"walks.seed_{seed:02}", functools.partial(walk, seed=seed))
