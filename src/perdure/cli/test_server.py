"""`perdure server start-test PORT`: a server in memory whose time can be skipped, until Ctrl-C or SIGTERM.

The positional port is the form in which the official SDKs start their test server.
"""

from __future__ import annotations

import click

from perdure import __version__
from perdure.cli import logs, session
from perdure.cli.exits import CommandError
from perdure.cli.options import command
from perdure.cli.output import echo
from perdure.server.common.options import PORT_MAX, ServerStartError


@command("start-test")
@click.argument("port", type=click.IntRange(0, PORT_MAX), default=7233)
@click.option("--ip", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--log-level", type=click.Choice(list(logs.LEVELS)), default="warn", show_default=True
)
@click.option(
    "--log-format", type=click.Choice(list(logs.FORMATS)), default="text", show_default=True
)
def start_test(port: int, ip: str, log_level: str, log_format: str) -> None:
    """Start a test server: it keeps everything in memory and skips time while a test waits.

    The time-skipping environments of the official SDKs run on it: give its path as `test_server_existing_path`, or
    connect to it. PORT 0 uses a free port.
    """
    logs.set_up(log_level, log_format)
    session.run(_serve(ip, port))


async def _serve(ip: str, port: int) -> None:
    from perdure.server.time_skipping.node import run_test_server

    stop = session.stop_on_signals()

    def announce(bound: int) -> None:
        echo(f"perdure {__version__}, test server on {ip}:{bound}; time is locked")

    try:
        await run_test_server(ip, port, stop=stop, on_ready=announce)
    except ServerStartError as error:
        raise CommandError(str(error)) from None
