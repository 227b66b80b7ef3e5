"""Plays the scenarios with one library on one server, and writes the histories.

REPLAY_LIBRARY=temporalio python -m tests.replay.recorded.record_process HOST:PORT FOLDER [SCENARIO …]
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, cast

from tests.replay.recorded.library import client
from tests.replay.recorded.scenarios import SCENARIOS, World, available

PATIENCE_S = 300


async def main(address: str, folder: Path, names: list[str]) -> None:
    world = World(await client.Client.connect(address))
    for name in available():
        if names and name not in names:
            continue
        async with asyncio.timeout(PATIENCE_S):
            handle = await SCENARIOS[name](world)
        # The first run, even if it was continued.
        run_id = handle.first_execution_run_id or handle.result_run_id
        first = world.client.get_workflow_handle(handle.id, run_id=run_id)
        history = await first.fetch_history()
        (folder / f"{name}.json").write_text(compact(json.loads(history.to_json())))
        print(name, flush=True)


def compact(history: dict[str, Any]) -> str:
    """A history as text, one line per event, without stack traces and identities, which depend on the machine."""
    events = anonymous(history["events"])
    lines = ",\n".join(json.dumps(event, sort_keys=True) for event in events)
    return f'{{"events": [\n{lines}\n]}}\n'


def anonymous(value: Any) -> Any:
    if isinstance(value, list):
        return [anonymous(one) for one in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    return {
        key: "someone" if key == "identity" else anonymous(one)
        for key, one in fields.items()
        if key != "stackTrace"
    }


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
