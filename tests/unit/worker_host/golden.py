"""Recorded histories and their workflows, as the tests of the host use them."""

from __future__ import annotations

from tests.replay.recorded import workflows
from tests.replay.recorded.histories import load, without_flags
from tests.replay.recorded.scenarios import WORKFLOWS as ALL

Greets, DiffersOnReplay, Traces, LateUpdate = (
    workflows.Greets,
    workflows.DiffersOnReplay,
    workflows.Traces,
    workflows.LateUpdate,
)

__all__ = ["ALL", "DiffersOnReplay", "Greets", "LateUpdate", "Traces", "load", "without_flags"]
