"""Every command and every flag does what it says, against an engine; none is without a row in the table."""

from __future__ import annotations

import pytest

from tests.unit.cli import (
    rows_change,
    rows_common,
    rows_db,
    rows_namespaces,
    rows_read,
    rows_server,
    rows_start,
    rows_worker,
)
from tests.unit.cli.table import ROWS, Bench, Row, tree

MODULES = (
    rows_change,
    rows_common,
    rows_db,
    rows_namespaces,
    rows_read,
    rows_server,
    rows_start,
    rows_worker,
)
SHORT = {
    "--workflow-id": "-w", "--run-id": "-r", "--task-queue": "-t", "--input": "-i", "--output": "-o",
    "--namespace": "-n", "--query": "-q", "--follow": "-f", "--port": "-p", "--db-filename": "-f",
}  # fmt: skip
LONG = {
    ("workflow start", "--type"): "--name", ("workflow execute", "--type"): "--name",
    ("db prune", "--apply"): "--yes",
    ("workflow signal", "--name"): "--type", ("workflow query", "--name"): "--type",
}  # fmt: skip


# Several flags may share a check: it runs once.
CHECKS = {row.check: row for row in reversed(ROWS)}


def name_of(row: Row) -> str:
    return f"{row.command} {row.flag}".strip().replace(" ", "_") + f"_{row.check.__name__}"


@pytest.mark.parametrize("row", list(reversed(CHECKS.values())), ids=name_of)
def test_row(row: Row, bench: Bench, process: None):
    row.check(bench)


def test_every_command_and_flag_has_a_row():
    wanted = {
        (words, max(parameter.opts, key=len))
        for words, command in tree()
        for parameter in command.params
    } | {(words, "") for words, _ in tree()}
    assert wanted == {(row.command, row.flag) for row in ROWS}


def test_every_short_form_is_there():
    """Habits and scripts have them; each row above uses one or the other."""
    for words, command in tree():
        for parameter in command.params:
            name = max(parameter.opts, key=len)
            wanted = {name, SHORT.get(name, name), LONG.get((words, name), name)}
            assert set(parameter.opts) == wanted, (words, name)
            assert parameter.secondary_opts == []
