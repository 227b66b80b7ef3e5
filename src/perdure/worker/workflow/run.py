"""One run in a worker: the replay engine and the workflow host joined, and one workflow task at a time.

Role: feed a task, fetch the pages of history that the engine asks for, run activations until there is nothing to
run, and hand back the answer. A task whose local activities still run stays open until they end, or is answered early
and gets a successor when its time-out comes near, or when a timer of the workflow needs the server. Long replays
yield to the event loop between activations, never inside one.

Invariants: the engine and the host belong together and die together: after any error the run is evicted and the
next task replays from the first event. Not here: answering the server (`workflow.tasks`), the loop user code runs
on (`host`), and the thread (`workflow.callbacks`, `workflow.threads`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from perdure.core.units import MS_NS, SECOND_NS
from perdure.replay.jobs import InitializeWorkflow
from perdure.wire.api import workflowservice
from perdure.wire.times import duration_ns

if TYPE_CHECKING:
    from perdure.replay.commands import ActivationResult
    from perdure.replay.engine import WorkflowReplay
    from perdure.replay.jobs import Activation
    from perdure.replay.task import Answer, NeedPage, WorkflowTask
    from perdure.worker.activity.local import RunLocalActivities
    from perdure.worker.polling.run_codec import RunCodec
    from perdure.worker.workflow.callbacks import Execution

FetchPage = Callable[[bytes], Awaitable[workflowservice.GetWorkflowExecutionHistoryResponse]]

TASK_TIMEOUT_S = 10.0
"""Of workflow tasks, until the run's first event has said so."""

HEARTBEAT_SHARE = 0.8
"""After this share of the task's time-out it is answered, with a request for another one (R-48)."""

TIMER_SHARE = 0.1
"""After this share of a new timer's duration the task is answered, so that the server starts the timer."""

TIMER_WAIT_S = 0.05
"""At least; a timer that is late is asked for after this time, then after twice as long, and so on."""

OVERDUE_MAX = 20

SLICE_NS = 5 * MS_NS
"""A replay longer than this lets the event loop run others in between."""


Timer = tuple[int, float]
"""Its number, and the seconds it has left by the workflow's clock."""


class Host(Protocol):
    """Workflow code of one run; `perdure.worker.host` implements it."""

    def activate(self, activation: Activation) -> ActivationResult:
        """Run user code until nothing is ready. Raises what fails the workflow task."""
        ...

    def timers(self) -> Sequence[Timer]:
        """The timers that have not fired."""
        ...

    def close(self) -> None:
        """Tear the coroutines down; no command can come of it."""
        ...


class CachedRun:
    """A run, its engine and its host."""

    # A cached run is measured in KiB: no dictionary.
    __slots__ = (
        "_closed", "_execution", "_fetch_page", "_host", "_local", "_need", "_now_ns", "_overdue", "_received_s",
        "_task_timeout_s", "_timers_sent", "_waiting", "codec", "engine", "lock", "run_id",
    )  # fmt: skip

    def __init__(
        self,
        run_id: str,
        engine: WorkflowReplay,
        host: Host,
        fetch_page: FetchPage,
        local_activities: RunLocalActivities,
        codec: RunCodec,
        execution: Execution,
    ) -> None:
        self.run_id = run_id
        self._execution = execution
        self.codec = codec
        self.engine = engine
        self.lock = asyncio.Lock()
        self._host = host
        self._fetch_page = fetch_page
        self._local = local_activities
        self._task_timeout_s = TASK_TIMEOUT_S
        self._now_ns = 0
        self._received_s = 0.0
        """When the current task was fed to the engine, by the event loop's clock."""
        self._waiting = 0
        self._timers_sent = 0
        self._overdue = 0
        self._need: NeedPage | None = None
        self._closed = False

    @property
    def is_idle(self) -> bool:
        return not self.lock.locked() and self._waiting == 0 and not self.runs_local_activities

    @property
    def runs_local_activities(self) -> bool:
        """They would be lost with the run: keep it until they have ended."""
        return not self._local.is_idle

    @property
    def is_closed(self) -> bool:
        return self._closed

    def enter_now(self) -> None:
        """Like `async with`, but without waiting. The run must be idle."""
        assert self.is_idle, "somebody has the run, or waits for it"
        try:
            self.lock.acquire().send(None)  # a free lock is acquired without waiting
        except StopIteration:
            return
        raise AssertionError("the lock was free")

    def leave(self) -> None:
        """Release the run after `enter_now`."""
        self.lock.release()

    async def __aenter__(self) -> None:
        self._waiting += 1
        try:
            await self.lock.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self.lock.release()

    async def advance(self, task: WorkflowTask) -> Answer | None:
        """Run one workflow task; None when the engine found a mismatch (`engine.error` says which).

        Raises:
            Exception: Whatever workflow code raised that fails the task rather than the workflow.
        """
        self._received_s = asyncio.get_running_loop().time()
        self._need = self.engine.feed(task)
        return await self.go_on()

    def advance_now(self, task: WorkflowTask) -> Answer | None:
        """Like `advance`, but without waiting and on this thread. None also if the task has to wait; see `go_on`.

        Raises:
            BaseException: Whatever workflow code raised.
        """
        self._received_s = asyncio.get_running_loop().time()
        self._need = self.engine.feed(task)
        if self._need is not None:
            return None
        while self._slice():
            if self._need is not None:
                return None
        if self.engine.waits_for_local_activities:
            return None
        return self.engine.ready() if self.engine.error is None else None

    async def go_on(self) -> Answer | None:
        """Continue a workflow task that was fed to the engine. Returns and raises what `advance` does."""
        loop = asyncio.get_running_loop()
        await self._fetch(self._need)
        while True:
            while await self._execution.run(self, self._slice):
                await self._fetch(self._need)
            if self.engine.error is not None:
                return None
            self._local.apply(self.engine.local_requests(), self._now_ns)
            answer = self.engine.ready()
            if answer is not None or not self.engine.waits_for_local_activities:
                return answer
            timers = self._host.timers()
            heartbeat_s = min(
                self._task_timeout_s * HEARTBEAT_SHARE, self._wait_for_timers_s(timers)
            )
            await self._local.wait(self._received_s + heartbeat_s - loop.time())
            results = self._local.take_results()
            for seq, result in results:
                self.engine.local_result(seq, result)
            if not results and (answer := self.engine.heartbeat()) is not None:
                self._answered_early(timers)
                return answer

    def _wait_for_timers_s(self, timers: Sequence[Timer]) -> float:
        """How long after its receipt a task may stay open although timers of its workflow go on."""
        waits = [math.inf]
        for seq, left_s in timers:
            if seq > self._timers_sent:
                # The server starts it with the answer, and counts from then.
                waits.append(max(left_s * TIMER_SHARE, TIMER_WAIT_S))
            else:
                # It fires soon, and the event comes with the next task only.
                waits.append(left_s if left_s > 0 else TIMER_WAIT_S * 2**self._overdue)
        return min(waits)

    def _answered_early(self, timers: Sequence[Timer]) -> None:
        is_overdue = any(left_s <= 0 for seq, left_s in timers if seq <= self._timers_sent)
        self._overdue = min(self._overdue + 1, OVERDUE_MAX) if is_overdue else 0
        self._timers_sent = max((seq for seq, _ in timers), default=0)

    def _slice(self) -> bool:
        """Activations until there are no more, a page is needed, or the slice is over; False when there are no more."""
        # Perhaps in another thread than the worker's event loop.
        now_s = self._execution.now_s
        slice_end = now_s() + SLICE_NS / SECOND_NS
        while (activation := self.engine.next()) is not None:
            self._now_ns = activation.time_ns
            for job in activation.jobs:
                if isinstance(job, InitializeWorkflow):
                    timeout_ns = duration_ns(job.attributes.workflow_task_timeout)
                    self._task_timeout_s = timeout_ns / SECOND_NS or TASK_TIMEOUT_S
            self._need = self.engine.commit(self._host.activate(activation))
            if self._need is not None or now_s() > slice_end:
                return True
        return False

    async def _fetch(self, need: NeedPage | None) -> None:
        while need is not None:
            page = await self._fetch_page(need.token)
            need = self.engine.feed_page(page.history.events, page.next_page_token)

    def close(self) -> None:
        """Tear the run down, soon, and not before its code has come back; a second call does nothing more."""
        self._closed = True
        self._local.close()
        self._execution.release(self, self._host.close)
