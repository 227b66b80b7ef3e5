"""Flags that several commands share, with the names, short forms and environment variables of the `temporal` command.

There is one decorator per set of flags. It passes one frozen value to the command (`connection`, `output`, `target`,
`arguments`), so that no command takes a dozen loose arguments.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast

import click
import msgspec

from perdure.core.limits import RETENTION_FOREVER_NS
from perdure.core.units import DAY_NS
from perdure.rendering import durations, payloads

if TYPE_CHECKING:
    from perdure.wire.api import common

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_ADDRESS = "127.0.0.1:7233"
DEFAULT_NAMESPACE = "default"
DEFAULT_CONNECT_NS = 5_000_000_000
DURATION_MAX_NS = 3_652_500 * DAY_NS
"""The largest protobuf duration: ten thousand years."""
OutputFormat = Literal["text", "json", "jsonl", "none"]


class TextCommand(click.Command):
    """A command whose texts can be sent: what a shell hands over that is not UTF-8 is refused.

    Names of files are of other types (`click.Path`, `click.UNPROCESSED`) and may be any bytes.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any("\0" in arg for arg in args):
            raise click.UsageError("An argument holds a NUL character", ctx)
        rest = super().parse_args(ctx, args)
        for param in self.params:
            if isinstance(param.type, click.types.StringParamType):
                value: object = ctx.params.get(param.name or "")
                texts = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
                if any(isinstance(text, str) and not _is_utf8(text) for text in texts):
                    raise click.BadParameter("it is not UTF-8 text", ctx, param)
        return rest


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


command = functools.partial(click.command, cls=TextCommand)
"""As `click.command`; every command of the tree is made with it."""


class Duration(click.ParamType[int]):
    """A duration on the command line; integer nanoseconds for the command."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            ns = durations.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if ns > DURATION_MAX_NS:
            self.fail(f"{value!r} is longer than the API knows (ten thousand years)", param, ctx)
        return ns


class Retention(Duration):
    """How long closed runs are kept: a duration, or `forever`."""

    name = "retention"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if value == "forever":
            return RETENTION_FOREVER_NS
        return min(super().convert(value, param, ctx), RETENTION_FOREVER_NS)


DURATION = Duration()
RETENTION = Retention()


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a server."""

    address: str
    namespace: str
    api_key: str | None = None
    tls: bool = False
    tls_cert_path: str | None = None
    tls_key_path: str | None = None
    tls_ca_path: str | None = None
    tls_server_name: str | None = None
    grpc_meta: tuple[str, ...] = ()
    connect_timeout_ns: int = DEFAULT_CONNECT_NS
    command_timeout_ns: int | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The workflow of a command. Without a run id it is the latest run."""

    workflow_id: str
    run_id: str | None = None


def _env(name: str) -> list[str]:
    # Perdure's variable first: a user who sets both means that one for this command.
    return [f"PERDURE_{name}", f"TEMPORAL_{name}"]


def _apply(function: Callable[..., Any], options: list[Callable[..., Any]]) -> Callable[..., Any]:
    for option in reversed(options):
        function = option(function)
    return function


def _tls_options() -> list[Callable[..., Any]]:
    return [
        click.option("--tls", is_flag=True, envvar=_env("TLS"), help="Encrypt the connection."),
        click.option(
            "--tls-cert-path",
            type=click.Path(),
            envvar=_env("TLS_CLIENT_CERT_PATH"),
            help="Client certificate (PEM).",
        ),
        click.option(
            "--tls-key-path",
            type=click.Path(),
            envvar=_env("TLS_CLIENT_KEY_PATH"),
            help="Client key (PEM).",
        ),
        click.option(
            "--tls-ca-path",
            type=click.Path(),
            envvar=_env("TLS_SERVER_CA_CERT_PATH"),
            help="Trusted CAs (PEM).",
        ),
        click.option(
            "--tls-server-name",
            envvar=_env("TLS_SERVER_NAME"),
            help="Name that the certificate must have.",
        ),
    ]


def with_connection(function: Callable[Concatenate[ConnectionOptions, P], T]) -> Callable[P, T]:
    """Adds the flags of a connection; the command gets a `ConnectionOptions` as its first argument."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        values: dict[str, Any] = {
            name: kwargs.pop(name) for name in ConnectionOptions.__struct_fields__
        }
        return function(ConnectionOptions(**values), *args, **kwargs)

    return _apply(
        wrapper,
        [
            click.option(
                "--address",
                default=DEFAULT_ADDRESS,
                envvar=_env("ADDRESS"),
                show_default=True,
                help="host:port of the server. [PERDURE_ADDRESS, TEMPORAL_ADDRESS]",
            ),
            click.option(
                "--namespace",
                "-n",
                default=DEFAULT_NAMESPACE,
                envvar=_env("NAMESPACE"),
                show_default=True,
                help="Namespace. [PERDURE_NAMESPACE, TEMPORAL_NAMESPACE]",
            ),
            click.option(
                "--api-key", envvar=_env("API_KEY"), help="API key sent with each request."
            ),
            *_tls_options(),
            click.option("--grpc-meta", multiple=True, help="KEY=VALUE header of each request."),
            click.option(
                "--client-connect-timeout",
                "connect_timeout_ns",
                type=DURATION,
                default=DEFAULT_CONNECT_NS,
                help="Time limit for connecting.  [default: 5s]",
            ),
            click.option(
                "--command-timeout",
                "command_timeout_ns",
                type=DURATION,
                default=None,
                help="Time limit for the command.",
            ),
        ],
    )


def with_output(function: Callable[P, T]) -> Callable[P, T]:
    """Adds `-o`; the command gets `output`."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(["text", "json", "jsonl", "none"]),
        default="text",
        show_default=True,
        help="Output format.",
    )(function)


def with_target(function: Callable[Concatenate[Target, P], T]) -> Callable[P, T]:
    """Adds `--workflow-id` and `--run-id`; the command gets a `Target` as its first argument."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        values: dict[str, Any] = {name: kwargs.pop(name) for name in ("workflow_id", "run_id")}
        return function(Target(**values), *args, **kwargs)

    return _apply(
        wrapper,
        [
            click.option("--workflow-id", "-w", required=True, help="Workflow id."),
            click.option("--run-id", "-r", default=None, help="Run id.  [default: the latest run]"),
        ],
    )


def with_input(function: Callable[Concatenate[list[common.Payload], P], T]) -> Callable[P, T]:
    """Adds `--input` and its kin; the command gets the payloads as its first argument."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        texts: Any = kwargs.pop("input_")
        files: Any = kwargs.pop("input_file")
        meta: Any = kwargs.pop("input_meta")
        is_base64: Any = kwargs.pop("input_base64")
        if texts and files:
            raise click.UsageError("--input and --input-file cannot be combined")
        values = [_indirect(text) for text in texts] + [
            _read("--input-file", name) for name in files
        ]
        try:
            arguments = payloads.inputs(values, meta, is_base64=bool(is_base64))
        except payloads.InputError as error:
            raise click.UsageError(str(error)) from None
        return function(arguments, *args, **kwargs)

    return _apply(
        wrapper,
        [
            click.option(
                "--input",
                "-i",
                "input_",
                type=click.UNPROCESSED,  # it may hold the name of a file
                multiple=True,
                help="One argument as JSON, or @FILE to read it. Repeatable.",
            ),
            click.option(
                "--input-file",
                type=click.UNPROCESSED,
                multiple=True,
                help="File with one argument as JSON. - is stdin.",
            ),
            click.option(
                "--input-meta", multiple=True, help="KEY=VALUE payload metadata, e.g. encoding."
            ),
            click.option("--input-base64", is_flag=True, help="The inputs are base64."),
        ],
    )


def _indirect(text: str) -> str:
    # No JSON text begins with @, so this takes nothing away.
    return _read("--input", text[1:]) if text.startswith("@") else text


def _read(flag: str, name: str) -> str:
    source = "stdin" if name == "-" else name
    try:
        if name != "-":
            return Path(name).read_text(encoding="utf-8")
        if sys.stdin is None:  # the shell has closed it
            raise click.UsageError(f"{flag}: cannot read stdin: it is closed")
        return sys.stdin.read()
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:  # a NUL in the name, or a stream that was closed
        reason = str(error)
    raise click.UsageError(f"{flag}: cannot read {source}: {reason}")
