"""The base of all machines: the transition table, and the interface of the run to its machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from perdure.replay.events import type_name
from perdure.replay.mismatch import AttributeDiff, BadHistory, NondeterminismFound, Rule

if TYPE_CHECKING:
    from perdure.replay import commands as cmd
    from perdure.replay.flags import Flag, Flags
    from perdure.replay.jobs import Job
    from perdure.wire.api import common, history, protocol


class Host(Protocol):
    """The interface of a run to its machines."""

    flags: Flags

    def push_job(self, job: Job) -> None:
        """Queue work for user code."""
        ...

    def issue(self, machine: Machine, command: cmd.Command) -> None:
        """Queue a command of `machine` for the server."""
        ...

    def send_message(self, message: protocol.Message) -> None:
        """Queue a protocol message for the server."""
        ...

    def may_use(self, flag: Flag) -> bool:
        """Whether `flag` gates the event that is being matched in."""
        ...


Handler: TypeAlias = Callable[[Any, "history.HistoryEvent", Host], None]
Table: TypeAlias = Mapping[tuple[int, int], Handler]


class Machine:
    """State of one operation. Subclasses fill in the tables."""

    __slots__ = ("command", "state")

    kind: ClassVar[str]
    """The operation in a report: "timer", "activity", …"""
    table: ClassVar[Table]
    settled: ClassVar[frozenset[int]] = frozenset()
    """States in which every further event is ignored."""
    over: ClassVar[frozenset[int]] = frozenset()
    """States in which no later event can name this machine."""
    taken_back: ClassVar[int] = -1
    """The state of a command that was cancelled in the task that issued it."""

    def __init__(self, command: object, state: int) -> None:
        self.command: Any = command
        self.state: int = state

    @property
    def cancelled_before_sent(self) -> bool:
        """Whether the command was withdrawn in the task that issued it, so that it is never sent."""
        return self.state == self.taken_back

    @property
    def done(self) -> bool:
        """Whether no later event can name this machine, so that the run may drop it."""
        return self.state in self.over

    def matches(self, event: history.HistoryEvent) -> bool:
        """Whether `event` may record the command that this machine has in the queue."""
        return (self.state, event.event_type) in self.table

    def on_event(self, event: history.HistoryEvent, host: Host) -> None:
        """Apply an event that records or names this machine."""
        handler = self.table.get((self.state, event.event_type))
        if handler is not None:
            handler(self, event, host)
        elif self.state not in self.settled:
            raise BadHistory(
                f"{type_name(event.event_type)} (event {event.event_id}) cannot follow for this "
                f"{self.kind} in state {self.state!r}",
                event.event_id,
            )


class Outgoing:
    """One entry of the command queue.

    It keeps its place from the activation that issued it until the event that records it.
    """

    __slots__ = ("command", "machine", "task_started_event_id")

    def __init__(self, machine: Machine, command: cmd.Command, task_started_event_id: int) -> None:
        self.machine = machine
        self.command = command
        self.task_started_event_id = task_started_event_id


def check(attribute: str, in_history: str, in_code: str) -> None:
    """Stop replay when an attribute that identifies an operation differs."""
    if in_history != in_code:
        raise NondeterminismFound(Rule.ATTRIBUTE, AttributeDiff(attribute, in_history, in_code))


def single_payload(payloads: common.Payloads, event: history.HistoryEvent) -> common.Payload:
    """The one payload of a result (R-27)."""
    if len(payloads.payloads) != 1:
        raise BadHistory(
            f"{type_name(event.event_type)} (event {event.event_id}) has "
            f"{len(payloads.payloads)} result payloads, exactly one is allowed",
            event.event_id,
        )
    return payloads.payloads[0]
