"""`workflow.Workflow`: an optional base class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.workflow import _context

if TYPE_CHECKING:
    from datetime import timedelta


class Workflow:
    """A base class that workflow classes may have; nothing requires it.

    Example:
        ```python
        @workflow.defn
        class Greeting(workflow.Workflow):
            @workflow.run
            async def run(self, name: str) -> str:
                await self.sleep(10)
                return f"Hello, {name}!"
        ```
    """

    async def sleep(self, duration: float | timedelta, *, summary: str | None = None) -> None:
        """Sleep durably; the same as `workflow.sleep`.

        Args:
            duration: Seconds, or a timedelta.
            summary: One line for UI and command line.
        """
        await _context.sleep(duration, summary=summary)
