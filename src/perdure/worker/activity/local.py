"""Local activities: activities that run while their workflow task is open, without the server.

Role: for each one that the replay engine asks for: wait for a slot, run attempts through the worker's ordinary
activities (same registry, context and interceptors), retry, watch the time-outs, and report one result. Back-offs
longer than the local retry threshold are reported instead of waited for: workflow code then sleeps durably.

Invariants: one result per request, none after `close`; a cancelled one is not tried again. An attempt that ran out of
time is told so and left behind: its slot is free at once.
Not here: the workflow task's own time (`workflow.run`), markers and replay (`perdure.replay`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.activity import ActivityCancellationDetails
from perdure.core.units import SECOND_NS
from perdure.replay.jobs import Cancelled, Completed, Failed
from perdure.replay.local import LocalActivityCancel, LocalRequest, LocalResult
from perdure.wire.api import common, enums, workflowservice
from perdure.wire.api import failure as failures
from perdure.wire.times import duration, timestamp
from perdure.worker.activity.local_retry import retry_delay_ns

if TYPE_CHECKING:
    from perdure.replay.commands import ScheduleLocalActivity
    from perdure.replay.task import RunInfo
    from perdure.worker.activity.activities import Activities
    from perdure.worker.activity.attempt import Attempt
    from perdure.worker.polling.slots import Slots

T = TypeVar("T")

LOCAL_RETRY_THRESHOLD_NS = 60 * SECOND_NS
"""A longer back-off becomes a timer of the workflow, unless the command says otherwise."""

SCHEDULE_TO_START = enums.TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
SCHEDULE_TO_CLOSE = enums.TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
START_TO_CLOSE = enums.TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE


class LocalActivities:
    """Runs the local activities of one worker."""

    def __init__(
        self,
        activities: Activities,
        slots: Slots,
        spawn: Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]],
    ) -> None:
        self.activities = activities
        self.slots = slots
        self.spawn = spawn
        self.abandoned = asyncio.Event()
        """Set when the worker ends and no longer waits for local activities."""
        self._running: set[_Execution] = set()

    def of_run(self, run: RunInfo) -> RunLocalActivities:
        """The local activities of one run."""
        return RunLocalActivities(self, run)

    def abandon(self) -> None:
        """End the grace period: stop waiting for results and cancel the attempts that still run."""
        self.abandoned.set()
        for execution in self._running:
            execution.cancel()

    async def run(self, execution: _Execution) -> LocalResult:
        """Run one; it is known to `abandon` meanwhile."""
        self._running.add(execution)
        try:
            return await execution.run()
        finally:
            self._running.discard(execution)


class RunLocalActivities:
    """The local activities of one run that are in progress, and the results that were not taken yet."""

    __slots__ = ("_closed", "_news", "_results", "_run", "_running", "_worker")

    def __init__(self, worker: LocalActivities, run: RunInfo) -> None:
        self._worker = worker
        self._run = run
        self._running: dict[int, _Execution] = {}
        self._results: list[tuple[int, LocalResult]] = []
        self._news: asyncio.Event | None = None
        """Only while a caller waits."""
        self._closed = False

    @property
    def is_idle(self) -> bool:
        """Whether no local activity is in progress."""
        return not self._running

    def apply(self, requests: Sequence[LocalRequest], now_ns: int) -> None:
        """Start or cancel the local activities that the engine requests.

        Args:
            requests: From the engine.
            now_ns: The workflow's time, since the epoch: when what is asked for was scheduled.

        Raises:
            perdure.exceptions.ApplicationError: The worker does not have an activity. No other worker will be asked, so
                retries would be in vain until a worker with that code has the workflow task.
        """
        for request in requests:
            if isinstance(request, LocalActivityCancel):
                if (known := self._running.get(request.seq)) is not None:
                    known.cancel()
                continue
            command = request.command
            self._worker.activities.check_known(command.activity_type)
            execution = _Execution(self._worker, self._run, command, now_ns)
            self._running[command.seq] = execution
            self._worker.spawn(
                self._follow(command.seq, execution), f"local activity {command.activity_type}"
            )

    async def _follow(self, seq: int, execution: _Execution) -> None:
        result = await self._worker.run(execution)
        if not self._closed:
            del self._running[seq]
            self._results.append((seq, result))
            if self._news is not None:
                self._news.set()

    def take_results(self) -> list[tuple[int, LocalResult]]:
        """The results since the last call, in the order in which the activities ended."""
        results, self._results = self._results, []
        return results

    async def wait(self, timeout_s: float | None) -> None:
        """Wait for a result, at most `timeout_s`.

        Raises:
            RuntimeError: The worker ends and does not wait for local activities any more.
        """
        self._news = asyncio.Event()
        if self._results:
            self._news.set()
        news = asyncio.ensure_future(self._news.wait())
        over = asyncio.ensure_future(self._worker.abandoned.wait())
        try:
            await asyncio.wait([news, over], timeout=timeout_s, return_when="FIRST_COMPLETED")
        finally:
            self._news = None
            news.cancel()
            over.cancel()
        if self._worker.abandoned.is_set():
            raise RuntimeError("The worker stopped while a local activity was running")

    def close(self) -> None:
        """The run is evicted: cancel what runs. The results are not needed."""
        self._closed = True
        for execution in self._running.values():
            execution.cancel()
        self._running.clear()
        self._results.clear()


class _OverError(Exception):
    """Ends the attempts with an outcome."""

    def __init__(self, outcome: Failed | Cancelled) -> None:
        self.outcome = outcome


class _Execution:
    """One local activity, from its request to its result."""

    def __init__(
        self,
        worker: LocalActivities,
        run: RunInfo,
        command: ScheduleLocalActivity,
        now_ns: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._worker = worker
        self._run = run
        self._command = command
        self._cancelled: asyncio.Future[None] = loop.create_future()
        self._attempt: Attempt | None = None
        self._number = max(1, command.attempt)
        self._requested_ns, self._requested_s = now_ns, loop.time()
        # Back-offs by timer keep the first schedule: time-outs span all the commands of one activity.
        self._scheduled_ns = command.original_schedule_time_ns or now_ns
        self._deadline_s: float | None = None
        if command.schedule_to_close_timeout_ns:
            left_ns = self._scheduled_ns + command.schedule_to_close_timeout_ns - now_ns
            self._deadline_s = loop.time() + left_ns / SECOND_NS
        self._runtime_ns = 0

    def cancel(self) -> None:
        """Stop waiting, or tell the running attempt; no further attempt follows."""
        if not self._cancelled.done():
            self._cancelled.set_result(None)
        if self._attempt is not None:
            self._attempt.cancel(
                ActivityCancellationDetails(cancel_requested=True), by_request=True
            )

    async def run(self) -> LocalResult:
        """Attempts until one result is final."""
        while True:
            backoff_ns = None
            try:
                await self._take_slot()
                outcome = await self._run_attempt()
                if isinstance(outcome, Failed) and not self._cancelled.done():
                    backoff_ns = await self._backoff(outcome.failure)
            except _OverError as over:
                outcome = over.outcome
            if backoff_ns == 0 and not self._cancelled.done():
                self._number += 1
                continue
            return LocalResult(
                outcome,
                attempt=self._number,
                runtime_ns=self._runtime_ns,
                backoff_ns=backoff_ns or None,
                original_schedule_time_ns=self._scheduled_ns,
            )

    async def _take_slot(self) -> None:
        """Wait for a slot. Raises `_OverError` when it is cancelled or out of time before it got one."""
        limit_s, kind = self._deadline_s, SCHEDULE_TO_CLOSE
        to_start_ns = self._command.schedule_to_start_timeout_ns
        if to_start_ns and self._number == max(1, self._command.attempt):
            start_s = asyncio.get_running_loop().time() + to_start_ns / SECOND_NS
            if limit_s is None or start_s < limit_s:
                limit_s, kind = start_s, SCHEDULE_TO_START
        await self._wait_for(self._worker.slots.take(), limit_s, _timed_out(kind))
        if self._cancelled.done():
            # Both came at the same moment. An attempt that began now would not learn of the cancellation.
            self._worker.slots.release()
            raise _OverError(Cancelled(_cancelled()))

    async def _run_attempt(self) -> Completed | Failed | Cancelled:
        """One attempt; the slot is free afterwards."""
        worker, loop = self._worker, asyncio.get_running_loop()
        task = self._task()
        attempt = self._attempt = worker.activities.new_attempt(task)
        work = worker.spawn(
            worker.activities.run_local(task, attempt), f"local activity {self._command.seq}"
        )
        started_s = loop.time()
        limit_s, kind = self._deadline_s, SCHEDULE_TO_CLOSE
        if self._command.start_to_close_timeout_ns:
            close_s = started_s + self._command.start_to_close_timeout_ns / SECOND_NS
            if limit_s is None or close_s < limit_s:
                limit_s, kind = close_s, START_TO_CLOSE
        if limit_s is not None:
            attempt.is_overdue = partial(_is_over, limit_s, loop)
        try:
            await asyncio.wait([work], timeout=_left_s(limit_s))
        finally:
            worker.slots.release()
        self._runtime_ns = int((loop.time() - started_s) * SECOND_NS)
        # An activity that blocks the event loop comes back late and with a result.
        if work.done() and (limit_s is None or loop.time() <= limit_s):
            return work.result()
        attempt.cancel(ActivityCancellationDetails(timed_out=True), by_request=True)
        return Failed(_timed_out(kind))

    async def _backoff(self, failure: failures.Failure) -> int | None:
        """Wait before the next attempt: 0 afterwards, the pause when a timer must do it, None for no more attempts."""
        policy = self._command.retry_policy
        delay_ns = retry_delay_ns(policy, self._number, failure)
        if delay_ns is None:
            return None
        threshold_ns = self._command.local_retry_threshold_ns
        if delay_ns > (LOCAL_RETRY_THRESHOLD_NS if threshold_ns is None else threshold_ns):
            return delay_ns
        pause = asyncio.sleep(delay_ns / SECOND_NS)
        await self._wait_for(pause, self._deadline_s, _timed_out(SCHEDULE_TO_CLOSE, failure))
        return 0

    async def _wait_for(
        self, work: Coroutine[Any, Any, T], limit_s: float | None, late: failures.Failure
    ) -> T:
        """The result of `work`, unless it is cancelled or the limit passes first. Raises `_OverError` then."""
        task = asyncio.ensure_future(work)
        await asyncio.wait(
            [task, self._cancelled], timeout=_left_s(limit_s), return_when="FIRST_COMPLETED"
        )
        if task.done():
            return task.result()
        task.cancel()
        raise _OverError(Cancelled(_cancelled()) if self._cancelled.done() else Failed(late))

    def _task(self) -> workflowservice.PollActivityTaskQueueResponse:
        """The attempt as a poll would have brought it."""
        command, run = self._command, self._run
        elapsed_s = asyncio.get_running_loop().time() - self._requested_s
        to_close_ns = command.schedule_to_close_timeout_ns or 0
        task = workflowservice.PollActivityTaskQueueResponse(
            task_token=f"local/{run.run_id}/{command.seq}/{self._number}".encode(),
            workflow_namespace=run.namespace,
            workflow_type=common.WorkflowType(name=run.workflow_type),
            workflow_execution=common.WorkflowExecution(
                workflow_id=run.workflow_id, run_id=run.run_id
            ),
            activity_type=common.ActivityType(name=command.activity_type),
            activity_id=command.activity_id or str(command.seq),
            header=common.Header(fields=command.headers),
            input=common.Payloads(payloads=command.arguments),
            scheduled_time=timestamp(self._scheduled_ns),
            current_attempt_scheduled_time=timestamp(self._scheduled_ns),
            started_time=timestamp(self._requested_ns + int(elapsed_s * SECOND_NS)),
            attempt=self._number,
            schedule_to_close_timeout=duration(to_close_ns),
            start_to_close_timeout=duration(command.start_to_close_timeout_ns or to_close_ns),
        )
        if command.retry_policy is not None:
            task.retry_policy.CopyFrom(command.retry_policy)
        return task


def _left_s(limit_s: float | None) -> float | None:
    return None if limit_s is None else limit_s - asyncio.get_running_loop().time()


def _is_over(limit_s: float, loop: asyncio.AbstractEventLoop) -> bool:
    return loop.time() > limit_s


def _cancelled() -> failures.Failure:
    return failures.Failure(
        message="Cancelled", canceled_failure_info=failures.CanceledFailureInfo()
    )


def _timed_out(
    kind: enums.TimeoutType.ValueType, cause: failures.Failure | None = None
) -> failures.Failure:
    return failures.Failure(
        message="Activity timed out",
        timeout_failure_info=failures.TimeoutFailureInfo(timeout_type=kind),
        cause=cause,
    )
