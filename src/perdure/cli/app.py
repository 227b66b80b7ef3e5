"""The tree of commands, and the exit code of each.

Names and one-line descriptions are here. The commands are in modules that are imported when they run; `perdure --help`
loads none of them. `run` maps the end of a command to an exit code.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from typing import TextIO

import click

from perdure import __version__
from perdure.cli.exits import CommandError, Exit
from perdure.rendering.visible import visible

EPILOG = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 no server; 4 not found; "
    "5 the workflow did not complete; 130 interrupted. The server is found with --address, "
    "PERDURE_ADDRESS or TEMPORAL_ADDRESS."
)


_OUTPUT_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF))
"""What writing to stdout gives; files and the network have their own messages."""
MESSAGE_CHARACTERS_MAX = 1000
"""Of an error; a longer one echoes a long argument."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and place, and imports one only to run it or to show its own help."""

    def __init__(self, name: str, help_text: str, table: dict[str, tuple[str, str]]) -> None:
        """`table`: command name to (`module:attribute`, one line of description)."""
        super().__init__(name, help=help_text, epilog=EPILOG, no_args_is_help=True)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in self._table:
            return None
        module, _, attribute = self._table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._table.items()])


server = LazyGroup(
    "server",
    "Run a server.",
    {
        "start-dev": ("perdure.cli.server:start_dev", "Start a development server on this machine"),
        "start-test": (
            "perdure.cli.test_server:start_test",
            "Start a test server that can skip time",
        ),
    },
)

db = LazyGroup(
    "db",
    "Maintain database files.",
    {
        "backup": ("perdure.cli.db:backup", "Copy a database, even while it is in use"),
        "check": ("perdure.cli.db:check", "Check a database for consistency"),
        "prune": ("perdure.cli.prune:prune", "Delete closed runs by age and query"),
    },
)

operator_namespace = LazyGroup(
    "namespace",
    "Look after the namespaces of a server.",
    {
        "create": ("perdure.cli.namespaces:create", "Register a namespace"),
        "update": ("perdure.cli.namespaces:update", "Change settings of a namespace"),
        "describe": ("perdure.cli.namespaces:describe", "Show the settings of a namespace"),
        "list": ("perdure.cli.namespaces:list_", "List namespaces"),
    },
)

operator = LazyGroup(
    "operator",
    "Operate a server.",
    {
        "namespace": (
            "perdure.cli.app:operator_namespace",
            "Create, change and show namespaces",
        ),
    },
)

worker = LazyGroup(
    "worker",
    "Run workers.",
    {"run": ("perdure.cli.worker:run", "Run the worker that a module defines")},
)

workflow = LazyGroup(
    "workflow",
    "Start, observe and control workflows.",
    {
        "start": ("perdure.cli.workflow_start:start", "Start a workflow"),
        "execute": (
            "perdure.cli.workflow_start:execute",
            "Start a workflow and wait for its result",
        ),
        "result": ("perdure.cli.workflow_start:result", "Wait for a workflow's result"),
        "list": ("perdure.cli.workflow_read:list_", "List workflows"),
        "count": ("perdure.cli.workflow_read:count", "Count workflows"),
        "show": ("perdure.cli.workflow_read:show", "Show a workflow's history as a timeline"),
        "describe": (
            "perdure.cli.workflow_read:describe",
            "Show the state of a workflow and what it is waiting for",
        ),
        "query": ("perdure.cli.workflow_change:query", "Query a workflow"),
        "signal": ("perdure.cli.workflow_change:signal", "Send a signal"),
        "cancel": ("perdure.cli.workflow_change:cancel", "Request cancellation of a workflow"),
        "terminate": ("perdure.cli.workflow_change:terminate", "Close a workflow at once"),
    },
)


@click.group(
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-v", "--version", message="perdure %(version)s")
def cli() -> None:
    """Durable execution for Python: server, workers and workflows."""


for _group in (server, db, operator, worker, workflow):
    cli.add_command(_group)


def run(arguments: list[str] | None = None) -> None:
    """Run one command and end the process.

    Args:
        arguments: The arguments after `perdure`. None: those of the process.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = run_for_exit_code(arguments)
    sys.exit(code if _flushed() else int(Exit.FAILED))


def _open_streams() -> None:
    """Give stdin, stdout and stderr back to a process whose shell has closed them (`>&-`).

    Their numbers would go to files and sockets, and the event loop ends the process when it has to close one.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def _flushed() -> bool:
    """Write what is still buffered; the interpreter would report an error of that as it ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue  # closed by the shell
        try:
            stream.flush()
        except BrokenPipeError:
            _discard(stream)
        except (OSError, ValueError):
            _discard(stream)
            return False
    return True


def _discard(stream: TextIO) -> None:
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), stream.fileno())


def run_for_exit_code(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The arguments after `perdure`. None: those of the process.

    Returns:
        The exit code.
    """
    stdout = sys.stdout
    try:
        # Commands return nothing. click returns the exit code of --help, --version or ctx.exit().
        code = cli.main(arguments, prog_name="perdure", standalone_mode=False)
    except CommandError as error:
        _say(f"perdure: {visible(_shortened(str(error)))}")
        return int(error.exit_code)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        _say(_shortened(shown.getvalue().rstrip()))
        return int(Exit.USAGE)
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader of the output has closed the pipe (`perdure workflow list | head`), which is not an error.
        return int(Exit.OK)
    except SystemExit:
        if sys.stdout is not stdout:
            # click has noticed first that the pipe is closed, and replaced the stream.
            return int(Exit.OK)
        raise
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS or error.filename is not None:
            raise
        _say(f"perdure: cannot write the output: {error.strerror}")
        return int(Exit.FAILED)
    return code if isinstance(code, int) else int(Exit.OK)


def _shortened(text: str) -> str:
    if len(text) <= MESSAGE_CHARACTERS_MAX:
        return text
    half = MESSAGE_CHARACTERS_MAX // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def _say(text: str) -> None:
    from perdure.cli.output import echo  # here, so that help loads no API messages

    echo(text, err=True)
