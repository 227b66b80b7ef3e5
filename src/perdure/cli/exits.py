"""Exit codes, and the conversion of exceptions to a line for people and a code for scripts.

Invariant: an exception that is not listed here is a bug in Perdure and keeps its traceback.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.client import RPCError


class Exit(IntEnum):
    """The exit codes of every command. They are stable, and docs/cli.md documents them."""

    OK = 0
    FAILED = 1
    """The operation was refused or went wrong; the message says why."""
    USAGE = 2
    """The command line itself is wrong."""
    UNREACHABLE = 3
    """No server answered at the address."""
    NOT_FOUND = 4
    """No such workflow, run or namespace."""
    WORKFLOW_NOT_COMPLETED = 5
    """The workflow closed, but failed, timed out or was cancelled or terminated."""
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends a command: `str()` is one line for people, `exit` the code for scripts."""

    def __init__(self, message: str, exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def unreachable(address: str) -> CommandError:
    return CommandError(
        f"no server answers at {address}; start one with `perdure server start-dev`, "
        "or say where it is with --address or PERDURE_ADDRESS",
        Exit.UNREACHABLE,
    )


def explain(error: BaseException, address: str) -> CommandError | None:
    """The message for an exception of the client; None for a bug, which needs its traceback."""
    from perdure import exceptions
    from perdure.client import RPCError

    match error:
        case CommandError():
            return error
        case exceptions.WorkflowAlreadyStartedError():
            return CommandError(
                f"workflow {error.workflow_id!r} is already running (run {error.run_id}); choose another "
                "--workflow-id, or say what to do with it: --id-conflict-policy UseExisting or TerminateExisting"
            )
        case RPCError():
            return _explain_rpc(error, address)
        case TimeoutError():
            return CommandError("timed out; --command-timeout allows more")
        case _:
            return None


def _explain_rpc(error: RPCError, address: str) -> CommandError:
    from perdure.client import RPCStatusCode

    message = " ".join(error.message.split())
    match error.status:
        case RPCStatusCode.UNAVAILABLE:
            return unreachable(address)
        case RPCStatusCode.NOT_FOUND if "already completed" in message:
            # The API has one status for "closed" and "does not exist"; users and scripts need to know which.
            return CommandError(f"{message}: it is closed and takes nothing more")
        case RPCStatusCode.NOT_FOUND:
            return CommandError(
                f"{message} (check --workflow-id, --run-id and --namespace; "
                "`perdure workflow list` shows what there is)",
                Exit.NOT_FOUND,
            )
        case RPCStatusCode.DEADLINE_EXCEEDED:
            return CommandError(f"the server at {address} did not answer in time: {message}")
        case RPCStatusCode.UNIMPLEMENTED:
            return CommandError(f"the server at {address} does not offer this: {message}")
        case _:
            return CommandError(f"{message} [{error.status.name}]")
