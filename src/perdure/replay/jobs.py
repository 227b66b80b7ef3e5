"""The engine's instructions to workflow code: an `Activation` and its ordered jobs.

Invariants: values are frozen; payloads, failures and the start event's attributes are the API's
protobuf messages and must be treated as read-only; durations and times are integer nanoseconds.
Job order inside an activation is the official one (init, patches, seed, signals and updates in
arrival order, everything else in event order, local activities, queries); queries always come in
an activation of their own.

What is not here: how jobs are applied to user code (`perdure.worker`), and eviction, which the
host decides by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from perdure.wire.api import common, history
    from perdure.wire.api import failure as failures

_V = TypeVar("_V")
_EMPTY: Final[Mapping[str, object]] = MappingProxyType({})

LEGACY_QUERY_ID: Final = "legacy_query"
"""Query id of a query task (`RespondQueryTaskCompleted`): no command may accompany its answer."""


class DeploymentVersion(msgspec.Struct, frozen=True):
    """Worker deployment that produced (or is producing) the current workflow task."""

    deployment_name: str
    build_id: str


def ordered_map(fields: Mapping[str, _V]) -> Mapping[str, _V]:
    """A protobuf map in key order: its own order is not deterministic (R-40)."""
    if not fields:
        return _EMPTY  # pyright: ignore[reportReturnType]
    return {key: fields[key] for key in sorted(fields)}


# ── outcomes ──────────────────────────────────────────────────────────────────────────────────────


class Completed(msgspec.Struct, frozen=True):
    """The operation succeeded; `result` is None when the server recorded no payload."""

    result: common.Payload | None


class Failed(msgspec.Struct, frozen=True):
    """The operation failed; `failure` is complete (an ActivityFailure, ChildFailure, …)."""

    failure: failures.Failure


class Cancelled(msgspec.Struct, frozen=True):
    """The operation was cancelled; `failure` wraps a CanceledFailure as its cause."""

    failure: failures.Failure


class Backoff(msgspec.Struct, frozen=True):
    """A local activity must be tried again, after a durable timer, with the next attempt number."""

    attempt: int
    backoff_ns: int
    original_schedule_time_ns: int | None


class ChildStarted(msgspec.Struct, frozen=True):
    """The child run exists."""

    run_id: str


class ChildStartFailed(msgspec.Struct, frozen=True):
    """The server refused to start the child; `cause` is StartChildWorkflowExecutionFailedCause."""

    workflow_id: str
    workflow_type: str
    cause: int


class NexusStarted(msgspec.Struct, frozen=True):
    """The operation runs asynchronously; `operation_token` is None when it already finished."""

    operation_token: str | None


Resolution: TypeAlias = Completed | Failed | Cancelled | Backoff
ChildStartOutcome: TypeAlias = ChildStarted | ChildStartFailed | Cancelled
ChildOutcome: TypeAlias = Completed | Failed | Cancelled
NexusStartOutcome: TypeAlias = NexusStarted | Failed
NexusOutcome: TypeAlias = Completed | Failed | Cancelled

# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────


class InitializeWorkflow(msgspec.Struct, frozen=True):
    """First job of a run.

    `attributes` is the WorkflowExecutionStarted event's attributes message, for everything that
    `workflow.info()` reports and that is not a field here: parent and root, timeouts, retry
    policy, attempt, cron, memo, search attributes, continued run, last result and failure,
    priority, first and original run ids. `start_time_ns` is the time of that event.
    """

    workflow_id: str
    workflow_type: str
    arguments: Sequence[common.Payload]
    randomness_seed: int
    headers: Mapping[str, common.Payload]
    start_time_ns: int
    attributes: history.WorkflowExecutionStartedEventAttributes


class NotifyHasPatch(msgspec.Struct, frozen=True):
    """History has a marker for this patch in the commands of the task that is about to run."""

    patch_id: str


class UpdateRandomSeed(msgspec.Struct, frozen=True):
    """The run was reset here: random numbers restart from this seed."""

    randomness_seed: int


class SignalWorkflow(msgspec.Struct, frozen=True):
    """A signal arrived; `event_id` is its WorkflowExecutionSignaled event."""

    signal_name: str
    input: Sequence[common.Payload]
    identity: str
    headers: Mapping[str, common.Payload]
    event_id: int


class DoUpdate(msgspec.Struct, frozen=True):
    """Run an update handler, after its validator when `run_validator`.

    The same activation must answer with an accepted or rejected `UpdateResponse` for
    `protocol_instance_id`. `id` is the update's id, `identity` its sender.
    """

    id: str
    protocol_instance_id: str
    name: str
    input: Sequence[common.Payload]
    headers: Mapping[str, common.Payload]
    identity: str
    run_validator: bool


class CancelWorkflow(msgspec.Struct, frozen=True):
    """Cancellation of the run was requested."""

    reason: str


class FireTimer(msgspec.Struct, frozen=True):
    """The timer of `StartTimer(seq)` fired."""

    seq: int


class ResolveActivity(msgspec.Struct, frozen=True):
    """An activity, or a local activity when `is_local`, ended."""

    seq: int
    result: Resolution
    is_local: bool = False


class ResolveChildStart(msgspec.Struct, frozen=True):
    """Starting the child of `StartChildWorkflow(seq)` succeeded, failed or was cancelled."""

    seq: int
    outcome: ChildStartOutcome


class ResolveChild(msgspec.Struct, frozen=True):
    """The child of `StartChildWorkflow(seq)` ended."""

    seq: int
    result: ChildOutcome


class ResolveSignalExternal(msgspec.Struct, frozen=True):
    """A signal to another workflow was delivered (`failure` None) or failed.

    `cause` is SignalExternalWorkflowExecutionFailedCause, 0 without a server-side failure.
    """

    seq: int
    failure: failures.Failure | None
    cause: int = 0


class ResolveCancelExternal(msgspec.Struct, frozen=True):
    """A cancel request to another workflow was delivered (`failure` None) or failed.

    `cause` is CancelExternalWorkflowExecutionFailedCause, 0 without a server-side failure.
    """

    seq: int
    failure: failures.Failure | None
    cause: int = 0


class ResolveNexusOperationStart(msgspec.Struct, frozen=True):
    """A nexus operation started, or ended before it could start."""

    seq: int
    outcome: NexusStartOutcome


class ResolveNexusOperation(msgspec.Struct, frozen=True):
    """A nexus operation ended."""

    seq: int
    result: NexusOutcome


class QueryWorkflow(msgspec.Struct, frozen=True):
    """Answer a query with a `QueryResult` of the same `query_id`; no other command is allowed."""

    query_id: str
    query_type: str
    arguments: Sequence[common.Payload]
    headers: Mapping[str, common.Payload]


Job: TypeAlias = (
    InitializeWorkflow
    | NotifyHasPatch
    | UpdateRandomSeed
    | SignalWorkflow
    | DoUpdate
    | CancelWorkflow
    | FireTimer
    | ResolveActivity
    | ResolveChildStart
    | ResolveChild
    | ResolveSignalExternal
    | ResolveCancelExternal
    | ResolveNexusOperationStart
    | ResolveNexusOperation
    | QueryWorkflow
)


class Activation(msgspec.Struct, frozen=True):
    """One round of work for workflow code.

    `time_ns` is workflow time since the epoch; `history_length` the id of the last processed
    event; `available_flags` the lang flags seen in history so far (when not replaying, every
    known flag may be used and must be reported in `ActivationResult.used_flags`).
    `deployment_version` is None when neither history nor this worker has one.
    """

    run_id: str
    time_ns: int
    is_replaying: bool
    history_length: int
    jobs: tuple[Job, ...]
    available_flags: frozenset[int] = frozenset()
    history_size_bytes: int = 0
    continue_as_new_suggested: bool = False
    suggest_continue_as_new_reasons: tuple[int, ...] = ()
    target_worker_deployment_version_changed: bool = False
    deployment_version: DeploymentVersion | None = None
    last_sdk_version: str = ""
