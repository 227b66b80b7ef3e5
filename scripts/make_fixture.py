"""Writes a database file that later versions must be able to open: `tests/e2e/fixtures/perdure-0.1.db`.

    python scripts/make_fixture.py            fails if the file exists
    python scripts/make_fixture.py --replace  replaces it, for a version that is not released yet

The file has closed runs, a run with a timer, one between two attempts of an activity, one with a running attempt, one
with signals, and one with a buffered signal, because a worker took its workflow task and never answered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from perdure.client import Client, WorkflowFailureError  # noqa: E402
from perdure.wire.api import taskqueue, workflowservice  # noqa: E402
from perdure.worker import Worker  # noqa: E402
from tests.e2e.fixtures import version_0_1 as kept  # noqa: E402

FILE = ROOT / "tests" / "e2e" / "fixtures" / "perdure-0.1.db"
SIZE_BYTES_MAX = 200_000


async def write(path: Path) -> None:
    async with await Client.connect(f"sqlite:{path}") as client:
        async with Worker(
            client,
            task_queue=kept.TASK_QUEUE,
            workflows=kept.WORKFLOWS,
            activities=kept.ACTIVITIES,
        ):
            await closed_runs(client)
            await open_runs(client)
        await abandoned_runs(client)
    # Shrink the file, and leave no write-ahead log beside it.
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def closed_runs(client: Client) -> None:
    queue = kept.TASK_QUEUE
    completed = await client.execute_workflow(
        kept.Buy.run,
        kept.Order("tea", 4),
        id="closed-completed",
        task_queue=queue,
        memo={"customer": "Ada"},
    )
    assert completed == 21
    with contextlib.suppress(WorkflowFailureError):
        await client.execute_workflow(kept.Fail.run, id="closed-failed", task_queue=queue)
    terminated = await client.start_workflow(
        kept.Sleep.run, 3_600, id="closed-terminated", task_queue=queue
    )
    await terminated.terminate("with a detail", reason="no longer wanted")
    cancelled = await client.start_workflow(
        kept.Sleep.run, 3_600, id="closed-cancelled", task_queue=queue
    )
    await until(client, cancelled.id, lambda types: "TimerStarted" in types)
    await cancelled.cancel()
    with contextlib.suppress(WorkflowFailureError):
        await cancelled.result()


async def open_runs(client: Client) -> None:
    queue = kept.TASK_QUEUE
    await client.start_workflow(
        kept.Sleep.run, kept.SECONDS_ASLEEP, id="open-timer", task_queue=queue
    )
    await until(client, "open-timer", lambda types: "TimerStarted" in types)
    await client.start_workflow(
        kept.Retry.run, kept.SECONDS_ASLEEP, id="open-retry", task_queue=queue
    )
    retried = client.get_workflow_handle("open-retry")
    while True:
        pending = (await retried.describe()).raw_description.pending_activities
        if any(activity.attempt == 2 for activity in pending):
            break
        await asyncio.sleep(0.05)
    collecting = await client.start_workflow(
        kept.Collect.run, id="open-signalled", task_queue=queue
    )
    await collecting.signal(kept.Collect.add, "first")
    await collecting.signal(kept.Collect.add, "second")
    assert await collecting.query(kept.Collect.count) == 2


async def abandoned_runs(client: Client) -> None:
    """Runs whose task was taken by a worker that never answers."""
    queue = taskqueue.TaskQueue(name=kept.ABANDONED)
    async with Worker(client, task_queue=kept.ABANDONED, workflows=kept.WORKFLOWS):
        await client.start_workflow(
            kept.Retry.run, 0.1, id="open-attempt", task_queue=kept.ABANDONED
        )
        await until(client, "open-attempt", lambda types: "ActivityTaskScheduled" in types)
    attempt = await client.workflow_service.poll_activity_task_queue(
        workflowservice.PollActivityTaskQueueRequest(
            namespace="default", task_queue=queue, identity="gone"
        )
    )
    assert attempt.task_token
    buffered = await client.start_workflow(
        kept.Collect.run, id="open-buffered", task_queue=kept.ABANDONED
    )
    task = await client.workflow_service.poll_workflow_task_queue(
        workflowservice.PollWorkflowTaskQueueRequest(
            namespace="default", task_queue=queue, identity="gone"
        )
    )
    assert task.workflow_execution.workflow_id == buffered.id
    await buffered.signal(kept.Collect.add, "while a task was out")


async def until(client: Client, workflow_id: str, seen: Callable[[set[str]], bool]) -> None:
    """Wait until `seen` accepts the types of events in the history of a run."""
    while True:
        events = (await client.get_workflow_handle(workflow_id).fetch_history()).to_json_dict()
        if seen({kind(event["eventType"]) for event in events["events"]}):
            return
        await asyncio.sleep(0.05)


def kind(event_type: str) -> str:
    """`EVENT_TYPE_TIMER_STARTED` as `TimerStarted`."""
    return event_type.removeprefix("EVENT_TYPE_").title().replace("_", "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write this version's database fixture.")
    parser.add_argument("--replace", action="store_true", help="replace an existing file")
    options = parser.parse_args()
    if FILE.exists() and not options.replace:
        raise SystemExit(f"{FILE.name} exists; the file of a released version must not be replaced")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fixture.db"
        asyncio.run(write(path))
        size_bytes = path.stat().st_size
        if size_bytes > SIZE_BYTES_MAX:
            raise SystemExit(f"the file has {size_bytes} bytes, the limit is {SIZE_BYTES_MAX}")
        FILE.write_bytes(path.read_bytes())
    print(f"{FILE.relative_to(ROOT)}: {size_bytes} bytes")


if __name__ == "__main__":
    main()
