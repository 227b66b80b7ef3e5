"""Timers (R-47). User code drops a timer it cancels at once, so cancelling resolves nothing."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.jobs import FireTimer
from perdure.replay.machines.base import Host, Machine, Table, check

if TYPE_CHECKING:
    from perdure.wire.api import history


class State(enum.IntEnum):
    CREATED = 0
    STARTED = 1
    CANCEL_CREATED = 2
    FIRED = 3
    CANCELED = 4
    CANCELED_BEFORE_SENT = 5


class TimerMachine(Machine):
    __slots__ = ()

    kind: ClassVar[str] = "timer"
    settled: ClassVar = frozenset({State.FIRED, State.CANCELED})
    over: ClassVar = frozenset({State.FIRED, State.CANCELED, State.CANCELED_BEFORE_SENT})
    taken_back: ClassVar = State.CANCELED_BEFORE_SENT
    command: cmd.StartTimer

    def __init__(self, command: cmd.StartTimer) -> None:
        super().__init__(command, State.CREATED)

    def cancel(self, command: cmd.CancelTimer, host: Host) -> None:
        """User code cancelled the timer; nothing happens when it has already ended."""
        if self.state == State.CREATED:
            self.state = State.CANCELED_BEFORE_SENT
        elif self.state == State.STARTED:
            self.state = State.CANCEL_CREATED
            host.issue(self, command)

    def _started(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.STARTED

    def _fired(self, event: history.HistoryEvent, host: Host) -> None:
        check("timer id", event.timer_fired_event_attributes.timer_id, str(self.command.seq))
        self.state = State.FIRED
        host.push_job(FireTimer(self.command.seq))

    def _canceled(self, _event: history.HistoryEvent, _host: Host) -> None:
        self.state = State.CANCELED

    table: ClassVar[Table] = {
        (State.CREATED, ev.TIMER_STARTED): _started,
        (State.STARTED, ev.TIMER_FIRED): _fired,
        (State.CANCEL_CREATED, ev.TIMER_CANCELED): _canceled,
    }
