"""Which search attributes may be registered, and set by requests and commands (S-44)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.core.limits import DEFAULT_LIMITS
from perdure.history.commands.search_attributes import (
    SYSTEM_ATTRIBUTES,
    BadSearchAttributes,
    SearchAttributesTooLarge,
    check_attributes,
)
from perdure.wire.api import common, enums
from perdure.wire.errors import InvalidArgument, ResourceExhausted
from perdure.wire.events import attributes_of
from tests.harness import builders
from tests.unit.frontend.conftest import QUEUE, Caller

KINDS = {
    "ATexts": enums.INDEXED_VALUE_TYPE_TEXT,
    "AKeyword": enums.INDEXED_VALUE_TYPE_KEYWORD,
    "AnInt": enums.INDEXED_VALUE_TYPE_INT,
    "ADouble": enums.INDEXED_VALUE_TYPE_DOUBLE,
    "ABool": enums.INDEXED_VALUE_TYPE_BOOL,
    "ADatetime": enums.INDEXED_VALUE_TYPE_DATETIME,
    "AList": enums.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}
GOOD: dict[str, list[bytes]] = {
    "ATexts": [b'"a"', b'["a"]', b'""'],
    "AKeyword": [b'"a"', b'["a"]', b'""', b'"' + b"x" * 2046 + b'"'],
    "AnInt": [b"0", b"-1", b"[7]", b"9223372036854775807", b"-9223372036854775808"],
    "ADouble": [b"1", b"1.5", b"-1e300", b"[2.5]"],
    "ABool": [b"true", b"false", b"[true]"],
    "ADatetime": [
        b'"2026-01-02T03:04:05Z"', b'"2026-01-02T03:04:05.123456789+01:00"', b'["2026-01-02T03:04:05Z"]',
    ],
    "AList": [b'["a"]', b'["a", "b"]', b'["a", null]'],
}  # fmt: skip
BAD: dict[str, list[bytes]] = {
    "ATexts": [b"1", b'["a", "b"]', b"{}", b"true"],
    "AKeyword": [b"1", b'["a", "b"]', b"{}", b'"\xff"', b"true", b"[1]"],
    "AnInt": [
        b'"1"', b"1.0", b"1e3", b"true", b"[1, 2]", b"{}", b"9223372036854775808", b"-9223372036854775809", b"9" * 5000,
        b"", b"{", b"[" * 2000,
    ],
    "ADouble": [b'"1"', b"true", b"[1, 2]", b"1e400", b"NaN", b"-Infinity", b"9" * 400],
    "ABool": [b'"true"', b"1", b"0", b"[true, false]"],
    "ADatetime": [
        b'"yesterday"', b'"2026-01-02"', b'"2026-01-02T03:04:05"', b'"2026-13-02T03:04:05Z"', b"1700000000", b'""',
        b'"2026-01-02T03:04:05Z "', b'"20260102T030405Z"',
    ],
    "AList": [b'"a"', b"[1]", b'["a", 1]', b'[["a"]]', b"{}", b"1"],
}  # fmt: skip


def value(data: bytes, encoding: bytes | None = b"json/plain", **more: bytes) -> common.Payload:
    metadata = more if encoding is None else {"encoding": encoding, **more}
    return common.Payload(metadata=metadata, data=data)


def fields(**values: common.Payload) -> common.SearchAttributes:
    return common.SearchAttributes(indexed_fields=values)


def check(given: common.SearchAttributes) -> None:
    check_attributes(given, KINDS, "default", DEFAULT_LIMITS)


@pytest.mark.parametrize("name", KINDS)
def test_rule_44_values_fit_their_type(name: str):
    for data in (*GOOD[name], b"null", b"[]", b"[null]"):
        check(fields(**{name: value(data)}))
        # What the value says of its type does not matter.
        check(fields(**{name: value(data, type=b"Nonsense")}))
    check(fields(**{name: value(b"", b"binary/null")}))
    for data in BAD[name]:
        with pytest.raises(
            BadSearchAttributes, match=f"^invalid value for search attribute {name} of type "
        ):
            check(fields(**{name: value(data)}))
    for encoding in (None, b"", b"binary/plain", b"json/protobuf", b"x/y"):
        with pytest.raises(BadSearchAttributes, match="invalid value for search attribute"):
            check(fields(**{name: value(GOOD[name][0], encoding)}))


def test_names_of_the_server_and_unknown_ones_are_refused():
    for name in SYSTEM_ATTRIBUTES:
        with pytest.raises(
            BadSearchAttributes, match=f"^{name} attribute can't be set in SearchAttributes$"
        ):
            check(fields(**{name: value(b'"x"')}))
    for name in ("", "Unknown", "anint"):
        with pytest.raises(
            BadSearchAttributes, match="has no mapping defined for search attribute"
        ):
            check(fields(**{name: value(b'"x"')}))
    check(fields(BuildIds=value(b'["x"]'), TemporalChangeVersion=value(b'["x-1"]')))
    with pytest.raises(BadSearchAttributes, match="BuildIds of type KeywordList"):
        check(fields(BuildIds=value(b"1")))


def test_sizes_and_numbers():
    check(fields(AKeyword=value(b'"' + b"x" * 2046 + b'"')))
    with pytest.raises(
        SearchAttributesTooLarge,
        match="search attribute AKeyword value size 2049 exceeds size limit 2048",
    ):
        check(fields(AKeyword=value(b'"' + b"x" * 2047 + b'"')))
    many = {f"A{number}": enums.INDEXED_VALUE_TYPE_KEYWORD for number in range(101)}

    def of(count: int, size_bytes: int) -> common.SearchAttributes:
        data = b'"' + b"x" * (size_bytes - 2) + b'"'
        return fields(**{name: value(data) for name in list(many)[:count]})

    check_attributes(of(100, 300), many, "default", DEFAULT_LIMITS)
    with pytest.raises(
        BadSearchAttributes, match="number of search attributes 101 exceeds limit 100"
    ):
        check_attributes(of(101, 3), many, "default", DEFAULT_LIMITS)
    large = of(20, 2048)
    with pytest.raises(
        SearchAttributesTooLarge,
        match=f"^total size of search attributes {large.ByteSize()} exceeds size limit 40960$",
    ):
        check_attributes(large, many, "default", DEFAULT_LIMITS)


async def test_requests_are_refused(caller: Caller):
    await caller.call("AddSearchAttributes", search_attributes=KINDS)
    bad = fields(AnInt=value(b'"secret"'))
    with pytest.raises(InvalidArgument, match="of type Int") as refused:
        await caller.start(search_attributes=bad)
    assert "secret" not in str(refused.value)
    with pytest.raises(InvalidArgument, match="of type Int"):
        await caller.call(
            "SignalWithStartWorkflowExecution", workflow_id="s", workflow_type={"name": "T"},
            task_queue={"name": QUEUE}, signal_name="go", search_attributes=bad,
        )  # fmt: skip
    with pytest.raises(InvalidArgument, match="value size 2049 exceeds"):
        await caller.start(search_attributes=fields(AKeyword=value(b'"' + b"x" * 2047 + b'"')))


Cause = enums.WorkflowTaskFailedCause
COMMANDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "upsert": (
        lambda given: builders.command(
            "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes=given
        ),
        "BAD_SEARCH_ATTRIBUTES",
    ),
    "child": (
        lambda given: builders.start_child(search_attributes=given),
        "BAD_START_CHILD_EXECUTION_ATTRIBUTES",
    ),
    "continue": (
        lambda given: builders.continue_as_new(search_attributes=given),
        "BAD_CONTINUE_AS_NEW_ATTRIBUTES",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_rule_44_commands_fail_their_task(name: str, caller: Caller):
    make, cause_of_size = COMMANDS[name]
    await caller.call("AddSearchAttributes", search_attributes=KINDS)
    cases: dict[str, tuple[common.SearchAttributes, str, str]] = {
        "value": (fields(AnInt=value(b'"x"')), "BAD_SEARCH_ATTRIBUTES", "WORKFLOW_TASK_FAILED"),
        "name": (fields(Unknown=value(b"1")), "BAD_SEARCH_ATTRIBUTES", "WORKFLOW_TASK_FAILED"),
        "system": (fields(RunId=value(b'"x"')), "BAD_SEARCH_ATTRIBUTES", "WORKFLOW_TASK_FAILED"),
        "size": (fields(AKeyword=value(b'"' + b"x" * 2047 + b'"')), cause_of_size, "WORKFLOW_EXECUTION_TERMINATED"),
    }  # fmt: skip
    for workflow_id, (given, cause, last) in cases.items():
        await caller.start(workflow_id)
        task = await caller.poll()
        with pytest.raises(InvalidArgument):
            await caller.complete(task, make(given))
        events = (await caller.history(workflow_id)).history.events
        failed = next(
            one for one in events if one.HasField("workflow_task_failed_event_attributes")
        )
        told = failed.workflow_task_failed_event_attributes.cause
        assert Cause.Name(told) == f"WORKFLOW_TASK_FAILED_CAUSE_{cause}"
        kinds = [enums.EventType.Name(one.event_type).removeprefix("EVENT_TYPE_") for one in events]
        assert last in kinds
        if last == "WORKFLOW_TASK_FAILED":
            assert "WORKFLOW_EXECUTION_TERMINATED" not in kinds
            await caller.call(
                "TerminateWorkflowExecution", workflow_execution={"workflow_id": workflow_id}
            )


async def test_a_good_upsert_is_written(caller: Caller):
    await caller.call("AddSearchAttributes", search_attributes=KINDS)
    await caller.start()
    given = fields(AnInt=value(b"7"))
    upsert = builders.command("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes=given)
    await caller.complete(await caller.poll(), upsert)
    found = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    assert found.workflow_execution_info.search_attributes.indexed_fields["AnInt"].data == b"7"


def told(attributes: common.SearchAttributes) -> dict[str, bytes | None]:
    """The type that each value names."""
    fields = attributes.indexed_fields
    return {name: fields[name].metadata.get("type") for name in fields}


async def test_rule_49_events_name_types_and_new_runs_begin_without_empty_values(caller: Caller):
    await caller.call("AddSearchAttributes", search_attributes=KINDS)
    given = fields(
        AnInt=value(b"7"), ADouble=value(b"1", type=b"Text"), ABool=value(b"true", type=b""), AList=value(b"[]"),
        AKeyword=value(b"null"), BatcherUser=value(b'"x"'), ATexts=value(b"", b"binary/null"),
    )  # fmt: skip
    kept = {"AnInt": b"Int", "ADouble": b"Text", "ABool": b"", "BatcherUser": b"Keyword"}
    memo = {"fields": {"one": value(b"1"), "none": value(b"null"), "list": value(b"[]")}}
    await caller.start(search_attributes=given, memo=memo)
    task = await caller.poll()
    upsert = builders.command("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes=given)
    child = builders.start_child(search_attributes=given, memo=memo)
    again = builders.continue_as_new(search_attributes=given, memo=memo)
    await caller.complete(task, upsert, child, again)
    run = {"workflow_id": "w", "run_id": task.workflow_execution.run_id}
    events = (await caller.call("GetWorkflowExecutionHistory", execution=run)).history.events
    written: list[Any] = [attributes_of(event) for event in events]
    begun = [one for one in written if "search_attributes" in one.DESCRIPTOR.fields_by_name]
    begun.append(attributes_of((await caller.history("w")).history.events[0]))
    names = [type(one).__name__.removesuffix("EventAttributes") for one in begun]
    assert names == [
        "WorkflowExecutionStarted", "UpsertWorkflowSearchAttributes", "StartChildWorkflowExecutionInitiated",
        "WorkflowExecutionContinuedAsNew", "WorkflowExecutionStarted",
    ]  # fmt: skip
    removed = {"AList": b"KeywordList", "AKeyword": b"Keyword", "ATexts": b"Text"}
    assert [told(one.search_attributes) for one in begun] == [
        kept,
        kept | removed,
        kept,
        kept,
        kept,
    ]
    assert [list(one.memo.fields) for one in begun if hasattr(one, "memo")] == [["one"]] * 4
    # The values of a caller in this process are not changed.
    assert told(given)["AnInt"] is None


async def test_rule_49_what_is_left_out_leaves_no_empty_field(caller: Caller):
    await caller.call("AddSearchAttributes", search_attributes=KINDS)
    none = fields(AnInt=value(b"null"))
    await caller.start(search_attributes=none, memo={"fields": {"a": value(b"")}})
    first = (await caller.history("w")).history.events[0]
    started = first.workflow_execution_started_event_attributes
    assert not started.HasField("search_attributes")
    assert not started.HasField("memo")


async def test_rule_44_names_that_can_be_registered(caller: Caller):
    kind = enums.INDEXED_VALUE_TYPE_KEYWORD
    for name, why in (
        ("", "is empty"), (" ", "is empty"), ("a'\"\x00", "control characters"), ("a\nb", "control characters"),
        ("x" * 1001, "1001 bytes; the limit is 1000"), ("é" * 501, "1002 bytes"), ("RunId", "reserved by system"),
        ("BuildIds", "reserved by system"), ("TemporalX", "reserved by system"), ("Temporal", "reserved by system"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match=why):
            await caller.call("AddSearchAttributes", search_attributes={name: kind})
    for name in ("a b", "a-b", "1a", "é", "x" * 1000):
        await caller.call("AddSearchAttributes", search_attributes={name: kind})
    listed = await caller.call("ListSearchAttributes")
    assert set(listed.custom_attributes) == {"a b", "a-b", "1a", "é", "x" * 1000}


async def test_a_namespace_has_so_many_names(caller: Caller):
    kind = enums.INDEXED_VALUE_TYPE_KEYWORD
    names = [f"Name{number}" for number in range(1001)]
    with pytest.raises(ResourceExhausted, match="cannot have more than 1000 search attributes"):
        await caller.call("AddSearchAttributes", search_attributes=dict.fromkeys(names, kind))
    await caller.call("AddSearchAttributes", search_attributes=dict.fromkeys(names[:1000], kind))
    with pytest.raises(ResourceExhausted, match="cannot have more"):
        await caller.call("AddSearchAttributes", search_attributes={names[1000]: kind})
    await caller.call("AddSearchAttributes", search_attributes={names[0]: kind})
