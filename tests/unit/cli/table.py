"""The table of every command and flag: what each one does to an engine, or to the output.

A row is a function that runs commands and looks at the effect. `tests/unit/cli/rows_*.py` hold the rows;
`test_every_flag.py` runs them, and fails when a command or flag of the tree has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import click

from perdure.cli import app
from tests.unit.cli.engine import PATIENCE_S, QUEUE, Engine, Ran, perdure

Check = Callable[["Bench"], None]
_numbers = count(1)


class Bench:
    """The shared engine, and commands against it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, *words: str, stdin: str = "") -> Ran:
        """A command that needs to be told where the server is; one that hangs ends some time."""
        limit = ("--command-timeout", f"{PATIENCE_S}s")
        where = ("--address", self.engine.address)
        name = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
        return perdure(*words[:name], *limit, *words[name:], *where, stdin=stdin)

    def done(self, *words: str, stdin: str = "") -> Ran:
        """As `run`, of a command that must succeed."""
        ran = self.run(*words, stdin=stdin)
        assert ran.code == 0, ran
        return ran

    def sent(self, method: str, *words: str, stdin: str = "") -> Any:
        """The request that a command, which must succeed, has sent."""
        self.engine.recorder.requests.clear()
        self.done(*words, stdin=stdin)
        return self.engine.last(method)

    def opened(self, *given: str, kind: str = "Open") -> tuple[str, str]:
        """A new workflow: its id and run id."""
        return self.opened_as(new_id(), *given, kind=kind)

    def opened_as(self, workflow_id: str, *given: str, kind: str = "Open") -> tuple[str, str]:
        inputs = [word for text in given for word in ("--input", text)]
        started = self.done(
            *("workflow", "start", "-w", workflow_id, "--type", kind, "-t", QUEUE, *inputs, "-o", "json")
        )  # fmt: skip
        return workflow_id, started.json["runId"]

    def closed(self, *given: str, kind: str = "Echo") -> tuple[str, str]:
        """A new workflow that has completed."""
        workflow_id, run_id = self.opened(*given, kind=kind)
        self.done("workflow", "result", "-w", workflow_id)
        return workflow_id, run_id

    def two_runs(self) -> tuple[str, str, str]:
        """A workflow id, its first run (completed, was given 1), and its second one (open, was given 2)."""
        workflow_id, first = self.opened("1")
        self.done("workflow", "signal", "-w", workflow_id, "--name", "finish")
        self.done("workflow", "result", "-w", workflow_id)
        _, second = self.opened_as(workflow_id, "2")
        assert first != second
        return workflow_id, first, second

    def status(self, workflow_id: str, run_id: str = "") -> str:
        words = ["workflow", "describe", "-w", workflow_id, *(["-r", run_id] if run_id else [])]
        info = self.done(*words, "-o", "json").json["workflowExecutionInfo"]
        return info["status"].removeprefix("WORKFLOW_EXECUTION_STATUS_")


def new_id() -> str:
    return f"w{next(_numbers)}"


class Row(NamedTuple):
    command: str
    flag: str
    check: Check


ROWS: list[Row] = []


def row(commands: str | tuple[str, ...], *flags: str) -> Callable[[Check], Check]:
    """This function shows what the flags of the commands do; without flags, what the command alone does."""

    def add(check: Check) -> Check:
        names = (commands,) if isinstance(commands, str) else commands
        ROWS.extend(Row(name, flag, check) for name in names for flag in flags or ("",))
        return check

    return add


def rows(commands: tuple[str, ...], *flags: str) -> Callable[[Callable[[str], Check]], None]:
    """As `row`, of a function that makes the check for each command."""

    def add(make: Callable[[str], Check]) -> None:
        for name in commands:
            row(name, *flags)(make(name))

    return add


def tree() -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, with its words."""

    def walk(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from walk(command, f"{words}{name} ")
            else:
                yield f"{words}{name}", command

    assert isinstance(app.cli, click.Group)
    yield from walk(app.cli, "")
