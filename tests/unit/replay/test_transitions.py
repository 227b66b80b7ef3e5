"""Every row of every machine's table is taken by some script; a row that never is has no test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.replay.events import type_name
from perdure.replay.machines.activity import ActivityMachine
from perdure.replay.machines.base import Handler, Machine
from perdure.replay.machines.child import ChildWorkflowMachine
from perdure.replay.machines.external import CancelExternalMachine, SignalExternalMachine
from perdure.replay.machines.local_activity import LocalActivityMachine
from perdure.replay.machines.nexus import NexusOperationMachine
from perdure.replay.machines.simple import PatchMachine
from perdure.replay.machines.timer import TimerMachine
from perdure.replay.machines.update import UpdateMachine
from tests.unit.replay.script import run

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
MACHINES: list[type[Machine]] = [
    ActivityMachine,
    CancelExternalMachine,
    ChildWorkflowMachine,
    LocalActivityMachine,
    NexusOperationMachine,
    PatchMachine,
    SignalExternalMachine,
    TimerMachine,
    UpdateMachine,
]


class Recorder(dict[tuple[int, int], Handler]):
    """A table that remembers which of its rows were taken."""

    def __init__(self, table: Any) -> None:
        super().__init__(table)
        self.taken: set[tuple[int, int]] = set()

    def get(self, key: Any, default: Any = None) -> Any:
        self.taken.add(key)
        return super().get(key, default)


def test_every_transition_of_every_machine_is_in_some_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorders = {machine: Recorder(machine.table) for machine in MACHINES}
    for machine, recorder in recorders.items():
        monkeypatch.setattr(machine, "table", recorder)
    for path in SCRIPTS:
        run(path)
    never = [
        f"{machine.__name__}: {state!r} on {type_name(event_type)}"
        for machine, recorder in recorders.items()
        for state, event_type in recorder
        if (state, event_type) not in recorder.taken
    ]
    assert never == []


def test_the_machines_with_tables_are_all_known() -> None:
    def below(kind: type[Machine]) -> set[type[Machine]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    with_tables = {kind for kind in below(Machine) if getattr(kind, "table", None)}
    assert with_tables == set(MACHINES)
