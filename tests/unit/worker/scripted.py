"""A connection that answers a worker from a script, and the tasks that it gives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure.wire.api import workflowservice
from tests.harness import connections

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.wire.seam import Method


class ScriptedConnection(connections.ScriptedConnection):
    """Without an answer polls wait forever, as polls without a task do, and other calls succeed."""

    async def unscripted(self, method: Method) -> Message:
        if method.name.startswith("Poll"):
            await asyncio.Event().wait()
        return method.response_type()


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
