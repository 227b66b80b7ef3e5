"""Namespaces: register, update, describe and list, including the capabilities that they report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.limits import RETENTION_FOREVER_NS
from perdure.server.common.namespace_facts import NamespaceFact
from perdure.server.frontend import checks
from perdure.server.frontend.pages import fitting
from perdure.wire.api import enums, namespace, replication, workflowservice
from perdure.wire.errors import (
    InvalidArgument,
    namespace_not_found,
    shown,
)
from perdure.wire.times import duration, duration_ns

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_State = enums.NamespaceState


async def register_namespace(
    services: Services, call: Call, request: workflowservice.RegisterNamespaceRequest
) -> workflowservice.RegisterNamespaceResponse:
    name = checks.text(request.namespace, "Namespace", services.limits)
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"Namespace {shown(name)!r} is not a valid name: use letters, digits, '-', '_' and '.', "
            "beginning with a letter or digit."
        )
    if request.is_global_namespace:
        raise InvalidArgument("Cannot register global namespace when not enabled")
    for cluster in (request.active_cluster_name, *(one.cluster_name for one in request.clusters)):
        if cluster not in {"", services.info.cluster_name}:
            raise InvalidArgument(f"Invalid cluster name: {shown(cluster)}")
    _check_size(services, request.ByteSize())
    retention_ns = _retention_ns(request.workflow_execution_retention_period)
    await services.engine.namespaces.register(
        NamespaceFact(
            namespace_id=services.new_id(),
            name=name,
            description=request.description,
            owner_email=request.owner_email,
            data=dict(request.data),
            retention_ns=retention_ns or services.limits.retention_default_ns,
            created_ns=services.clock.now_ns(),
        )
    )
    return workflowservice.RegisterNamespaceResponse()


async def update_namespace(
    services: Services, call: Call, request: workflowservice.UpdateNamespaceRequest
) -> workflowservice.UpdateNamespaceResponse:
    """Description, owner, data and retention can be changed; `data` is merged, empty texts change nothing."""
    fields = {field.name for field, _ in request.ListFields()}
    for field in sorted(fields & {"replication_config", "delete_bad_binary", "promote_namespace"}):
        raise InvalidArgument(f"UpdateNamespace: {field} is not supported by this server.")
    fact = services.namespace(request.namespace)
    info, ttl = request.update_info, request.config.workflow_execution_retention_ttl
    if info.state not in {_State.NAMESPACE_STATE_UNSPECIFIED, fact.state}:
        raise InvalidArgument("UpdateNamespace: the state of a namespace cannot be changed.")
    changes: dict[str, Any] = {}
    if info.description:
        changes["description"] = info.description
    if info.owner_email:
        changes["owner_email"] = info.owner_email
    if request.config.HasField("workflow_execution_retention_ttl"):
        retention_ns = _retention_ns(ttl)
        changes["retention_ns"] = retention_ns or services.limits.retention_default_ns

    def update(fact: NamespaceFact) -> NamespaceFact:
        changed = msgspec.structs.replace(fact, data=fact.data | dict(info.data), **changes)
        _check_size(services, describe(services, changed).namespace_info.ByteSize())
        return changed

    await services.engine.namespaces.change(fact.namespace_id, update)
    now = describe(services, services.namespace(request.namespace))
    return workflowservice.UpdateNamespaceResponse(
        namespace_info=now.namespace_info,
        config=now.config,
        replication_config=now.replication_config,
    )


def _check_size(services: Services, size_bytes: int) -> None:
    """Every node keeps what describes a namespace, and answers with it; updates add to its data."""
    if size_bytes > services.limits.blob_size_bytes_max:
        raise InvalidArgument(
            f"The namespace's description, owner and data have {size_bytes} bytes; "
            f"the limit is {services.limits.blob_size_bytes_max}."
        )


def _retention_ns(period: Duration) -> int:
    """A retention within what can be stored; 0 stands for the default."""
    retention_ns = duration_ns(period)
    if retention_ns < 0:
        raise InvalidArgument("WorkflowExecutionRetentionPeriod must not be negative.")
    return min(retention_ns, RETENTION_FOREVER_NS)


async def describe_namespace(
    services: Services, call: Call, request: workflowservice.DescribeNamespaceRequest
) -> workflowservice.DescribeNamespaceResponse:
    if request.id:
        for fact in services.engine.namespaces.all():
            if fact.namespace_id == request.id:
                return describe(services, fact)
        raise namespace_not_found(request.id)
    return describe(services, services.namespace(request.namespace))


async def list_namespaces(
    services: Services, call: Call, request: workflowservice.ListNamespacesRequest
) -> workflowservice.ListNamespacesResponse:
    """The namespaces in order of their names. The page token is the last name of a page."""
    size = checks.page_size(request.page_size, 100, 1_000)
    after = request.next_page_token.decode("utf-8", "replace")
    facts = sorted(services.engine.namespaces.all(), key=lambda fact: fact.name)
    rest = [fact for fact in facts if fact.name > after]
    page = fitting(describe(services, fact) for fact in rest[:size])
    return workflowservice.ListNamespacesResponse(
        namespaces=page,
        next_page_token=page[-1].namespace_info.name.encode() if len(page) < len(rest) else b"",
    )


def describe(services: Services, fact: NamespaceFact) -> workflowservice.DescribeNamespaceResponse:
    """The description of a namespace, which every client and worker requests when it starts."""
    limits = services.limits
    return workflowservice.DescribeNamespaceResponse(
        namespace_info=namespace.NamespaceInfo(
            name=fact.name,
            id=fact.namespace_id,
            state=_State.ValueType(fact.state),
            description=fact.description,
            owner_email=fact.owner_email,
            data=fact.data,
            capabilities=namespace.NamespaceInfo.Capabilities(
                eager_workflow_start=True,
                worker_poll_complete_on_shutdown=True,
                sync_update=True,
                async_update=True,
            ),
            limits=namespace.NamespaceInfo.Limits(
                blob_size_limit_error=limits.blob_size_bytes_max,
                memo_size_limit_error=limits.memo_size_bytes_max,
            ),
        ),
        config=namespace.NamespaceConfig(
            workflow_execution_retention_ttl=duration(fact.retention_ns),
            history_archival_state=enums.ArchivalState.ARCHIVAL_STATE_DISABLED,
            visibility_archival_state=enums.ArchivalState.ARCHIVAL_STATE_DISABLED,
        ),
        replication_config=replication.NamespaceReplicationConfig(
            active_cluster_name=services.info.cluster_name,
            clusters=[
                replication.ClusterReplicationConfig(cluster_name=services.info.cluster_name)
            ],
        ),
    )
