"""Rows of `worker run`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from perdure.client import RPCError
from tests.e2e.stack import free_port
from tests.unit.cli import served
from tests.unit.cli.engine import Ran, eventually, perdure
from tests.unit.cli.rows_common import SOON, TLS, flat
from tests.unit.cli.serving import serve
from tests.unit.cli.table import Bench, row

WORKER = "tests.unit.cli.served:worker"
PLAIN = "worker run"


def polls(bench: Bench) -> list[Any]:
    return [one for one in bench.engine.requests() if one.method.startswith("Poll")]


def work(bench: Bench, *words: str, address: str = "", target: str = WORKER) -> Ran:
    """Run a worker until it polls."""
    bench.engine.recorder.requests.clear()
    where = address or bench.engine.address
    return serve(
        *("worker", "run", target, "--address", where, *words),
        until=lambda _: eventually(lambda: len({one.method for one in polls(bench)}) == 2),
    )


@row(PLAIN, "target", "--task-queue", "--workflow-execution", "--address", "--namespace", "")
def _worker(bench: Bench) -> None:
    for target in (WORKER, "tests.unit.cli.served:make_worker"):
        assert work(bench, target=target).code == 0
        queues = {
            one.message.task_queue.normal_name or one.message.task_queue.name
            for one in polls(bench)
        }
        assert queues == {"served"}
        assert {one.message.namespace for one in polls(bench)} == {"default"}
    (client,) = served.clients
    served.clients.clear()
    with pytest.raises(RPCError, match="is closed: connect again"):
        asyncio.run(client.count_workflows())
    assert work(bench, "--task-queue", "elsewhere", "-n", "other").code == 0
    queues = {
        one.message.task_queue.normal_name or one.message.task_queue.name for one in polls(bench)
    }
    assert queues == {"elsewhere"}
    assert {one.message.namespace for one in polls(bench)} == {"other"}
    for words, mode in ((), "threads"), (("--workflow-execution", "event_loop"), "event_loop"):
        served.clients.clear()
        served.executions.clear()
        assert work(bench, *words, target="tests.unit.cli.served:make_worker").code == 0
        assert served.executions == [mode]
    served.clients.clear()
    nowhere = f"127.0.0.1:{free_port()}"
    words = ("worker", "run", WORKER, "--address", nowhere, *SOON)
    waiting = serve(
        *words, until=lambda seen: eventually(lambda: "waiting for" in seen.err.getvalue())
    )
    assert waiting.code == 0
    assert waiting.err.count(f"waiting for a server at {nowhere}") == 1
    unknown = bench.run("worker", "run", WORKER, "-n", "nowhere")
    assert unknown.code == 4
    assert "nowhere" in unknown.err
    for wrong in (
        "no.such.module:x",
        "tests.unit.cli.served:nothing",
        "tests.unit.cli.served:number",
    ):
        ran = bench.run("worker", "run", wrong)
        assert (ran.code, len(ran.err.splitlines())) == (1, 1), ran


@row(PLAIN, "--log-level", "--log-format")
def _logs_of_a_worker(bench: Bench) -> None:
    text = work(bench)
    started, stopping, stopped = (
        "worker started; Ctrl-C stops it",
        "stopping: what runs may finish; Ctrl-C again stops at once",
        "worker stopped",
    )
    assert [line.split("  ")[-1] for line in text.err.splitlines()][:1] == [started]
    for words in (stopping, stopped):
        assert words in text.err
    lines = [json.loads(line) for line in work(bench, "--log-format", "json").err.splitlines()]
    assert {"level": "info", "logger": "perdure.cli.worker", "message": started}.items() <= lines[
        0
    ].items()
    for quiet in ("error", "never"):
        assert work(bench, "--log-level", quiet).err == ""
    assert "debug" in {
        json.loads(line)["level"]
        for line in work(bench, "--log-level", "debug", "--log-format", "json").err.splitlines()
    }


@row(PLAIN, "--client-connect-timeout", "--command-timeout")
def _limits_of_a_worker(bench: Bench) -> None:
    # Every attempt fails, however long it tries.
    words = (
        "worker",
        "run",
        WORKER,
        "--address",
        bench.engine.address,
        "--client-connect-timeout",
        "1ns",
    )
    waiting = serve(
        *words, until=lambda seen: eventually(lambda: "waiting for" in seen.err.getvalue())
    )
    assert waiting.code == 0
    bench.engine.recorder.requests.clear()
    # It tries again after a second, and says only once that it waits.
    late = perdure(*words, "--command-timeout", "1500ms")
    assert (late.code, late.err.splitlines()[-1]) == (
        1,
        "perdure: timed out; --command-timeout allows more",
    )
    assert late.err.count("waiting for a server at") == 1
    assert polls(bench) == []
    # One that runs stops as after Ctrl-C.
    ran = bench.run("worker", "run", WORKER, "--command-timeout", "2s")
    assert ran.code == 0, ran
    assert "worker stopped" in ran.err


@row(
    PLAIN, "--grpc-meta", "--api-key", "--tls", "--tls-cert-path", "--tls-key-path", "--tls-ca-path",
    "--tls-server-name",
)  # fmt: skip
def _connection_of_a_worker(bench: Bench) -> None:
    assert work(bench, "--grpc-meta", "color=red").code == 0
    assert {one.headers["color"] for one in polls(bench)} == {"red"}
    encrypted = work(bench, *flat(TLS), "--api-key", "k", address=bench.engine.tls_address)
    assert encrypted.code == 0
    assert {one.headers["authorization"] for one in polls(bench)} == {"Bearer k"}
    for flag in TLS:
        words = flat({name: value for name, value in TLS.items() if name != flag})
        half = perdure(
            *("worker", "run", WORKER, "--address", bench.engine.tls_address, *words, *SOON),
            *("--command-timeout", "300ms"),
        )
        assert half.code == (2 if flag in {"--tls-cert-path", "--tls-key-path"} else 1), flag
    plain = bench.run("worker", "run", WORKER, "--tls", *SOON, "--command-timeout", "300ms")
    assert plain.code == 1
