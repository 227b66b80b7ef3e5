"""Reply plans: what to answer once a transition is durable, when that is more than a finished message.

A plan names the history it needs as a range; the shell reads those rows and builds the response. `Transition.reply` is
a response message, one of these plans, or an `RpcError` value, which the shell raises after the commit (a failed
workflow task is written *and* answered with an error: S-4 and S-7).

The reply cache of the server holds thousands of plans for tasks. Such a plan cannot be part of a reference cycle, so
the garbage collector does not track it (`gc=False`).
"""

from __future__ import annotations

import msgspec

from perdure.core.ids import EntityKey
from perdure.history.draft.tokens import ActivityTaskToken, WorkflowTaskToken
from perdure.history.draft.update_values import UpdateRejection
from perdure.wire.api import history, workflowservice


class WorkflowTaskReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """A workflow task for a worker: the plan of PollWorkflowTaskQueueResponse."""

    token: WorkflowTaskToken
    workflow_type: str
    previous_started_event_id: int
    started_event_id: int
    attempt: int
    first_event_id: int
    """1, or on a sticky hit the event after previous_started_event_id (S-12)."""
    last_event_id: int
    """The last durable event to send; transient events follow it."""
    transient_events: tuple[history.HistoryEvent, ...] = ()
    """Scheduled and Started of a transient task: shown, never stored (S-8)."""
    is_sticky: bool
    queue_name: str
    """The normal queue of the run."""
    scheduled_ns: int
    started_ns: int


class EagerStartReply(msgspec.Struct, frozen=True):
    """The plan of a StartWorkflowExecutionResponse that carries the first workflow task (S-34)."""

    response: workflowservice.StartWorkflowExecutionResponse
    task: WorkflowTaskReply


class ActivityTaskReply(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """An activity task for a worker: the plan of PollActivityTaskQueueResponse."""

    token: ActivityTaskToken
    workflow_type: str
    attributes: bytes
    """Serialised ActivityTaskScheduledEventAttributes: type, id, header, input, time-outs, retry policy, priority."""
    attempt: int
    heartbeat_details: bytes
    scheduled_ns: int
    current_attempt_scheduled_ns: int
    started_ns: int
    run_priority: bytes = b""
    """A serialised `Priority`: what the activity leaves open in its own."""


class CompletionReply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The plan of RespondWorkflowTaskCompletedResponse."""

    workflow_task: WorkflowTaskReply | None = None
    activities: tuple[ActivityTaskReply, ...] = ()
    rejected_updates: tuple[UpdateRejection, ...] = ()


class HistoryTail(msgspec.Struct, frozen=True):
    """How far a run's history reaches, for readers of GetWorkflowExecutionHistory."""

    entity: EntityKey
    next_event_id: int
    is_running: bool
    close_event_id: int
    transient_events: tuple[history.HistoryEvent, ...] = ()
    """Of a transient workflow task: shown to SDKs after the last event (S-27)."""
