"""The test server as a process: what the official SDKs' time-skipping environments start, driven over gRPC."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from perdure import workflow
from perdure.client import Client
from perdure.wire.api import testservice
from perdure.wire.times import timestamp_ns
from perdure.worker import Worker
from tests.e2e.stack import PERDURE, ROOT

pytestmark = pytest.mark.e2e

DAY_NS = 86_400 * 10**9


@workflow.defn
class Nap:
    @workflow.run
    async def run(self, days: int) -> str:
        began = workflow.now()
        await workflow.sleep(timedelta(days=days))
        return str((workflow.now() - began).days)


@contextmanager
def started_server(folder: Path) -> Generator[str]:
    """A started server's address, as it says it itself."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*PERDURE, "server", "start-test", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            env={"PYTHONPATH": f"{ROOT / 'src'}", "PYTHONUNBUFFERED": "1"},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert "time is locked" in line, (folder / "server.log").read_text()
            yield line.rpartition(" on ")[2].partition(";")[0]
        finally:
            process.terminate()
            code = process.wait(60)
            assert process.stdout is not None
            process.stdout.close()
        assert code == 0, "it ends gracefully"


async def now_ns(client: Client) -> int:
    return timestamp_ns((await client.test_service.get_current_time(Empty())).time)


async def test_a_client_skips_the_time_of_a_server(tmp_path: Path) -> None:
    with started_server(tmp_path) as address:
        async with await Client.connect(address) as client:
            began = await now_ns(client)
            async with Worker(client, task_queue="q", workflows=[Nap]):
                handle = await client.start_workflow(Nap.run, 100, id="w", task_queue="q")
                await client.test_service.unlock_time_skipping(
                    testservice.UnlockTimeSkippingRequest()
                )
                assert await handle.result() == "100"
                await client.test_service.lock_time_skipping(testservice.LockTimeSkippingRequest())
                request = testservice.SleepRequest()
                request.duration.FromTimedelta(timedelta(days=900))
                await client.test_service.unlock_time_skipping_with_sleep(request)
            assert 1_000 * DAY_NS <= await now_ns(client) - began < 1_001 * DAY_NS
            assert len((await handle.fetch_history()).events) > 5
