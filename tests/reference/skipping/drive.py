"""Plays a walk on one server: a scripted worker, a client, and test time that passes in segments.

Time is locked. Each sleep releases one lock until it ends: the client's, or that of a running activity. A segment ends
when the client has something to do or the run may time out. No sleep is longer than the segment, or passes a time-out
of the attempt that sleeps. So no more locks are released than are held, test time moves only while all actors sleep,
and the speed of the machine does not decide in which minute something happens.

The result has the normalised answers to the client and to each activity attempt, and the histories and descriptions of
all runs. Times are given in minutes since the start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.wire.api import enums
from perdure.wire.errors import DeadlineExceeded, RpcError
from perdure.wire.seam import TEST_SERVICE, WORKFLOW_SERVICE, Connection
from tests.reference.commands import seconds
from tests.reference.normalise import Normaliser
from tests.reference.skipping.attempts import attempt, wait_for_nobody
from tests.reference.skipping.client import do
from tests.reference.skipping.plan import Walk
from tests.reference.skipping.workflow import Decider, policy

METHODS = {**TEST_SERVICE, **WORKFLOW_SERVICE}
PATIENCE_S = 100.0
"""How long one server may take for a walk. Only a walk that hangs takes this long."""
CALL_S = 20.0
POLL_S = 60.0
MARGIN_NS = 5 * SECOND_NS
"""Minutes are counted from this long before the start, because a server may round times down."""
ACTIVITY_POLLERS = 6
RUN_OUT_MINUTES = 500
SEGMENTS_MAX = 60
STUCK_S = 0.15
STUCK_LOOKS = 3
"""After this many looks without progress while all actors sleep, the reference has leaked a lock. Normally it skips
time within a millisecond."""


async def play(walk: Walk, connection: Connection, *, is_reference: bool) -> dict[str, Any]:
    """Play a walk on a server whose time is locked, and leave it locked.

    Args:
        walk: The walk.
        connection: A connection to a server that no other walk uses.
        is_reference: Whether the server is the reference. It skips no time while a task waits in a queue that nobody
            polls, so an actor has to sleep for the task. It does not release the locks of activities whose run was
            closed, so the walk has to.
    """
    stage = Stage(walk, connection, is_reference=is_reference)
    async with asyncio.timeout(PATIENCE_S):
        return await stage.play()


class Stage:
    """A walk in progress on one server."""

    def __init__(self, walk: Walk, connection: Connection, *, is_reference: bool) -> None:
        self.walk = walk
        self._connection = connection
        self._is_reference = is_reference
        self._normaliser = Normaliser(0)
        self._notes: dict[str, list[Any]] = {}
        self._actors: set[asyncio.Task[None]] = set()
        self._parked: list[asyncio.Future[None]] = []
        """The actors that wait for the next segment."""
        self._is_passing = False
        self._segment_end_ns = 0
        self._began_ns = 0
        self._in_tasks = 0
        self.taken: set[tuple[str, int]] = set()
        """(run id, scheduled event id) of the activities that the worker has polled."""
        self._asleep = 0
        """How many actors sleep in test time."""

    # Calls.

    async def ask(self, name: str, *, timeout_s: float = CALL_S, **fields: Any) -> Any:
        """Make a call. An error is returned, not raised.

        Raises:
            TimeoutError: The server did not answer a call that does not wait for anything.
        """
        method = METHODS[name]
        known = method.request_type.DESCRIPTOR.fields_by_name
        if "namespace" in known:
            fields.setdefault("namespace", "default")
        if "identity" in known:
            fields.setdefault("identity", "tester")
        request = method.request_type(**fields)
        timeout_ns = int(timeout_s * SECOND_NS)
        try:
            return await self._connection.call(method, request, timeout_ns=timeout_ns)
        except RpcError as error:
            if isinstance(error, DeadlineExceeded) and timeout_s == CALL_S:
                raise TimeoutError(f"{name} was not answered within {CALL_S} s") from None
            return error

    async def note(
        self, who: str, what: str, answer: Any, at_ns: int | None = None, *, is_late: bool = False
    ) -> None:
        """Record an answer with a time: `at_ns`, or now.

        The message of the error of a late call is left out, because it depends on the time of the call.
        """
        at = Timestamp()
        at.FromNanoseconds(await self.now_ns() if at_ns is None else at_ns)
        step: dict[str, Any] = {"call": what, "at": self._normaliser.message(at)}
        if isinstance(answer, RpcError):
            step["error"] = {"code": answer.status_code.name}
            if not is_late:
                step["error"] = self._normaliser.error(answer)
        else:
            assert isinstance(answer, Message)
            step["response"] = self._normaliser.message(answer)
        self._notes.setdefault(who, []).append(step)

    async def now_ns(self) -> int:
        """The test time."""
        answer = await self.ask("GetCurrentTime")
        return answer.time.ToNanoseconds()

    async def sleep_until(self, at_ns: int) -> None:
        """Release one lock until a point in test time."""
        left_ns = at_ns - await self.now_ns()
        if left_ns > 0:
            length = seconds(left_ns / SECOND_NS)
            answer = await self.ask("UnlockTimeSkippingWithSleep", duration=length)
            assert not isinstance(answer, RpcError), answer

    # Segments.

    async def sleep_in_segments(self, at_ns: int) -> int | None:
        """Sleep as an actor until a point in test time or the end of the segment, and return that time.

        Between segments, wait for the next one and return None: the actor has to check again whether it has to sleep.
        """
        if not self._is_passing or await self.now_ns() >= self._segment_end_ns:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._parked.append(waiter)
            await waiter
            return None
        self._asleep += 1
        until_ns = min(at_ns, self._segment_end_ns)
        try:
            await self.sleep_until(until_ns)
        finally:
            self._asleep -= 1
        return until_ns

    def _wake_parked(self) -> None:
        for waiter in self._parked:
            waiter.set_result(None)
        self._parked.clear()

    async def _pass(self, minutes: int) -> None:
        """Let test time pass while the actors sleep too."""
        end_ns = await self.now_ns() + minutes * MINUTE_NS
        while (now_ns := await self.now_ns()) < end_ns:
            await self._settled()
            self._wake_parked()  # attempts that have ended are reported before time passes
            await self._settled()
            expiries = [at_ns for at_ns in await self._expiries_ns() if at_ns > now_ns]
            self._segment_end_ns = min([end_ns, *expiries])
            self._is_passing = True
            self._wake_parked()
            watch = asyncio.ensure_future(self._release_leaked_locks())
            await self.sleep_until(self._segment_end_ns)
            watch.cancel()
            self._is_passing = False
        await self._settled()

    async def _release_leaked_locks(self) -> None:
        """Unlock time when it does not move although all actors sleep."""
        stuck, before_ns = 0, 0
        while self._is_reference:
            await asyncio.sleep(STUCK_S)
            now_ns = await self.now_ns()
            is_quiet = self._asleep == self._live and not self._in_tasks
            is_stuck = now_ns - before_ns < SECOND_NS and is_quiet
            stuck, before_ns = (stuck + 1 if is_stuck else 0), now_ns
            if stuck >= STUCK_LOOKS:
                await self.ask("UnlockTimeSkipping")
                stuck = 0

    async def _expiries_ns(self) -> list[int]:
        """The times at which the current run may time out."""
        walk = self.walk
        found = [self._began_ns + walk.execution_timeout_minutes * MINUTE_NS]
        page = await self.ask("GetWorkflowExecutionHistory", execution=self.execution)
        first = page.history.events[0]
        backoff = first.workflow_execution_started_event_attributes.first_workflow_task_backoff
        limit_ns = first.event_time.ToNanoseconds() + walk.run_timeout_minutes * MINUTE_NS
        return [*found, limit_ns, limit_ns + backoff.ToNanoseconds()]

    async def _settled(self) -> None:
        """Wait until the worker has nothing to do."""
        while not (await self._is_settled() and await self._is_settled()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        for actor in tuple(self._actors):
            if actor.done():
                self._actors.discard(actor)
                await actor

    async def _is_settled(self) -> bool:
        await asyncio.sleep(0.001)
        page = await self.ask("GetWorkflowExecutionHistory", execution=self.execution)
        events = page.history.events
        states = [_TASK_STATES[e.event_type] for e in events if e.event_type in _TASK_STATES]
        if self._in_tasks or (states and states[-1] == "open" and not _is_closed(events)):
            return False
        if len(self._parked) < self._live:
            return False
        if _is_closed(events):
            return True
        run_id = await self._run_id()
        return all(
            (run_id, event.event_id) in self.taken
            for event in events
            if event.event_type == enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
            and not event.activity_task_scheduled_event_attributes.task_queue.name.endswith(
                "nobody"
            )
        )

    @property
    def _live(self) -> int:
        return sum(not actor.done() for actor in self._actors)

    # The walk.

    @property
    def execution(self) -> dict[str, str]:
        return {"workflow_id": self.walk.name}

    async def play(self) -> dict[str, Any]:
        """Play the walk; see the function `play`."""
        self._began_ns = await self.now_ns()
        self._normaliser.now_ns = self._began_ns - MARGIN_NS
        started = await self.ask("StartWorkflowExecution", **self._start_fields())
        await self.note("client", "start", started)
        async with self._working():
            for op in self.walk.ops:
                await self._pass(op.wait_minutes)
                await do(self, op.name, op.step)
                await self._settled()
                if await self._has_closed():
                    break
            for _ in range(SEGMENTS_MAX):
                if await self._has_closed():
                    break
                await self._pass(RUN_OUT_MINUTES)
            await self._pass(1)  # actors that still sleep learn that the run has closed
            runs = await self._runs(started.run_id)
        return {**dict(sorted(self._notes.items())), "runs": runs}

    def _start_fields(self) -> dict[str, Any]:
        walk = self.walk
        fields: dict[str, Any] = {
            **self.execution,
            "workflow_type": {"name": "Walk"},
            "task_queue": self.queue("served"),
            "request_id": "start",
        }
        limits = {
            "workflow_run_timeout": walk.run_timeout_minutes,
            "workflow_execution_timeout": walk.execution_timeout_minutes,
            "workflow_start_delay": walk.start_delay_minutes,
        }
        fields |= {name: seconds(minutes * 60) for name, minutes in limits.items() if minutes}
        if walk.retry is not None:
            fields["retry_policy"] = policy(walk.retry)
        return fields

    def queue(self, name: str) -> dict[str, Any]:
        """A task queue of this walk."""
        return {"name": f"{self.walk.name}: {name}"}

    async def describe(self) -> Any:
        """Describe the current run."""
        return await self.ask("DescribeWorkflowExecution", execution=self.execution)

    async def _run_id(self) -> str:
        info = (await self.describe()).workflow_execution_info
        run_id: str = info.execution.run_id
        return run_id

    async def _has_closed(self) -> bool:
        info = (await self.describe()).workflow_execution_info
        return info.status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING

    async def _runs(self, run_id: str) -> list[Any]:
        """The history and description of each run of the chain."""
        found: list[Any] = []
        while run_id:
            execution = {**self.execution, "run_id": run_id}
            page = await self.ask("GetWorkflowExecutionHistory", execution=execution)
            described = await self.ask("DescribeWorkflowExecution", execution=execution)
            found.append(
                {
                    "history": [self._normaliser.message(each) for each in page.history.events],
                    "description": self._normaliser.message(described),
                }
            )
            last = page.history.events[-1]
            attributes: Any = getattr(last, str(last.WhichOneof("attributes")))
            run_id = getattr(attributes, "new_execution_run_id", "")
        return found

    # The worker.

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        pollers = [asyncio.ensure_future(self._poll_workflow_tasks())]
        pollers += [
            asyncio.ensure_future(self._poll_activity_tasks()) for _ in range(ACTIVITY_POLLERS)
        ]
        try:
            yield
        finally:
            tasks = [*pollers, *self._actors]
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _poll_workflow_tasks(self) -> None:
        while True:
            task = await self.ask(
                "PollWorkflowTaskQueue", task_queue=self.queue("served"), timeout_s=POLL_S
            )
            if isinstance(task, RpcError) or not task.task_token:
                continue
            self._in_tasks += 1
            events = list(task.history.events)
            decider = Decider(self.walk, events, self.queue("served"), self.queue("nobody"))
            commands = decider.decide()
            answer = await self.ask(
                "RespondWorkflowTaskCompleted", task_token=task.task_token, commands=commands
            )
            if isinstance(answer, RpcError):
                await self.note("workflow tasks", f"after {len(events)} events", answer)
            if self._is_reference:
                for step in decider.waiting:
                    self._spawn(wait_for_nobody(self, step, task.workflow_execution.run_id))
            self._in_tasks -= 1

    async def _poll_activity_tasks(self) -> None:
        while True:
            task = await self.ask(
                "PollActivityTaskQueue", task_queue=self.queue("served"), timeout_s=POLL_S
            )
            if not isinstance(task, RpcError) and task.task_token:
                run_id = self._normaliser.text(task.workflow_execution.run_id)
                who = f"{task.activity_id} attempt {task.attempt} in {run_id}"
                self._spawn(attempt(self, task, who))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._actors.add(asyncio.ensure_future(work))


def _is_closed(events: Any) -> bool:
    name = enums.EventType.Name(events[-1].event_type).removeprefix("EVENT_TYPE_WORKFLOW_EXECUTION")
    return name in _CLOSES


_CLOSES = {
    "_COMPLETED", "_FAILED", "_TIMED_OUT", "_CANCELED", "_TERMINATED", "_CONTINUED_AS_NEW",
}  # fmt: skip
_TASK_STATES = {
    enums.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: "open",
    enums.EVENT_TYPE_WORKFLOW_TASK_STARTED: "open",
    enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: "closed",
    enums.EVENT_TYPE_WORKFLOW_TASK_FAILED: "closed",
    enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: "closed",
}
