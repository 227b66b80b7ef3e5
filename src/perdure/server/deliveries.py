"""Delivers the effects of runs: a message to the destination, and the outcome back to the source (D-9).

Role: the way of a message between the two pure halves of `perdure.history.delivery`. `deliver` runs at the owner of the
source, `apply` at the owner of the destination. Each change is durable before the next one and recognises a repetition,
so an interrupted delivery simply starts again.

Invariants: an error that a retry cannot fix is an outcome (recorded as a Failed event, or ignored when the source does
not wait for it); all others are raised, and the outbox retries. Only messages and outcomes pass between owners.
Not here: order and retries (`shards.outbox`), decisions (`history`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from perdure.core.ids import workflow_id_key
from perdure.history.delivery.apply import apply, create, refusal_of
from perdure.history.delivery.messages import CreateChild, Receipt, Refusal
from perdure.history.delivery.settle import (
    event_of,
    first_message,
    is_settled,
    next_message,
    parent_closed,
    settle,
)
from perdure.history.draft.effects import ParentClosed, decode_body
from perdure.history.run.start import needs_existing
from perdure.server.owners.messages import DeliverMessage
from perdure.wire.errors import DataLoss, RpcError
from perdure.wire.events import attributes_of, parse_rows

if TYPE_CHECKING:
    from perdure.core.ids import EntityKey
    from perdure.entity.transition import Effect
    from perdure.history.delivery.messages import Message
    from perdure.server.engine import Engine
    from perdure.server.owners.owners import Owners
    from perdure.server.runs import Runs
    from perdure.wire.api import history

log = logging.getLogger(__name__)


class Deliveries:
    """Delivers effects, and receives those of others. Call `open` after wiring."""

    engine: Engine
    runs: Runs
    owners: Owners

    def open(self, engine: Engine, runs: Runs, owners: Owners) -> None:
        """Connect the deliveries to the engine, its runs, and the owners of all others."""
        self.engine, self.runs, self.owners = engine, runs, owners

    # At the source.

    async def deliver(self, source: EntityKey, effect: Effect) -> None:
        """Send what an effect of `source` asks for, and record the outcome."""
        body = decode_body(effect)
        if isinstance(body, ParentClosed):
            await self._send(parent_closed(source, effect, body))
            return
        event = await self._event(source, event_of(body))
        message = await self.runs.read_current(
            source.namespace_id,
            source.name,
            source.run_id,
            lambda state, env: first_message(state, effect, body, event, env),
        )
        while message is not None:
            receipt = await self._send(message)
            recorded = await self._settle(source, message, receipt, event)
            message = next_message(message, receipt, recorded)

    async def _send(self, message: Message) -> Receipt:
        to = workflow_id_key(message.to.namespace_id, message.to.workflow_id)
        return await self.owners.ask(to, DeliverMessage(message))

    async def _settle(
        self, source: EntityKey, message: Message, receipt: Receipt, event: history.HistoryEvent
    ) -> object:
        if not is_settled(message):
            return None
        return await self.engine.update(source, settle, message, receipt, attributes_of(event))

    async def _event(self, source: EntityKey, event_id: int) -> history.HistoryEvent:
        """An event of the source. The source is kept while it has effects to deliver."""
        events = parse_rows(await self.engine.history(source, event_id, event_id)).events
        if not events:
            raise DataLoss(f"event {event_id} of {source.name} is missing")
        return events[0]

    # At the destination.

    async def apply(self, message: Message) -> Receipt:
        """Change the destination durably.

        Raises:
            RpcError: The message has to be sent again.
        """
        to = message.to
        if self.engine.namespaces.by_id(to.namespace_id) is None:
            return Receipt(Refusal.NO_NAMESPACE)
        try:
            if isinstance(message, CreateChild):
                return Receipt(run_id=await self._create(message))
            await self.runs.update_current(*to, lambda state, env: apply(message, state, env))
        except RpcError as error:
            refusal = refusal_of(message, error)
            if refusal is None:
                raise
            if refusal is Refusal.INVALID:
                log.warning("child workflow %s cannot be started: %s", to.workflow_id, error)
            return Receipt(refusal)
        return Receipt()

    async def _create(self, message: CreateChild) -> str:
        reply = await self.runs.start_with(
            message.to.namespace_id,
            message.to.workflow_id,
            lambda current: needs_existing(current, message.request),
            lambda current, existing, env: create(message, current, existing, env),
        )
        return reply.run_id
