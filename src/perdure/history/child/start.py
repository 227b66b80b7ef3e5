"""Children of a workflow, seen from the child: created, let go, or discarded. S-38.

Invariant: a child has no workflow task before `release_child` (`AwaitingParent`), so a child whose
parent closed too early has done nothing and can be discarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.draft.close import close_run
from perdure.history.draft.draft import Draft, nothing
from perdure.history.run.start import start
from perdure.history.workflow_task.phase import AwaitingParent, phase_of
from perdure.history.workflow_task.steps import (
    SERVER_IDENTITY,
    add_scheduled,
    offer,
)
from perdure.wire.api import history, taskqueue, workflowservice

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.run.start import Parent
    from perdure.history.state.pointer import CurrentRun
    from perdure.history.state.run_state import RunState

Initiated = history.StartChildWorkflowExecutionInitiatedEventAttributes
StartRequest = workflowservice.StartWorkflowExecutionRequest

_COPIED = (
    "workflow_type",
    "input",
    "header",
    "memo",
    "search_attributes",
    "retry_policy",
    "priority",
    "versioning_override",
    "workflow_execution_timeout",
    "workflow_run_timeout",
    "workflow_task_timeout",
)
DISCARDED = "the parent closed before it recorded the start of this child"


def child_request(
    attributes: Initiated, request_id: str, parent_priority: bytes = b""
) -> StartRequest:
    """The start that a parent's Initiated event asks for.

    Args:
        attributes: The event.
        request_id: Of the start.
        parent_priority: A serialised `Priority`, for what the event leaves open in the child's.
    """
    request = StartRequest(
        namespace=attributes.namespace,
        workflow_id=attributes.workflow_id,
        task_queue=taskqueue.TaskQueue(
            name=attributes.task_queue.name, kind=attributes.task_queue.kind
        ),
        request_id=request_id,
        workflow_id_reuse_policy=attributes.workflow_id_reuse_policy,
    )
    if parent_priority:
        request.priority.ParseFromString(parent_priority)
    for name in _COPIED:
        if attributes.HasField(name):
            getattr(request, name).MergeFrom(getattr(attributes, name))
    return request


def start_child(
    current: CurrentRun | None,
    existing: RunState | None,
    request: StartRequest,
    namespace_id: str,
    parent: Parent,
    env: Env,
) -> tuple[RunTransition, ...]:
    """As `start`, of a child: it waits for `release_child`."""
    return start(current, existing, request, namespace_id, env, parent)


def release_child(state: RunState, parent: EntityKey, request_id: str, env: Env) -> RunTransition:
    """The parent has recorded the start: the child's first workflow task is scheduled. A repeat changes nothing."""
    if not _waits_for(state, parent, request_id):
        return nothing(state.key, None)
    with Draft(state, env) as draft:
        add_scheduled(draft)
        offer(draft)
        return draft.done()


def discard_child(state: RunState, parent: EntityKey, request_id: str, env: Env) -> RunTransition:
    """The parent has closed without knowing of this child, which `request_id` created: it must never begin."""
    if not _waits_for(state, parent, request_id):
        return nothing(state.key, None)
    with Draft(state, env) as draft:
        close_run(
            draft,
            history.WorkflowExecutionTerminatedEventAttributes(
                reason=DISCARDED, identity=SERVER_IDENTITY
            ),
        )
        return draft.done()


def _waits_for(state: RunState, parent: EntityKey, request_id: str) -> bool:
    """The workflow id may mean another run by now, even one that waits for a parent of its own."""
    is_meant = state.info.parent == parent and state.create_request_id == request_id
    return is_meant and isinstance(phase_of(state), AwaitingParent)
