"""Messages from one entity to another: the bodies of outbox effects (D-9).

An effect names its destination and, in its body, the event of the source that holds the rest: input and headers are not
written twice. Its destination is the workflow id, never one run of it, so that all effects to a workflow id share a
lane and arrive in order: a child is started before it is signalled, canceled or terminated.

Not here: the messages that effects become, and what a destination makes of them (`history.delivery`); the way there
(`server/deliveries`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.ids import EntityKey, workflow_id_key
from perdure.entity.transition import Effect

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft


class SignalExternal(msgspec.Struct, frozen=True, tag="signal-external"):
    initiated_event_id: int


class CancelExternal(msgspec.Struct, frozen=True, tag="cancel-external"):
    initiated_event_id: int


class StartChild(msgspec.Struct, frozen=True, tag="start-child"):
    initiated_event_id: int


class ChildClosed(msgspec.Struct, frozen=True, tag="child-closed"):
    """To the parent: the last run of the child has ended."""

    parent: EntityKey
    initiated_event_id: int
    """Of the parent."""
    close_event_id: int
    """Of the child's run, which is the source."""
    workflow_type: str
    first_run_id: str


class ParentClosed(msgspec.Struct, frozen=True, tag="parent-closed"):
    """To a child: its parent has ended, and the parent close policy says that it shall end as well."""

    first_run_id: str
    terminates: bool
    """False: it is only asked to cancel itself."""


Body = SignalExternal | CancelExternal | StartChild | ChildClosed | ParentClosed

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Body)


def send(draft: Draft, namespace_id: str, workflow_id: str, event_id: int, body: Body) -> None:
    """Send `body` to a workflow id once the draft is durable.

    `event_id` is the event of the source that caused it: with the run it makes the request id, by which the
    destination knows a repetition.
    """
    draft.effect(
        Effect(
            destination=workflow_id_key(namespace_id, workflow_id),
            kind=str(type(body).__struct_config__.tag),
            request_id=f"{draft.state.key.run_id}:{event_id}",
            body=_encoder.encode(body),
        )
    )


def decode_body(effect: Effect) -> Body:
    return _decoder.decode(effect.body)
