"""Dynamic configuration of the development server, and how quickly it answers to what is wrong with it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import grpc.aio
import pytest

from perdure.core.limits import DEFAULT_LIMITS
from perdure.server.common.options import DevServerOptions, DevServerReady, ServerStartError
from perdure.server.node.main import limits_of, run_dev_server
from perdure.server.transport.grpc import why_not


def test_known_keys_change_limits_and_unknown_ones_are_noted(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    limits = limits_of(
        {"limit.historyCount.suggestContinueAsNew": 50, "system.enableEagerWorkflowStart": True}
    )
    assert limits.history_count_suggest_continue == 50
    assert limits.blob_size_bytes_max == DEFAULT_LIMITS.blob_size_bytes_max
    assert "system.enableEagerWorkflowStart" in caplog.text


@pytest.mark.parametrize("value", [0, -1, True, "50", 1.5])
def test_a_limit_must_be_a_positive_whole_number(value: object):
    with pytest.raises(ServerStartError, match=r"limit\.maxIDLength"):
        limits_of({"limit.maxIDLength": value})


@pytest.mark.parametrize("value", [True, False])
def test_commands_across_namespaces_are_a_switch(value: bool):
    assert not DEFAULT_LIMITS.allows_cross_namespace_commands
    limits = limits_of({"system.enableCrossNamespaceCommands": value})
    assert limits.allows_cross_namespace_commands is value


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_switch_must_be_true_or_false(value: object):
    with pytest.raises(ServerStartError, match=r"CrossNamespaceCommands.*true or false"):
        limits_of({"system.enableCrossNamespaceCommands": value})


async def run(options: DevServerOptions) -> list[DevServerReady]:
    """Start, and stop as soon as it is ready."""
    stop = asyncio.Event()
    ready: list[DevServerReady] = []

    def on_ready(value: DevServerReady) -> None:
        ready.append(value)
        stop.set()

    await run_dev_server(options, stop=stop, on_ready=on_ready)
    return ready


async def test_it_starts_on_a_free_port_and_stops_gracefully(tmp_path: Path):
    database = tmp_path / "perdure.db"
    options = DevServerOptions(
        port=0,
        db_filename=database,
        namespaces=("default", "other"),
        search_attributes={"Color": "Keyword", "Tags": "KeywordList"},
    )
    (first,) = await run(options)
    assert first.port
    assert first.database == database
    (second,) = await run(options)  # the lock was released, the namespaces are there already
    assert second.ip == "127.0.0.1"


async def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path):
    wrong = tmp_path / "notes.txt"
    wrong.write_text("this is no database, it is a text about one\n")
    with pytest.raises(ServerStartError) as caught:
        await run(DevServerOptions(port=0, db_filename=wrong))
    assert "notes.txt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert wrong.read_text().startswith("this is no database")


async def test_a_database_in_use_names_who_uses_it(tmp_path: Path):
    options = DevServerOptions(port=0, db_filename=tmp_path / "perdure.db")
    stop, is_ready = asyncio.Event(), asyncio.Event()
    first = asyncio.ensure_future(
        run_dev_server(options, stop=stop, on_ready=lambda _: is_ready.set())
    )
    await is_ready.wait()
    with pytest.raises(ServerStartError, match="in use by process"):
        await run(options)
    stop.set()
    await first


async def test_it_answers_until_it_is_told_to_stop():
    stop = asyncio.Event()
    ready: asyncio.Future[DevServerReady] = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(
        run_dev_server(DevServerOptions(port=0), stop=stop, on_ready=ready.set_result)
    )
    port = (await ready).port
    path = "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(3):
            assert await channel.unary_unary(path)(b"", timeout=10)
    assert not serving.done()
    stop.set()
    await serving
    assert why_not("127.0.0.1", port) == ""


@pytest.mark.parametrize(
    "kind", ["Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList"]
)
def test_each_type_of_a_search_attribute_can_be_named(kind: str):
    assert DevServerOptions(search_attributes={"A": kind}).search_attributes == {"A": kind}


@pytest.mark.parametrize("name", ["WorkflowId", "BuildIds", "TemporalX", "", "a\nb", "x" * 1001])
def test_search_attributes_that_cannot_be_registered(name: str):
    with pytest.raises(ValueError, match="--search-attribute: Search attribute"):
        DevServerOptions(search_attributes={name: "Int"})
