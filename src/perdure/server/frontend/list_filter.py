"""The simple part of the list filter: conditions on a few fields, joined with AND.

    WorkflowType = 'Greeting' AND ExecutionStatus IN ('Running', 'Failed') AND StartTime > '2026-01-31T12:00:00Z'

Role: parse the text of a `query` into the store's filter. Fields: WorkflowId, RunId, WorkflowType, TaskQueue,
ExecutionStatus, StartTime, CloseTime. Anything else is refused with a message that says what is supported.
Not here: the full language (OR, parentheses, custom search attributes), which belongs to `perdure.visibility`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from perdure.core.units import END_OF_TIME_NS
from perdure.storage.port import Span, VisibilityQuery
from perdure.wire.api import enums
from perdure.wire.errors import (
    InvalidArgument,
    shown,
)

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<op><=|>=|!=|=|<|>|\(|\)|,)|(?P<word>[\w.\-:+`]+))"""
)
_TEXT_FIELDS = {
    "WorkflowId": "workflow_id",
    "RunId": "run_id",
    "WorkflowType": "workflow_type",
    "TaskQueue": "task_queue",
}
_TIME_FIELDS = {"StartTime": "started", "CloseTime": "closed"}
_STATUS_PREFIX = "WORKFLOW_EXECUTION_STATUS_"
_NS = 1_000_000_000


def parse_filter(query: str, namespace_id: str) -> VisibilityQuery:
    """The store's filter for a list query. Raises InvalidArgument if the query uses anything else."""
    tokens = _Tokens(query)
    found = VisibilityQuery(namespace_id=namespace_id)
    if tokens.at_end:
        return found
    while True:
        found = _condition(tokens, found)
        if tokens.at_end:
            return found
        tokens.expect_word("AND")


class _Tokens:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens: list[tuple[str, str]] = []
        position, end = 0, len(query.rstrip())
        while position < end:
            match = _TOKEN.match(query, position)
            if match is None:
                raise self.error(f"cannot read it from {query[position:].strip()[:20]!r}")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match.group(kind)))
            position = match.end()
        self._next = 0

    @property
    def at_end(self) -> bool:
        return self._next >= len(self._tokens)

    def take(self, *kinds: str) -> str:
        if self.at_end:
            raise self.error("it ends too early")
        kind, text = self._tokens[self._next]
        if kind not in kinds:
            raise self.error(f"did not expect {shown(text)!r}")
        self._next += 1
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        return text.strip("`")

    def expect_word(self, word: str) -> None:
        text = self.take("word", "op", "text")
        if text.upper() != word:
            raise self.error(f"expected {word}, found {shown(text)!r}")

    def error(self, reason: str) -> InvalidArgument:
        return InvalidArgument(
            f"invalid query: {reason}. Understood are conditions with =, IN (…), <, <=, >, >= on "
            "WorkflowId, RunId, WorkflowType, TaskQueue, ExecutionStatus, StartTime and CloseTime, "
            "joined with AND."
        )


def _condition(tokens: _Tokens, found: VisibilityQuery) -> VisibilityQuery:
    field = tokens.take("word")
    if field == "ExecutionStatus":
        statuses = tuple(_status(tokens, text) for text in _values(tokens))
        if found.statuses:
            statuses = tuple(set(statuses) & set(found.statuses)) or (-1,)
        return msgspec.structs.replace(found, statuses=statuses)
    if field in _TEXT_FIELDS:
        values = _values(tokens)
        if len(values) != 1:
            raise tokens.error(f"{field} can be compared with one value")
        name = _TEXT_FIELDS[field]
        if getattr(found, name):
            raise tokens.error(f"{field} occurs twice")
        return msgspec.structs.replace(found, **{name: values[0]})
    if field in _TIME_FIELDS:
        name = _TIME_FIELDS[field]
        operator = tokens.take("op")
        at_ns = _time_ns(tokens, tokens.take("text", "word"))
        span = _narrow(tokens, getattr(found, name) or Span(), operator, at_ns)
        return msgspec.structs.replace(found, **{name: span})
    raise tokens.error(f"unknown field {shown(field)}")


def _values(tokens: _Tokens) -> list[str]:
    operator = tokens.take("op", "word")
    if operator == "=":
        return [tokens.take("text", "word")]
    if operator.upper() != "IN":
        raise tokens.error(f"did not expect {shown(operator)!r}")
    if tokens.take("op") != "(":
        raise tokens.error("expected ( after IN")
    values = [tokens.take("text", "word")]
    while (mark := tokens.take("op")) == ",":
        values.append(tokens.take("text", "word"))
    if mark != ")":
        raise tokens.error(f"expected ) instead of {mark!r}")
    return values


_DIGITS_MAX = 20
"""More than the nanoseconds of any time have."""


def _status(tokens: _Tokens, text: str) -> int:
    # A status is Running, TimedOut, …, or the name in the API (WORKFLOW_EXECUTION_STATUS_TIMED_OUT), or its number.
    if _is_number(text):
        number = -1 if len(text) > _DIGITS_MAX else int(text)
        if number not in enums.WorkflowExecutionStatus.values():
            raise tokens.error(f"unknown ExecutionStatus {shown(text)!r}")
        return number
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).upper().removeprefix(_STATUS_PREFIX)
    try:
        return enums.WorkflowExecutionStatus.Value(f"{_STATUS_PREFIX}{snake}")
    except ValueError:
        raise tokens.error(f"unknown ExecutionStatus {shown(text)!r}") from None


def _time_ns(tokens: _Tokens, text: str) -> int:
    if _is_number(text):
        return _bounded(END_OF_TIME_NS if len(text) > _DIGITS_MAX else int(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise tokens.error(
            f"{shown(text)!r} is no time; write it as 2026-01-31T12:00:00Z"
        ) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = at.replace(microsecond=0).timestamp()
    return _bounded(int(seconds) * _NS + at.microsecond * 1_000)


def _is_number(text: str) -> bool:
    # `isdigit` alone takes digits that `int` does not, such as ².
    return text.isascii() and text.isdigit()


def _bounded(at_ns: int) -> int:
    """Within what can be stored. No run has a time before 1970, and a bound of 0 means none."""
    return min(max(at_ns, 1), END_OF_TIME_NS - 1)


def _narrow(tokens: _Tokens, span: Span, operator: str, at_ns: int) -> Span:
    match operator:
        case "=":
            return Span(at_ns, at_ns + 1)
        case ">":
            return span._replace(from_ns=max(span.from_ns, at_ns + 1))
        case ">=":
            return span._replace(from_ns=max(span.from_ns, at_ns))
        case "<":
            return span._replace(until_ns=min(span.until_ns or at_ns, at_ns))
        case "<=":
            return span._replace(until_ns=min(span.until_ns or at_ns + 1, at_ns + 1))
        case _:
            raise tokens.error(f"did not expect {shown(operator)!r} after a time")
