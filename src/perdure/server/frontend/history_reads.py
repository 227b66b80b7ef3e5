"""Reads of a history: pages in both directions, filters and the long poll (S-25 to S-27)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from perdure.core.ids import run_key
from perdure.history import transitions
from perdure.server.frontend import checks
from perdure.server.frontend.pages import (
    HISTORY,
    HistoryToken,
    ReverseToken,
    cut,
    cut_reversed,
    decode_token,
    encode_token,
    page_body,
    tail_bytes,
)
from perdure.wire.api import enums, workflowservice
from perdure.wire.splice import with_field

if TYPE_CHECKING:
    from perdure.history.draft.replies import HistoryTail
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

_Request = (
    workflowservice.GetWorkflowExecutionHistoryRequest
    | workflowservice.GetWorkflowExecutionHistoryReverseRequest
)
_Token = TypeVar("_Token", HistoryToken, ReverseToken)
_CLOSE_EVENT = enums.HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
_READERS = ("temporal-cli", "temporal-ui", "perdure-cli", "perdure-ui")
"""Clients for people. They see stored events only, not the extra events that a worker is shown."""


def _position(services: Services, request: _Request, kind: type[_Token]) -> _Token:
    """The page token of a request: for its namespace, its run, and this kind of read."""
    namespace = services.namespace(request.namespace)
    body = page_body(request.next_page_token, namespace, HISTORY, services.clock.now_ns())
    return decode_token(body, request.execution.run_id, kind)


def _sealed(services: Services, request: _Request, token: HistoryToken | ReverseToken) -> bytes:
    key = services.namespace(request.namespace).token_key
    return encode_token(token, key)


async def get_workflow_execution_history(
    services: Services, call: Call, request: workflowservice.GetWorkflowExecutionHistoryRequest
) -> workflowservice.GetWorkflowExecutionHistoryResponse | bytes:
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.execution, services.limits)
    page_token = request.next_page_token
    token = _position(services, request, HistoryToken) if page_token else HistoryToken(run_id, 1)
    tail = await services.runs.read_current(
        namespace_id, workflow_id, token.run_id, transitions.tail
    )
    entity = run_key(namespace_id, workflow_id, tail.entity.run_id)
    if not page_token:
        is_reader = call.header("client-name") in _READERS
        shown = b"" if is_reader else tail_bytes(tail.transient_events)
        token = HistoryToken(entity.run_id, 1, tail=shown)
    is_close_only = request.history_event_filter_type == _CLOSE_EVENT
    if request.wait_new_event:
        tail = await _wait(services, call, token, tail, is_close_only=is_close_only)
        # A reader that waits is not a worker rebuilding a run, so it gets stored events only.
        token = HistoryToken(entity.run_id, token.next_event_id)
    if is_close_only:
        return await _close_event(services, request, token, tail)
    return await _page(services, request, token, tail)


async def _wait(
    services: Services,
    call: Call,
    token: HistoryToken,
    tail: HistoryTail,
    *,
    is_close_only: bool,
) -> HistoryTail:
    """Wait until there is something for this reader or its poll ends. Returns how far the history reaches."""
    wait_ns = call.long_poll_ns(services.limits.long_poll_ns)
    until_ns = services.clock.monotonic_ns() + wait_ns
    while tail.is_running:
        seen = tail.next_event_id - 1
        if not is_close_only and seen >= token.next_event_id:
            break
        left_ns = until_ns - services.clock.monotonic_ns()
        if left_ns <= 0 or not await services.engine.wait_for_events(
            tail.entity, seen, left_ns, until_end=is_close_only
        ):
            break
        key = tail.entity
        tail = await services.runs.read_current(
            key.namespace_id, key.name, key.run_id, transitions.tail
        )
    return tail


def _empty(token: bytes = b"") -> workflowservice.GetWorkflowExecutionHistoryResponse:
    response = workflowservice.GetWorkflowExecutionHistoryResponse(next_page_token=token)
    response.history.SetInParent()
    return response


async def _close_event(
    services: Services,
    request: workflowservice.GetWorkflowExecutionHistoryRequest,
    token: HistoryToken,
    tail: HistoryTail,
) -> workflowservice.GetWorkflowExecutionHistoryResponse | bytes:
    """Only the final event, or an empty history (S-26)."""
    if tail.is_running:
        return _empty(_sealed(services, request, token) if request.wait_new_event else b"")
    last = tail.close_event_id
    rows = await services.engine.history(tail.entity, last, last)
    response = workflowservice.GetWorkflowExecutionHistoryResponse()
    return with_field(response, "history", b"".join(rows))


async def _page(
    services: Services,
    request: workflowservice.GetWorkflowExecutionHistoryRequest,
    token: HistoryToken,
    tail: HistoryTail,
) -> workflowservice.GetWorkflowExecutionHistoryResponse | bytes:
    entity = tail.entity
    last = token.last_event_id or tail.next_event_id - 1
    follows = tail.is_running and request.wait_new_event
    first = token.next_event_id
    if first > last:
        return _empty(_sealed(services, request, token) if follows else b"")
    events_max = _events_max(services, request.maximum_page_size)
    read_to = min(last, first + events_max - 1)
    page = cut(await services.engine.history(entity, first, read_to), first, read_to)
    response = workflowservice.GetWorkflowExecutionHistoryResponse()
    data = page.data
    if page.next_event_id <= last:
        keep_to = token.last_event_id or (last if token.tail else 0)
        then = HistoryToken(entity.run_id, page.next_event_id, keep_to, token.tail)
        response.next_page_token = _sealed(services, request, then)
    elif follows:
        then = HistoryToken(entity.run_id, page.next_event_id)
        response.next_page_token = _sealed(services, request, then)
    else:
        data += token.tail
    return with_field(response, "history", data)


def _events_max(services: Services, requested: int) -> int:
    limit = services.limits.history_page_events_max
    return checks.page_size(requested, limit, limit)


async def get_workflow_execution_history_reverse(
    services: Services,
    call: Call,
    request: workflowservice.GetWorkflowExecutionHistoryReverseRequest,
) -> bytes:
    """The stored events, from the last one at the time of the first page to the first one."""
    namespace_id = services.namespace_id(request.namespace)
    workflow_id, run_id = checks.execution(request.execution, services.limits)
    page_token = request.next_page_token
    token = _position(services, request, ReverseToken) if page_token else ReverseToken(run_id, 0)
    tail = await services.runs.read_current(
        namespace_id, workflow_id, token.run_id, transitions.tail
    )
    last = min(token.last_event_id or tail.next_event_id - 1, tail.next_event_id - 1)
    first = max(1, last - _events_max(services, request.maximum_page_size) + 1)
    rows = await services.engine.history(tail.entity, first, last)
    page = cut_reversed(rows, last)
    response = workflowservice.GetWorkflowExecutionHistoryReverseResponse()
    if page.next_event_id:
        then = ReverseToken(tail.entity.run_id, page.next_event_id)
        response.next_page_token = _sealed(services, request, then)
    return with_field(response, "history", page.data)
