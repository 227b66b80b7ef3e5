"""Runs the coroutine of a command: event loop, connection, signals, conversion of errors.

Invariants: the first Ctrl-C or SIGTERM requests a graceful end, the second ends the process at once; connecting has a
time limit, so that a wrong address is reported instead of hanging.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.cli import COLLECT_AFTER_OBJECTS
from perdure.cli.exits import CommandError, Exit, explain, unreachable
from perdure.core.units import SECOND_NS

if TYPE_CHECKING:
    from perdure.cli.options import ConnectionOptions
    from perdure.client import Client
    from perdure.converter import DataConverter

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], *, address: str = "") -> T:
    """Run a command to its end.

    Raises:
        CommandError: For every error that people can do something about; bugs keep their own type.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(coroutine)
    except Exception as error:
        if explained := explain(error, address):
            raise explained from error
        raise


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The fast loop, uvloop, where it is installed; None for the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_with_client(
    options: ConnectionOptions, command: Callable[[Client], Coroutine[Any, Any, T]]
) -> T:
    """Connect, run a command, disconnect; within `--command-timeout` if there is one."""

    async def body() -> T:
        limit = options.command_timeout_ns
        async with asyncio.timeout(None if limit is None else limit / SECOND_NS):
            async with connected(options) as client:
                return await command(client)

    return run(body(), address=options.address)


@contextlib.asynccontextmanager
async def connected(options: ConnectionOptions) -> AsyncGenerator[Client]:
    """A client for the length of a block. It leaves values as they are."""
    client = await connect(options, _undecoded())
    try:
        yield client
    finally:
        await client.close()


async def connect(
    options: ConnectionOptions, data_converter: DataConverter | None = None
) -> Client:
    """Open a connection and check that the server answers.

    Args:
        options: What the command line says about the connection.
        data_converter: By default, the client's: user code gets its values converted.

    Raises:
        CommandError: The server does not answer within `--client-connect-timeout`, or the options are wrong.
    """
    from perdure.client import Client
    from perdure.converter import DataConverter

    try:
        async with asyncio.timeout(options.connect_timeout_ns / SECOND_NS):
            return await Client.connect(
                options.address,
                namespace=options.namespace,
                api_key=options.api_key,
                tls=_tls(options),
                rpc_metadata=_metadata(options),
                data_converter=data_converter or DataConverter.default,
            )
    except TimeoutError:
        raise unreachable(options.address) from None
    except (TypeError, ValueError) as error:
        # No user code runs here: an address, a header or a certificate is wrong.
        raise CommandError(str(error), Exit.USAGE) from error
    except RuntimeError as error:
        if explained := explain_cause(error, options.address):
            raise explained from error
        raise


def _undecoded() -> DataConverter:
    """A converter that leaves values as payloads: a command shows those of any encoding, encrypted ones too."""
    from perdure.common import RawValue
    from perdure.converter import DataConverter, DefaultPayloadConverter

    class RawValues(DefaultPayloadConverter):
        def from_payloads(
            self, payloads: Sequence[Any], type_hints: list[type] | None = None
        ) -> list[Any]:
            return [RawValue(payload) for payload in payloads]

    return DataConverter(payload_converter_class=RawValues)


def explain_cause(error: RuntimeError, address: str) -> CommandError | None:
    """The error inside the RuntimeError that a failed connect or a worker's check raises, as in the official API."""
    return explain(error.__cause__, address) if error.__cause__ is not None else None


def _metadata(options: ConnectionOptions) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {}
    for pair in options.grpc_meta:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise CommandError(f"--grpc-meta {pair!r} is not KEY=VALUE", Exit.USAGE)
        name = key.lower()
        found[name] = value.encode() if name.endswith("-bin") else value
    return found


def _tls(options: ConnectionOptions) -> Any:
    paths = (options.tls_cert_path, options.tls_key_path, options.tls_ca_path)
    if not (any(paths) or options.tls_server_name):
        # None lets the client decide: encrypted when there is an API key.
        return True if options.tls else None
    if (options.tls_cert_path is None) != (options.tls_key_path is None):
        raise CommandError(
            "--tls-cert-path and --tls-key-path go together: give both or neither", Exit.USAGE
        )
    from perdure.service import TLSConfig

    certificate, key, authority = (_read(path) for path in paths)
    return TLSConfig(
        server_root_ca_cert=authority,
        domain=options.tls_server_name,
        client_cert=certificate,
        client_private_key=key,
    )


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise CommandError(f"cannot read {path}: {reason}", Exit.USAGE) from None


def tune_collector() -> None:
    """Tune the garbage collector for a server process: loaded code stays, and most other objects are short-lived.

    With the defaults, repeated full collections take a tenth of a busy server's CPU time. Programs that embed Perdure
    keep their own settings. No full collection runs first: it would delay the first answer by ten milliseconds, and
    loading leaves almost nothing to collect.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 20)


def stop_on_signals() -> asyncio.Event:
    """An event that the first Ctrl-C or SIGTERM sets. The second one ends the process at once.

    Must be called on the running loop. Ending at once loses nothing that was acknowledged.
    """
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()

    loop = asyncio.get_running_loop()

    def on_plain_signal(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(on_signal)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, on_signal)
        except NotImplementedError:  # Windows
            signal.signal(number, on_plain_signal)
    return stop
