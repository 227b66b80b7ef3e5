"""The run engine under random workers, clients, clocks and crashes.

Every step is first taken and abandoned just before its end, and must leave no trace (S-4 and S-7 depend on it). Then
it is taken for real; `World.commit` checks after each that the state folded again from storage is that of memory, that
no deadline is lost, that ids are contiguous and that a step ends once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from perdure.core.ids import QueueKind
from perdure.core.limits import Limits
from perdure.entity.workers import PollInfo
from perdure.history.activity import attempts as activity
from perdure.history.activity import orphans, pause
from perdure.history.activity.phase import FRESH
from perdure.history.activity.reset import reset_activity
from perdure.history.draft.draft import Draft
from perdure.history.draft.replies import ActivityTaskReply, CompletionReply, WorkflowTaskReply
from perdure.history.draft.tokens import ActivityTaskToken, WorkflowTaskToken
from perdure.history.draft.transition import RunTransition
from perdure.history.message import cancel, signal
from perdure.history.run import terminate
from perdure.history.run.wake import wake
from perdure.history.workflow_task import attempts as workflow_task
from perdure.wire.api import enums, workflowservice
from perdure.wire.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    RpcError,
)
from tests.harness.commands import command_of, failure_of, payloads
from tests.transcripts.world import World

SECOND_NS = 10**9
LIMITS = Limits(
    buffered_events_max=6, pending_activities_max=4, signals_per_run_max=20, blob_size_bytes_max=400
)

ids = st.sampled_from(["a", "b", "c"])
schedules = st.builds(
    "schedule {} {} {} {} {}".format,
    ids,
    st.sampled_from(["start_to_close=5s", "schedule_to_close=9s start_to_close=4s"]),
    st.sampled_from(["", "heartbeat=2s"]),
    st.sampled_from(["", "schedule_to_start=3s", "attempts=1", "attempts=2 never_retry=Bad"]),
    st.sampled_from(["", "", "+eager"]),
)
useful = st.one_of(
    schedules,
    schedules,
    st.builds("timer {} {}s".format, ids, st.integers(0, 9)),
    st.builds("cancel the activity {}".format, st.integers(0, 3)),
    st.builds("cancel the timer {}".format, st.integers(0, 3)),
    st.sampled_from(["marker m x=y", "upsert City=Bern", "upsert City=null", "memo k=v"]),
)
"""Commands of a workflow that knows what is pending; ids may clash."""
whims = st.one_of(
    st.builds("cancel-activity {}".format, st.integers(1, 30)),
    st.builds("cancel-timer {}".format, ids),
    st.sampled_from(["marker", "schedule a", "timer a -1s"]),
)
"""Commands that are mostly wrong."""
ends = st.sampled_from([*[""] * 12, "finish", "fail", "canceled"])


class SuddenDeath(Exception):
    """A step ends here, as far as memory is concerned."""


@contextmanager
def dying_drafts():
    """Each draft fails at its very end."""

    def die(draft: Draft, reply: Any = None) -> RunTransition:
        raise SuddenDeath

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft, "done", die)
        yield


class RunEngine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(LIMITS)
        self.task_tokens: list[WorkflowTaskToken] = []
        self.activity_tokens: list[ActivityTaskToken] = []
        self.deliveries = 0
        self.last_event_ns = 0

    def step(
        self, take: Callable[[], RunTransition], *, is_wake: bool = False
    ) -> RunTransition | None:
        """Take a step twice: abandoned, then for real. None when it is refused."""
        world = self.world
        before = world.state_or_none.snapshot() if world.state_or_none is not None else None
        with dying_drafts(), suppress(SuddenDeath, RpcError):
            take()
        if world.state_or_none is not None:
            assert world.state_or_none.snapshot() == before, "an abandoned draft leaves no trace"
            world.check()
        try:
            transition = take()
        except (NotFound, InvalidArgument, AlreadyExists, FailedPrecondition):
            assert world.state_or_none is None or world.state_or_none.snapshot() == before
            return None
        except ResourceExhausted:
            assert world.state_or_none is not None
            assert world.state_or_none.snapshot() == before
            task = world.state_or_none.workflow_task
            assert task is not None
            assert task.follows_close, "only a run that tried to close refuses messages"
            assert task.started_event_id
            return None
        world.commit(transition, is_wake=is_wake)
        self._remember(transition.reply)
        return transition

    def _remember(self, reply: Any) -> None:
        match reply:
            case WorkflowTaskReply():
                self.task_tokens.append(reply.token)
            case ActivityTaskReply():
                self.activity_tokens.append(reply.token)
            case CompletionReply():
                self._remember(reply.workflow_task)
                for each in reply.activities:
                    self._remember(each)
            case _:
                pass

    # Clients.

    @initialize(
        run_timeout=st.sampled_from([None, None, 60]),
        delay=st.sampled_from([None, None, None, 3]),
        first=st.lists(useful, max_size=4),
    )
    def begin(self, run_timeout: int | None, delay: int | None, first: list[str]) -> None:
        self._start("s0", run_timeout, delay)
        if not delay:
            self.complete_workflow_task(
                first, "", "", sticky=False, inline=False, force=False, latest=True
            )

    @precondition(lambda self: not self.world.state.is_running)
    @rule(request_id=st.sampled_from(["s0", "s1", "s2"]))
    def start_again(self, request_id: str) -> None:
        self._start(request_id, None, None)

    def _start(self, request_id: str, run_timeout: int | None, delay: int | None) -> None:
        world = self.world
        request = workflowservice.StartWorkflowExecutionRequest(
            workflow_id="w", request_id=request_id
        )
        request.workflow_type.name = "Order"
        request.task_queue.name = "q"
        if run_timeout:
            request.workflow_run_timeout.FromSeconds(run_timeout)
        if delay:
            request.workflow_start_delay.FromSeconds(delay)
        before = world.state_or_none
        world.start(request)
        if world.state_or_none is not before:
            self.last_event_ns = 0

    @rule(name=ids, request_id=st.sampled_from(["", "r1", "r2"]), size=st.sampled_from([1, 500]))
    def signal(self, name: str, request_id: str, size: int) -> None:
        request = workflowservice.SignalWorkflowExecutionRequest(
            signal_name=name, request_id=request_id, input=payloads("x" * size)
        )
        self.step(lambda: signal.signal(self.world.state, request, self.world.env))

    @precondition(lambda self: not cancel.is_cancel_requested(self.world.state))
    @rule()
    def cancel(self) -> None:
        request = workflowservice.RequestCancelWorkflowExecutionRequest(request_id="c")
        self.step(lambda: cancel.request_cancel(self.world.state, request, self.world.env))

    @precondition(lambda self: self.deliveries > 12)
    @rule()
    def terminate(self) -> None:
        request = workflowservice.TerminateWorkflowExecutionRequest()
        self.step(lambda: terminate.terminate(self.world.state, request, self.world.env))

    # Workers.

    def _poll(self, kind: QueueKind, which: int) -> None:
        waiting = self.world.queue(kind)
        if not waiting:
            return
        row, task = waiting[which % len(waiting)]
        begin = workflow_task.start_workflow_task
        if kind is QueueKind.ACTIVITY:
            begin = activity.start_activity
        self.deliveries += 1
        poll = PollInfo(identity="worker", request_id=f"poll-{self.deliveries}")
        self.step(lambda: begin(self.world.state, task, row, poll, self.world.env))

    @precondition(lambda self: bool(self.world.queue(QueueKind.WORKFLOW)))
    @rule(which=st.integers(0, 3))
    def poll_workflow_task(self, which: int) -> None:
        self._poll(QueueKind.WORKFLOW, which)

    @precondition(lambda self: bool(self.world.queue(QueueKind.ACTIVITY)))
    @rule(which=st.integers(0, 3))
    def poll_activity_task(self, which: int) -> None:
        self._poll(QueueKind.ACTIVITY, which)

    @precondition(lambda self: self.world.state.workflow_task is not None)
    @rule(
        lines=st.lists(useful, min_size=1, max_size=5),
        whim=st.one_of([st.just("")] * 7 + [whims]),
        end=ends,
        sticky=st.booleans(),
        inline=st.booleans(),
        force=st.sampled_from([False, False, True]),
        latest=st.sampled_from([True] * 9 + [False]),
    )
    def complete_workflow_task(
        self,
        lines: list[str],
        whim: str,
        end: str,
        *,
        sticky: bool,
        inline: bool,
        force: bool,
        latest: bool,
    ) -> None:
        if not self.world.state.workflow_task_is_started:
            self._poll(QueueKind.WORKFLOW, 0)
        if not self.task_tokens:
            return
        asked = filter(None, [*map(self._resolve, lines), whim, end])
        request = workflowservice.RespondWorkflowTaskCompletedRequest(
            commands=[command_of(line) for line in asked],
            return_new_workflow_task=inline,
            force_create_new_workflow_task=force,
        )
        if sticky:
            request.sticky_attributes.worker_task_queue.name = "cache"
            request.sticky_attributes.schedule_to_start_timeout.FromSeconds(2)
        token = self.task_tokens[-1 if latest else 0]
        self.step(
            lambda: workflow_task.complete_workflow_task(
                self.world.state, token, request, self.world.env
            )
        )

    def _resolve(self, line: str) -> str:
        """ "cancel the timer 1" names the timer that is pending now, if any; also one whose end is buffered."""
        if not line.startswith("cancel the"):
            return line
        _, _, what, which = line.split()
        state = self.world.state
        ending = [item.ends_event_id for item in state.buffered.values() if item.ends_event_id]
        if what == "activity":
            pending = [*state.activities, *ending]
            return f"cancel-activity {pending[int(which) % len(pending)]}" if pending else ""
        names = [*state.timers] or ["a"] * bool(ending)
        return f"cancel-timer {names[int(which) % len(names)]}" if names else ""

    @precondition(lambda self: self.world.state.workflow_task_is_started)
    @rule()
    def fail_workflow_task(self) -> None:
        request = workflowservice.RespondWorkflowTaskFailedRequest(
            cause=enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
        )
        token = self.task_tokens[-1]
        self.step(
            lambda: workflow_task.fail_workflow_task(
                self.world.state, token, request, self.world.env
            )
        )

    @rule()
    def reset_sticky(self) -> None:
        self.step(lambda: workflow_task.reset_sticky(self.world.state, self.world.env))

    @precondition(lambda self: bool(self.activity_tokens or self.world.queue(QueueKind.ACTIVITY)))
    @rule(
        first_poll=st.booleans(),
        how=st.sampled_from(["done", "failed", "bad", "canceled", "heartbeat", "undo"]),
        back=st.integers(1, 3),
        size=st.sampled_from([0, 1, 500]),
    )
    def report_on_activity(self, how: str, back: int, size: int, *, first_poll: bool) -> None:
        world = self.world
        if first_poll:
            self._poll(QueueKind.ACTIVITY, 0)
        if not self.activity_tokens:
            return
        token = self.activity_tokens[-min(back, len(self.activity_tokens))]
        blob = payloads("x" * size)
        verbs: dict[str, Callable[[], RunTransition]] = {
            "done": lambda: activity.complete_activity(
                world.state, token, activity.Completed(result=blob), world.env
            ),
            "failed": lambda: activity.fail_activity(
                world.state,
                token,
                activity.Failed(failure=failure_of({}), last_heartbeat_details=blob),
                world.env,
            ),
            "bad": lambda: activity.fail_activity(
                world.state, token, activity.Failed(failure=failure_of({"type": "Bad"})), world.env
            ),
            "canceled": lambda: activity.cancel_activity(
                world.state, token, activity.Canceled(details=blob), world.env
            ),
            "heartbeat": lambda: activity.heartbeat(
                world.state, token, activity.Heartbeat(details=blob), world.env
            ),
            "undo": lambda: activity.undo_activity_start(world.state, token, world.env),
        }
        self.step(verbs[how])

    @precondition(lambda self: bool(self.world.state.activities))
    @rule(
        how=st.sampled_from(["pause", "pause", "begin again", "go on", "go on"]),
        activity_id=st.one_of(st.none(), ids),
        resets=st.booleans(),
        jitter_s=st.sampled_from([0, 0, 3]),
    )
    def pause_reset_or_go_on(
        self, activity_id: str | None, jitter_s: int, *, how: str, resets: bool
    ) -> None:
        """An activity by its id, or all of them."""
        world = self.world
        chosen: dict[str, Any] = {"type": "Work"} if activity_id is None else {"id": activity_id}
        match how:
            case "pause":
                request = pause.PauseRequest(request_id=f"{resets}", **chosen)
                self.step(lambda: pause.pause_activity(world.state, request, world.env))
            case "begin again":
                again = pause.ResetRequest(reset_heartbeat=resets, keep_paused=resets, **chosen)
                again.jitter.FromSeconds(jitter_s)
                self.step(lambda: reset_activity(world.state, again, world.env))
            case _:
                unpause = pause.UnpauseRequest(
                    reset_attempts=resets, reset_heartbeat=resets, **chosen
                )
                unpause.jitter.FromSeconds(jitter_s)
                self.step(lambda: pause.unpause_activity(world.state, unpause, world.env))

    @rule(activity_id=ids)
    def complete_activity_by_id(self, activity_id: str) -> None:
        world = self.world

        def take() -> RunTransition:
            token = activity.activity_token_by_id(world.state, activity_id)
            return activity.complete_activity(
                world.state, token, activity.CompletedById(), world.env
            )

        self.step(take)

    # The world.

    @rule(seconds=st.integers(0, 6), then=st.sampled_from(["wake", "wake", "nothing"]))
    def time_passes(self, seconds: int, then: str) -> None:
        world = self.world
        world.advance_to(world.now_ns + seconds * SECOND_NS)
        if then == "wake":
            self.step(lambda: wake(world.state, world.env), is_wake=True)
            assert world.wake_at_ns == 0 or world.wake_at_ns > world.now_ns, "a wake-up re-arms"

    @rule(embedded=st.booleans())
    def kill(self, *, embedded: bool) -> None:
        """Another process carries on. Embedded, the attempts died with the first one (D-34)."""
        self.world.reload()
        if embedded:
            self.step(lambda: orphans.time_out_orphans(self.world.state, self.world.env))
            progress = self.world.state.activity_progress.values()
            assert not any(item.is_started for item in progress)

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """What is pending has a task to be taken, a worker that has it, or a deadline."""
        state = self.world.state
        if not state.is_running:
            return
        offered = {
            (task.queue.kind, task.scheduled_event_id, task.stamp)
            for task in self.world.tasks.values()
        }
        task = state.workflow_task
        if task is not None and not task.started_event_id:
            assert (QueueKind.WORKFLOW, task.scheduled_event_id, task.stamp) in offered
        for key in state.activities:
            progress = state.activity_progress.get(key, FRESH)
            if progress.pause is not None:
                continue  # Somebody has to end the pause.
            if not progress.is_started and not progress.next_attempt_ns:
                assert (QueueKind.ACTIVITY, key, progress.stamp) in offered

    @invariant()
    def the_clock_goes_on(self) -> None:
        assert self.world.state.last_event_ns >= self.last_event_ns
        self.last_event_ns = self.world.state.last_event_ns


RunEngine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRunEngine = RunEngine.TestCase
