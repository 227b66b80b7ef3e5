"""A connection that answers from a script: it implements the seam and speaks the API's real messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from perdure.wire.api import workflowservice

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.seam import Method

Answer = Callable[[Any], Any]


class ScriptedConnection:
    """Answers each method by the function given for it; calls are kept in order.

    A function may return a message, raise an `RpcError`, or return an awaitable of either. Polls without a function
    wait forever, as polls without a task do.
    """

    polls_are_free = False

    def __init__(self, **answers: Answer) -> None:
        self._answers = answers
        self.calls: list[tuple[str, Any]] = []

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        copy = method.request_type()
        copy.CopyFrom(request)
        self.calls.append((method.name, copy))
        answer = self._answers.get(method.name)
        if answer is None:
            if method.name.startswith("Poll"):
                await asyncio.Event().wait()
            return method.response_type()
        result = answer(copy)
        return await result if asyncio.iscoroutine(result) else result

    async def close(self) -> None:
        return None

    def requests(self, name: str) -> list[Any]:
        return [request for called, request in self.calls if called == name]


def activity_task(
    activity_type: str, token: bytes = b"token", **fields: Any
) -> workflowservice.PollActivityTaskQueueResponse:
    """A polled activity task."""
    task = workflowservice.PollActivityTaskQueueResponse(task_token=token, attempt=1, **fields)
    task.activity_type.name = activity_type
    task.workflow_execution.workflow_id = "workflow-1"
    task.workflow_execution.run_id = "run-1"
    task.workflow_namespace = "default"
    return task
