"""Search attributes that are refused or taken: names, types, sizes and numbers, in requests and in commands."""

from __future__ import annotations

from typing import Any

from perdure.wire.api import common
from tests.reference.commands import Command, attributes, continue_as_new, make
from tests.reference.play import Case, add, script


def payload(
    data: bytes, kind: str | None = None, encoding: bytes = b"json/plain"
) -> common.Payload:
    metadata = {"encoding": encoding}
    if kind is not None:
        metadata["type"] = kind.encode()
    return common.Payload(metadata=metadata, data=data)


def one(name: str, data: bytes, kind: str | None = None, encoding: bytes = b"json/plain") -> Any:
    return {"indexed_fields": {name: payload(data, kind, encoding)}}


NAMES: dict[str, Any] = {
    "unregistered": one("NoSuchAttribute", b'"x"', "Keyword"),
    "empty name": one("", b'"x"', "Keyword"),
    "status": one("ExecutionStatus", b'"Running"', "Keyword"),
    "task queue": one("TaskQueue", b'"x"', "Keyword"),
    "versions": one("TemporalChangeVersion", b'["x-1"]', "KeywordList"),
    "build ids": one("BuildIds", b'["x"]', "KeywordList"),
    "checksums": one("BinaryChecksums", b'["x"]', "KeywordList"),
    "division": one("TemporalNamespaceDivision", b'"x"', "Keyword"),
    "user": one("BatcherUser", b'"x"', "Keyword"),
}
VALUES: dict[str, list[bytes]] = {
    "Int": [
        b'"text"', b'"1"', b"1.5", b"1.0", b"1e3", b"true", b"[1]", b"[1, 2]", b"[]", b"null", b"{}", b"9" * 30,
        b"9223372036854775808", b"-1", b'""', b"", b"{", b"[null]",
    ],
    "Double": [b'"text"', b"1", b"true", b"[1.5]", b"[1.5, 2]", b"1e400", b"NaN", b'"NaN"', b"null", b"[null]"],
    "Bool": [b'"true"', b"1", b"0", b"[true]", b"[true, false]", b"null", b"[null]"],
    "Keyword": [
        b"1", b"true", b'["a"]', b'["a", "b"]', b"[]", b"null", b"{}", b'""', b'"\\u0000"', b'"\xff"',
        b"[null]",
    ],
    "Text": [b"1", b'["a"]', b'["a", "b"]', b"null", b"{}", b"[null]"],
    "Datetime": [
        b'"yesterday"', b'"2026-01-02"', b'"2026-01-02T03:04:05"', b'"2026-01-02T03:04:05Z"', b'""', b"1700000000",
        b'"2026-01-02T03:04:05.123456789+01:00"', b'"0000-00-00T00:00:00Z"', b'["2026-01-02T03:04:05Z"]', b"null",
        b"[null]",
    ],
    "KeywordList": [b'"a"', b"1", b"[1]", b'["a", 1]', b"[]", b"null", b"{}", b'["a", null]', b'[["a"]]'],
}  # fmt: skip
TYPES: dict[str, Any] = {
    "no type": one("CustomInt", b"1"),
    "empty type": one("CustomInt", b"1", ""),
    "another type": one("CustomInt", b"1", "Keyword"),
    "another type, value of it": one("CustomInt", b'"x"', "Keyword"),
    "unknown type": one("CustomInt", b"1", "Integer"),
    "snake type": one("CustomKeywordList", b'["x"]', "INDEXED_VALUE_TYPE_KEYWORD_LIST"),
    "binary": one("CustomInt", b"1", "Int", b"binary/plain"),
    "null encoding": one("CustomInt", b"", None, b"binary/null"),
    "null encoding typed": one("CustomInt", b"", "Int", b"binary/null"),
    "no encoding": {"indexed_fields": {"CustomInt": common.Payload(data=b"1")}},
    "unknown encoding": one("CustomInt", b"1", "Int", b"x/y"),
    "empty payload": {"indexed_fields": {"CustomInt": common.Payload()}},
}
SIZES: dict[str, Any] = {
    "255": one("CustomKeyword", b'"' + b"x" * 255 + b'"', "Keyword"),
    "256": one("CustomKeyword", b'"' + b"x" * 256 + b'"', "Keyword"),
    "2048": one("CustomKeyword", b'"' + b"x" * 2046 + b'"', "Keyword"),
    "2049": one("CustomKeyword", b'"' + b"x" * 2047 + b'"', "Keyword"),
    "text 2048": one("CustomText", b'"' + b"x" * 2046 + b'"', "Text"),
    "text 2049": one("CustomText", b'"' + b"x" * 2047 + b'"', "Text"),
    "list 2049": one("CustomKeywordList", b'["' + b"x" * 2045 + b'"]', "KeywordList"),
    "build ids": one("BuildIds", b'["' + b"x" * 3000 + b'"]', "KeywordList"),
    "3 MB": one("CustomText", b'"' + b"x" * 3_000_000 + b'"', "Text"),
    "two bad": attributes(CustomInt='"x"', NoSuchAttribute='"x"'),
}
ROWS = (
    {f"name {label}": value for label, value in NAMES.items()}
    | {
        f"{kind} {data[:24]!r}": one(f"Custom{kind}", data, kind)
        for kind, values in VALUES.items()
        for data in values
    }
    | {f"type {label}": value for label, value in TYPES.items()}
    | {f"size {label}": value for label, value in SIZES.items()}
)
FEW = (
    "name unregistered", "name empty name", "name status", "name build ids", "name versions",
    "Int b'\"text\"'", "Int b'[1, 2]'", "Datetime b'\"yesterday\"'", "type another type", "type null encoding",
    "size 2049", "size 3 MB", "size two bad",
)  # fmt: skip


@script
async def starts(case: Case) -> None:
    for label, given in ROWS.items():
        name = f"w{list(ROWS).index(label)}"
        await case.call(
            "StartWorkflowExecution",
            label=label,
            **case.start_fields(name, search_attributes=given),
        )


@script
async def signals_with_start(case: Case) -> None:
    for label in FEW:
        request = case.start_fields(f"w{list(ROWS).index(label)}", search_attributes=ROWS[label])
        await case.call(
            "SignalWithStartWorkflowExecution", label=label, signal_name="signal", **request
        )


async def _commands(case: Case, make_commands: Any, labels: tuple[str, ...]) -> None:
    for label in labels:
        name = f"w{list(ROWS).index(label)}"
        await case.start(name, task_queue=case.queue_named(name))
        task = await case.ask("PollWorkflowTaskQueue", task_queue=case.queue_named(name))
        commands: list[Command] = make_commands(ROWS[label])
        await case.call(
            "RespondWorkflowTaskCompleted",
            label=label,
            task_token=task.task_token,
            commands=commands,
        )
        await case.history(name)


@script
async def upserts(case: Case) -> None:
    def upsert(given: Any) -> list[Command]:
        return [make("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes=given)]

    await _commands(case, upsert, FEW)


@script
async def children(case: Case) -> None:
    def start(given: Any) -> list[Command]:
        fields: dict[str, Any] = {
            "workflow_id": "child", "workflow_type": {"name": "Type"}, "task_queue": case.queue_named("no-worker"),
            "search_attributes": given,
        }  # fmt: skip
        return [make("START_CHILD_WORKFLOW_EXECUTION", **fields)]

    await _commands(case, start, FEW[:2] + FEW[5:6] + FEW[10:11])


@script
async def continued(case: Case) -> None:
    def again(given: Any) -> list[Command]:
        return [continue_as_new(case.queue, search_attributes=given)]

    await _commands(case, again, FEW[:2] + FEW[5:6] + FEW[10:11])


# What the events say.

GIVEN: dict[str, common.Payload] = {
    "typed": payload(b"1", "Int"),
    "no type": payload(b"1"),
    "empty type": payload(b"1", ""),
    "another type": payload(b"1", "Keyword"),
    "null": payload(b"null"),
    "binary null": payload(b"", None, b"binary/null"),
    "empty list": payload(b"[]"),
}
MEMO = {
    "number": payload(b"1"),
    "null": payload(b"null"),
    "binary null": payload(b"", None, b"binary/null"),
    "empty list": payload(b"[]"),
    "empty object": payload(b"{}"),
    "empty text": payload(b'""'),
    "no data": payload(b"", None, b"binary/plain"),
    "no encoding": common.Payload(),
}


async def _all_events(case: Case, **values: Any) -> None:
    """A start, a child, an upsert, and a run that follows, all with the same values."""
    child: dict[str, Any] = {
        "workflow_id": case.id("child"), "workflow_type": {"name": "Type"}, "task_queue": case.queue_named("none"),
    }  # fmt: skip
    await case.start(**values)
    if "memo" in values:
        upsert = make("MODIFY_WORKFLOW_PROPERTIES", upserted_memo=values["memo"])
    else:
        upsert = make("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", **values)
    first = await case.poll()
    await case.complete(first, upsert, make("START_CHILD_WORKFLOW_EXECUTION", **child, **values))
    await case.happened("CHILD_WORKFLOW_EXECUTION_STARTED")
    await case.history("child")
    await case.describe()
    await case.old_enough()
    await case.step(continue_as_new(case.queue, **values))
    await case.history(run_id=first.workflow_execution.run_id)
    await case.history()
    await case.describe()
    other = case.start_fields("other", **values)
    await case.ask("SignalWithStartWorkflowExecution", signal_name="signal", **other)
    history = await case.ask("GetWorkflowExecutionHistory", execution=case.execution("other"))
    del history.history.events[1:]
    case.note("GetWorkflowExecutionHistory (signal with start)", history)


def _types(label: str, given: common.Payload) -> None:
    async def types(case: Case) -> None:
        await _all_events(case, search_attributes={"indexed_fields": {"CustomInt": given}})

    add(f"search_attributes.events_{label.replace(' ', '_')}", types)


for _label, _given in GIVEN.items():
    _types(_label, _given)


@script
async def events_empty(case: Case) -> None:
    await case.start(search_attributes={}, memo={})
    child: dict[str, Any] = {
        "workflow_id": case.id("child"), "workflow_type": {"name": "Type"}, "task_queue": case.queue_named("none"),
    }  # fmt: skip
    none: dict[str, Any] = {"search_attributes": {}, "memo": {}}
    await case.step(make("START_CHILD_WORKFLOW_EXECUTION", **child, **none))
    await case.happened("CHILD_WORKFLOW_EXECUTION_STARTED")
    await case.history("child")
    await case.old_enough()
    await case.step(continue_as_new(case.queue, **none))
    await case.history()


@script
async def memos(case: Case) -> None:
    await _all_events(case, memo={"fields": MEMO})


@script
async def registrations(case: Case) -> None:
    for label, names in {
        "status": {"ExecutionStatus": 2},
        "build ids": {"BuildIds": 8},
        "unknown type": {"Fresh": 99},
        "prefix": {"TemporalFresh": 2},
        "only the prefix": {"Temporal": 2},
    }.items():
        await case.call("AddSearchAttributes", label=label, search_attributes=names)
