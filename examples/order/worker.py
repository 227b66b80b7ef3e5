"""The order's worker: `perdure worker run examples.order.worker:make_worker`.

The activities are ordinary functions, so they run in threads; the factory form makes the pool.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from perdure.client import Client
from perdure.worker import Worker

from .activities import charge, refund, release, reserve, ship
from .workflows import OrderWorkflow

TASK_QUEUE = "orders"


async def make_worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderWorkflow],
        activities=[reserve, release, charge, refund, ship],
        activity_executor=ThreadPoolExecutor(max_workers=8),
    )
