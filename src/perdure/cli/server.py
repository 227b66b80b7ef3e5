"""`perdure server start-dev`: the flags of `temporal server start-dev`, and a server until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import cast

import click

from perdure import __version__
from perdure.cli import logs, session
from perdure.cli.exits import CommandError
from perdure.cli.options import RETENTION, command
from perdure.cli.output import echo
from perdure.server.common.options import DevServerOptions, DevServerReady, ServerStartError

logger = logging.getLogger("perdure.cli.server")


@command("start-dev")
@click.option("--ip", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", "-p", type=int, default=7233, show_default=True, help="gRPC port. 0: a free one."
)
@click.option(
    "--db-filename",
    "-f",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file. Without it everything is in memory and is lost when the server stops.",
)
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="Namespace to create; repeatable."
)
@click.option("--headless", is_flag=True, help="No web pages.")
@click.option("--ui-ip", help="Address of the web pages.  [default: that of --ip]")
@click.option("--ui-port", type=int, help="Port of the web pages.  [default: --port + 1000]")
@click.option("--ui-public-path", help="Path under which the web pages are served.")
@click.option(
    "--ui-asset-path", type=click.Path(path_type=Path), help="Folder with other web pages."
)
@click.option("--ui-codec-endpoint", help="Codec server of the web pages.")
@click.option(
    "--ui-disable-news-fetch", is_flag=True, help="Accepted. The web pages fetch no news."
)
@click.option("--http-port", type=int, default=0, help="Port of the HTTP API.")
@click.option("--metrics-port", type=int, help="Port of the metrics.")
@click.option(
    "--search-attribute",
    multiple=True,
    help="KEY=TYPE to register: Text, Keyword, Int, Double, Bool, Datetime or KeywordList; repeatable.",
)
@click.option(
    "--retention",
    "retention_ns",
    type=RETENTION,
    help="How long the namespaces keep closed runs: 30d, or forever. Stored in the database.  "
    "[default: as stored; forever in a new one]",
)
@click.option(
    "--dynamic-config-value", multiple=True, help="KEY=JSON setting. Unknown keys are logged."
)
@click.option(
    "--sqlite-pragma", multiple=True, help="KEY=VALUE pragma for the database; repeatable."
)
@click.option("--log-config", is_flag=True, help="Log the configuration at start.")
@click.option(
    "--log-level", type=click.Choice(list(logs.LEVELS)), default="info", show_default=True
)
@click.option(
    "--log-format", type=click.Choice(list(logs.FORMATS)), default="text", show_default=True
)
def start_dev(**flags: object) -> None:
    """Start a development server on this machine.

    \b
    perdure server start-dev                            everything in memory
    perdure server start-dev --db-filename perdure.db   keeps its state in a file
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    logs.set_up(str(flags.pop("log_level")), str(flags.pop("log_format")))
    options = options_of(flags)
    for note in without_effect(options):
        logger.warning("%s", note)
    session.run(_serve(options))


def options_of(flags: dict[str, object]) -> DevServerOptions:
    """The options that parsed flags stand for.

    Raises:
        click.UsageError: A `KEY=VALUE` without `=`, a value that is not JSON, an unknown type, a port out of range.
    """
    values = dict(flags)
    # The web pages fetch nothing from elsewhere in any case.
    values.pop("ui_disable_news_fetch", None)
    values["namespaces"] = _namespaces(values.pop("namespaces"))
    values["search_attributes"] = _pairs("--search-attribute", values.pop("search_attribute"))
    values["sqlite_pragmas"] = _pairs("--sqlite-pragma", values.pop("sqlite_pragma"))
    dynamic = _pairs("--dynamic-config-value", values.pop("dynamic_config_value"))
    values["dynamic_config"] = {key: _json(key, text) for key, text in dynamic.items()}
    try:
        return DevServerOptions(**values)  # pyright: ignore[reportArgumentType] - click made the types
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def without_effect(options: DevServerOptions) -> list[str]:
    """Notes about flags that are accepted for compatibility but have no effect in this version."""
    unsupported = {
        "--ui-ip, --ui-port, --ui-public-path, --ui-asset-path, --ui-codec-endpoint: there are no web pages": (
            options.ui_ip
            or options.ui_port
            or options.ui_public_path
            or options.ui_asset_path
            or options.ui_codec_endpoint
        ),
        "--http-port: there is no HTTP API": options.http_port,
        "--metrics-port: there is no metrics endpoint": options.metrics_port,
        "--sqlite-pragma: the store sets its own": options.sqlite_pragmas,
        "--log-config: there is no configuration to log": options.log_config,
    }
    return [f"no effect in this version: {what}" for what, value in unsupported.items() if value]


def _namespaces(values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(["default", *_texts(values)]))


def _texts(values: object) -> list[str]:
    """A repeatable flag's values; click hands them over as a tuple."""
    return [str(text) for text in cast("tuple[object, ...]", values)]


def _pairs(flag: str, values: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in _texts(values):
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.UsageError(f"{flag} {pair!r} is not KEY=VALUE")
        found[key] = value
    return found


def _json(key: str, text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise click.UsageError(
            f"--dynamic-config-value {key}: the value is nested too deeply"
        ) from None
    except ValueError:
        raise click.UsageError(
            f"--dynamic-config-value {key}: {text!r} is not JSON; a text needs its own quotes: {key}='\"text\"'"
        ) from None


async def _serve(options: DevServerOptions) -> None:
    from perdure.server.node.main import run_dev_server

    stop = session.stop_on_signals()
    try:
        await run_dev_server(options, stop=stop, on_ready=_announce)
    except ServerStartError as error:
        raise CommandError(str(error)) from None
    except asyncio.CancelledError:
        # The runner cancels the main task when its signal handler could not be replaced.
        return


def _announce(ready: DevServerReady) -> None:
    keeps = (
        f"database   {ready.database}"
        if ready.database
        else "database   in memory: everything is lost at the end; keep it with --db-filename perdure.db"
    )
    lines = [
        f"perdure {__version__}, development server",
        f"  address    {ready.ip}:{ready.port}",
        f"  {keeps}",
    ]
    if ready.ui_url:
        lines.append(f"  web pages  {ready.ui_url}")
    lines.append("  stop       Ctrl-C")
    echo("\n".join(lines))
    session.tune_collector()
