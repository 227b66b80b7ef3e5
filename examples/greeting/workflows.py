"""The greeting's workflow: it sleeps, then greets. A restart of anything in between loses nothing."""

from __future__ import annotations

from datetime import timedelta

from perdure import workflow

from .activities import compose_greeting


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        workflow.logger.info("greeting in ten seconds")
        await workflow.sleep(10)
        return await workflow.execute_activity(
            compose_greeting, name, start_to_close_timeout=timedelta(seconds=10)
        )
