"""Calls on an embedded connection, as tests make them."""

from __future__ import annotations

from typing import Any

from perdure.core.units import SECOND_NS
from perdure.embedded import EmbeddedConnection
from perdure.wire.api import common, taskqueue
from perdure.wire.seam import WORKFLOW_SERVICE

QUEUE = taskqueue.TaskQueue(name="q")


async def call(
    connection: EmbeddedConnection, name: str, timeout_s: float = 10, **fields: Any
) -> Any:
    method = WORKFLOW_SERVICE[name]
    request: Any = method.request_type
    return await connection.call(
        method, request(namespace="default", **fields), timeout_ns=int(timeout_s * SECOND_NS)
    )


async def start(connection: EmbeddedConnection, workflow_id: str = "w") -> str:
    reply = await call(
        connection,
        "StartWorkflowExecution",
        workflow_id=workflow_id,
        request_id=workflow_id,
        workflow_type=common.WorkflowType(name="T"),
        task_queue=QUEUE,
    )
    return reply.run_id
