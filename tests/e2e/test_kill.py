"""kill -9 of server and worker, again and again, under fifty workflows and a stream of signals.

What must hold: every workflow finishes, each scheduled step has one close event, no acknowledged start or signal is
lost, no attempt of an activity runs twice. `--rounds N` for a longer campaign.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import TypeVar, cast

import pytest

from perdure.client import Client, RPCError, RPCStatusCode
from perdure.exceptions import WorkflowAlreadyStartedError
from tests.e2e.kill_worker import Campaign
from tests.e2e.processes import Processes
from tests.simulation.checks import check_history

T = TypeVar("T")

WORKFLOWS = 50
FINISH_TIMEOUT_S = 150.0
REPEATABLE = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
}


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat while the outcome is unknown, as a careful user does."""
    while True:
        try:
            return await call()
        except RPCError as error:
            if error.status not in REPEATABLE:
                raise
        await asyncio.sleep(0.1)


class Users:
    """Start workflows, send signals, and remember what was acknowledged."""

    def __init__(self, client: Client, random: Random) -> None:
        self._client = client
        self._random = random
        self.run_ids: dict[str, str] = {}
        self.signals: dict[str, list[str]] = {}
        self.is_over = asyncio.Event()

    async def play(self, number: int) -> list[str]:
        workflow_id = f"campaign-{number}"
        await asyncio.sleep(self._random.random() * 2)
        run_id = await insist(lambda: self._start(workflow_id))
        self.run_ids[workflow_id] = run_id
        handle = self._client.get_workflow_handle_for(Campaign.run, workflow_id, run_id=run_id)
        acknowledged = self.signals.setdefault(workflow_id, [])
        while not self.is_over.is_set():
            value = f"signal {len(acknowledged)}"
            await insist(lambda value=value: handle.signal(Campaign.add, value))
            acknowledged.append(value)
            await asyncio.sleep(1 + self._random.random() * 2)
        await insist(lambda: handle.signal(Campaign.finish))
        return await insist(handle.result)

    async def _start(self, workflow_id: str) -> str:
        try:
            handle = await self._client.start_workflow(
                Campaign.run, workflow_id, id=workflow_id, task_queue="kill"
            )
        except WorkflowAlreadyStartedError as error:
            return error.run_id or ""  # an earlier try of ours had arrived
        assert handle.result_run_id is not None
        return handle.result_run_id


async def kill_and_restart(processes: Processes, random: Random, rounds: int) -> None:
    for number in range(rounds):
        await asyncio.sleep(0.2 + random.random() * 0.8)
        victims = ["server", "worker"] if number % 5 == 4 else [random.choice(["server", "worker"])]
        for victim in victims:
            await processes.kill(victim)
        for victim in victims:
            processes.start(victim)
        if "server" in victims:
            await processes.wait_for_server()


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_acknowledged_is_lost(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rounds = cast("int", request.config.getoption("--rounds"))
    random = Random(rounds)
    ledger = tmp_path / "attempts"
    ledger.touch()
    with Processes(tmp_path, "tests.e2e.kill_worker:worker", KILL_LEDGER=str(ledger)) as processes:
        processes.start_server()
        await processes.wait_for_server()
        processes.start_worker()
        client = await Client.connect(processes.address)
        users = Users(client, random)
        playing = [asyncio.create_task(users.play(number)) for number in range(WORKFLOWS)]
        try:
            await kill_and_restart(processes, random, rounds)
            users.is_over.set()
            async with asyncio.timeout(FINISH_TIMEOUT_S):
                results = await asyncio.gather(*playing)
        except BaseException:
            print(processes.log("server"), processes.log("worker"), sep="\n--- worker\n")
            raise
        check_signals(users, results)
        check_attempts(ledger)
        for workflow_id, run_id in users.run_ids.items():
            handle = client.get_workflow_handle(workflow_id, run_id=run_id)
            check_history(workflow_id, (await handle.fetch_history()).events)
        await client.close()


def check_signals(users: Users, results: list[list[str]]) -> None:
    assert len(results) == WORKFLOWS
    for number, received in enumerate(results):
        acknowledged = users.signals[f"campaign-{number}"]
        missing = set(acknowledged) - set(received)
        assert not missing, f"campaign-{number} lost acknowledged signals {sorted(missing)}"


def check_attempts(ledger: Path) -> None:
    attempts = Counter(ledger.read_text().splitlines())
    twice = [line for line, count in attempts.items() if count > 1]
    assert not twice, f"attempts that ran twice: {twice}"
    assert len(attempts) >= WORKFLOWS * 3, "every workflow runs three activities"
