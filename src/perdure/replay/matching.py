"""Matching command events with the commands that user code issued (R-46, R-53).

Invariants: events take commands strictly in order; ids and types are compared, payloads and
options never are; commands taken are remembered until the task's events are
through, so that a mismatch can show both sequences.

What is not here: non-command events (`apply`), the text of a report (`report`).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from perdure.replay import events as ev
from perdure.replay.facts import is_foreign_marker
from perdure.replay.machines.simple import PatchMachine
from perdure.replay.markers import CHANGE_VERSION_KEY, Patch, is_local_activity_marker, read_patch
from perdure.replay.mismatch import NondeterminismFound, Rule

if TYPE_CHECKING:
    from perdure.replay.run import Run
    from perdure.wire.api import history


class Step(enum.Enum):
    """What handling an event means for the loop over the sequence."""

    DONE = 0
    SKIP_EVENT_AND_NEXT = 1
    """The event and the one after it (a patch's upsert) were skipped together."""


def match(run: Run, event: history.HistoryEvent, following: history.HistoryEvent | None) -> Step:
    """Let `event` take the command it records; raises NondeterminismFound."""
    if is_local_activity_marker(event) and run.local.consume_marker(run, event):
        return Step.DONE
    patch = read_patch(event)
    while True:
        head = run.commands[0].machine if run.commands else None
        if patch is not None and _skips(patch, head):
            return Step.SKIP_EVENT_AND_NEXT if _is_change_upsert(following) else Step.DONE
        if patch is None and isinstance(head, PatchMachine):
            # patched() ran while replaying a task that has no marker: it changed nothing then.
            run.task_commands.append(run.commands.pop(0))
            continue
        if head is None:
            raise NondeterminismFound(
                Rule.FOREIGN_MARKER if is_foreign_marker(event) else Rule.NO_COMMAND
            )
        if not head.matches(event):
            raise NondeterminismFound(_wrong_command(run, event))
        entry = run.commands.pop(0)
        run.task_commands.append(entry)
        head.on_event(event, run)
        run.record(event, entry)
        return Step.DONE


def _skips(patch: Patch, head: object) -> bool:
    """Whether a patch marker is passed over: a deprecated one may have lost its call."""
    if isinstance(head, PatchMachine):
        return patch.deprecated and head.patch_id != patch.patch_id
    if patch.deprecated:
        return True
    raise NondeterminismFound(Rule.PATCH_MISSING)


def _is_change_upsert(event: history.HistoryEvent | None) -> bool:
    return (
        event is not None
        and event.event_type == ev.UPSERT_SEARCH_ATTRIBUTES
        and CHANGE_VERSION_KEY
        in event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    )


def _wrong_command(run: Run, event: history.HistoryEvent) -> Rule:
    if is_foreign_marker(event):
        return Rule.FOREIGN_MARKER
    if run.commands[0].task_started_event_id < run.current_started_id:
        return Rule.LEFTOVER_COMMAND
    return Rule.WRONG_COMMAND
