"""Runs in lists, pages and counts of them, and the search attributes that they show."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from perdure.core.units import SECOND_NS
from perdure.entity.transition import VisibilityRow
from perdure.server.frontend.lists import execution_info
from perdure.wire.api import (
    common,
    enums,
    operatorservice,
    workflow,
)
from perdure.wire.errors import InvalidArgument
from perdure.wire.times import duration, timestamp
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import Caller, virtual_caller
from tests.unit.server.virtual import on_virtual_time

ROW = VisibilityRow(
    "n",
    "w",
    "r",
    "T",
    "q",
    1,
    start_ns=1_000 * SECOND_NS,
    execution_ns=1_002 * SECOND_NS,
    history_length=9,
    history_size_bytes=99,
    memo=common.Memo(fields={"m": common.Payload(data=b"1")}).SerializeToString(),
    search_attributes=common.SearchAttributes(
        indexed_fields={"s": common.Payload(data=b"2")}
    ).SerializeToString(),
)


def shown(**changes: Any) -> workflow.WorkflowExecutionInfo:
    fields: dict[str, Any] = {
        "execution": common.WorkflowExecution(workflow_id="w", run_id="r"),
        "type": common.WorkflowType(name="T"),
        "start_time": timestamp(1_000 * SECOND_NS),
        "execution_time": timestamp(1_002 * SECOND_NS),
        "status": 1,
        "task_queue": "q",
        "memo": common.Memo(fields={"m": common.Payload(data=b"1")}),
        "search_attributes": common.SearchAttributes(
            indexed_fields={"s": common.Payload(data=b"2")}
        ),
        "root_execution": common.WorkflowExecution(workflow_id="w", run_id="r"),
    }
    return workflow.WorkflowExecutionInfo(**(fields | changes))


def changed(**changes: Any) -> VisibilityRow:
    return msgspec.structs.replace(ROW, **changes)


def test_a_run_in_a_list():
    assert execution_info(ROW) == shown(), "its length and size are told when it has closed"
    closed = changed(status=2, close_ns=1_007 * SECOND_NS)
    assert execution_info(closed) == shown(
        status=2,
        close_time=timestamp(1_007 * SECOND_NS),
        execution_duration=duration(5 * SECOND_NS),
        history_length=9,
        history_size_bytes=99,
    )
    child = changed(
        parent_workflow_id="p", parent_run_id="pr", root_workflow_id="o", root_run_id="or"
    )
    assert execution_info(child) == shown(
        parent_execution=common.WorkflowExecution(workflow_id="p", run_id="pr"),
        root_execution=common.WorkflowExecution(workflow_id="o", run_id="or"),
    )


@on_virtual_time
async def test_lists_are_newest_first_in_pages_and_counted_by_what_is_asked():
    async with virtual_caller() as caller:
        for number in range(5):
            await caller.start(f"w{number}")
            await asyncio.sleep(1)
        for _ in range(2):
            await caller.complete(await caller.poll(), complete_workflow())
            await asyncio.sleep(1)
        found: list[list[str]] = []
        token = b""
        while True:
            page = await caller.call("ListWorkflowExecutions", page_size=2, next_page_token=token)
            found.append([each.execution.workflow_id for each in page.executions])
            token = page.next_page_token
            if not token:
                break
        assert found == [["w4", "w3"], ["w2", "w1"], ["w0"]]
        everything = await caller.call("ListWorkflowExecutions")
        assert (len(everything.executions), everything.next_page_token) == (5, b"")

        async def count(query: str) -> tuple[int, dict[bytes, int]]:
            counted = await caller.call("CountWorkflowExecutions", query=query)
            for group in counted.groups:
                (value,) = group.group_values
                assert dict(value.metadata) == {"encoding": b"json/plain", "type": b"Keyword"}
            return counted.count, {g.group_values[0].data: g.count for g in counted.groups}

        assert await count("") == (5, {})
        assert await count("ExecutionStatus = 'Running'") == (3, {})
        groups = {b'"Running"': 3, b'"Completed"': 2}
        assert await count("GROUP BY ExecutionStatus") == (5, groups)
        assert await count("group by executionstatus ") == (5, groups)
        one = await count("ExecutionStatus = 'Completed' GROUP BY ExecutionStatus")
        assert one == (2, {b'"Completed"': 2})
        assert await count("WorkflowId = 'w0' GROUP BY ExecutionStatus") == (
            1,
            {b'"Completed"': 1},
        )


async def test_registered_types_are_told_and_predefined_names_have_theirs(caller: Caller):
    added = {"Colour": enums.INDEXED_VALUE_TYPE_KEYWORD_LIST, "Size": enums.INDEXED_VALUE_TYPE_INT}
    await caller.call("AddSearchAttributes", search_attributes=added)
    values = {
        "Colour": {"metadata": {"encoding": b"json/plain"}, "data": b'["red"]'},
        "BuildIds": {"metadata": {"encoding": b"json/plain"}, "data": b'["1"]'},
        "Size": {"data": b"3", "metadata": {"encoding": b"json/plain", "type": b"Double"}},
    }
    await caller.start(search_attributes={"indexed_fields": values})
    execution = {"workflow_id": "w"}
    described = await caller.call("DescribeWorkflowExecution", execution=execution)
    fields = described.workflow_execution_info.search_attributes.indexed_fields
    types = {name: fields[name].metadata["type"] for name in values}
    assert types == {
        "Colour": b"KeywordList",
        "BuildIds": b"KeywordList",
        "Size": b"Double",
    }, "a type that is given stays"
    listed = await caller.call("ListSearchAttributes")
    assert dict(listed.custom_attributes) == added
    assert listed.system_attributes["BuildIds"] == enums.INDEXED_VALUE_TYPE_KEYWORD_LIST
    assert listed.system_attributes["StartTime"] == enums.INDEXED_VALUE_TYPE_DATETIME
    await caller.call("RemoveSearchAttributes", search_attributes=["Colour"])
    assert set((await caller.call("ListSearchAttributes")).custom_attributes) == {"Size"}
    for name, message in (("Colour", "doesn't exist"), ("RunId", "doesn't exist")):
        with pytest.raises(InvalidArgument, match=message):
            await caller.call("RemoveSearchAttributes", search_attributes=[name])
    for attributes, message in (
        ({}, "not set"),
        ({"BuildIds": 1}, "reserved"),
        ({"New": 0}, "Unknown search attribute type: 0"),
        ({"New": 99}, "Unknown search attribute type: 99"),
    ):
        request = operatorservice.AddSearchAttributesRequest(namespace="default")
        for name, kind in attributes.items():
            request.search_attributes[name] = kind  # type: ignore[assignment]
        with pytest.raises(InvalidArgument, match=message):
            await caller.call(
                "AddSearchAttributes", search_attributes=dict(request.search_attributes)
            )
    assert set((await caller.call("ListSearchAttributes")).custom_attributes) == {"Size"}
