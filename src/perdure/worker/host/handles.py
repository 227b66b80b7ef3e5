"""Activities from the workflow's side: the handle, its commands and its outcome.

Invariants: the schedule command is issued synchronously, before the handle's task takes its first step; a
handle cancelled before that step issues the cancel command itself; each schedule is cancelled at most once.
Not here: children (`children`), matching with history (`perdure.replay`).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from perdure import workflow
from perdure.replay import commands, jobs
from perdure.wire.api import common as common_pb
from perdure.worker.host import waiting
from perdure.worker.host.state import RAISE_ON_CANCELLING_COMPLETED_ACTIVITY
from perdure.worker.interceptors.workflow import StartActivityInput, StartLocalActivityInput

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from perdure.common import Priority, RetryPolicy
    from perdure.worker.host.converters import Converters
    from perdure.worker.host.state import RunState

    Payload = common_pb.Payload

ActivityInput = StartActivityInput | StartLocalActivityInput


def nanoseconds(duration: timedelta | None) -> int | None:
    """A time-out for a command; None and zero mean "not set"."""
    if not duration:
        return None
    return (duration // timedelta(microseconds=1)) * 1000


def retry_policy(policy: RetryPolicy | None) -> common_pb.RetryPolicy | None:
    """A retry policy's message."""
    if policy is None:
        return None
    made = common_pb.RetryPolicy()
    policy.apply_to_proto(made)
    return made


def priority(value: Priority) -> common_pb.Priority | None:
    """A priority's message; None for the default."""
    return value.to_proto() if value != type(value).default else None


def versioning_intent(value: workflow.VersioningIntent | None) -> commands.VersioningIntent:
    """A versioning intent as the command has it."""
    return commands.VersioningIntent(value.value if value else 0)


class _BackoffError(BaseException):
    """A local activity must be scheduled again after a durable timer."""

    def __init__(self, backoff: jobs.Backoff) -> None:
        self.backoff = backoff


class HostedActivity(workflow.ActivityHandle[Any]):
    """The handle that workflow code gets."""

    def __init__(
        self,
        state: RunState,
        seq: int,
        input: ActivityInput,
        converters: Converters,
    ) -> None:
        self._run_state = state
        self.seq = seq
        self.input = input
        self._converters = converters
        # Convert before the task exists, so that an error leaves no partly created activity.
        self._arguments = converters.payloads(input.args)
        self._is_local = isinstance(input, StartLocalActivityInput)
        self._outcome: asyncio.Future[Any] = state.loop.create_future()
        self._started = False
        self._cancelled_seq: int | None = None
        run: Coroutine[Any, Any, Any] = self._run()
        super().__init__(run, loop=state.loop, name=f"activity: {input.activity}")
        state.loop.adopt_task(self)

    async def _run(self) -> Any:
        self._started = True
        while True:
            try:
                return await waiting.operation(
                    self._run_state,
                    self._outcome,
                    lambda _error: self._request_cancel(),
                    completed_flag=RAISE_ON_CANCELLING_COMPLETED_ACTIVITY,
                )
            except _BackoffError as error:
                await self._run_state.loop.workflow_runtime.sleep(
                    error.backoff.backoff_ns / 1e9, summary=None
                )
                self.schedule(error.backoff)
                self._run_state.activities[self.seq] = self

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        if not self._run_state.closing:
            self._run_state.check_mutable("cancel activity handle")
            # Before its first step the coroutine cannot observe the cancellation.
            if not self._started and not self.done():
                self._request_cancel()
        return super().cancel(msg)

    def _request_cancel(self) -> None:
        if self._cancelled_seq == self.seq and not self._run_state.closing:
            return
        self._cancelled_seq = self.seq
        site = self._run_state.site()
        self._run_state.issue(
            commands.RequestCancelLocalActivity(seq=self.seq, site=site)
            if self._is_local
            else commands.RequestCancelActivity(seq=self.seq, site=site)
        )

    def schedule(self, backoff: jobs.Backoff | None = None) -> None:
        """Issue the schedule command."""
        if isinstance(self.input, StartLocalActivityInput):
            self._run_state.issue(self._local_command(self.input, backoff))
        else:
            self._run_state.issue(self._command(self.input))

    def _command(self, input: StartActivityInput) -> commands.ScheduleActivity:
        return commands.ScheduleActivity(
            seq=self.seq,
            activity_id=input.activity_id or str(self.seq),
            activity_type=input.activity,
            task_queue=input.task_queue or self._run_state.run.task_queue,
            headers=self._run_state.headers_of(input.headers),
            arguments=self._arguments,
            schedule_to_close_timeout_ns=nanoseconds(input.schedule_to_close_timeout),
            schedule_to_start_timeout_ns=nanoseconds(input.schedule_to_start_timeout),
            start_to_close_timeout_ns=nanoseconds(input.start_to_close_timeout),
            heartbeat_timeout_ns=nanoseconds(input.heartbeat_timeout),
            retry_policy=retry_policy(input.retry_policy),
            cancellation_type=commands.ActivityCancellationType(int(input.cancellation_type)),
            do_not_eagerly_execute=input.disable_eager_execution,
            versioning_intent=versioning_intent(input.versioning_intent),
            priority=priority(input.priority),
            summary=self._converters.text(input.summary),
            site=self._run_state.site(),
        )

    def _local_command(
        self, input: StartLocalActivityInput, backoff: jobs.Backoff | None
    ) -> commands.ScheduleLocalActivity:
        return commands.ScheduleLocalActivity(
            seq=self.seq,
            activity_id=input.activity_id or str(self.seq),
            activity_type=input.activity,
            attempt=backoff.attempt if backoff else 1,
            original_schedule_time_ns=backoff.original_schedule_time_ns if backoff else None,
            headers=self._run_state.headers_of(input.headers),
            arguments=self._arguments,
            schedule_to_close_timeout_ns=nanoseconds(input.schedule_to_close_timeout),
            schedule_to_start_timeout_ns=nanoseconds(input.schedule_to_start_timeout),
            start_to_close_timeout_ns=nanoseconds(input.start_to_close_timeout),
            retry_policy=retry_policy(input.retry_policy),
            local_retry_threshold_ns=nanoseconds(input.local_retry_threshold),
            cancellation_type=commands.ActivityCancellationType(int(input.cancellation_type)),
            summary=self._converters.text(input.summary),
            site=self._run_state.site(),
        )

    def resolve(self, result: jobs.Resolution) -> None:
        """Handle the outcome of the activity. Raises if its result cannot be decoded."""
        if isinstance(result, jobs.Completed):
            self._outcome.set_result(self._decode(result.result))
        elif isinstance(result, jobs.Backoff):
            # The sequence number of the next attempt is allocated now, before that of the timer.
            self.seq = self._run_state.next_seq("activity")
            outcome = self._outcome
            self._outcome = self._run_state.loop.create_future()
            outcome.set_exception(_BackoffError(result))
        else:
            error = self._converters.from_failure(result.failure)
            # It was cancelled before its first step, so the outcome is never awaited.
            if self._started:
                self._outcome.set_exception(error)

    def _decode(self, payload: Payload | None) -> Any:
        if payload is None:
            return None
        types = [self.input.ret_type] if self.input.ret_type else None
        return self._run_state.converters.decode([payload], types, self._converters)[0]


def start_activity(state: RunState, input: ActivityInput) -> HostedActivity:
    """Schedule an activity.

    Raises:
        ValueError: It has neither a start-to-close nor a schedule-to-close time-out.
    """
    if not input.start_to_close_timeout and not input.schedule_to_close_timeout:
        message = "Activity must have start_to_close_timeout or schedule_to_close_timeout"
        raise ValueError(message)
    state.check_mutable("start activity")
    # Consume the number even if the arguments cannot be converted, because activity ids depend on it.
    seq = state.next_seq("activity")
    queue = None if isinstance(input, StartLocalActivityInput) else input.task_queue
    converters = state.converters.for_activity(
        input.activity,
        input.activity_id,
        queue,
        is_local=isinstance(input, StartLocalActivityInput),
    )
    handle = HostedActivity(state, seq, input, converters)
    handle.schedule()
    state.activities[seq] = handle
    return handle
