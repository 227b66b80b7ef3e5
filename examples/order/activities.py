"""What an order does to the world, and how each step is undone.

The "world" is a folder of files, so that you can see what happened; a real shop would call its services here. Every
step is idempotent: doing it again for the same order changes nothing, because an activity may run more than once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from perdure import activity
from perdure.exceptions import ApplicationError


@dataclass
class Order:
    order_id: str
    item: str
    amount_cents: int


def ledger() -> Path:
    """Where the steps leave their traces."""
    folder = Path(os.environ.get("ORDER_LEDGER", "order-ledger"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@activity.defn
def reserve(order: Order) -> str:
    (ledger() / f"{order.order_id}.reserved").write_text(order.item)
    return f"reservation-{order.order_id}"


@activity.defn
def release(order: Order) -> None:
    (ledger() / f"{order.order_id}.reserved").unlink(missing_ok=True)


@activity.defn
def charge(order: Order) -> str:
    attempt = activity.info().attempt
    if order.item == "flaky" and attempt < 3:
        # An ordinary exception is retried, with back-off, for as long as the retry policy says.
        raise ConnectionError(f"the bank did not answer (attempt {attempt})")
    if order.amount_cents > 100_000:
        # The bank's final word: no retry will change it.
        raise ApplicationError("credit limit exceeded", type="Declined", non_retryable=True)
    (ledger() / f"{order.order_id}.charged").write_text(str(order.amount_cents))
    return f"charge-{order.order_id}"


@activity.defn
def refund(order: Order) -> None:
    (ledger() / f"{order.order_id}.charged").unlink(missing_ok=True)


@activity.defn
def ship(order: Order) -> str:
    if order.item == "unshippable":
        raise ApplicationError("no carrier takes it", type="NoCarrier", non_retryable=True)
    (ledger() / f"{order.order_id}.shipped").write_text(order.item)
    return f"parcel-{order.order_id}"
