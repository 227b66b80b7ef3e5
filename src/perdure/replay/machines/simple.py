"""Commands that are recorded and then over: patches, upserts, memo changes, and the four ends."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from perdure.replay import events as ev
from perdure.replay.machines.base import Host, Machine, Table, check
from perdure.replay.markers import read_patch

if TYPE_CHECKING:
    from perdure.replay import commands as cmd
    from perdure.wire.api import history


class State(enum.IntEnum):
    CREATED = 0
    RECORDED = 1


class FireAndForgetMachine(Machine):
    """Recorded by exactly the event type of its command; nothing ever comes back."""

    __slots__ = ("_event_type",)

    kind: ClassVar[str] = "command"
    over: ClassVar = frozenset({State.RECORDED})
    table: ClassVar[Table] = {}

    def __init__(self, command: cmd.Command, recorded_as: int) -> None:
        super().__init__(command, State.CREATED)
        self._event_type = recorded_as

    def matches(self, event: history.HistoryEvent) -> bool:
        return self.state == State.CREATED and event.event_type == self._event_type

    def on_event(self, event: history.HistoryEvent, host: Host) -> None:
        self.state = State.RECORDED


class PatchMachine(Machine):
    """A patch marker. Its place in the queue may be skipped, see `matching`."""

    __slots__ = ("patch_id",)

    kind: ClassVar[str] = "patch"
    over: ClassVar = frozenset({State.RECORDED})

    def __init__(self, command: cmd.RecordMarker, patch_id: str) -> None:
        super().__init__(command, State.CREATED)
        self.patch_id = patch_id

    def _recorded(self, event: history.HistoryEvent, _host: Host) -> None:
        patch = read_patch(event)
        check("patch id", patch.patch_id if patch else "", self.patch_id)
        self.state = State.RECORDED

    table: ClassVar[Table] = {(State.CREATED, ev.MARKER_RECORDED): _recorded}
