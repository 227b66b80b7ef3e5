"""Workers as a whole: polls of Nexus tasks, which do not exist yet, and workers that shut down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import QueueKey, QueueKind
from perdure.server.frontend import checks
from perdure.wire.api import enums, workflowservice

if TYPE_CHECKING:
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

_Type = enums.TaskQueueType
KINDS = {
    _Type.TASK_QUEUE_TYPE_WORKFLOW: QueueKind.WORKFLOW,
    _Type.TASK_QUEUE_TYPE_ACTIVITY: QueueKind.ACTIVITY,
    _Type.TASK_QUEUE_TYPE_NEXUS: QueueKind.NEXUS,
}
"""The kinds of queues by the types of the API."""


def build_id(
    request: workflowservice.PollWorkflowTaskQueueRequest
    | workflowservice.PollActivityTaskQueueRequest,
) -> str:
    """The build of the worker that polls; it may say so in two places."""
    return request.worker_version_capabilities.build_id or request.deployment_options.build_id


async def poll_nexus_task_queue(
    services: Services, call: Call, request: workflowservice.PollNexusTaskQueueRequest
) -> workflowservice.PollNexusTaskQueueResponse:
    """Wait like every other poll, and answer empty. A worker with Nexus handlers can so poll and stop."""
    namespace_id = services.namespace_id(request.namespace)
    name = checks.queue_name(request.task_queue, services.limits)
    checks.optional_text(request.identity, "Identity", services.limits)
    checks.build_id(request.worker_version_capabilities.build_id, services.limits)
    checks.deployment_options(request.deployment_options, services.limits)
    await services.matching.poll(
        QueueKey(namespace_id, name, QueueKind.NEXUS),
        identity=request.identity,
        wait_ns=call.long_poll_ns(),
        instance_key=request.worker_instance_key,
    )
    return workflowservice.PollNexusTaskQueueResponse()


async def shutdown_worker(
    services: Services, call: Call, request: workflowservice.ShutdownWorkerRequest
) -> workflowservice.ShutdownWorkerResponse:
    """Stop routing tasks to the worker's sticky queue, and end its polls of this and its task queue at once (S-11).

    An instance key is a process. It may have workers of other queues, which go on. No types means all types.
    """
    namespace_id = services.namespace_id(request.namespace)
    matching, instance_key = services.matching, request.worker_instance_key
    sticky, name = request.sticky_task_queue, request.task_queue
    ended: list[QueueKey] = []
    if name:
        types = set(request.task_queue_types) or KINDS.keys()
        ended += [
            QueueKey(namespace_id, name, kind) for each, kind in KINDS.items() if each in types
        ]
    if sticky:
        ended.append(QueueKey(namespace_id, sticky, QueueKind.WORKFLOW))
        matching.close_sticky(ended[-1])
    for key in ended if instance_key else ():
        matching.end_polls(key, instance_key)
    return workflowservice.ShutdownWorkerResponse()
