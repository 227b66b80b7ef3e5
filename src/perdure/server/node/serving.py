"""How a node serves messages between owners: one row per message, with the part that answers it.

Not here: what a message means (the part that answers), and sending (`owners`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.server.frontend import queries, task_replies
from perdure.server.owners import messages

if TYPE_CHECKING:
    from perdure.server.deliveries import Deliveries
    from perdure.server.engine import Engine
    from perdure.server.frontend.dispatch import Frontend
    from perdure.server.frontend.services import Services
    from perdure.server.matching.host import MatchingHost
    from perdure.server.owners.owners import Owners


def serve_parts(
    owners: Owners, engine: Engine, matching: MatchingHost, deliveries: Deliveries
) -> None:
    """Serve the messages to shards and task queues."""

    async def offer_task(message: messages.OfferTask) -> None:
        matching.take_offer(message.queue, message.task, message.row)

    async def offer_query(message: messages.OfferQuery) -> None:
        matching.offer_query(message.queue, message.query)

    async def withdraw_query(message: messages.WithdrawQuery) -> None:
        matching.withdraw_query(message.queue, message.query_id)

    async def is_served(message: messages.IsServed) -> bool:
        return matching.is_served(message.queue)

    async def shard_acquired(_: messages.ShardAcquired) -> None:
        matching.read_again()

    async def namespace_written(message: messages.NamespaceWritten) -> None:
        engine.namespaces.install(message.fact)

    owners.serve(
        {
            messages.DeliverMessage: lambda message: deliveries.apply(message.message),
            messages.OfferTask: offer_task,
            messages.OfferQuery: offer_query,
            messages.WithdrawQuery: withdraw_query,
            messages.IsServed: is_served,
            messages.ShardAcquired: shard_acquired,
            messages.StartTask: lambda message: engine.start_task(
                message.task, message.row, message.poll
            ),
            messages.GiveBackTask: lambda message: engine.give_back(message.task, message.reply),
            messages.LeaveStickyQueue: lambda message: engine.leave_sticky_queue(
                message.task, message.row
            ),
            messages.WriteNamespace: lambda message: engine.namespaces.write(message.fact),
            messages.NamespaceWritten: namespace_written,
        }
    )


def serve_calls(owners: Owners, services: Services, frontend: Frontend) -> None:
    """Serve RPCs that other nodes forward, and write responses for pollers."""
    owners.serve(
        {
            messages.CallRpc: frontend.answer_passed_on,
            messages.WriteWorkflowTask: lambda message: task_replies.workflow_task(
                services, message.reply
            ),
            messages.WriteQueryTask: lambda message: task_replies.query_task(
                services, message.query, is_sticky=message.is_sticky
            ),
            messages.GiveBackQuery: lambda message: queries.give_back(
                services, message.queue, message.query
            ),
        }
    )
