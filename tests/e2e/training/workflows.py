from datetime import timedelta

from perdure import workflow

from . import activities
from .activities import compose_greeting


@workflow.defn
class GreetingWorkflow:
    @workflow.run
    async def run(self, name: str) -> str:
        workflow.logger.info(f"Running workflow with parameter {name}")
        await workflow.sleep(10)
        return await workflow.execute_activity(
            compose_greeting, name, start_to_close_timeout=timedelta(seconds=10)
        )


@workflow.defn
class Inheriting(workflow.Workflow):
    """What else the text says: a base class with sleep, an alias, direct calls, deterministic values."""

    def __init__(self) -> None:
        self.ready = False

    @workflow.run
    async def run(self, number: int) -> dict[str, object]:
        began = workflow.now()
        await self.sleep(0.1)
        await workflow.wait_for_condition(lambda: self.ready)
        doubled = await activities.my_activity(number)
        return {
            "doubled": doubled,
            "random": workflow.random().random(),
            "id": str(workflow.uuid4()),
            "slept": workflow.now() > began,
        }

    @workflow.signal
    def go(self) -> None:
        self.ready = True

    @workflow.query
    def drawn(self) -> bool:
        return self.ready
