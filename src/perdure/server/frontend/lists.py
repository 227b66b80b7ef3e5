"""Lists and counts of runs, from the visibility rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.units import END_OF_TIME_NS
from perdure.entity.transition import VisibilityRow
from perdure.history.commands.search_attributes import name_types
from perdure.history.draft.tokens import DECODE_ERRORS
from perdure.server.common import seals
from perdure.server.frontend import checks
from perdure.server.frontend.list_filter import parse_filter
from perdure.server.frontend.pages import (
    PAGE_BYTES_MAX,
    fitting,
    invalid_page_token,
    page_body,
)
from perdure.storage.port import VisibilityQuery
from perdure.wire.api import common, enums, workflow, workflowservice
from perdure.wire.times import duration, timestamp, timestamp_or_none

if TYPE_CHECKING:
    from perdure.server.common.namespace_facts import NamespaceFact
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

PAGE_DEFAULT = 1_000
PAGE_MAX = 1_000
_LIST = "list"
"""The purpose of a page token, for `page_body`: any list of its namespace. A token is a position in the order of all
runs, from which another query can continue. Callers that write a time into the query change it with each page."""
_GROUP_BY = "GROUP BY EXECUTIONSTATUS"
_Status = enums.WorkflowExecutionStatus

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(VisibilityRow)


async def list_workflow_executions(
    services: Services, call: Call, request: workflowservice.ListWorkflowExecutionsRequest
) -> workflowservice.ListWorkflowExecutionsResponse:
    namespace = services.namespace(request.namespace)
    size = checks.page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)
    query = msgspec.structs.replace(
        parse_filter(request.query, namespace.namespace_id),
        after=_after(services, namespace, request),
        limit=size,
        bytes_max=PAGE_BYTES_MAX,
    )
    rows = await services.engine.visibility(query)
    executions = fitting(map(execution_info, rows))
    has_more = len(rows) == size or len(executions) < len(rows)
    for info in executions:
        name_types(info.search_attributes, namespace.search_attributes)
    return workflowservice.ListWorkflowExecutionsResponse(
        executions=executions,
        next_page_token=_token(rows[len(executions) - 1], namespace) if has_more else b"",
    )


def _token(last: VisibilityRow, namespace: NamespaceFact) -> bytes:
    # The token holds only the values that order the rows; a memo does not belong there.
    body = _encoder.encode(msgspec.structs.replace(last, memo=b"", search_attributes=b""))
    return seals.seal(body, namespace.token_key, seals.PAGE, _LIST)


def _after(
    services: Services,
    namespace: NamespaceFact,
    request: workflowservice.ListWorkflowExecutionsRequest,
) -> VisibilityRow | None:
    token = request.next_page_token
    if not token:
        return None
    body = page_body(token, namespace, _LIST, services.clock.now_ns())
    try:
        row = _decoder.decode(body)
    except DECODE_ERRORS:
        raise invalid_page_token() from None
    if not all(0 <= at_ns <= END_OF_TIME_NS for at_ns in (row.start_ns, row.close_ns)):
        raise invalid_page_token()
    return row


async def count_workflow_executions(
    services: Services, call: Call, request: workflowservice.CountWorkflowExecutionsRequest
) -> workflowservice.CountWorkflowExecutionsResponse:
    namespace_id = services.namespace_id(request.namespace)
    text = request.query.strip()
    if not text.upper().endswith(_GROUP_BY):
        count = await services.engine.visibility_count(parse_filter(text, namespace_id))
        return workflowservice.CountWorkflowExecutionsResponse(count=count)
    return await _count_by_status(services, parse_filter(text[: -len(_GROUP_BY)], namespace_id))


async def _count_by_status(
    services: Services, query: VisibilityQuery
) -> workflowservice.CountWorkflowExecutionsResponse:
    response = workflowservice.CountWorkflowExecutionsResponse()
    counts = await services.engine.visibility_counts(query)
    for status in query.statuses or _Status.values():
        if status and (count := counts.pop(status, 0)):
            response.count += count
            group = response.groups.add(count=count)
            group.group_values.add(
                metadata={"encoding": b"json/plain", "type": b"Keyword"},
                data=f'"{_status_name(status)}"'.encode(),
            )
    return response


def _status_name(status: int) -> str:
    snake = _Status.Name(_Status.ValueType(status)).removeprefix("WORKFLOW_EXECUTION_STATUS_")
    return "".join(part.capitalize() for part in snake.split("_"))


def execution_info(row: VisibilityRow) -> workflow.WorkflowExecutionInfo:
    """A run, as shown in lists."""
    info = workflow.WorkflowExecutionInfo(
        execution=common.WorkflowExecution(workflow_id=row.workflow_id, run_id=row.run_id),
        type=common.WorkflowType(name=row.workflow_type),
        start_time=timestamp(row.start_ns),
        execution_time=timestamp(row.execution_ns),
        close_time=timestamp_or_none(row.close_ns),
        status=_Status.ValueType(row.status),
        task_queue=row.task_queue,
        history_length=row.history_length if row.close_ns else 0,
        history_size_bytes=row.history_size_bytes if row.close_ns else 0,
        execution_duration=duration(row.close_ns - row.execution_ns) if row.close_ns else None,
        memo=common.Memo.FromString(row.memo),
        search_attributes=common.SearchAttributes.FromString(row.search_attributes),
    )
    if row.parent_workflow_id:
        info.parent_execution.workflow_id = row.parent_workflow_id
        info.parent_execution.run_id = row.parent_run_id
    info.root_execution.workflow_id = row.root_workflow_id or row.workflow_id
    info.root_execution.run_id = row.root_run_id or row.run_id
    return info
