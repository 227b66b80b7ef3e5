"""Everything that opens a database file, on one damaged file after the other; `make damage SEEDS=500` runs many.

Each way in must end within a minute, with a typed error or with findings. Anything else is a problem: a time-out, a
bare exception, INTERNAL.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from perdure.client import Client
from perdure.core.ids import EntityKey
from perdure.entity.transition import Effect
from perdure.server.admin.audit import audit
from perdure.server.common.options import DevServerOptions, ServerStartError
from perdure.server.node.main import open_dev_node
from perdure.server.node.prune import prunable, prune
from perdure.service import RPCError, RPCStatusCode
from perdure.storage import sqlite_open
from perdure.storage.port import StoreError
from perdure.storage.sqlite import open_sqlite
from perdure.storage.sqlite_backup import back_up
from perdure.wire.api import taskqueue
from perdure.wire.errors import NotFound, RpcError
from tests.harness.builders import complete_workflow, schedule_activity, signal_external
from tests.stores.damage import damaged
from tests.unit.server.world import open_world, start_timer

TIME_LIMIT_S = 60
_CLEAR = {RPCStatusCode.DATA_LOSS, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.NOT_FOUND}
LATER_NS = 2**62
_COMMANDS = {
    "buffers": [],
    "busy": [schedule_activity("a"), schedule_activity("b")],
    "closed": [complete_workflow()],
    "sender": [signal_external("closed"), complete_workflow()],
    "sleeps": [start_timer("t", 3_600_000)],
}


async def fill(path: Path) -> None:
    """Runs that are open and closed, with activities, timers, buffered events, and an effect that is not delivered."""
    world = await open_world(await open_sqlite(path))

    async def never(source: EntityKey, effect: Effect) -> None:
        await asyncio.Event().wait()

    world.engine.outbox.deliver = never
    for name, commands in _COMMANDS.items():
        await world.start(name)
        task = await world.poll()
        if name == "buffers":
            await world.signal(name)
        else:
            await world.complete(task.task_token, *commands)
    await world.poll_activity()
    await world.start("new", task_queue=taskqueue.TaskQueue(name="idle"))
    await world.node.close()


async def check(path: Path) -> str:
    return "sound" if audit(path).is_sound else "findings"


async def copy(path: Path) -> str:
    back_up(path, path.with_name("copy.db"))
    return "copied"


async def delete(path: Path) -> str:
    found = prunable(path, "default", LATER_NS, "")
    done = await prune(path, found.runs)
    return "runs refused" if done.damaged else "pruned"


async def use(path: Path) -> str:
    """Connect, list, describe, and wait for results of what has closed."""
    refused = 0
    try:
        client = await Client.connect(f"sqlite:{path}")
    except RuntimeError as error:
        if not str(error).startswith("Failed client connect: /"):
            raise
        return "connect refused"
    async with client:
        try:
            listed = [run async for run in client.list_workflows()]
        except RPCError as error:
            if error.status not in _CLEAR:
                raise
            return "lists refused"
        for name in _COMMANDS:
            handle = client.get_workflow_handle(name)
            try:
                await handle.describe()
                if name in {"closed", "sender"}:
                    await handle.result()
            except RPCError as error:
                refused += 1
                if error.status not in _CLEAR:
                    raise
        handle = await client.start_workflow("T", id="later", task_queue="q")
        await handle.terminate()
    return f"used, {len(listed)} listed" if not refused else "runs refused"


async def serve(path: Path) -> str:
    node = await open_dev_node(DevServerOptions(db_filename=path))
    await node.close()
    return "served"


WAYS: tuple[Callable[[Path], Awaitable[str]], ...] = (check, copy, delete, use, serve)


async def outcome(way: Callable[[Path], Awaitable[str]], path: Path) -> tuple[str, bool]:
    """What came of it, and whether that is allowed."""
    try:
        async with asyncio.timeout(TIME_LIMIT_S):
            return await way(path), True
    except (StoreError, ServerStartError) as error:
        return f"{type(error).__name__}: {error}", "\n" not in str(error)
    except RPCError as error:
        return f"{error.status.name}: {error}", error.status in _CLEAR
    except RpcError as error:
        return f"{error.status_code.name}: {error}", isinstance(error, NotFound)
    except TimeoutError:
        return "no end", False
    except Exception as error:
        logging.getLogger(__name__).debug("%s", way.__name__, exc_info=True)
        return f"bare {type(error).__name__}: {error}", False


def _written(folder: Path, data: bytes) -> Path:
    path = Path(tempfile.mkdtemp(dir=folder), "x.db")
    path.write_bytes(data)
    return path


async def campaign(sound: bytes, seed: int, folder: Path) -> list[tuple[str, str, str, bool]]:
    """(damage, way, outcome, is allowed) of each way in, for the file of a seed."""
    name, data = damaged(sound, seed)
    found: list[tuple[str, str, str, bool]] = []
    for way in WAYS:
        text, is_allowed = await outcome(way, _written(folder, data))
        found.append((name, way.__name__, text, is_allowed))
    said = {way: text for _, way, text, _ in found}
    if said["check"] == "sound" and said["use"] != f"used, {len(_COMMANDS) + 1} listed":
        found.append((name, "check", f"sound, but: {said['use']}", False))
    return found


def sound_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        asyncio.run(fill(path))
        return path.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument(
        "--large", action="store_true", help="open as if the file were too large to be checked"
    )
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if asked.verbose else logging.CRITICAL)
    if asked.large:
        sqlite_open.CHECKED_BYTES_MAX = 0
    sound, counts, problems = sound_file(), Counter[str](), 0
    began = time.perf_counter()
    for seed in range(asked.first, asked.first + asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for name, way, text, is_allowed in asyncio.run(campaign(sound, seed, Path(folder))):
                counts[f"{way}: {text.split(':')[0]}"] += 1
                if asked.verbose or not is_allowed:
                    print(f"seed {seed}, {name}, {way}: {text}".replace(folder, ""))
                problems += not is_allowed
    for line, count in sorted(counts.items()):
        print(f"{count:5} {line}")
    print(f"{asked.seeds} files, {problems} problems, {time.perf_counter() - began:.0f} s")
    sys.exit(problems > 0)


if __name__ == "__main__":
    main()
