"""Rows of `server start-dev` and `server start-test`."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perdure import __version__
from perdure.wire.api import operatorservice, workflowservice
from tests.e2e.stack import free_port
from tests.unit.cli.engine import Ran, eventually, perdure
from tests.unit.cli.rows_common import SOON
from tests.unit.cli.serving import Serving, Visitor, info, serve, served
from tests.unit.cli.table import Bench, row

DEV = "server start-dev"
WITHOUT_EFFECT = {
    "--ui-ip": "127.0.0.1", "--ui-port": "8233", "--ui-public-path": "/ui", "--ui-asset-path": "/tmp",
    "--ui-codec-endpoint": "http://codec", "--http-port": "7243", "--metrics-port": "9090",
    "--sqlite-pragma": "cache_size=1", "--log-config": None,
}  # fmt: skip


@row(DEV, "--port", "--log-level", "--log-format", "--headless", "--ui-disable-news-fetch", "")
def _plain_server(bench: Bench) -> None:
    ran, answer = served("--headless", "--ui-disable-news-fetch", visit=info)
    assert answer.server_version
    first, address, *rest = ran.out.splitlines()
    assert first == f"perdure {__version__}, development server"
    assert address.startswith("  address    127.0.0.1:")
    assert rest == [
        "  database   in memory: everything is lost at the end; keep it with --db-filename perdure.db",
        "  stop       Ctrl-C",
    ]
    assert "no effect" not in ran.err
    assert "stopping: answering polls" in ran.err
    quiet, _ = served("--log-level", "never", "--ui-port", "8233", visit=info)
    assert quiet.err == ""
    lines, _ = served("--log-format", "json", visit=info)
    assert all(json.loads(line)["level"] for line in lines.err.splitlines())
    assert len(lines.err.splitlines()) > 0
    taken = perdure("server", "start-dev", "--port", bench.engine.address.split(":")[1])
    assert taken.code == 1
    assert taken.err.endswith("Stop what uses this port, or choose another one with --port.\n")
    for wrong in ("--port=70000", "--ui-port=-1", "--http-port=70000", "--metrics-port=70000"):
        assert perdure("server", "start-dev", wrong).code == 2


@row(DEV, "--ip")
def _ip(bench: Bench) -> None:
    def visit(visitor: Visitor) -> Any:
        elsewhere = visitor.address.replace("127.0.0.2", "127.0.0.1")
        assert perdure("workflow", "list", "--address", elsewhere, *SOON).code == 3
        return info(visitor)

    _, answer = served("--ip", "127.0.0.2", ip="127.0.0.2", visit=visit)
    assert answer.server_version


@row(DEV, "--db-filename")
def _file(bench: Bench) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        start = ("workflow", "start", "--type", "Open", "-t", "q", "-w", "kept")

        def begin(visitor: Visitor) -> Ran:
            return visitor.ask(*start)

        ran, started = served("--db-filename", str(path), visit=begin)
        assert started.code == 0
        assert f"database   {path}" in ran.out
        _, again = served("-f", str(path), visit=lambda visitor: visitor.ask("workflow", "list"))
        assert "kept" in again.out
        path.write_text("no database at all, but long enough")
        damaged = perdure("server", "start-dev", "--port", "0", "-f", str(path))
        assert damaged.code == 1
        assert "no SQLite database" in damaged.err


@row(DEV, "--namespace", "--search-attribute", "--dynamic-config-value")
def _settings(bench: Bench) -> None:
    def visit(visitor: Visitor) -> Any:
        listed = visitor.call(
            "workflow_service", "list_namespaces", workflowservice.ListNamespacesRequest()
        )
        attributes = visitor.call(
            "operator_service", "list_search_attributes",
            operatorservice.ListSearchAttributesRequest(namespace="default"),
        )  # fmt: skip
        words = ("workflow", "start", "--type", "T", "-t", "q", "-w")
        return (
            {one.namespace_info.name for one in listed.namespaces},
            set(attributes.custom_attributes),
            visitor.ask(*words, "x" * 61).code,
            visitor.ask(*words, "x" * 60).code,
        )

    words = [
        "--namespace",
        "orders",
        "-n",
        "bills",
        "--search-attribute",
        "Size=Int",
        "--search-attribute",
        "C=Text",
    ]
    config = ["--dynamic-config-value", "limit.maxIDLength=60", "--dynamic-config-value", 'a.b="c"']
    ran, (namespaces, attributes, too_long, short) = served(*words, *config, visit=visit)
    assert namespaces >= {"default", "orders", "bills"}
    assert attributes >= {"Size", "C"}
    assert (too_long, short) == (1, 0)
    assert "dynamic configuration a.b has no effect in this server" in ran.err
    for wrong in (
        ["--namespace", ""], ["--search-attribute", "Size"], ["--search-attribute", "Size=Number"],
        ["--dynamic-config-value", "a"], ["--dynamic-config-value", "a=b"], ["--sqlite-pragma", "x"],
    ):  # fmt: skip
        assert perdure("server", "start-dev", *wrong).code == 2, wrong
    unusable = perdure(
        "server", "start-dev", "--port", "0", "--dynamic-config-value", "limit.maxIDLength=0"
    )
    assert unusable.code == 1
    assert "must be a positive whole number" in unusable.err


@row(DEV, "--retention")
def _retention(bench: Bench) -> None:
    def visit(visitor: Visitor) -> list[int]:
        answers = [
            visitor.call(
                "workflow_service", "describe_namespace",
                workflowservice.DescribeNamespaceRequest(namespace=name),
            )
            for name in ("default", "orders")
        ]  # fmt: skip
        return [one.config.workflow_execution_retention_ttl.seconds for one in answers]

    forever_s = 36_500 * 86_400
    with TemporaryDirectory() as folder:
        for words, expected_s in (
            ([], forever_s), (["--retention", "30d"], 30 * 86_400), ([], 30 * 86_400),
            (["--retention", "forever"], forever_s), (["--retention", "90000d"], forever_s),
        ):  # fmt: skip
            where = ("-f", str(Path(folder, "x.db")), "-n", "orders")
            _, kept_s = served(*where, *words, visit=visit)
            assert kept_s == [expected_s, expected_s], words
    for wrong in ("0", "never", "-1d"):
        assert perdure("server", "start-dev", "--retention", wrong).code == 2


@row(DEV, *WITHOUT_EFFECT)
def _without_effect(bench: Bench) -> None:
    """Accepted, because scripts for the reference command have them; the log says that they do nothing."""
    words = [word for flag, value in WITHOUT_EFFECT.items() for word in (flag, value) if word]
    ran, _ = served(*words, visit=info)
    notes = [line for line in ran.err.splitlines() if "no effect in this version" in line]
    assert len(notes) == 5
    for flag, value in WITHOUT_EFFECT.items():
        assert sum(flag in note for note in notes) == 1, flag
        alone = perdure(
            "server", "start-dev", "--ip", "192.0.2.1", flag, *([value] if value else [])
        )
        assert alone.code == 1, "that address is nobody's"
        assert [line for line in alone.err.splitlines() if "no effect" in line and flag in line]


@row("server start-test", "port", "--ip", "--log-level", "--log-format", "")
def _test_server(bench: Bench) -> None:
    for words, ip in (((), "127.0.0.1"), (("--ip", "127.0.0.2"), "127.0.0.2")):
        port = free_port()

        def until(seen: Serving, visitor: Visitor) -> None:
            eventually(lambda: "time is locked" in seen.out.getvalue())
            assert info(visitor).server_version

        visitor = Visitor(f"{ip}:{port}")
        ran = serve(
            "server", "start-test", str(port), *words, until=lambda seen, at=visitor: until(seen, at)
        )  # fmt: skip
        assert ran.code == 0
        assert f"test server on {ip}:{port}; time is locked" in ran.out
        assert ran.err == "", "quiet unless something is wrong"
    loud = serve(
        *("server", "start-test", "0", "--log-level", "debug", "--log-format", "json"),
        until=lambda seen: eventually(lambda: "time is locked" in seen.out.getvalue()),
    )
    assert all(json.loads(line) for line in loud.err.splitlines())
    assert loud.err != ""
    taken = perdure("server", "start-test", bench.engine.address.split(":")[1])
    assert taken.code == 1
    assert "cannot listen on" in taken.err
    assert perdure("server", "start-test", "70000").code == 2
