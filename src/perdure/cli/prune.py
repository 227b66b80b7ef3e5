"""`perdure db prune`: deletes closed runs by age and query; without `--apply` it shows which.

Exit codes: 0 done; 1 refused, or runs that cannot be read; 2 wrong usage; 4 no such namespace.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli import output
from perdure.cli.exits import CommandError, Exit
from perdure.cli.options import DEFAULT_NAMESPACE, DURATION, command
from perdure.cli.output import echo
from perdure.cli.workflow_read import status_name
from perdure.core.clock import SystemClock
from perdure.core.units import SECOND_NS
from perdure.rendering.visible import visible
from perdure.storage.port import StoreError
from perdure.wire.api import enums
from perdure.wire.errors import NotFound, RpcError

if TYPE_CHECKING:
    from perdure.entity.transition import VisibilityRow
    from perdure.server.node.prune import Prunable, Pruned

SHOWN_MAX = 50


@command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--older-than",
    "age_ns",
    type=DURATION,
    help="Runs that closed at least this long ago, e.g. 90d.",
)
@click.option("--query", "-q", default="", help="List filter, e.g. WorkflowType='Order'.")
@click.option("--namespace", "-n", default=DEFAULT_NAMESPACE, show_default=True)
@click.option("--apply", "--yes", "is_applied", is_flag=True, help="Delete them.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
def prune(
    *, file: Path, age_ns: int | None, query: str, namespace: str, is_applied: bool, form: str
) -> None:
    """Delete closed workflow runs from the database FILE, with their histories.

    Without --apply nothing is changed: the runs to delete are shown, even while an engine uses the file. To delete
    them, stop that engine first. A workflow id whose last run is deleted is free again. The file keeps its size, and
    the space is reused.
    """
    from perdure.server.node import prune as pruning

    if age_ns is None and not query.strip():
        raise click.UsageError("say which closed runs: with --older-than, --query or both")
    before_ns = SystemClock().now_ns() - (age_ns or 0)
    try:
        found = pruning.prunable(file, namespace, before_ns, query)
        done = asyncio.run(pruning.prune(file, found.runs)) if is_applied else None
    except StoreError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"cannot open {error.filename or file}: {error.strerror}") from None
    except RpcError as error:
        is_missing = isinstance(error, NotFound)
        raise CommandError(error.message, Exit.NOT_FOUND if is_missing else Exit.USAGE) from None
    if form == "json":
        output.document(_prune_json(found, done), "json")
    else:
        _show_prunable(found, done)
    if done is not None and done.damaged:
        raise CommandError(f"{_runs(len(done.damaged))} cannot be read: perdure db check {file}")


def _show_prunable(found: Prunable, done: Pruned | None) -> None:
    if done is None and found.runs:
        output.table(
            ("CLOSED", "STATUS", "TYPE", "WORKFLOW ID", "RUN ID"),
            [tuple(_fields(run).values()) for run in found.runs[:SHOWN_MAX]],
        )
        if len(found.runs) > SHOWN_MAX:
            echo(f"… and {len(found.runs) - SHOWN_MAX} more")
    waiting = found.waiting
    if done is None:
        echo(f"{_runs(len(found.runs))} would be deleted; --apply does it")
    else:
        for line in done.damaged:
            echo(f"✗ {visible(line)}")
        waiting += done.left
        echo(f"{_runs(done.deleted)} deleted")
    if waiting:
        echo(f"{_runs(waiting)} must stay: messages to other runs are still to be delivered")


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _prune_json(found: Prunable, done: Pruned | None) -> dict[str, object]:
    answer: dict[str, object] = {"isApplied": done is not None, "waiting": found.waiting}
    if done is not None:
        return answer | {
            "deleted": done.deleted,
            "waiting": found.waiting + done.left,
            "damaged": done.damaged,
        }
    return answer | {"runs": [_fields(run) for run in found.runs]}


def _fields(run: VisibilityRow) -> dict[str, str]:
    closed = datetime.fromtimestamp(run.close_ns / SECOND_NS, UTC)
    return {
        "closeTime": closed.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "status": status_name(enums.WorkflowExecutionStatus.ValueType(run.status)),
        "type": run.workflow_type,
        "workflowId": run.workflow_id,
        "runId": run.run_id,
    }
