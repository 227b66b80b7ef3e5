"""The simple list filter: what it understands, and that it refuses everything else."""

from __future__ import annotations

import time

import pytest

from perdure.server.frontend.list_filter import parse_filter
from perdure.storage.port import Span, VisibilityQuery
from perdure.wire.errors import InvalidArgument

JAN_1_2026_NS = 1_767_225_600 * 1_000_000_000
LAST_NS = 2**63 - 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("  ", {}),
        ("WorkflowType = 'Greeting'", {"workflow_type": "Greeting"}),
        ('WorkflowId = "it\'s"', {"workflow_id": "it's"}),
        (r"WorkflowId = 'it\'s'", {"workflow_id": "it's"}),
        ("`WorkflowId`='a' and TaskQueue='q'", {"workflow_id": "a", "task_queue": "q"}),
        ("RunId = 'r'", {"run_id": "r"}),
        ("ExecutionStatus = 'Running'", {"statuses": (1,)}),
        ("ExecutionStatus = Running", {"statuses": (1,)}),
        ("ExecutionStatus = 'TimedOut'", {"statuses": (7,)}),
        ("ExecutionStatus = 'WORKFLOW_EXECUTION_STATUS_TIMED_OUT'", {"statuses": (7,)}),
        ("ExecutionStatus = 'ContinuedAsNew'", {"statuses": (6,)}),
        ("ExecutionStatus IN ('Failed', 'Canceled')", {"statuses": (3, 4)}),
        ("ExecutionStatus = 2 AND ExecutionStatus = 3", {"statuses": (-1,)}),
        ("StartTime >= '2026-01-01T00:00:00Z'", {"started": Span(JAN_1_2026_NS, 0)}),
        ("StartTime > '2026-01-01'", {"started": Span(JAN_1_2026_NS + 1, 0)}),
        (
            "StartTime >= '2026-01-01T01:00:00.000001+01:00' AND StartTime < 1767225601000000000",
            {"started": Span(JAN_1_2026_NS + 1_000, JAN_1_2026_NS + 1_000_000_000)},
        ),
        ("CloseTime <= '2026-01-01T00:00:00Z'", {"closed": Span(0, JAN_1_2026_NS + 1)}),
        ("StartTime = '2026-01-01T00:00:00Z'", {"started": Span(JAN_1_2026_NS, JAN_1_2026_NS + 1)}),
        ("StartTime < 100 AND StartTime < 50", {"started": Span(0, 50)}),
        ("StartTime < 50 AND StartTime < 100", {"started": Span(0, 50)}),
        ("StartTime <= 100 AND StartTime <= 50", {"started": Span(0, 51)}),
        ("StartTime <= 50 AND StartTime <= 100", {"started": Span(0, 51)}),
        ("StartTime > 50 AND StartTime > 100", {"started": Span(101, 0)}),
        ("StartTime > 100 AND StartTime > 50", {"started": Span(101, 0)}),
        ("StartTime >= 50 AND StartTime >= 100", {"started": Span(100, 0)}),
        ("StartTime >= 100 AND StartTime >= 50", {"started": Span(100, 0)}),
        ("CloseTime > 5 AND CloseTime < 9", {"closed": Span(6, 9)}),
        (
            "StartTime = '2026-01-01T00:00:00.999999+00:00'",
            {"started": Span(JAN_1_2026_NS + 999_999_000, JAN_1_2026_NS + 999_999_001)},
        ),
        ("ExecutionStatus IN (1, 2) AND ExecutionStatus IN (3, 2)", {"statuses": (2,)}),
        ("ExecutionStatus IN (7)", {"statuses": (7,)}),
        (r"WorkflowId = 'a\\b'", {"workflow_id": "a\\b"}),
        ("WorkflowId IN ('a')", {"workflow_id": "a"}),
        ("CloseTime < '9999-12-31T23:59:59Z'", {"closed": Span(0, LAST_NS)}),
        ("CloseTime <= '2300-01-01'", {"closed": Span(0, LAST_NS + 1)}),
        ("StartTime > 99999999999999999999", {"started": Span(LAST_NS + 1, 0)}),
        (f"StartTime > {'9' * 5_000}", {"started": Span(LAST_NS + 1, 0)}),
        ("StartTime = '2262-12-31'", {"started": Span(LAST_NS, LAST_NS + 1)}),
        ("CloseTime < '1970-01-01'", {"closed": Span(0, 1)}),
        ("CloseTime < '0001-01-01T00:00:00+14:00'", {"closed": Span(0, 1)}),
        ("CloseTime < 0", {"closed": Span(0, 1)}),
    ],
)
def test_conditions_become_the_filter_of_the_store(text: str, expected: dict[str, object]):
    assert parse_filter(text, "ns") == VisibilityQuery(namespace_id="ns", **expected)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("WorkflowType = 'a' OR WorkflowType = 'b'", "expected AND"),
        ("Colour = 'red'", "unknown field Colour"),
        ("WorkflowType != 'a'", "did not expect '!='"),
        ("WorkflowType = ", "ends too early"),
        ("WorkflowType IN ('a', 'b')", "compared with one value"),
        ("WorkflowType = 'a' AND WorkflowType = 'b'", "occurs twice"),
        ("ExecutionStatus = 'Sleeping'", "unknown ExecutionStatus 'Sleeping'"),
        ("ExecutionStatus IN 'Running'", "did not expect \"'Running'\""),
        ("ExecutionStatus IN ('Running' 'Failed')", "did not expect \"'Failed'\""),
        ("StartTime > 'yesterday'", "'yesterday' is no time"),
        ("StartTime > '²'", "'²' is no time"),
        ("ExecutionStatus = '²'", "unknown ExecutionStatus '²'"),
        ("ExecutionStatus = '99'", "unknown ExecutionStatus '99'"),
        ("ExecutionStatus = 99999999999999999999", "unknown ExecutionStatus '9999999999"),
        (f"ExecutionStatus = {'9' * 5_000}", "unknown ExecutionStatus '9999999999"),
        ("ExecutionStatus = 0000000000000000000001", "unknown ExecutionStatus '0000"),
        ("StartTime ? 3", "cannot read it from"),
        ("(WorkflowId = 'a')", "did not expect '('"),
        ("ExecutionStatus IN ) 'Running')", "expected ( after IN"),
        ("ExecutionStatus IN ('Running' = 'Failed')", "expected ) instead of '='"),
        ("ExecutionStatus IN ('Running'", "ends too early"),
        ("ExecutionStatus LIKE 'Running'", "did not expect 'LIKE'"),
        ("StartTime IN (3)", "did not expect 'IN'"),
        ("StartTime != 3", "did not expect '!=' after a time"),
        ("WorkflowId = 'a' WorkflowType = 'b'", "expected AND, found 'WorkflowType'"),
        ("TaskQueue = 'a' AND TaskQueue = 'b'", "TaskQueue occurs twice"),
    ],
)
def test_what_it_does_not_understand_is_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text, "ns")
    assert reason in caught.value.message
    assert "joined with AND" in caught.value.message


def test_a_time_without_zone_is_utc_wherever_the_server_runs(monkeypatch: pytest.MonkeyPatch):
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            found = parse_filter("StartTime >= '2026-01-01T00:00:00'", "ns")
    finally:
        time.tzset()
    assert found.started == Span(JAN_1_2026_NS, 0)
