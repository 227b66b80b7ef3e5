"""The options of a development server, as one frozen value.

Role: the contract between the command line (which parses flags) and `perdure.server.node.main` (which applies them):

    async def run_dev_server(
        options: DevServerOptions,
        *,
        stop: asyncio.Event,                              # set by the caller on Ctrl-C and SIGTERM
        on_ready: Callable[[DevServerReady], None],       # called once, when RPCs are answered
    ) -> None                                             # returns after a graceful stop

Invariants: values are checked at construction, with messages that name the flag. `ServerStartError` is the one error
for what the user can put right: a port in use, a database in use, damaged or of a newer version.
Not here: signals, logging and printing (`perdure.cli`), and the meaning of a dynamic configuration key.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from perdure.core.limits import DEFAULT_LIMITS
from perdure.history.commands.search_attributes import name_problem

SEARCH_ATTRIBUTE_TYPES = ("Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList")
PORT_MAX = 65_535


class ServerStartError(Exception):
    """The server cannot start, for a reason that the user can fix. `str()` is one line that says what to do."""


class DevServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `perdure server start-dev`, named like its flags.

    Example:
        >>> DevServerOptions(db_filename=Path("perdure.db"), port=7233).namespaces
        ('default',)
    """

    ip: str = "127.0.0.1"
    """Address to listen on. By default, only this machine can connect."""
    port: int = 7233
    """gRPC port; 0 takes a free one."""
    db_filename: Path | None = None
    """SQLite file; None keeps everything in memory."""
    namespaces: tuple[str, ...] = ("default",)
    """Namespaces to register at start; `default` is always among them."""
    headless: bool = False
    """Do not serve the web pages."""
    ui_ip: str | None = None
    ui_port: int | None = None
    """None means `port` + 1000."""
    ui_public_path: str | None = None
    ui_asset_path: Path | None = None
    ui_codec_endpoint: str | None = None
    http_port: int = 0
    metrics_port: int | None = None
    log_config: bool = False
    search_attributes: dict[str, str] = {}
    """Custom search attributes to register: name to one of `SEARCH_ATTRIBUTE_TYPES`."""
    retention_ns: int | None = None
    """For how long the namespaces keep closed runs. Default: what a database says; forever in a new one."""
    dynamic_config: dict[str, object] = {}
    """Dynamic configuration: key to JSON value. Unknown keys are accepted and logged."""
    sqlite_pragmas: dict[str, str] = {}

    def __post_init__(self) -> None:
        for flag, port in (
            ("--port", self.port),
            ("--ui-port", self.ui_port),
            ("--http-port", self.http_port),
            ("--metrics-port", self.metrics_port),
        ):
            if port is not None and not 0 <= port <= PORT_MAX:
                raise ValueError(f"{flag} is {port}; a port is between 0 and {PORT_MAX}")
        for name, kind in self.search_attributes.items():
            if kind not in SEARCH_ATTRIBUTE_TYPES:
                known = ", ".join(SEARCH_ATTRIBUTE_TYPES)
                raise ValueError(
                    f"--search-attribute {name}={kind}: the type must be one of {known}"
                )
            if problem := name_problem(name, DEFAULT_LIMITS.id_length_max):
                raise ValueError(f"--search-attribute: {problem}")
        if self.retention_ns is not None and self.retention_ns <= 0:
            raise ValueError("--retention must be longer than nothing; 'forever' keeps all runs")
        if not all(self.namespaces):
            raise ValueError("--namespace must not be empty")


class DevServerReady(msgspec.Struct, frozen=True, kw_only=True):
    """Where to reach a started server."""

    ip: str
    port: int
    database: Path | None
    """The SQLite file, or None when everything is in memory."""
    ui_url: str | None = None
