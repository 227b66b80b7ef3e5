"""Starting: ids, policies, request ids, options, bad input."""

from __future__ import annotations

from tests.reference.commands import complete_workflow, payloads
from tests.reference.play import Case, script


@script
async def plain(case: Case) -> None:
    await case.start(input=payloads("hello"))
    await case.describe()
    await case.step(complete_workflow())
    await case.closed()
