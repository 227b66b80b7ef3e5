"""The pointer of a workflow id: the one fact of a WORKFLOW_ID entity."""

from __future__ import annotations

import msgspec

from perdure.core.ids import EntityKey
from perdure.entity.transition import FactChange, Transition

CURRENT_RUN = 8
"""The kind of the fact. Stored: never reuse the number."""


class CurrentRun(msgspec.Struct, frozen=True):
    """Which run a workflow id means now, and enough of it to decide id conflicts."""

    run_id: str
    first_run_id: str
    create_request_id: str
    status: int
    start_ns: int
    close_ns: int = 0


POINTER_TYPES = {CURRENT_RUN: CurrentRun}


def point(key: EntityKey, current: CurrentRun) -> Transition:
    """Write what the workflow id of this key means from now on."""
    return Transition(key=key, state=current, facts=(FactChange(CURRENT_RUN, "", current),))
