"""The public enumerations carry the wire's numbers under the wire's names."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest

from perdure import client, common, exceptions
from perdure.wire.api import enums

# public enum → (wire enum, prefix of its value names, members that the wire has and we do not)
PAIRS: list[tuple[type[IntEnum], Any, str, set[str]]] = [
    (common.WorkflowIDReusePolicy, enums.WorkflowIdReusePolicy, "WORKFLOW_ID_REUSE_POLICY_", {"UNSPECIFIED"}),
    (common.WorkflowIDConflictPolicy, enums.WorkflowIdConflictPolicy, "WORKFLOW_ID_CONFLICT_POLICY_", set()),
    (common.ActivityIDReusePolicy, enums.ActivityIdReusePolicy, "ACTIVITY_ID_REUSE_POLICY_", set()),
    (common.ActivityIDConflictPolicy, enums.ActivityIdConflictPolicy, "ACTIVITY_ID_CONFLICT_POLICY_", set()),
    (common.NexusOperationIDReusePolicy, enums.NexusOperationIdReusePolicy, "NEXUS_OPERATION_ID_REUSE_POLICY_", set()),
    (
        common.NexusOperationIDConflictPolicy,
        enums.NexusOperationIdConflictPolicy,
        "NEXUS_OPERATION_ID_CONFLICT_POLICY_",
        set(),
    ),
    (
        common.NexusOperationExecutionStatus,
        enums.NexusOperationExecutionStatus,
        "NEXUS_OPERATION_EXECUTION_STATUS_",
        set(),
    ),
    (
        common.PendingNexusOperationExecutionState,
        enums.PendingNexusOperationState,
        "PENDING_NEXUS_OPERATION_STATE_",
        set(),
    ),
    (
        common.NexusOperationCancellationState,
        enums.NexusOperationCancellationState,
        "NEXUS_OPERATION_CANCELLATION_STATE_",
        set(),
    ),
    (common.QueryRejectCondition, enums.QueryRejectCondition, "QUERY_REJECT_CONDITION_", {"UNSPECIFIED"}),
    (common.SearchAttributeIndexedValueType, enums.IndexedValueType, "INDEXED_VALUE_TYPE_", {"UNSPECIFIED"}),
    (common.VersioningBehavior, enums.VersioningBehavior, "VERSIONING_BEHAVIOR_", set()),
    (exceptions.ApplicationErrorCategory, enums.ApplicationErrorCategory, "APPLICATION_ERROR_CATEGORY_", set()),
    (exceptions.TimeoutType, enums.TimeoutType, "TIMEOUT_TYPE_", {"UNSPECIFIED"}),
    (exceptions.RetryState, enums.RetryState, "RETRY_STATE_", {"UNSPECIFIED"}),
    (
        client.WorkflowExecutionStatus,
        enums.WorkflowExecutionStatus,
        "WORKFLOW_EXECUTION_STATUS_",
        {"UNSPECIFIED", "PAUSED"},
    ),
    (
        client.WorkflowHistoryEventFilterType,
        enums.HistoryEventFilterType,
        "HISTORY_EVENT_FILTER_TYPE_",
        {"UNSPECIFIED"},
    ),
    (
        client.WorkflowUpdateStage,
        enums.UpdateWorkflowExecutionLifecycleStage,
        "UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_",
        {"UNSPECIFIED"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "prefix", "missing"), PAIRS)
def test_numbers(ours: type[IntEnum], theirs: Any, prefix: str, missing: set[str]) -> None:
    wire = {name.removeprefix(prefix): number for name, number in theirs.items()}
    assert {member.name: int(member) for member in ours} == {
        name: number for name, number in wire.items() if name not in missing
    }


def test_status_codes_are_those_of_grpc() -> None:
    import grpc

    public = {code.name: int(code) for code in client.RPCStatusCode}
    assert public == {code.name: code.value[0] for code in grpc.StatusCode}
