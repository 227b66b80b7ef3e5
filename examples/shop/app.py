"""The web server: `uvicorn examples.shop.app:app`.

The engine lives in this process, in the file shop.db; with SHOP_ENGINE=localhost:7233 the same code uses a server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, HTTPException, Request

from perdure.client import Client, RPCError, RPCStatusCode
from perdure.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.worker import Worker

from .activities import Order, release, reserve, ship
from .workflows import ShopOrder

QUEUE = "shop"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    # Connected here, in the process and on the loop that serve the requests; not when the module is imported.
    client = await Client.connect(os.environ.get("SHOP_ENGINE", "sqlite:shop.db"))
    worker = Worker(
        client, task_queue=QUEUE, workflows=[ShopOrder], activities=[reserve, release, ship]
    )
    async with client, worker:
        app.state.client = client
        yield


app = FastAPI(title="Shop", lifespan=lifespan)


@app.put("/orders/{order_id}", status_code=202)
async def order(order_id: str, item: str, request: Request) -> dict[str, str]:
    """Accept an order. When this has been answered the order survives anything; repeating it changes nothing."""
    client: Client = request.app.state.client
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            ShopOrder.run,
            Order(order_id, item),
            id=f"order-{order_id}",
            task_queue=QUEUE,
            # While the order is open this is that order; once it has ended, it has ended: nothing is shipped twice.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    return {"order": order_id}


@app.post("/orders/{order_id}/payment", status_code=202)
async def pay(order_id: str, request: Request) -> dict[str, str]:
    client: Client = request.app.state.client
    try:
        await client.get_workflow_handle(f"order-{order_id}").signal(ShopOrder.paid)
    except RPCError as error:
        raise _as_http(error) from error
    return {"order": order_id}


@app.get("/orders/{order_id}")
async def status(order_id: str, request: Request) -> dict[str, str]:
    client: Client = request.app.state.client
    try:
        text = await client.get_workflow_handle(f"order-{order_id}").query(ShopOrder.status)
    except RPCError as error:
        raise _as_http(error) from error
    return {"order": order_id, "status": text}


def _as_http(error: RPCError) -> HTTPException:
    if error.status is RPCStatusCode.NOT_FOUND:
        return HTTPException(404, "no such open order")
    return HTTPException(503, error.message)
