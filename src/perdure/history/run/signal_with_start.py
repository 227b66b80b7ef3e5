"""Signal-with-start: a signal to the running workflow of this id, or to one that is started for it, atomically.

S-22 to S-24 decide as for a start, with USE_EXISTING as the default; the request id makes both halves repeatable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.ids import run_key
from perdure.history.message.signal import check_signal, signal
from perdure.history.run.start import start
from perdure.history.state.run_state import RunState
from perdure.wire.api import enums, workflowservice

if TYPE_CHECKING:
    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.pointer import CurrentRun

_Request = workflowservice.SignalWithStartWorkflowExecutionRequest
_Response = workflowservice.SignalWithStartWorkflowExecutionResponse
_Start = workflowservice.StartWorkflowExecutionRequest
_Signal = workflowservice.SignalWorkflowExecutionRequest

_SIGNAL_ONLY = frozenset({"signal_name", "signal_input", "control"})


def start_part(request: _Request) -> _Start:
    """The start that this request contains."""
    result = _Start(workflow_id_conflict_policy=enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
    if request.workflow_id_reuse_policy == enums.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
        # The older way to say TERMINATE_EXISTING; the two must not be given together.
        result.ClearField("workflow_id_conflict_policy")
    for field, value in request.ListFields():
        if field.name in _SIGNAL_ONLY:
            continue
        if field.message_type is None:
            setattr(result, field.name, value)
        else:
            getattr(result, field.name).MergeFrom(value)
    return result


def signal_part(request: _Request) -> _Signal:
    """The signal that this request contains, without the run that it is for."""
    return _Signal(
        namespace=request.namespace,
        signal_name=request.signal_name,
        input=request.signal_input if request.HasField("signal_input") else None,
        identity=request.identity,
        request_id=request.request_id,
        header=request.header if request.HasField("header") else None,
        links=request.links,
    )


def signal_with_start(
    current: CurrentRun | None,
    existing: RunState | None,
    request: _Request,
    namespace_id: str,
    env: Env,
) -> tuple[RunTransition, ...]:
    """Signal the run of this workflow id, after starting one when none is running.

    Args:
        current: What the workflow id's pointer says; None when the id was never used (or is forgotten).
        existing: The state of that run; it must be given whenever `current` is.
        request: The caller's request.
        namespace_id: Id of the namespace.
        env: Time, id source and limits.

    Returns:
        Transitions to commit together. The last one's reply is the SignalWithStartWorkflowExecutionResponse.

    Raises:
        AlreadyExists: The run of this id has closed, and the reuse policy allows no other.
        InvalidArgument: The start or the signal cannot be made.
    """
    signalled = signal_part(request)
    # A start may end the existing run: everything that can be wrong with the signal must be known before.
    check_signal(RunState(run_key(namespace_id, request.workflow_id, "")), signalled, env)
    transitions = start(current, existing, start_part(request), namespace_id, env)
    answer: workflowservice.StartWorkflowExecutionResponse = transitions[-1].reply
    state = existing
    for transition in transitions:
        if transition.state is not None and transition.key.run_id == answer.run_id:
            state = transition.state
    assert state is not None, "the run that the start names is new or was given"
    last = signal(state, signalled, env)
    reply = _Response(run_id=answer.run_id, started=answer.started)
    return (*transitions, msgspec.structs.replace(last, reply=reply))
