"""What a run waits for at present, and what it therefore does not take: questions to its state.

Not here: what is done about it (`workflow_task.steps`, `child.start`, `signal`, `update`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.wire.api import enums
from perdure.wire.errors import resource_exhausted

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


def awaits_first_task(state: RunState) -> bool:
    """True until the first workflow task is scheduled: it may wait for a start delay, a retry or a cron time."""
    return state.is_running and state.workflow_task is None and state.completed_workflow_tasks == 0


def awaits_parent(state: RunState) -> bool:
    """True until the parent of a child has recorded its start: only then the child may do anything (rule 38)."""
    info = state.info
    return info.parent is not None and not info.continued_run_id and awaits_first_task(state)


def check_not_closing(state: RunState) -> None:
    """Refuse what would put off once more the closing of a run that has tried to close; its caller tries again.

    The reference server refuses signals and updates alike, with these words, until the task ends.

    Raises:
        ResourceExhausted: The workflow task that follows such an attempt is with a worker.
    """
    task = state.workflow_task
    if task is not None and task.follows_close and task.started_event_id:
        raise resource_exhausted(
            "workflow operation can not be applied because workflow is closing",
            enums.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW,
        )
