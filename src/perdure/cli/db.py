"""`perdure db`: copies a database that is in use, and checks a database.

Exit codes: 0 done, or the database is sound; 1 refused, or something is wrong with the database; 2 wrong usage.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli import output
from perdure.cli.exits import CommandError
from perdure.cli.options import command
from perdure.cli.output import echo
from perdure.rendering.visible import visible
from perdure.storage.port import OpenError
from perdure.storage.sqlite_backup import back_up

if TYPE_CHECKING:
    from perdure.server.admin.audit import AuditReport

SHOWN_MAX = 50
_FILE = click.Path(dir_okay=False, path_type=Path)


@command()
@click.argument("file", type=_FILE)
@click.argument("to", type=_FILE)
def backup(file: Path, to: Path) -> None:
    """Copy the database FILE to TO. An engine may be using it.

    The copy is the state of one moment, with everything that was acknowledged before the command began. It is a
    complete database. Never run both the copy and the original, because each would do the work.
    """
    try:
        size_bytes = back_up(file, to)
    except OpenError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"cannot open {error.filename or file}: {error.strerror}") from None
    echo(f"{file} → {to} ({size_bytes} bytes)")


@command()
@click.argument("file", type=_FILE)
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
def check(file: Path, form: str) -> None:
    """Check the database FILE for consistency. Nothing is written.

    Checks pages, indexes and event numbers, replays the state of every run, and compares it with pointers, tasks,
    wake-ups, lists and retention. Exit code 1 if something is wrong.
    """
    from perdure.server.admin.audit import audit

    try:
        report = audit(file)
    except OpenError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"cannot open {error.filename or file}: {error.strerror}") from None
    if form == "json":
        output.document(_json(report), "json")
    else:
        _show(report)
    if not report.is_sound:
        raise CommandError(
            f"{file}: {len(report.findings)} things are wrong; keep a copy, and restore it from a backup"
        )


def _show(report: AuditReport) -> None:
    from perdure.server.admin.audit import CHECKS

    wrong = {name: sum(one.check == name for one in report.findings) for name in CHECKS}
    output.table(
        ("CHECK", "LOOKED AT", "WRONG"),
        [(name, str(report.looked_at[name]), str(wrong[name] or "–")) for name in CHECKS],
    )
    for finding in report.findings[:SHOWN_MAX]:
        echo(f"✗ {finding.check}: {visible(finding.what)}")
    if len(report.findings) > SHOWN_MAX:
        echo(f"… and {len(report.findings) - SHOWN_MAX} more")
    if report.stale_tasks:
        echo(f"{report.stale_tasks} stale tasks: harmless, a running engine removes them")
    if report.is_sound:
        echo("sound")


def _json(report: AuditReport) -> dict[str, object]:
    return {
        "isSound": report.is_sound,
        "lookedAt": dict(report.looked_at),
        "findings": [{"check": one.check, "what": one.what} for one in report.findings],
        "staleTasks": report.stale_tasks,
    }
