"""The result of a workflow: waiting for the event that closes a run, and reading it."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

from perdure.client.errors import WorkflowContinuedAsNewError, WorkflowFailureError
from perdure.client.inputs import FetchWorkflowHistoryEventsInput
from perdure.client.outbound import HandleClient
from perdure.converter import DataConverter
from perdure.exceptions import CancelledError, TerminatedError, TimeoutType
from perdure.exceptions import TimeoutError as TimeoutFailure
from perdure.wire.api import history as history_pb

# Attributes that may name the run that continues.
_SUCCESSOR_FIELDS = (
    "workflow_execution_completed_event_attributes",
    "workflow_execution_failed_event_attributes",
    "workflow_execution_timed_out_event_attributes",
    "workflow_execution_continued_as_new_event_attributes",
)


async def of_chain(
    client: HandleClient,
    input: FetchWorkflowHistoryEventsInput,
    *,
    follow_runs: bool,
    result_type: type | None,
) -> Any:
    """Wait until a chain of runs has closed, and return its result.

    Args:
        client: The client of the handle.
        input: Fetches the close event of the first run, and waits for it.
        follow_runs: Whether to continue with the run that a continue-as-new, a retry or a cron schedule started.
        result_type: Type to convert the result to.

    Raises:
        WorkflowFailureError: The workflow did not complete. The cause says why.
        WorkflowContinuedAsNewError: The run continued as new, and runs are not followed.
    """
    converter = client.caller.converter_for(input.id)
    # Interceptors may change an input, so each run gets a new one. Most chains are of one run: it gets the first.
    fields: dict[str, Any] = vars(input).copy()
    while True:
        event = await close_event(client.outbound.fetch_workflow_history_events(input))
        successor = successor_run_id(event)
        if successor and follow_runs:
            fields["run_id"] = successor
            input = FetchWorkflowHistoryEventsInput(**fields)
            continue
        if event.HasField("workflow_execution_continued_as_new_event_attributes"):
            raise WorkflowContinuedAsNewError(successor)
        cause = await failure_cause(event, converter)
        if cause is not None:
            raise WorkflowFailureError(cause=cause)
        return await value(event, converter, result_type)


async def close_event(events: AsyncIterator[history_pb.HistoryEvent]) -> history_pb.HistoryEvent:
    """The one event that a filtered history ends with.

    Raises:
        RuntimeError: The service sent none, although it reported the run as closed.
    """
    async for event in events:
        return event
    raise RuntimeError("No completion event found")


def successor_run_id(event: history_pb.HistoryEvent) -> str:
    """The run that a retry, a cron schedule or a continue-as-new led to; empty when there is none."""
    kind = event.WhichOneof("attributes")
    if kind not in _SUCCESSOR_FIELDS:
        return ""
    return getattr(event, kind).new_execution_run_id


async def failure_cause(
    event: history_pb.HistoryEvent, converter: DataConverter
) -> BaseException | None:
    """Why the run did not complete; None when it did.

    Raises:
        RuntimeError: The event does not close a run.
    """
    match event.WhichOneof("attributes"):
        case "workflow_execution_completed_event_attributes":
            return None
        case "workflow_execution_failed_event_attributes":
            failure = event.workflow_execution_failed_event_attributes.failure
            return await converter.decode_failure(failure)
        case "workflow_execution_canceled_event_attributes":
            canceled = event.workflow_execution_canceled_event_attributes
            details = await converter.decode_wrapper(canceled.details)
            return CancelledError("Workflow cancelled", *details)
        case "workflow_execution_terminated_event_attributes":
            terminated = event.workflow_execution_terminated_event_attributes
            details = await converter.decode_wrapper(terminated.details)
            return TerminatedError(terminated.reason or "Workflow terminated", *details)
        case "workflow_execution_timed_out_event_attributes":
            return TimeoutFailure(
                "Workflow timed out", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[]
            )
        case other:
            raise RuntimeError(f"Event {event.event_id} ({other}) does not close a workflow")


async def value(
    event: history_pb.HistoryEvent, converter: DataConverter, result_type: type | None
) -> Any:
    """The result of a run that completed."""
    completed = event.workflow_execution_completed_event_attributes
    hints = [result_type] if result_type else None
    values = await converter.decode_wrapper(completed.result, hints)
    if len(values) > 1:
        warnings.warn(f"Expected single result, got {len(values)}", stacklevel=3)
    return values[0] if values else None
