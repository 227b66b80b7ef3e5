"""An order: reserved, then paid within three days and shipped, or released."""

from __future__ import annotations

from datetime import timedelta

from perdure import workflow

from .activities import Order, release, reserve, ship

TIMEOUT = timedelta(minutes=1)
PATIENCE = timedelta(days=3)


@workflow.defn
class ShopOrder:
    def __init__(self) -> None:
        self._status = "new"
        self._is_paid = False

    @workflow.signal
    def paid(self) -> None:
        self._is_paid = True

    @workflow.query
    def status(self) -> str:
        return self._status

    @workflow.run
    async def run(self, order: Order) -> str:
        await workflow.execute_activity(reserve, order, start_to_close_timeout=TIMEOUT)
        self._status = "waits for payment"
        try:
            await workflow.wait_condition(lambda: self._is_paid, timeout=PATIENCE)
        except TimeoutError:
            await workflow.execute_activity(release, order, start_to_close_timeout=TIMEOUT)
            self._status = "not paid"
            return self._status
        self._status = "paid"
        parcel = await workflow.execute_activity(ship, order, start_to_close_timeout=TIMEOUT)
        self._status = f"shipped as {parcel}"
        return self._status
