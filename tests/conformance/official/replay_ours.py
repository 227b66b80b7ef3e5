"""Replays histories in the official replayer, with workflow code written for our SDK.

    python replay_ours.py CODE.py < HISTORIES.json

The input is a list of histories as JSON text; the code is read with the package's name replaced. Prints one line of
JSON: for each history an error's text, or null.
"""

from __future__ import annotations

import asyncio
import json
import sys
import types
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner


def load(code: str) -> types.ModuleType:
    """The module at this path, importing the official package instead of ours."""
    module = types.ModuleType("both_sdks")
    sys.modules["both_sdks"] = module
    text = Path(code).read_text().replace("from perdure", "from temporalio")
    exec(compile(text, code, "exec"), module.__dict__)
    return module


async def main(code: str, *names: str) -> None:
    module = load(code)
    workflows = [getattr(module, name) for name in names]
    # The module was made by hand, so the sandbox could not import it.
    replayer = Replayer(workflows=workflows, workflow_runner=UnsandboxedWorkflowRunner())
    errors: list[str | None] = []
    for history in json.load(sys.stdin):
        recorded = WorkflowHistory.from_json("replayed", history)
        result = await replayer.replay_workflow(recorded, raise_on_replay_failure=False)
        errors.append(result.replay_failure and str(result.replay_failure))
    print(json.dumps(errors))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
