"""The half of a delivery at its destination: a message becomes a transition, or a refusal.

Invariant: a message that arrives again changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.child.command import child_closed
from perdure.history.child.start import discard_child, release_child, start_child
from perdure.history.delivery.messages import (
    CreateChild,
    DiscardChild,
    Message,
    Refusal,
    ReleaseChild,
    ReportClose,
    RequestCancel,
    Signal,
    Terminate,
)
from perdure.history.message.cancel import request_cancel
from perdure.history.message.signal import signal
from perdure.history.run.terminate import terminate
from perdure.wire.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    RpcError,
    not_found,
)

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.env import Env
    from perdure.history.delivery.messages import Address
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.pointer import CurrentRun
    from perdure.history.state.run_state import RunState


def apply(message: Message, state: RunState, env: Env) -> RunTransition:
    """Change the run that a message is for.

    Args:
        message: Any but `CreateChild`.
        state: The run.
        env: Time, id source and limits.

    Raises:
        RpcError: See `refusal_of`.
    """
    match message:
        case Signal():
            _check_other(message.sender, message.to)
            return signal(
                state, message.request, env, sender=message.sender, child_only=message.child_only
            )
        case RequestCancel():
            _check_other(message.sender, message.to)
            return request_cancel(
                state,
                message.request,
                env,
                sender=message.sender,
                sender_event_id=message.sender_event_id,
                child_only=message.child_only,
            )
        case Terminate():
            return terminate(state, message.request, env)
        case ReleaseChild():
            return release_child(state, message.parent, message.request_id, env)
        case DiscardChild():
            return discard_child(state, message.parent, message.request_id, env)
        case ReportClose():
            return child_closed(
                state,
                message.initiated_event_id,
                message.child,
                message.first_run_id,
                message.closing,
                env,
            )
        case CreateChild():
            raise TypeError("a child is created by `create`")


def create(
    message: CreateChild, current: CurrentRun | None, existing: RunState | None, env: Env
) -> tuple[RunTransition, ...]:
    """Create the child of a message, as `start` does. The reply is the StartWorkflowExecutionResponse.

    Raises:
        RpcError: See `refusal_of`.
    """
    namespace_id = message.to.namespace_id
    return start_child(current, existing, message.request, namespace_id, message.parent, env)


def refusal_of(message: Message, error: RpcError) -> Refusal | None:
    """What an error of a destination means for the source; None if the message has to be delivered again."""
    if isinstance(message, CreateChild):
        if isinstance(error, AlreadyExists):
            return Refusal.EXISTS
        return Refusal.INVALID if isinstance(error, InvalidArgument | FailedPrecondition) else None
    if isinstance(error, NotFound):
        return Refusal.NOT_FOUND
    if isinstance(message, Signal) and isinstance(error, InvalidArgument):
        return Refusal.LIMIT
    return None


def _check_other(sender: EntityKey, to: Address) -> None:
    """A workflow that targets itself: as on the reference server, it is not found, whichever run it names."""
    if (sender.namespace_id, sender.name) == (to.namespace_id, to.workflow_id):
        raise not_found("a workflow cannot send this to itself")
