"""Charge, sleep, send. The sleep is where the demonstration kills worker and server."""

from __future__ import annotations

from datetime import timedelta

from perdure import workflow

from .activities import charge_card, send_parcel


@workflow.defn
class Purchase:
    @workflow.run
    async def run(self, customer: str, sleep_seconds: float) -> str:
        receipt = await workflow.execute_activity(
            charge_card, customer, start_to_close_timeout=timedelta(seconds=10)
        )
        await workflow.sleep(sleep_seconds)
        return await workflow.execute_activity(
            send_parcel, receipt, start_to_close_timeout=timedelta(seconds=10)
        )
