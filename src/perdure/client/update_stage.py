"""How far an update has come."""

from __future__ import annotations

from enum import IntEnum


class WorkflowUpdateStage(IntEnum):
    """How far an update has come. Numbers are those of the wire."""

    ADMITTED = 1
    ACCEPTED = 2
    COMPLETED = 3
