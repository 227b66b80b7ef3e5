"""Finds the owner that answers an RPC, from the routing of its row and the request.

Invariant: a request that names no owner (an unknown namespace, a malformed token, a missing name) is answered where it
arrived: its handler refuses it.
Not here: the way to the owner (`dispatch`), the table (`rpcs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.core.ids import QueueKey, QueueKind, workflow_id_key
from perdure.history.draft.tokens import entity_of
from perdure.server.common.seals import body_of
from perdure.server.frontend.rpcs import Routing

if TYPE_CHECKING:
    from perdure.server.frontend.rpcs import Rpc
    from perdure.server.owners.messages import Place
    from perdure.server.shards.namespaces import Namespaces

_EXECUTIONS = ("workflow_execution", "execution")


def place_of(rpc: Rpc, request: Any, namespaces: Namespaces) -> Place | None:
    """What the request is about: its owner answers. None: any node may."""
    match rpc.routing:
        case Routing.ANY | Routing.EVERY:
            return None
        case Routing.TASK:
            return entity_of(body_of(request.task_token))
        case Routing.NAMESPACE:
            return workflow_id_key("", request.namespace)
        case Routing.WORKFLOW | Routing.QUEUE:
            namespace = namespaces.find(request.namespace)
            if namespace is None:
                return None
            if rpc.routing is Routing.WORKFLOW:
                return workflow_id_key(namespace.namespace_id, workflow_id_of(request))
            # The kinds of a name's queues have one owner.
            name = request.task_queue.name
            return QueueKey(namespace.namespace_id, name, QueueKind.WORKFLOW)


def workflow_id_of(request: Any) -> str:
    """The workflow id that a request names, wherever its type has it."""
    fields = request.DESCRIPTOR.fields_by_name
    if "workflow_id" in fields:
        return request.workflow_id
    for name in _EXECUTIONS:
        if name in fields:
            return getattr(request, name).workflow_id
    if "update_ref" in fields:
        return request.update_ref.workflow_execution.workflow_id
    # ExecuteMultiOperation: both operations are about one workflow id.
    operations = request.operations
    return operations[0].start_workflow.workflow_id if operations else ""
