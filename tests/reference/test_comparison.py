"""The comparison: which differences it finds, and which values it treats as equal."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.wire.api import common, enums, history, workflowservice
from perdure.wire.errors import namespace_not_found
from perdure.wire.times import duration, timestamp
from tests.reference.compare import Found, compare
from tests.reference.differences import FILE, Difference, Ledger, Status, parse
from tests.reference.normalise import AGAIN, Normaliser

NOW_NS = 1_000_000 * SECOND_NS
ONE, TWO = "8b1f2f2e-0a2b-4c3d-9e4f-5a6b7c8d9e0f", "00000000-0000-4000-8000-000000000000"


def events(*types: str) -> Any:
    return {"events": [{"event_type": f"EVENT_TYPE_{name}", "event_id": 1} for name in types]}


@pytest.mark.parametrize(
    ("reference", "ours", "path"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": 1}, {}, "a"),
        ({}, {"a": 1}, "a"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": "1"}, {"a": 1}, "a"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b"),
        ({"a": [1, 2]}, {"a": [1]}, "a"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "a[1]"),
        (events("A", "B"), events("B", "A"), "events"),
        (events("A", "B"), events("A"), "events"),
        ({"a": "<id 1>", "b": "<id 1>"}, {"a": "<id 1>", "b": "<id 2>"}, "b"),
        ({"a": "<id 1>", "b": "<id 2>"}, {"a": "<id 1>", "b": "<id 1>"}, "b"),
        ({"a": "<id 1>"}, {"a": "<token 1>"}, "a"),
        ({"a": "run <id 1>"}, {"a": "run"}, "a"),
    ],
)
def test_what_differs_is_found(reference: Any, ours: Any, path: str):
    assert path in [found.path for found in compare(reference, ours)]


def test_what_is_the_same_under_other_numbers_is_the_same():
    reference = {"a": "<id 1>", "b": "<id 2> of <id 1>", "c": [1, {"d": "<token 1>"}]}
    ours = {"a": "<id 7>", "b": "<id 3> of <id 7>", "c": [1, {"d": "<token 4>"}]}
    assert compare(reference, ours) == []


def test_events_before_the_first_other_one_are_compared():
    reference, ours = events("A", "B"), events("A", "C")
    ours["events"][0]["event_id"] = 2
    assert [found.path for found in compare(reference, ours)] == ["events", "events[1 A].event_id"]


def test_messages_as_plain_values():
    event = history.HistoryEvent(
        event_id=3,
        event_time=timestamp(NOW_NS),
        event_type=enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        task_id=17,
    )
    started = event.workflow_execution_started_event_attributes
    started.workflow_id = f"script{AGAIN}:w"
    started.first_execution_run_id = started.original_execution_run_id = ONE
    started.continued_execution_run_id = TWO
    started.workflow_run_timeout.CopyFrom(duration(90 * SECOND_NS))
    started.workflow_execution_expiration_time.CopyFrom(timestamp(NOW_NS + 3605 * SECOND_NS))
    started.input.payloads.add(metadata={"encoding": b"json/plain"}, data=b'"x"')
    assert Normaliser(NOW_NS).message(event) == {
        "event_id": 3,
        "event_time": "<time>",
        "event_type": "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED",
        "task_id": "<task id>",
        "workflow_execution_started_event_attributes": {
            "workflow_id": "script:w",
            "continued_execution_run_id": "<id 1>",
            "original_execution_run_id": "<id 2>",
            "first_execution_run_id": "<id 2>",
            "workflow_run_timeout": "90s",
            "workflow_execution_expiration_time": "<time +60m>",
            "input": ['json/plain "x"'],
        },
    }


def test_tokens_keep_only_whether_they_are_the_same():
    normaliser = Normaliser(NOW_NS)
    pages = [
        workflowservice.GetWorkflowExecutionHistoryResponse(next_page_token=token)
        for token in (b"a", b"b", b"a")
    ]
    shown = [normaliser.message(page)["next_page_token"] for page in pages]
    assert shown == ["<token 1>", "<token 2>", "<token 1>"]


def test_maps_are_in_order_whatever_the_server_did():
    memo = common.Memo(fields={name: common.Payload(data=b"1") for name in ("b", "a")})
    assert list(Normaliser(NOW_NS).message(memo)["fields"]) == ["a", "b"]


def test_errors_show_their_details():
    assert Normaliser(NOW_NS).error(namespace_not_found("n")) == {
        "code": "NOT_FOUND",
        "message": "Namespace n is not found.",
        "details": [
            {
                "@type": "temporal.api.errordetails.v1.NamespaceNotFoundFailure",
                "fields": {"namespace": "n"},
            }
        ],
    }


def test_the_list_of_differences_is_used_up():
    known = parse("to mend: Because.\n    s.* | *.b | 1 | (absent)\n    s.* | *.c | * | *\n")
    assert known[0] == Difference("s.*", "*.b", "1", "(absent)", Status.TO_MEND, "Because.")
    ledger = Ledger(known)
    expected, other = Found("a.b", "1", "(absent)"), Found("a.b", "2", "(absent)")
    assert ledger.unexpected("s.x", [expected, other]) == [other]
    assert ledger.unexpected("t.x", [expected]) == [expected]
    assert ledger.stale == ["s.* | *.c | * | *"]


@pytest.mark.parametrize(
    "text",
    ["    a | b | c | d\n", "to mend: Because.\n    a | b | c\n", "perhaps: Because.\n"],
)
def test_an_entry_needs_a_status_a_reason_and_four_patterns(text: str):
    with pytest.raises((AssertionError, ValueError)):
        parse(text)


def test_no_entry_excuses_a_whole_script():
    for entry in parse(FILE.read_text(encoding="utf-8")):
        assert (entry.path, entry.reference, entry.ours) != ("*", "*", "*"), entry
