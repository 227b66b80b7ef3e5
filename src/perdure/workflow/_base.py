"""`workflow.Workflow`: an optional base class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.workflow import _context

if TYPE_CHECKING:
    from datetime import timedelta


class Workflow:
    """An optional base class of workflow classes.

    Example:
        ```python
        @workflow.defn
        class Greeting(workflow.Workflow):
            @workflow.run
            async def run(self, name: str) -> str:
                await self.sleep(10)
                return f"Hello, {name}!"


        async with Worker(client, task_queue="greetings", workflows=[Greeting]):
            text = await client.execute_workflow(
                Greeting.run, "Ada", id="greeting-1", task_queue="greetings"
            )
        assert text == "Hello, Ada!"
        ```
    """

    async def sleep(self, duration: float | timedelta, *, summary: str | None = None) -> None:
        """Sleep for a duration, like `workflow.sleep`.

        Args:
            duration: Seconds, or a timedelta.
            summary: One line to show beside the timer in the UI and on the command line.
        """
        await _context.sleep(duration, summary=summary)
