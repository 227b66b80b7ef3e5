"""The machines of one run by the names that user code has for them: kind and sequence number.

Invariant: numbers of a kind only grow, so an unknown number belongs to a machine that was dropped or never existed.

What is not here: the machines of command events by event id (`run`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.replay.mismatch import BadHistory

if TYPE_CHECKING:
    from perdure.replay.machines.base import Machine


class Operations:
    """Machines by what user code calls them: kind and sequence number."""

    __slots__ = ("_highest", "_machines")

    def __init__(self) -> None:
        self._machines: dict[tuple[str, int], Machine] = {}
        self._highest: dict[str, int] = {}

    def add(self, machine: Machine, seq: int) -> None:
        """Register a machine; sequence numbers of a kind only grow."""
        self._machines[machine.kind, seq] = machine
        self._highest[machine.kind] = max(seq, self._highest.get(machine.kind, 0))

    def find(self, kind: str, seq: int) -> Any:
        """The machine, or None if it is closed and was dropped. Raises BadHistory if it never existed."""
        machine = self._machines.get((kind, seq))
        if machine is None and seq > self._highest.get(kind, 0):
            raise BadHistory(f"workflow code cancelled {kind} {seq}, which it never started")
        return machine

    def find_quietly(self, kind: str, seq: int) -> Any:
        """The machine, or None when there is none (yet)."""
        return self._machines.get((kind, seq))

    def of_kind(self, kind: str) -> list[Any]:
        """All machines of a kind, in the order in which they were started."""
        if kind not in self._highest:
            return []
        return [machine for (known, _), machine in self._machines.items() if known == kind]

    def forget(self, machine: Machine) -> None:
        """Drop a machine that nothing can name any more."""
        seq = getattr(machine.command, "seq", None)
        if seq is not None:
            self._machines.pop((machine.kind, seq), None)

    def __len__(self) -> int:
        return len(self._machines)
