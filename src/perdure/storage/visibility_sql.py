"""Statements over the visibility table: the row written, the list, the count."""

from __future__ import annotations

from operator import attrgetter

from perdure.entity.transition import VisibilityRow
from perdure.storage.port import VisibilityQuery

_COLUMNS = VisibilityRow.__struct_fields__
RUNNING = 1
"""The status of open runs."""
_NEVER_NS = 2**63 - 1
_PLACES = ", ".join("?" * (len(_COLUMNS) + 2))
_UPDATED = ", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS, "ended_ns"))
_ORDER = "ORDER BY ended_ns DESC, start_ns DESC, run_id DESC LIMIT ?"

UPSERT = f"""INSERT INTO visibility (entity, {", ".join(_COLUMNS)}, ended_ns) VALUES ({_PLACES})
    ON CONFLICT (entity) DO UPDATE SET {_UPDATED}"""

Argument = str | int | float | bytes


_values = attrgetter(*_COLUMNS)


def upsert_values(number: int, row: VisibilityRow) -> tuple[Argument, ...]:
    return (number, *_values(row), row.close_ns or _NEVER_NS)


def list_sql(query: VisibilityQuery) -> tuple[str, tuple[Argument, ...]]:
    """The statement and arguments of a page; its columns are those of `VisibilityRow`."""
    where, arguments = _where(query)
    after = query.after
    if after is not None:
        where += " AND (ended_ns, start_ns, run_id) < (?, ?, ?)"
        arguments += [after.close_ns or _NEVER_NS, after.start_ns, after.run_id]
    return (
        f"SELECT {', '.join(_COLUMNS)} FROM visibility WHERE {where} {_ORDER}",
        (*arguments, query.limit),
    )


def count_sql(query: VisibilityQuery) -> tuple[str, tuple[Argument, ...]]:
    where, arguments = _where(query)
    return f"SELECT count(*) FROM visibility WHERE {where}", tuple(arguments)


def counts_sql(query: VisibilityQuery) -> tuple[str, tuple[Argument, ...]]:
    """The statement and arguments of the counts by status."""
    where, arguments = _where(query)
    return f"SELECT status, count(*) FROM visibility WHERE {where} GROUP BY status", tuple(
        arguments
    )


def _where(query: VisibilityQuery) -> tuple[str, list[Argument]]:
    parts = ["namespace_id = ?"]
    arguments: list[Argument] = [query.namespace_id]
    for column in ("workflow_id", "run_id", "workflow_type", "task_queue"):
        if value := getattr(query, column):
            parts.append(f"{column} = ?")
            arguments.append(value)
    if query.statuses:
        parts.append(f"status IN ({', '.join('?' * len(query.statuses))})")
        arguments += query.statuses
    spans = [("start_ns", query.started)]
    # The index for lists is ordered by `ended_ns`, so a condition on it makes SQLite read only a part of the index. A
    # workflow id has few runs and an index of its own, which SQLite would not choose if there were such a condition.
    has_id = bool(query.workflow_id)
    if query.statuses == (RUNNING,) and not has_id:
        parts.append("ended_ns = ?")
        arguments.append(_NEVER_NS)
    if query.closed is not None:
        parts.append("close_ns > 0" if has_id else f"ended_ns < {_NEVER_NS}")
        spans.append(("close_ns" if has_id else "ended_ns", query.closed))
    for column, span in spans:
        if span.from_ns:
            parts.append(f"{column} >= ?")
            arguments.append(span.from_ns)
        if span.until_ns:
            parts.append(f"{column} < ?")
            arguments.append(span.until_ns)
    if query.where:
        parts.append(f"({query.where})")
        arguments += query.arguments
    return " AND ".join(parts), arguments
