"""An application that embeds the engine, as a process of its own: `python -m tests.e2e.embedded_app DATABASE WHAT`.

It prints one line for each thing that tests wait for. `WHAT` is a name of `PARTS`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy, WorkflowIDConflictPolicy
from perdure.worker import Worker

QUEUE = "embedded"


def say(text: str) -> None:
    print(text, flush=True)


def note(line: str) -> None:
    with Path(os.environ["LEDGER"]).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@activity.defn
async def work(name: str) -> str:
    attempt = activity.info().attempt
    note(f"{name} attempt {attempt}")
    say(f"working {name} {attempt}")
    if name == "slow" and attempt == 1:
        await asyncio.sleep(3_600)
    return f"{name} done by attempt {attempt}"


@workflow.defn
class Steps:
    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.signal
    def tell(self, text: str) -> None:
        self.heard.append(text)

    @workflow.query
    def so_far(self) -> list[str]:
        return self.heard

    @workflow.run
    async def run(self, names: list[str], signals: int) -> list[str]:
        done = [
            await workflow.execute_activity(
                work,
                name,
                # An hour: only the engine can know that the attempt died with its process.
                start_to_close_timeout=timedelta(hours=1),
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
            )
            for name in names
        ]
        await workflow.wait_condition(lambda: len(self.heard) >= signals)
        return done + self.heard


def make_worker(client: Client) -> Worker:
    return Worker(client, task_queue=QUEUE, workflows=[Steps], activities=[work])


worker = {"task_queue": QUEUE, "workflows": [Steps], "activities": [work]}


async def serve(client: Client) -> None:
    """Work until killed."""
    async with make_worker(client):
        say("serving")
        await asyncio.Event().wait()


async def begin(client: Client) -> None:
    """Start a workflow, then acknowledge signals until killed."""
    async with make_worker(client):
        handle = await client.start_workflow(
            Steps.run,
            args=[["quick", "slow"], 3],
            id="steps",
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        say("started")
        await handle.signal(Steps.tell, "one")
        await handle.signal(Steps.tell, "two")
        say("signalled")
        await asyncio.Event().wait()


async def leave_open(client: Client) -> None:
    """Start a workflow that nobody works on, and end without closing anything."""
    await client.start_workflow(Steps.run, args=[[], 1], id="left", task_queue=QUEUE)
    say("left")


async def close(client: Client) -> None:
    await client.start_workflow(Steps.run, args=[[], 1], id="left", task_queue=QUEUE)
    await client.close()
    say("closed")


async def fork(client: Client) -> None:
    """Fork after connecting: the child gets an explanation, the parent goes on."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.events._set_running_loop(None)
            asyncio.run(client.get_workflow_handle("none").describe())
        except Exception as error:  # noqa: BLE001 - it is what the test reads
            say(f"child: {error}")
            code = 0
        os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    await client.start_workflow(Steps.run, args=[[], 1], id="after-fork", task_queue=QUEUE)
    say(f"parent goes on, child ended with {status}")
    await client.close()


async def orphan(client: Client) -> None:
    """Leave a child behind that outlives the parent: it must not hold the lock."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    say("orphaned")
    os._exit(0)


PARTS = {part.__name__: part for part in (serve, begin, leave_open, close, fork, orphan)}


async def main(database: str, what: str) -> None:
    client = await Client.connect(f"sqlite:{database}")
    await PARTS[what](client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
