"""Closes a run; every terminal path ends here.

Role: drop what still waits in the buffer (S-3), remove the facts of what was pending, add the close event, and say
what the workflow id's pointer, the lists, parent and children, and retention need. The create and cancel facts stay:
closed runs still answer repeated requests.
Not here: which event closes the run and why (the callers), the runs that follow (`chain`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.draft.effects import ChildClosed, ParentClosed, send
from perdure.history.draft.visible import visibility_row
from perdure.history.state.facts import FactKind
from perdure.history.state.pointer import CurrentRun
from perdure.wire.api import enums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import RunState
    from perdure.wire.api import common


def close_run(
    draft: Draft,
    attributes: Message,
    *,
    links: Sequence[common.Link] = (),
    has_successor: bool = False,
) -> int:
    """Close the run with the event that has these attributes; its id.

    The caller has ended a started workflow task before (with `fail_if_started` if it was not completed). With
    `has_successor` the workflow id's pointer is left to the run that follows in the same commit.
    """
    drop_pending(draft)
    event_id = draft.add(attributes, links=links)
    state = draft.state
    assert not state.is_running, "the event's fold closes the run"
    end_children(draft)
    if not has_successor:
        draft.current(current_run(state))
        tell_parent(draft)
    draft.visible(visibility_row(state))
    draft.delete_at(state.close_ns + draft.env.limits.retention_default_ns)
    return event_id


def end_children(draft: Draft) -> None:
    """Parent close policy (S-38): of children that have started. The start of the others is dropped."""
    state = draft.state
    for child in state.children.values():
        if child.parent_close_policy == enums.PARENT_CLOSE_POLICY_ABANDON:
            continue
        terminates = child.parent_close_policy != enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL
        send(
            draft,
            child.namespace_id,
            child.workflow_id,
            state.close_event_id,
            ParentClosed(child.run_id, terminates),
        )


def tell_parent(draft: Draft) -> None:
    """S-38: the end of a child is reported once, when no run follows."""
    state = draft.state
    info = state.info
    if info.parent is None:
        return
    closed = ChildClosed(
        parent=info.parent,
        initiated_event_id=info.parent_initiated_event_id,
        close_event_id=state.close_event_id,
        workflow_type=info.workflow_type,
        first_run_id=info.first_run_id,
    )
    send(draft, info.parent.namespace_id, info.parent.name, state.close_event_id, closed)


def drop_pending(draft: Draft) -> None:
    """Remove the facts of everything that only a running run has."""
    state = draft.state
    for number in tuple(state.buffered):
        draft.fact(FactKind.BUFFERED, str(number), None)
    for scheduled_event_id in tuple(state.activity_progress):
        draft.fact(FactKind.ACTIVITY, str(scheduled_event_id), None)
    if state.workflow_task is not None and state.workflow_task.is_a_fact:
        draft.fact(FactKind.WORKFLOW_TASK, "", None)
    if state.sticky is not None:
        draft.fact(FactKind.STICKY, "", None)


def current_run(state: RunState) -> CurrentRun:
    """What the workflow id's pointer says of this run."""
    return CurrentRun(
        run_id=state.key.run_id,
        first_run_id=state.info.first_run_id,
        create_request_id=state.create_request_id,
        status=int(state.status),
        start_ns=state.info.start_ns,
        close_ns=state.close_ns,
    )
