"""The event loop of one run: timers become commands, and time is workflow time.

Invariants: `type(loop) is WorkflowLoop` identifies workflow code everywhere; `workflow_runtime` of the loop is the
runtime of its run.
Not here: which jobs make handles ready (`jobs`), and conditions (`host`).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from typing_extensions import TypeVarTuple, Unpack, override

from perdure.core.loop import DeterministicLoop, LoopTimer
from perdure.replay.commands import CancelTimer, StartTimer
from perdure.worker.host import callsite
from perdure.worker.host.redelivery import Redeliveries, is_redelivery
from perdure.worker.host.watchdog import WorkflowDeadlock
from perdure.workflow._errors import NonDeterministicCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.replay.task import RunInfo
    from perdure.wire.api import common as common_pb
    from perdure.worker.host.watchdog import Watch
    from perdure.workflow._runtime import Runtime

    Payload = common_pb.Payload

_Ts = TypeVarTuple("_Ts")
_log = logging.getLogger(__name__)


class TimerOptions(NamedTuple):
    """Properties of a timer besides its duration."""

    summary: Payload | None = None


# `wait_for` and `timeout` create their timers inside asyncio, so options have to reach them this way.
timer_options: contextvars.ContextVar[TimerOptions] = contextvars.ContextVar(
    "perdure_timer_options",
    default=TimerOptions(),  # a named tuple is immutable  # noqa: B039
)


class LoopState(Protocol):
    """What the loop uses of its run's state (`state.RunState`)."""

    run: RunInfo
    time_ns: int
    read_only: bool
    closing: bool

    def check_mutable(self, action: str) -> None:
        """Refuse `action` where the workflow must not be changed."""
        ...

    def issue(self, command: StartTimer | CancelTimer) -> None:
        """Add a command to those of this activation."""
        ...


class WorkflowLoop(DeterministicLoop):
    """The loop. `workflow_runtime` is set by the host before any user code runs."""

    workflow_runtime: Runtime

    def __init__(self, state: LoopState) -> None:
        super().__init__()
        self.state = state
        self.timers: dict[int, LoopTimer] = {}
        self.idle_steps = 0
        """How many steps had no effect, because they repeated a cancellation that is in progress."""
        self._redeliveries: Redeliveries | None = None
        self.watch: Watch | None = None
        run = state.run
        self._suffix = f" (workflow: {run.workflow_type}, id: {run.workflow_id}, run: {run.run_id})"

    @override
    def before_step(self) -> None:
        # Code that yields endlessly is stopped here, where user code cannot swallow the exception.
        if self.watch is not None and self.watch.why is not None:
            raise WorkflowDeadlock(self.watch.why)
        if self._redeliveries is not None:
            self._release(self._redeliveries)

    @override
    def clock_ns(self) -> int:
        return self.state.time_ns

    @override
    def check_allowed(self, action: str) -> None:
        self.state.check_mutable(action)

    @override
    def name_task(self, task: asyncio.Task[Any]) -> None:
        task.set_name(task.get_name() + self._suffix)

    @override
    def call_soon(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        # Allowed during teardown: closing coroutines completes futures, whose callbacks come here.
        if self.state.read_only:
            self.state.check_mutable("schedule task")
        if is_redelivery(callback):
            if self._redeliveries is None:
                self._redeliveries = Redeliveries()
            return self._redeliver(self._redeliveries, callback, args, context)
        return super().call_soon(callback, *args, context=context)

    def _redeliver(
        self,
        redeliveries: Redeliveries,
        callback: MethodType,
        args: tuple[object, ...],
        context: contextvars.Context | None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(redeliveries.run, (callback, args), self, context)
        if redeliveries.take(handle, callback, self.steps - self.idle_steps):
            self.make_ready(handle)
        return handle

    @override
    def drain(self) -> None:
        super().drain()
        while self._redeliveries is not None and self._release(self._redeliveries):
            super().drain()

    def _release(self, redeliveries: Redeliveries) -> bool:
        """Whether a delivery that was held back is ready now."""
        if self.state.read_only:
            return False
        due = redeliveries.due(self.steps - self.idle_steps, is_quiet=not self.has_ready)
        for handle in due:
            self.make_ready(handle)
        return bool(due)

    @override
    def forget_everything(self) -> None:
        self._redeliveries = None
        super().forget_everything()

    @override
    def timer_started(self, timer: LoopTimer, delay: float) -> None:
        self.state.issue(
            StartTimer(
                seq=timer.seq,
                start_to_fire_timeout_ns=int(delay * 1e9),
                summary=timer_options.get().summary,
                site=callsite.capture(),
            )
        )
        self.timers[timer.seq] = timer

    @override
    def timer_cancelled(self, timer: LoopTimer) -> None:
        if self.timers.pop(timer.seq, None) is None or self.state.closing:
            return
        self.state.issue(CancelTimer(seq=timer.seq, site=callsite.capture()))

    def fire_timer(self, seq: int) -> None:
        """A timer fired. An unknown one was cancelled earlier in the same activation (R-15)."""
        timer = self.timers.pop(seq, None)
        if timer is not None:
            self.make_ready(timer)

    @override
    def unsupported(self, call: str, advice: str) -> NoReturn:
        site = callsite.innermost(callsite.capture())
        where = f" ({site}: `{site.text}`)" if site else ""
        workflow = self.state.run.workflow_type
        message = f"loop.{call}() in workflow {workflow}{where}: {advice}"
        raise NonDeterministicCall(message)

    @override
    def default_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.state.closing:
            super().default_exception_handler(context)
