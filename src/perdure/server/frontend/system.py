"""Information about the server and its task queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.ids import QueueKey, QueueKind
from perdure.server.frontend import checks
from perdure.server.frontend.workers import KINDS
from perdure.wire.api import taskqueue, version, workflowservice
from perdure.wire.times import timestamp

if TYPE_CHECKING:
    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

_RATE_PER_SECOND = 100_000.0

_CAPABILITIES = workflowservice.GetSystemInfoResponse.Capabilities(
    signal_and_query_header=True,
    internal_error_differentiation=True,
    activity_failure_include_heartbeat=True,
    encoded_failure_attributes=True,
    upsert_memo=True,
    eager_workflow_start=True,
    sdk_metadata=True,
    count_group_by_execution_status=True,
)
"""The capabilities that exist. SDKs gate features on them; without `sdk_metadata` they record no flags.

The reference server also says `supports_schedules`, `build_id_based_versioning` and `nexus`.
"""


async def get_system_info(
    services: Services, call: Call, request: workflowservice.GetSystemInfoRequest
) -> workflowservice.GetSystemInfoResponse:
    return workflowservice.GetSystemInfoResponse(
        server_version=services.info.api_version, capabilities=_CAPABILITIES
    )


async def get_cluster_info(
    services: Services, call: Call, request: workflowservice.GetClusterInfoRequest
) -> workflowservice.GetClusterInfoResponse:
    info = services.info
    return workflowservice.GetClusterInfoResponse(
        server_version=info.api_version,
        cluster_id=info.cluster_id,
        cluster_name=info.cluster_name,
        version_info=version.VersionInfo(
            current=version.ReleaseInfo(version=info.api_version, notes=f"Perdure {info.version}")
        ),
        history_shard_count=info.shard_count,
        persistence_store=info.store,
        visibility_store=info.store,
    )


async def describe_task_queue(
    services: Services, call: Call, request: workflowservice.DescribeTaskQueueRequest
) -> workflowservice.DescribeTaskQueueResponse:
    namespace_id = services.namespace_id(request.namespace)
    name = checks.described_queue_name(request.task_queue, services.limits)
    kind = KINDS.get(request.task_queue_type, QueueKind.WORKFLOW)
    pollers = services.matching.pollers(QueueKey(namespace_id, name, kind))
    waiting = services.matching.backlog_hint(namespace_id, name, kind)
    status = taskqueue.TaskQueueStatus(backlog_count_hint=waiting)
    return workflowservice.DescribeTaskQueueResponse(
        pollers=[
            taskqueue.PollerInfo(
                identity=identity,
                last_access_time=timestamp(at_ns),
                rate_per_second=_RATE_PER_SECOND,
            )
            for identity, at_ns in pollers
        ],
        task_queue_status=status if request.include_task_queue_status else None,
    )
