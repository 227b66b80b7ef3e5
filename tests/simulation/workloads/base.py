"""What a workload is: classes for the worker, and a driver that plays the user until everything has finished."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode

if TYPE_CHECKING:
    from perdure.client import Client
    from tests.simulation.ledger import Ledger

T = TypeVar("T")

TASK_QUEUE = "simulation"
TRIES_MAX = 400

# What a user of a broken network repeats: the outcome of the call is not known.
UNKNOWN_OUTCOME = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.ABORTED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.DATA_LOSS,
}


class Workload(ABC):
    """One kind of use. `play` returns when all its workflows have finished."""

    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]

    def __init__(self, client: Client, ledger: Ledger, random: Random) -> None:
        self.client = client
        self.ledger = ledger
        self.random = random

    @abstractmethod
    async def play(self) -> None: ...

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call whose outcome is unknown, as a careful user does."""
        for _ in range(TRIES_MAX):
            try:
                return await call()
            except RPCError as error:
                if error.status not in UNKNOWN_OUTCOME:
                    raise
            await asyncio.sleep(0.2 + self.random.random())
        raise AssertionError("a call was never answered")

    async def start(self, run: Any, argument: Any, workflow_id: str, **options: Any) -> None:
        """Start a workflow and note the acknowledgement."""

        async def once() -> str | None:
            try:
                handle = await self.client.start_workflow(
                    run, argument, id=workflow_id, task_queue=TASK_QUEUE, **options
                )
            except WorkflowAlreadyStartedError as error:
                return error.run_id  # an earlier try of ours had arrived
            return handle.result_run_id

        run_id = await self.insist(once)
        assert run_id, "an acknowledged start names its run"
        self.ledger.started[workflow_id] = run_id

    async def result(self, workflow_id: str) -> Any:
        """The workflow's result, noted in the ledger."""
        handle = self.client.get_workflow_handle(
            workflow_id, run_id=self.ledger.started[workflow_id]
        )
        value = await self.insist(handle.result)
        self.ledger.results[workflow_id] = value
        return value
