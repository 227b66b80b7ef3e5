"""Commands: one frozen struct per kind. Workflow code issues most of them, the engine adds a few.

Invariants: times are integer nanoseconds, None means "not set"; fields with payloads hold the API's protobuf messages,
already encoded by the host; `seq` counts from 1 per kind (activities and local activities share a counter). `site` is
the location in user code that issued the command. It is used in reports and never compared.

Not here: how each kind is processed (`operation_table`), when a command is sent, dropped or matched (`machines`), and
its protobuf form (`to_api`, needed only for commands that are sent).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    from perdure.wire.api import common, sdk, workflow
    from perdure.wire.api import failure as failures


class Frame(NamedTuple):
    """One user frame: resolve its line lazily with `code.co_positions()` at `lasti`."""

    code: CodeType
    lasti: int


CallSite: TypeAlias = tuple[Frame, ...]
"""Innermost user frame first; at most four are kept."""


class ActivityCancellationType(enum.IntEnum):
    """How a cancelled activity is awaited (numbers as in the official bridge, R-13)."""

    TRY_CANCEL = 0
    WAIT_CANCELLATION_COMPLETED = 1
    ABANDON = 2


class ChildWorkflowCancellationType(enum.IntEnum):
    """How a cancelled child is awaited (numbered differently from activities, R-13)."""

    ABANDON = 0
    TRY_CANCEL = 1
    WAIT_CANCELLATION_COMPLETED = 2
    WAIT_CANCELLATION_REQUESTED = 3


class NexusOperationCancellationType(enum.IntEnum):
    """How a cancelled nexus operation is awaited."""

    WAIT_CANCELLATION_COMPLETED = 0
    ABANDON = 1
    TRY_CANCEL = 2
    WAIT_CANCELLATION_REQUESTED = 3


class VersioningIntent(enum.IntEnum):
    """Whether the started work should stay on a compatible build (legacy build-id versioning)."""

    UNSPECIFIED = 0
    COMPATIBLE = 1
    DEFAULT = 2


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Annotations that every command may have. `summary` and `details` are for people."""

    site: CallSite | None = None
    summary: common.Payload | None = None
    details: common.Payload | None = None
    event_group_markers: tuple[sdk.EventGroupMarker, ...] = ()

    @property
    def subject(self) -> tuple[str, str]:
        """Name and id of the command's target, for reports; never a payload."""
        return "", ""


class TerminalCommand(Command, frozen=True, kw_only=True):
    """Ends the workflow."""


# ── issued by workflow code ───────────────────────────────────────────────────────────────────────


class StartTimer(Command, frozen=True, kw_only=True):
    """Start a durable timer."""

    seq: int
    start_to_fire_timeout_ns: int

    @property
    def subject(self) -> tuple[str, str]:
        return "", str(self.seq)


class CancelTimer(Command, frozen=True, kw_only=True):
    """Cancel the timer of `StartTimer(seq)`. If the timer was not sent yet, neither command is sent."""

    seq: int

    @property
    def subject(self) -> tuple[str, str]:
        return "", str(self.seq)


class ScheduleActivity(Command, frozen=True, kw_only=True):
    """Schedule an activity. An empty `activity_id` means `str(seq)`, an empty queue that of the run."""

    seq: int
    activity_id: str = ""
    activity_type: str
    task_queue: str = ""
    headers: Mapping[str, common.Payload] = {}
    arguments: Sequence[common.Payload] = ()
    schedule_to_close_timeout_ns: int | None = None
    schedule_to_start_timeout_ns: int | None = None
    start_to_close_timeout_ns: int | None = None
    heartbeat_timeout_ns: int | None = None
    retry_policy: common.RetryPolicy | None = None
    cancellation_type: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL
    do_not_eagerly_execute: bool = False
    versioning_intent: VersioningIntent = VersioningIntent.UNSPECIFIED
    priority: common.Priority | None = None

    @property
    def subject(self) -> tuple[str, str]:
        return self.activity_type, self.activity_id or str(self.seq)


class RequestCancelActivity(Command, frozen=True, kw_only=True):
    """Cancel the activity of `ScheduleActivity(seq)` according to its cancellation type."""

    seq: int


class ScheduleLocalActivity(Command, frozen=True, kw_only=True):
    """Run an activity inside the workflow task. `seq` is shared with normal activities."""

    seq: int
    activity_id: str = ""
    activity_type: str
    attempt: int = 1
    original_schedule_time_ns: int | None = None
    headers: Mapping[str, common.Payload] = {}
    arguments: Sequence[common.Payload] = ()
    schedule_to_close_timeout_ns: int | None = None
    schedule_to_start_timeout_ns: int | None = None
    start_to_close_timeout_ns: int | None = None
    retry_policy: common.RetryPolicy | None = None
    local_retry_threshold_ns: int | None = None
    cancellation_type: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL
    include_arguments_in_marker: bool = False


class RequestCancelLocalActivity(Command, frozen=True, kw_only=True):
    """Cancel the local activity of `ScheduleLocalActivity(seq)`."""

    seq: int


class SetPatchMarker(Command, frozen=True, kw_only=True):
    """Record that this run takes the patched code path. Also issued on replay if `patched()` returns true."""

    patch_id: str
    deprecated: bool = False


class UpsertSearchAttributes(Command, frozen=True, kw_only=True):
    """Merge search attributes; an entry whose payload has no data removes the key."""

    search_attributes: common.SearchAttributes


class ModifyProperties(Command, frozen=True, kw_only=True):
    """Merge memo fields; an empty payload deletes the field."""

    upserted_memo: common.Memo


class StartChildWorkflow(Command, frozen=True, kw_only=True):
    """Start a child workflow. Enumerations are the API's numbers."""

    seq: int
    namespace: str = ""
    workflow_id: str
    workflow_type: str
    task_queue: str = ""
    input: Sequence[common.Payload] = ()
    workflow_execution_timeout_ns: int | None = None
    workflow_run_timeout_ns: int | None = None
    workflow_task_timeout_ns: int | None = None
    parent_close_policy: int = 0
    workflow_id_reuse_policy: int = 0
    retry_policy: common.RetryPolicy | None = None
    cron_schedule: str = ""
    headers: Mapping[str, common.Payload] = {}
    memo: Mapping[str, common.Payload] = {}
    search_attributes: common.SearchAttributes | None = None
    cancellation_type: ChildWorkflowCancellationType = ChildWorkflowCancellationType.ABANDON
    versioning_intent: VersioningIntent = VersioningIntent.UNSPECIFIED
    priority: common.Priority | None = None
    versioning_override: workflow.VersioningOverride | None = None

    @property
    def subject(self) -> tuple[str, str]:
        return self.workflow_type, self.workflow_id


class CancelChildWorkflow(Command, frozen=True, kw_only=True):
    """Cancel the child of `StartChildWorkflow(seq)` according to its cancellation type."""

    seq: int
    reason: str = ""


class SignalExternal(Command, frozen=True, kw_only=True):
    """Signal another workflow; with `child_workflow_only` the target must be our child."""

    seq: int
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    child_workflow_only: bool = False
    signal_name: str
    args: Sequence[common.Payload] = ()
    headers: Mapping[str, common.Payload] = {}

    @property
    def subject(self) -> tuple[str, str]:
        return self.signal_name, self.workflow_id


class CancelSignalExternal(Command, frozen=True, kw_only=True):
    """Withdraw `SignalExternal(seq)`, which is possible only while it has not been sent."""

    seq: int


class RequestCancelExternal(Command, frozen=True, kw_only=True):
    """Request the cancellation of another workflow.

    `seq` is None if the engine itself requests it to cancel a child, for which no code waits. With
    `child_workflow_only` the target must be our child.
    """

    seq: int | None
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    child_workflow_only: bool = False
    reason: str = ""

    @property
    def subject(self) -> tuple[str, str]:
        return "", self.workflow_id


class ScheduleNexusOperation(Command, frozen=True, kw_only=True):
    """Start a nexus operation."""

    seq: int
    endpoint: str
    service: str
    operation: str
    input: common.Payload | None = None
    schedule_to_close_timeout_ns: int | None = None
    schedule_to_start_timeout_ns: int | None = None
    start_to_close_timeout_ns: int | None = None
    nexus_header: Mapping[str, str] = {}
    cancellation_type: NexusOperationCancellationType = (
        NexusOperationCancellationType.WAIT_CANCELLATION_COMPLETED
    )

    @property
    def subject(self) -> tuple[str, str]:
        return f"{self.service}.{self.operation}", ""


class RequestCancelNexusOperation(Command, frozen=True, kw_only=True):
    """Cancel the operation of `ScheduleNexusOperation(seq)` according to its type."""

    seq: int


class UpdateAccepted(msgspec.Struct, frozen=True):
    """The validator accepted the update, or none was requested."""


class UpdateRejected(msgspec.Struct, frozen=True):
    """The validator rejected the update, or the handler of an accepted update failed."""

    failure: failures.Failure


class UpdateCompleted(msgspec.Struct, frozen=True):
    """The handler returned."""

    result: common.Payload | None


class UpdateResponse(Command, frozen=True, kw_only=True):
    """Answer to `DoUpdate`: accepted or rejected immediately, later completed or rejected."""

    protocol_instance_id: str
    response: UpdateAccepted | UpdateRejected | UpdateCompleted


class CompleteWorkflow(TerminalCommand, frozen=True, kw_only=True):
    """The workflow returned."""

    result: common.Payload | None = None


class FailWorkflow(TerminalCommand, frozen=True, kw_only=True):
    """The workflow raised an error that fails it."""

    failure: failures.Failure


class CancelWorkflowExecution(TerminalCommand, frozen=True, kw_only=True):
    """The workflow ended as cancelled."""

    cancellation_details: common.Payloads | None = None


class ContinueAsNew(TerminalCommand, frozen=True, kw_only=True):
    """Close this run and start the next one.

    Memo, search attributes and retry policy that are empty here are filled in by the engine from
    the current run; headers are not inherited.
    """

    workflow_type: str = ""
    task_queue: str = ""
    arguments: Sequence[common.Payload] = ()
    workflow_run_timeout_ns: int | None = None
    workflow_task_timeout_ns: int | None = None
    memo: Mapping[str, common.Payload] = {}
    headers: Mapping[str, common.Payload] = {}
    search_attributes: common.SearchAttributes | None = None
    retry_policy: common.RetryPolicy | None = None
    versioning_intent: VersioningIntent = VersioningIntent.UNSPECIFIED
    initial_versioning_behavior: int = 0
    backoff_start_interval_ns: int | None = None


class QueryResult(Command, frozen=True, kw_only=True):
    """Answer to a `QueryWorkflow` job: exactly one of `response` and `failure`."""

    query_id: str
    response: common.Payload | None = None
    failure: failures.Failure | None = None


class ActivationResult(msgspec.Struct, frozen=True):
    """What one activation produced: commands in issue order, and the lang flags it relied on.

    `versioning_behavior` is the API's VersioningBehavior number, 0 when unversioned.
    """

    commands: Sequence[Command] = ()
    used_flags: Sequence[int] = ()
    versioning_behavior: int = 0


# ── added by the engine ───────────────────────────────────────────────────────────────────────────


class CancelActivityTask(Command, frozen=True, kw_only=True):
    """Request the cancellation of a scheduled activity."""

    scheduled_event_id: int


class CancelNexusOperation(Command, frozen=True, kw_only=True):
    """Request the cancellation of a scheduled nexus operation."""

    scheduled_event_id: int


class RecordMarker(Command, frozen=True, kw_only=True):
    """Record a marker."""

    marker_name: str
    label: str
    marker_details: Mapping[str, common.Payloads]
    failure: failures.Failure | None = None

    @property
    def subject(self) -> tuple[str, str]:
        return self.marker_name, self.label


class SendAcceptance(Command, frozen=True, kw_only=True):
    """Determines the position of the message that accepts an update among the commands."""

    message_id: str


class SendOutcome(Command, frozen=True, kw_only=True):
    """Determines the position of the message that completes an update among the commands."""

    message_id: str
