"""Naming an activity by ids."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AsyncActivityIDReference:
    """An activity by its ids; without a workflow, a standalone one."""

    workflow_id: str | None
    run_id: str | None
    activity_id: str
