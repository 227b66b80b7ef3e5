"""Lists and counts as callers see them: pages, filters, groups, and what is shown of a run."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Generator
from operator import eq, ge, gt, le, lt
from typing import Any

import msgspec
import pytest

from perdure.entity.transition import VisibilityRow
from perdure.server.common import seals
from perdure.server.frontend.list_filter import parse_filter
from perdure.server.frontend.lists import execution_info
from perdure.storage.port import Span
from perdure.storage.sqlite_open import connect_memory
from perdure.storage.visibility_sql import UPSERT, upsert_values
from perdure.wire.api import common
from perdure.wire.errors import InvalidArgument
from tests.unit.frontend.conftest import Caller, open_caller

S = 10**9
START_NS = 1_780_000_000 * S
STATUSES = (
    "Running",
    "Completed",
    "Failed",
    "Canceled",
    "Terminated",
    "ContinuedAsNew",
    "TimedOut",
)


def row(number: int, status: int, **changes: Any) -> VisibilityRow:
    """Every seventh is open; all began in the same second, and all that are closed closed in the same one."""
    made = VisibilityRow(
        namespace_id="", workflow_id=f"w{number % 4}", run_id=f"r{number:02}", workflow_type="TU"[number % 2],
        task_queue="qz"[number // 2 % 2], status=status, start_ns=START_NS,
        execution_ns=START_NS + S, close_ns=0 if status == 1 else START_NS + 60 * S, history_length=number,
        history_size_bytes=10 * number, memo=common.Memo(fields={"m": common.Payload(data=b"1")}).SerializeToString(),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


ROWS = [row(number, number % 7 + 1) for number in range(28)]


@pytest.fixture
async def lists() -> AsyncIterator[Caller]:
    connection: sqlite3.Connection = connect_memory(4)
    caller = await open_caller(connection)
    await caller.call(
        "RegisterNamespace",
        namespace="other",
        workflow_execution_retention_period={"seconds": 3_600},
    )
    described = await caller.call("DescribeNamespace", namespace="default")
    for number, one in enumerate(ROWS):
        shown = msgspec.structs.replace(one, namespace_id=described.namespace_info.id)
        connection.execute(UPSERT, upsert_values(1_000 + number, shown))
    yield caller
    await caller.node.close()


def run_ids(answer: Any) -> list[str]:
    return [one.execution.run_id for one in answer.executions]


Keep = Callable[[VisibilityRow], bool]


def every(_: VisibilityRow) -> bool:
    return True


def no(_: VisibilityRow) -> bool:
    return False


def expected(keep: Keep = every) -> list[str]:
    order = sorted(ROWS, key=lambda one: (one.close_ns == 0, one.run_id), reverse=True)
    return [one.run_id for one in order if keep(one)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 14, 27, 28, 29])
async def test_pages_of_runs_that_began_and_ended_together(lists: Caller, size: int):
    seen: list[str] = []
    token, pages = b"", 0
    while True:
        answer = await lists.call("ListWorkflowExecutions", page_size=size, next_page_token=token)
        assert len(answer.executions) <= size
        seen += run_ids(answer)
        pages += 1
        token = answer.next_page_token
        if not token:
            break
    assert seen == expected()
    assert pages == len(ROWS) // size + 1, "a full page may be the last one"


@pytest.mark.parametrize(
    ("memo_bytes", "sizes"), [(600_000, [3, 3, 1]), (1_100_000, [1] * 7), (2_000_000, [1] * 7)]
)
async def test_a_page_of_large_runs_fits_into_a_message(memo_bytes: int, sizes: list[int]):
    connection = connect_memory(4)
    caller = await open_caller(connection)
    described = await caller.call("DescribeNamespace", namespace="default")
    memo = common.Memo(fields={"m": common.Payload(data=bytes(memo_bytes))}).SerializeToString()
    for number, one in enumerate(ROWS[:7]):
        shown = msgspec.structs.replace(one, namespace_id=described.namespace_info.id, memo=memo)
        connection.execute(UPSERT, upsert_values(1_000 + number, shown))
    pages: list[int] = []
    seen: list[str] = []
    token = b""
    while True:
        answer = await caller.call("ListWorkflowExecutions", next_page_token=token)
        assert answer.ByteSize() < 4 * 1024 * 1024
        pages.append(len(answer.executions))
        seen += run_ids(answer)
        token = answer.next_page_token
        if not token:
            break
    await caller.node.close()
    assert seen == expected(lambda one: one in ROWS[:7])
    assert pages == sizes


async def test_a_list_without_a_size_has_everything(lists: Caller):
    answer = await lists.call("ListWorkflowExecutions")
    assert run_ids(answer) == expected()
    assert answer.next_page_token == b""
    assert run_ids(await lists.call("ListWorkflowExecutions", namespace="other")) == []


async def test_a_token_that_is_none_is_refused(lists: Caller):
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        await lists.call("ListWorkflowExecutions", next_page_token=b"\xc1")
    with pytest.raises(InvalidArgument):
        await lists.call("ListWorkflowExecutions", page_size=-1)


@pytest.mark.parametrize(
    "changes",
    [
        {"start_ns": -1},
        {"start_ns": 2**64 - 1},
        {"start_ns": -(2**63)},
        {"close_ns": -1},
        {"close_ns": 2**63},
        {"run_id": 5},
        {"run_id": "no UTF-8"},
    ],
)
async def test_a_token_with_values_that_no_row_has_is_refused(
    lists: Caller, changes: dict[str, Any]
):
    answer = await lists.call("ListWorkflowExecutions", page_size=1)
    namespace = lists.node.engine.namespaces.find("default")
    assert namespace is not None
    row = msgspec.msgpack.decode(seals.body_of(answer.next_page_token))
    body = msgspec.msgpack.encode(row | changes).replace(b"no UTF-8", b"no\xffUTF-8")
    token = seals.seal(body, namespace.token_key, seals.PAGE, "list ")
    with pytest.raises(InvalidArgument, match="Invalid NextPageToken"):
        await lists.call("ListWorkflowExecutions", next_page_token=token)


async def test_a_token_holds_no_memo(lists: Caller):
    answer = await lists.call("ListWorkflowExecutions", page_size=1)
    assert answer.executions[0].memo.fields["m"].data == b"1"
    assert ROWS[0].memo not in answer.next_page_token


def of_status(*statuses: int) -> Keep:
    return lambda one: one.status in statuses


def compared(field: str, compare: Callable[[int, int], bool], at_ns: int) -> Keep:
    return lambda one: getattr(one, field) > 0 and compare(getattr(one, field), at_ns)


def is_closed(one: VisibilityRow) -> bool:
    return one.close_ns > 0


OPERATORS = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
FILTERS: list[tuple[str, Keep]] = [
    ("", every),
    ("WorkflowId = 'w1'", lambda one: one.workflow_id == "w1"),
    ("WorkflowId IN ('w1')", lambda one: one.workflow_id == "w1"),
    ("RunId = 'r03'", lambda one: one.run_id == "r03"),
    ("WorkflowType = 'U'", lambda one: one.workflow_type == "U"),
    ("TaskQueue = 'z' AND WorkflowType = 'T'", lambda one: (one.task_queue, one.workflow_type) == ("z", "T")),
    ("ExecutionStatus IN ('Running', 'TimedOut')", of_status(1, 7)),
    ("ExecutionStatus IN (1, 2) AND ExecutionStatus IN (2, 3)", of_status(2)),
    ("ExecutionStatus = 1 AND ExecutionStatus = 2", no),
    *((f"ExecutionStatus = '{name}'", of_status(status)) for status, name in enumerate(STATUSES, 1)),
    *(
        (f"{name} {operator} '{text}'", compared(field, compare, at_ns))
        for name, field, text, at_ns in (
            ("StartTime", "start_ns", "2026-05-28T20:26:40Z", START_NS),
            ("CloseTime", "close_ns", "2026-05-28T22:27:40+02:00", START_NS + 60 * S),
        )
        for operator, compare in OPERATORS.items()
    ),
    ("CloseTime < '2100-01-01'", is_closed),
    ("CloseTime > '1971-01-01'", is_closed),
    ("CloseTime >= 0", is_closed),
    ("StartTime > '2026-05-28T20:26:39.999999Z' AND StartTime < '2026-05-28T20:26:40.000001Z'", every),
    ("StartTime > '2026-05-28T20:26:40Z' AND StartTime < '2026-05-28T20:26:41Z'", no),
]  # fmt: skip


@pytest.mark.parametrize(("query", "keep"), FILTERS, ids=[query for query, _ in FILTERS])
async def test_a_filter_lists_and_counts(lists: Caller, query: str, keep: Keep):
    wanted = expected(keep)
    assert run_ids(await lists.call("ListWorkflowExecutions", query=query)) == wanted
    counted = await lists.call("CountWorkflowExecutions", query=query)
    assert (counted.count, len(counted.groups)) == (len(wanted), 0)
    grouped = await lists.call("CountWorkflowExecutions", query=f"{query} group by ExecutionStatus")
    assert grouped.count == len(wanted)
    by_status = {
        group.group_values[0].data.decode().strip('"'): group.count for group in grouped.groups
    }
    assert by_status == {
        name: count
        for status, name in enumerate(STATUSES, 1)
        if (count := sum(keep(one) and one.status == status for one in ROWS))
    }
    for group in grouped.groups:
        assert dict(group.group_values[0].metadata) == {
            "encoding": b"json/plain",
            "type": b"Keyword",
        }


async def test_a_count_is_of_one_namespace(lists: Caller):
    assert (await lists.call("CountWorkflowExecutions")).count == len(ROWS)
    assert (await lists.call("CountWorkflowExecutions", namespace="other")).count == 0
    assert (await lists.call("CountWorkflowExecutions", query="  ")).count == len(ROWS)


def test_what_is_shown_of_an_open_and_of_a_closed_run():
    opened = execution_info(row(7, 1))
    assert (opened.execution.workflow_id, opened.execution.run_id) == ("w3", "r07")
    assert (opened.type.name, opened.task_queue, opened.status) == ("U", "z", 1)
    assert opened.start_time.ToNanoseconds() == START_NS
    assert opened.execution_time.ToNanoseconds() == START_NS + S
    assert not opened.HasField("close_time")
    assert not opened.HasField("execution_duration")
    assert (opened.history_length, opened.history_size_bytes) == (0, 0), (
        "not kept up to date while it is open"
    )
    assert not opened.HasField("parent_execution")
    assert (opened.root_execution.workflow_id, opened.root_execution.run_id) == ("w3", "r07")
    closed = execution_info(
        row(
            7, 2, parent_workflow_id="p", parent_run_id="pr", root_workflow_id="o", root_run_id="or"
        )
    )
    assert closed.close_time.ToNanoseconds() == START_NS + 60 * S
    assert closed.execution_duration.ToNanoseconds() == 59 * S, (
        "from the first task, not from the start"
    )
    assert (closed.history_length, closed.history_size_bytes) == (7, 70)
    assert (closed.parent_execution.workflow_id, closed.parent_execution.run_id) == ("p", "pr")
    assert (closed.root_execution.workflow_id, closed.root_execution.run_id) == ("o", "or")
    assert closed.memo.fields["m"].data == b"1"


# ── the words of a filter ────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["America/New_York", "Asia/Kathmandu", "Pacific/Auckland"])
def zone(request: pytest.FixtureRequest) -> Generator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-01", 1_767_225_600),
        ("2026-01-01T00:00:00", 1_767_225_600),
        ("2026-03-29T01:30:00", 1_774_747_800),  # an hour that summer time skips elsewhere
        ("2026-07-01T12:00:00Z", 1_782_907_200),
        ("2026-07-01T12:00:00-05:45", 1_782_907_200 + 20_700),
    ],
)
def test_a_time_without_a_zone_is_that_of_utc(zone: None, text: str, seconds: int):
    found = parse_filter(f"StartTime >= '{text}'", "n")
    assert found.started == Span(seconds * S, 0)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("StartTime > 5 AND StartTime > 3", Span(6, 0)),
        ("StartTime > 3 AND StartTime > 5", Span(6, 0)),
        ("StartTime >= 5 AND StartTime >= 3", Span(5, 0)),
        ("StartTime >= 3 AND StartTime >= 5", Span(5, 0)),
        ("StartTime < 5 AND StartTime < 3", Span(0, 3)),
        ("StartTime < 3 AND StartTime < 5", Span(0, 3)),
        ("StartTime <= 5 AND StartTime <= 3", Span(0, 4)),
        ("StartTime <= 3 AND StartTime <= 5", Span(0, 4)),
        ("StartTime = 5", Span(5, 6)),
        ("StartTime >= 5 AND StartTime <= 5", Span(5, 6)),
        ("StartTime > '1970-01-01T00:00:00.000001Z'", Span(1_001, 0)),
    ],
)
def test_borders_that_are_given_twice(text: str, span: Span):
    assert parse_filter(text, "n").started == span


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("WorkflowId = 'a' AND", "it ends too early"),
        ("WorkflowId = 'a' 'b'", "expected AND, found 'b'"),
        ("WorkflowId IN", "it ends too early"),
        ("WorkflowId IN < 'a'", "expected ( after IN"),
        ("WorkflowId IN ('a' = 'b')", "expected ) instead of '='"),
        ("WorkflowId IN ('a'", "it ends too early"),
        ("WorkflowId < 'a'", "did not expect '<'"),
        ("StartTime IN ('2026-01-01')", "did not expect 'IN'"),
        ("StartTime != '2026-01-01'", "did not expect '!=' after a time"),
        ("StartTime = 'a'", "'a' is no time; write it as 2026-01-31T12:00:00Z"),
        ("ExecutionStatus = 'a'", "unknown ExecutionStatus 'a'"),
        ("ExecutionStatus < 1", "did not expect '<'"),
        ("= 'a'", "did not expect '='"),
        ("WorkflowId = 'a' ; x", "cannot read it from '; x'"),
        ("WorkflowId = 'a", "cannot read it from"),
        ("workflowid = 'a'", "unknown field workflowid"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, reason: str):
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text, "n")
    assert f"invalid query: {reason}" in caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"WorkflowId = 'a\'b'", "a'b"), (r'WorkflowId = "a\"b"', 'a"b'), (r"WorkflowId = 'a\\b'", "a\\b"),
        ("WorkflowId='a AND b'", "a AND b"), ("WorkflowId = a-b.c:d+e", "a-b.c:d+e"), ("WorkflowId = `a`", "a"),
    ],
)  # fmt: skip
def test_how_a_text_is_written(text: str, value: str):
    assert parse_filter(text, "n").workflow_id == value
