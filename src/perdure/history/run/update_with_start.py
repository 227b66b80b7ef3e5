"""Update-with-start: an update of the running workflow of this id, or of one that is started for it, atomically.

S-19 and S-21. Each error says which of the two operations failed; the other was aborted by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from perdure.core.ids import run_key
from perdure.history.draft.draft import nothing
from perdure.history.message.update import request_update
from perdure.history.run.start import start
from perdure.wire.api import enums, workflowservice
from perdure.wire.errors import RpcError, aborted_operation, multi_operation

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.draft.update_values import UpdateAdmission
    from perdure.history.state.pointer import CurrentRun
    from perdure.history.state.run_state import RunState

MESSAGE = "Update-with-Start could not be executed."
_Start = workflowservice.StartWorkflowExecutionRequest
_Started = workflowservice.StartWorkflowExecutionResponse


class StartedAndAdmitted(NamedTuple):
    """What became of the start, and of the update."""

    started: workflowservice.StartWorkflowExecutionResponse
    admission: UpdateAdmission


def update_with_start(
    current: CurrentRun | None,
    existing: RunState | None,
    request: _Start,
    update_id: str,
    waiting: int | None,
    namespace_id: str,
    env: Env,
) -> tuple[RunTransition, ...]:
    """Let an update in, after starting a run when none takes it.

    Args:
        current: What the workflow id's pointer says; None when the id was never used (or is forgotten).
        existing: The state of that run; it must be given whenever `current` is.
        request: The start, used when there is no run that takes the update.
        update_id: Names the update.
        waiting: How many other updates of the existing run wait for a worker; None when this one waits as well.
        namespace_id: Id of the namespace.
        env: Time, id source and limits.

    Returns:
        Transitions to commit together. The last one's reply is a StartedAndAdmitted.

    Raises:
        RpcError: With one status per operation.
    """
    if existing is not None and _takes(existing, request, update_id, is_waiting=waiting is None):
        try:
            admitted = request_update(existing, update_id, "", waiting or 0, env)
        except RpcError as error:
            raise multi_operation(MESSAGE, aborted_operation(), error) from None
        reply = StartedAndAdmitted(_answer(existing), admitted.reply)
        return (msgspec.structs.replace(admitted, reply=reply),)
    try:
        transitions = start(current, existing, request, namespace_id, env)
    except RpcError as error:
        raise multi_operation(MESSAGE, error, aborted_operation()) from None
    answer: _Started = transitions[-1].reply
    state: RunState | None = transitions[-1].state
    if state is None:
        # The same start came before, and its run has closed since: it knows no such update.
        assert existing is not None, "a start that is answered without a new run has found one"
        state = existing
    try:
        # A new run takes any update, so nothing that was changed above is left behind.
        admitted = request_update(state, update_id, "", 0, env)
    except RpcError as error:
        raise multi_operation(MESSAGE, aborted_operation(), error) from None
    key = run_key(namespace_id, request.workflow_id, answer.run_id)
    assert admitted.key == key, "the update is for the run that the start names"
    reply = StartedAndAdmitted(answer, admitted.reply)
    if admitted.is_empty:
        return (*transitions, nothing(key, reply))
    return (*transitions, msgspec.structs.replace(admitted, reply=reply))


def _takes(existing: RunState, request: _Start, update_id: str, *, is_waiting: bool) -> bool:
    """The existing run answers: it knows the update, or it runs and the caller wants it."""
    known = existing.updates.get(update_id)
    if known is not None and (known.completed_event_id or existing.is_running):
        return True
    if not existing.is_running:
        return False
    is_repeat = bool(request.request_id) and request.request_id == existing.create_request_id
    wants = request.workflow_id_conflict_policy == (enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
    return is_repeat or wants or is_waiting


def _answer(existing: RunState) -> _Started:
    return _Started(
        run_id=existing.key.run_id,
        first_execution_run_id=existing.info.first_run_id,
        started=False,
        status=enums.WorkflowExecutionStatus.ValueType(existing.status),
    )
