"""What an order does to the world: lines in a ledger file, where a real shop would call its warehouse."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from perdure import activity


@dataclass
class Order:
    order_id: str
    item: str


async def write(line: str) -> None:
    def append() -> None:
        with Path(os.environ.get("SHOP_LEDGER", "shop-ledger.txt")).open(
            "a", encoding="utf-8"
        ) as file:
            file.write(f"{line}\n")

    await asyncio.to_thread(append)


@activity.defn
async def reserve(order: Order) -> None:
    await write(f"{order.order_id} reserved {order.item}")


@activity.defn
async def release(order: Order) -> None:
    await write(f"{order.order_id} released {order.item}")


@activity.defn
async def ship(order: Order) -> str:
    await write(f"{order.order_id} shipped {order.item}")
    return f"parcel-{order.order_id}"
