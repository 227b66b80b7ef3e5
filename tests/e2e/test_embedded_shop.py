"""The shop of `examples/shop`: kill -9 between order and payment, with the engine inside and with a server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from perdure.server.admin.audit import audit
from tests.e2e.processes import PATIENCE_S, ROOT, Processes, free_port

pytestmark = [pytest.mark.e2e]


class Shop:
    """The example as a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    async def open(self, engine: str) -> None:
        environment = {
            **os.environ,
            "SHOP_ENGINE": engine,
            "SHOP_LEDGER": str(self.ledger),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        }
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "examples.shop.app:app",
            "--port",
            str(self.port),
        ]
        with (self.folder / "shop.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 -- returns at once
                command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        async with asyncio.timeout(PATIENCE_S):
            while (await self.ask("GET", "/openapi.json"))[0] != 200:
                log_text = (self.folder / "shop.log").read_text()
                assert self.process.poll() is None, log_text
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)

    async def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Status and body; status 0 when nobody answers."""

        def go() -> tuple[int, Any]:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)
            except OSError:
                return 0, None

        return await asyncio.to_thread(go)

    async def until(self, order: str, status: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.ask("GET", f"/orders/{order}"))[1].get("status") != status:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.fixture
def shop(tmp_path: Path) -> Generator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    if shop.process is not None:
        shop.process.kill()
        shop.process.wait()


async def test_an_order_survives_kill_9(shop: Shop):
    database = shop.folder / "shop.db"
    await shop.open(f"sqlite:{database}")
    assert await shop.ask("GET", "/orders/1") == (404, {"detail": "no such open order"})
    assert (await shop.ask("PUT", "/orders/1?item=book"))[0] == 202
    await shop.until("1", "waits for payment")
    assert (await shop.ask("PUT", "/orders/2?item=pen"))[0] == 202
    await shop.kill()
    await shop.open(f"sqlite:{database}")
    assert (await shop.ask("PUT", "/orders/1?item=book"))[0] == 202, "a repetition changes nothing"
    for order in ("1", "2"):
        assert (await shop.ask("POST", f"/orders/{order}/payment"))[0] == 202
        await shop.until(order, f"shipped as parcel-{order}")
    repeated = await shop.ask("PUT", "/orders/1?item=book")
    assert repeated[0] == 202, "also when the order has ended"
    await shop.until("1", "shipped as parcel-1")
    assert await shop.stop() in {0, -15}
    lines = shop.ledger.read_text().splitlines()
    assert lines.count("1 reserved book") == 1
    assert lines.count("1 shipped book") == lines.count("2 shipped pen") == 1
    assert audit(database).findings == []


async def test_a_variable_switches_to_a_server_and_open_orders_come_along(shop: Shop):
    with Processes(shop.folder, "none:needed") as processes:
        await shop.open(f"sqlite:{processes.database}")
        assert (await shop.ask("PUT", "/orders/1?item=book"))[0] == 202
        await shop.until("1", "waits for payment")
        await shop.stop()
        processes.start_server()
        await processes.wait_for_server()
        await shop.open(processes.address)
        assert (await shop.ask("POST", "/orders/1/payment"))[0] == 202
        await shop.until("1", "shipped as parcel-1")
        await shop.stop()
