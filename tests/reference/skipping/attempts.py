"""Plays the attempts of activities, and sleeps for activities in queues that nobody polls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure.core.units import MINUTE_NS
from perdure.wire.api import enums
from perdure.wire.errors import RpcError
from tests.reference.commands import application_failure, payloads, seconds
from tests.reference.skipping.plan import Activity, Attempt

if TYPE_CHECKING:
    from tests.reference.skipping.drive import Stage

CANCEL_REQUESTED = enums.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
LOOKS = 20
LOOK_S = 0.01
"""How long, in real time, a due time-out may take until it is recorded."""


async def attempt(stage: Stage, task: Any, who: str) -> None:
    """Play an attempt as the walk says.

    Args:
        stage: The walk in progress.
        task: The answer to the poll.
        who: The name under which to record answers.
    """
    step = stage.walk.steps[task.activity_id]
    assert isinstance(step, Activity)
    number: int = task.attempt - 1
    plan = step.attempts[number] if number < len(step.attempts) else Attempt((), "complete")
    await _Attempt(stage, task, who, step, plan).play()


class _Attempt:
    def __init__(self, stage: Stage, task: Any, who: str, step: Activity, plan: Attempt) -> None:
        self._stage = stage
        self._task = task
        self._who = who
        self._step = step
        self._plan = plan
        self._scheduled_ns = task.scheduled_time.ToNanoseconds()
        self._started_ns = self._beat_ns = self._woke_ns = 0
        self._is_cancelled = False

    async def play(self) -> None:
        stage = self._stage
        self._started_ns = self._beat_ns = self._woke_ns = await stage.now_ns()
        await stage.note(self._who, "poll", self._task)
        stage.taken.add(await self._place())
        actions = list(self._plan.actions)
        if self._plan.end == "vanish":
            actions.append(10**6)
        for action in actions:
            if isinstance(action, int):
                if not await self._sleep(action):
                    await self._answer(self._woke_ns)
                    return
                if self._is_cancelled:
                    await self._end_cancelled()
                    return
            elif not await self._beat(action):
                return
        await self._answer()

    async def _place(self) -> tuple[str, int]:
        """The run id and the scheduled event id of this activity."""
        execution = self._task.workflow_execution
        page = await self._stage.ask("GetWorkflowExecutionHistory", execution=execution)
        events = [
            event.event_id
            for event in page.history.events
            if event.activity_task_scheduled_event_attributes.activity_id == self._step.id
        ]
        return execution.run_id, max(events)

    def _boundaries_ns(self) -> list[int]:
        """The times at which this attempt may time out."""
        limits = (
            (self._started_ns, self._step.start_to_close_minutes),
            (self._scheduled_ns, self._step.schedule_to_close_minutes),
            (self._beat_ns, self._step.heartbeat_minutes),
        )
        return [since_ns + minutes * MINUTE_NS for since_ns, minutes in limits if minutes]

    async def _sleep(self, minutes: int) -> bool:
        """Sleep in test time. Return whether the attempt is still running."""
        stage = self._stage
        now_ns = await stage.now_ns()
        until_ns = now_ns + minutes * MINUTE_NS
        passed: set[int] = set()
        while now_ns < until_ns:
            if not await self._is_alive():
                return False
            if self._is_cancelled:
                return True
            ahead = [at_ns for at_ns in self._boundaries_ns() if at_ns > now_ns]
            slept_ns = await stage.sleep_in_segments(min([until_ns, *ahead]))
            self._woke_ns = slept_ns or self._woke_ns
            now_ns = await stage.now_ns()
            due = {at_ns for at_ns in ahead if at_ns <= now_ns} - passed
            passed |= due
            for _ in range(LOOKS if due else 0):
                if not await self._is_alive():
                    return False
                await asyncio.sleep(LOOK_S)
        return True

    async def _is_alive(self) -> bool:
        execution = self._task.workflow_execution
        found = await self._stage.ask("DescribeWorkflowExecution", execution=execution)
        if found.workflow_execution_info.status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
            return False  # the reference still lists the activities of a closed run
        for pending in found.pending_activities:
            if (pending.activity_id, pending.attempt) == (self._step.id, self._task.attempt):
                self._is_cancelled = pending.state == CANCEL_REQUESTED
                return True
        return False

    async def _beat(self, details: str) -> bool:
        """Send a heartbeat. Return whether the attempt goes on."""
        stage, token = self._stage, self._task.task_token
        answer = await stage.ask(
            "RecordActivityTaskHeartbeat", task_token=token, details=payloads(details)
        )
        await stage.note(self._who, details, answer)
        if isinstance(answer, RpcError):
            return False
        self._beat_ns = await stage.now_ns()
        if not (answer.cancel_requested and self._plan.heeds_cancel):
            return True
        at_ns = await stage.now_ns()
        canceled = await stage.ask(
            "RespondActivityTaskCanceled", task_token=token, details=payloads("as asked")
        )
        await stage.note(self._who, "canceled", canceled, at_ns)
        return False

    async def _end_cancelled(self) -> None:
        """Learn of the request by a heartbeat and end, because time-outs no longer fire on the reference."""
        if await self._beat("cancelled?"):
            await self._answer()

    async def _answer(self, at_ns: int | None = None) -> None:
        """Send the result of the attempt. It is late if `at_ns` is given, the time at which the attempt was over."""
        stage, task, plan = self._stage, self._task, self._plan
        is_late = at_ns is not None
        if at_ns is None:
            at_ns = await stage.now_ns()  # before the call, because time may be skipped after it
        if plan.end in ("complete", "vanish"):
            result = payloads(f"{task.activity_id} {task.attempt}")
            answer = await stage.ask(
                "RespondActivityTaskCompleted", task_token=task.task_token, result=result
            )
        else:
            info: dict[str, Any] = {"non_retryable": plan.end == "fail for good"}
            if plan.delay_minutes:
                info["next_retry_delay"] = seconds(plan.delay_minutes * 60)
            failure = application_failure(f"attempt {task.attempt}", plan.type, **info)
            answer = await stage.ask(
                "RespondActivityTaskFailed", task_token=task.task_token, failure=failure
            )
        await stage.note(self._who, plan.end, answer, at_ns, is_late=is_late)


async def wait_for_nobody(stage: Stage, step: Activity, run_id: str) -> None:
    """Sleep in test time for as long as an activity waits in a queue that nobody polls."""
    began_ns = await stage.now_ns()
    limits = [
        minutes
        for minutes in (step.schedule_to_start_minutes, step.schedule_to_close_minutes)
        if minutes
    ]
    until_ns = began_ns + min(limits) * MINUTE_NS
    execution = {**stage.execution, "run_id": run_id}
    while await stage.now_ns() < until_ns:
        found = await stage.ask("DescribeWorkflowExecution", execution=execution)
        if all(pending.activity_id != step.id for pending in found.pending_activities):
            return
        await stage.sleep_in_segments(until_ns)
