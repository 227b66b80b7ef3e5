"""Several users of the same workflow ids: parents start children, message them and close, while others start runs.

What a parent sends must reach the run that it was meant for. `right_run.py` checks this: the histories of the parents
say which runs those are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from perdure import workflow
from perdure.common import RawValue, WorkflowIDConflictPolicy
from perdure.exceptions import ApplicationError, WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode
from tests.simulation.workloads.base import TASK_QUEUE, Workload

FLATS = 3
LANDLORDS = 3
SQUATS = 6
BUSY_S = 12.0
BRIEF_S = 12.0
LONG_S = 900.0
"""How long a tenant stays if it is never told to leave."""

Policy = workflow.ParentClosePolicy
POLICIES = (Policy.TERMINATE, Policy.REQUEST_CANCEL, Policy.ABANDON)


@workflow.defn
class Tenant:
    """Runs for a while, or until it is told to end; with `moves` it continues as new once."""

    def __init__(self) -> None:
        self.heard = 0

    @workflow.signal(dynamic=True)
    def hear(self, name: str, args: Sequence[RawValue]) -> None:
        self.heard += 1

    @workflow.run
    async def run(self, stay_s: float, moves: bool) -> str:
        if moves:
            await workflow.sleep(1)
            workflow.continue_as_new(args=[stay_s, False])
        await workflow.sleep(stay_s)
        return workflow.info().run_id


@workflow.defn
class Landlord:
    """Starts a tenant in every free flat, sends messages to tenants, and closes."""

    @workflow.run
    async def run(self, number: int) -> int:
        talks = [self.let(number, flat) for flat in range(FLATS)]
        reached = await asyncio.gather(*talks)
        await workflow.sleep(1 + number % 3)
        if number % 2 == 1:
            raise ApplicationError("this one fails", non_retryable=True)
        return sum(reached)

    async def let(self, number: int, flat: int) -> int:
        policy = POLICIES[(number + flat) % len(POLICIES)]
        token = f"{workflow.info().workflow_id}/{flat}"
        try:
            child = await workflow.start_child_workflow(
                Tenant.run,
                args=[BRIEF_S if policy is Policy.ABANDON else LONG_S, flat == 1],
                id=f"flat-{flat}",
                parent_close_policy=policy,
            )
        except WorkflowAlreadyStartedError:
            return await self.talk(f"flat-{flat}", None, f"{token}/stranger")
        reached = await self.talk(child.id, child.first_execution_run_id, f"{token}/run")
        try:
            await child.signal(f"{token}/child")
        except ApplicationError:
            return reached
        if (number + flat) % 4 == 3:
            child.cancel()
        return reached + 1

    async def talk(self, workflow_id: str, run_id: str | None, token: str) -> int:
        """Signal the current run of a workflow id, or one run."""
        external = workflow.get_external_workflow_handle(workflow_id, run_id=run_id)
        try:
            await external.signal(token)
        except ApplicationError:
            return 0
        return 1


class Namesakes(Workload):
    workflows = (Tenant, Landlord)
    activities = ()

    async def play(self) -> None:
        landlords = [self.let(number) for number in range(LANDLORDS)]
        squatters = [self.squat(number) for number in range(SQUATS)]
        await asyncio.gather(*landlords, *squatters)
        for flat in range(FLATS):
            await self.closed(f"flat-{flat}")

    async def let(self, number: int) -> None:
        await asyncio.sleep(self.random.random() * BUSY_S)
        name = f"landlord-{number}"
        await self.start(Landlord.run, number, name)
        await self.closed(name)
        self.ledger.results[name] = None

    async def squat(self, number: int) -> None:
        """Terminate the tenant of a flat, and start another in its place."""
        await asyncio.sleep(self.random.random() * BUSY_S * 1.3)
        flat = self.random.randrange(FLATS)

        async def once() -> str | None:
            handle = await self.client.start_workflow(
                Tenant.run,
                args=[BRIEF_S / 2, False],
                id=f"flat-{flat}",
                task_queue=TASK_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            )
            return handle.result_run_id

        run_id = await self.insist(once)
        handle = self.client.get_workflow_handle(f"flat-{flat}", run_id=run_id)
        tries = 0

        async def greet() -> None:
            # Each call has its own request id, so each attempt sends a signal with its own name.
            nonlocal tries
            tries += 1
            name = f"squatter-{number}-{tries}"
            try:
                await handle.signal(name)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            else:
                self.ledger.meant[name] = run_id or ""

        await self.insist(greet)
