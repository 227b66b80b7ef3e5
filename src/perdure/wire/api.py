"""Short names for the generated API packages: `from perdure.wire.api import history, enums`.

The names are those of the API's own packages without the version. Only this module and `perdure.wire.enums` import
`temporalio.api`.
"""

from __future__ import annotations

from perdure.wire import enums
from perdure.wire.lean_import import without_grpc

with without_grpc():
    import temporalio.api.activity.v1 as activity
    import temporalio.api.command.v1 as command
    import temporalio.api.common.v1 as common
    import temporalio.api.deployment.v1 as deployment
    import temporalio.api.errordetails.v1 as errordetails
    import temporalio.api.failure.v1 as failure
    import temporalio.api.filter.v1 as filters
    import temporalio.api.history.v1 as history
    import temporalio.api.namespace.v1 as namespace
    import temporalio.api.operatorservice.v1 as operatorservice
    import temporalio.api.protocol.v1 as protocol
    import temporalio.api.query.v1 as query
    import temporalio.api.replication.v1 as replication
    import temporalio.api.sdk.v1 as sdk
    import temporalio.api.taskqueue.v1 as taskqueue
    import temporalio.api.testservice.v1 as testservice
    import temporalio.api.update.v1 as update
    import temporalio.api.version.v1 as version
    import temporalio.api.workflow.v1 as workflow
    import temporalio.api.workflowservice.v1 as workflowservice

__all__ = [
    "activity",
    "command",
    "common",
    "deployment",
    "enums",
    "errordetails",
    "failure",
    "filters",
    "history",
    "namespace",
    "operatorservice",
    "protocol",
    "query",
    "replication",
    "sdk",
    "taskqueue",
    "testservice",
    "update",
    "version",
    "workflow",
    "workflowservice",
]
