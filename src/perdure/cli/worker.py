"""`perdure worker run module:attribute`: the worker that a module defines, until Ctrl-C or SIGTERM.

The attribute is an async function `(client) -> Worker`, or a mapping of `Worker`'s arguments without the client. The
working directory is on the import path, so `perdure worker run worker:worker` works in a project's folder.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from perdure.cli import logs, session
from perdure.cli.exits import CommandError, Exit, explain
from perdure.cli.options import ConnectionOptions, command, with_connection
from perdure.core.units import SECOND_NS

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.worker import Worker
    from perdure.worker.options import WorkflowExecution

logger = logging.getLogger("perdure.cli.worker")

RETRY_SECONDS = 1.0
HINT = (
    "expected an async function (client) -> Worker, or a dict of Worker's arguments such as "
    '{"task_queue": "greetings", "workflows": [...], "activities": [...]}'
)


@command("run")
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@with_connection
@click.option(
    "--task-queue",
    "-t",
    default=None,
    help="Task queue to use instead of the module's (dict form only).",
)
@click.option(
    "--workflow-execution",
    type=click.Choice(["threads", "event_loop"]),
    default="threads",
    show_default=True,
    help="Where workflow code runs, unless the worker says so itself. In threads, code that blocks costs one slot; on"
    " the event loop it takes less CPU time, but code that blocks stops the worker.",
)
@click.option(
    "--log-level", type=click.Choice(list(logs.LEVELS)), default="info", show_default=True
)
@click.option(
    "--log-format", type=click.Choice(list(logs.FORMATS)), default="text", show_default=True
)
def run(
    connection: ConnectionOptions,
    target: str,
    task_queue: str | None,
    workflow_execution: WorkflowExecution,
    log_level: str,
    log_format: str,
) -> None:
    """Run the worker that MODULE:ATTRIBUTE defines, until Ctrl-C or SIGTERM.

    \b
    perdure worker run worker:worker
    perdure worker run app.workers:make_worker --address 127.0.0.1:7233
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    logs.set_up(log_level, log_format)
    definition = load(target)
    work = partial(_work, connection, target, definition, task_queue)
    # For this command alone: programs may call it more than once.
    contextvars.copy_context().run(_run, workflow_execution, work, connection.address)


def _run(
    workflow_execution: WorkflowExecution,
    work: Callable[[], Coroutine[Any, Any, None]],
    address: str,
) -> None:
    from perdure.worker.options import default_workflow_execution

    default_workflow_execution.set(workflow_execution)
    session.run(work(), address=address)


def load(target: str) -> Any:
    """Import what `module:attribute` names, with the working directory on the path.

    Raises:
        CommandError: No such module or attribute. An error inside the module keeps its own traceback.
    """
    module_name, colon, attribute = target.partition(":")
    if not (module_name and colon and attribute) or module_name.startswith("."):
        raise CommandError(
            f"{target!r} is not MODULE:ATTRIBUTE, for instance worker:worker", Exit.USAGE
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only a missing module that was named is the user's mistake. A failed import inside it is the module's.
        if error.name is None or not (
            module_name == error.name or module_name.startswith(f"{error.name}.")
        ):
            raise
        advice = f"; write {module_name[:-3]}:{attribute}" if module_name.endswith(".py") else ""
        raise CommandError(
            f"there is no module {error.name!r} in {here} or among the installed ones{advice}"
        ) from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise CommandError(
            f"module {module_name!r} has no attribute {attribute!r}; {HINT}"
        ) from None


async def _work(
    connection: ConnectionOptions, target: str, definition: Any, task_queue: str | None
) -> None:
    stop = session.stop_on_signals()
    limit_ns = connection.command_timeout_ns
    async with asyncio.timeout(None if limit_ns is None else limit_ns / SECOND_NS) as limit:
        client = await _connect_patiently(connection, stop)
    if client is None:
        return
    if (ends_at := limit.when()) is not None:
        # The time limit of a command ends a worker as Ctrl-C does: without an error.
        asyncio.get_running_loop().call_at(ends_at, stop.set)
    try:
        worker = await make_worker(target, definition, client, task_queue)
        try:
            await _run_until(worker, stop)
        except RuntimeError as error:
            if explained := session.explain_cause(error, connection.address):
                raise explained from error
            raise
    finally:
        await client.close()


async def _connect_patiently(connection: ConnectionOptions, stop: asyncio.Event) -> Client | None:
    """Wait for the server, since a worker may start before it. None if a signal to stop comes first."""
    told = False
    while not stop.is_set():
        try:
            return await session.connect(connection)
        except Exception as error:
            explained = explain(error, connection.address)
            if explained is None or explained.exit_code is not Exit.UNREACHABLE:
                raise
            if not told:
                logger.warning("waiting for a server at %s", connection.address)
                told = True
            try:
                await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
            except TimeoutError:
                continue
    return None


async def make_worker(
    target: str, definition: Any, client: Client, task_queue: str | None = None
) -> Worker:
    """Make the worker that a definition describes.

    Raises:
        CommandError: It is neither a factory nor a mapping of arguments, or the factory gave no worker.
    """
    from perdure.worker import Worker

    if isinstance(definition, Mapping):
        arguments = {
            str(key): value for key, value in cast("Mapping[Any, Any]", definition).items()
        }
        if task_queue is not None:
            arguments["task_queue"] = task_queue
        try:
            return Worker(client, **arguments)
        except (TypeError, ValueError) as error:
            # No user code runs here: the arguments are wrong, and a traceback would hide that.
            message = str(error).removeprefix("Worker.__init__() ")
            raise CommandError(f"{target} does not make a worker: {message}") from error
    if isinstance(definition, Worker):
        raise CommandError(f"{target} is a Worker that is bound to a client already; {HINT}")
    if not callable(definition):
        raise CommandError(f"{target} is a {type(definition).__name__}; {HINT}")
    made: object = definition(client)
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, Worker):
        raise CommandError(f"{target} gave a {type(made).__name__}; {HINT}")
    return made


async def _run_until(worker: Worker, stop: asyncio.Event) -> None:
    """Run until the signal to stop. Then running work may finish within the worker's graceful shutdown time."""
    session.tune_collector()
    running = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    logger.info("worker started; Ctrl-C stops it")
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        logger.info("stopping: what runs may finish; Ctrl-C again stops at once")
        await worker.shutdown()
    stopping.cancel()
    await running
    logger.info("worker stopped")
