"""The approval: wait for a decision, but not forever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure import workflow

from .activities import notify


@dataclass
class Request:
    what: str
    patience_seconds: float = 3600.0


@workflow.defn
class Approval:
    def __init__(self) -> None:
        self.decision: str | None = None
        self.by: str | None = None

    @workflow.run
    async def run(self, request: Request) -> str:
        await self._tell(f"please decide: {request.what}")
        try:
            # Durable: the wait may outlast any number of restarts and deployments.
            await workflow.wait_condition(
                lambda: self.decision is not None,
                timeout=timedelta(seconds=request.patience_seconds),
            )
        except TimeoutError:
            self.decision = "expired"
        await self._tell(f"{request.what}: {self.decision}")
        return f"{self.decision} by {self.by}" if self.by else str(self.decision)

    async def _tell(self, text: str) -> None:
        await workflow.execute_activity(notify, text, start_to_close_timeout=timedelta(seconds=10))

    @workflow.signal
    def approve(self, who: str) -> None:
        self._decide("approved", who)

    @workflow.signal
    def reject(self, who: str) -> None:
        self._decide("rejected", who)

    def _decide(self, decision: str, who: str) -> None:
        # The first one decides.
        if self.decision is None:
            self.decision, self.by = decision, who

    @workflow.query
    def status(self) -> str:
        return self.decision or "waiting"
