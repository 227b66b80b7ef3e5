"""Which events to fetch."""

from __future__ import annotations

from enum import IntEnum


class WorkflowHistoryEventFilterType(IntEnum):
    """Which events of a history to fetch. Numbers are those of the wire."""

    ALL_EVENT = 1
    CLOSE_EVENT = 2
    """Only the last one, once the workflow has closed."""
