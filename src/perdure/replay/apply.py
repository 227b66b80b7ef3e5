"""Applies one sequence of history to a run (R-42), and looks ahead into the next one.

Invariants: events are contiguous; `replaying` becomes False at the first event that this worker
has not seen before, not at the start of the task (R-5); flags are known before the code that depends on them runs,
because the completion that records them is read ahead (R-6).

What is not here: command events (`matching`), and when to apply (`engine`).
"""

from __future__ import annotations

from perdure.replay import events as ev
from perdure.replay.jobs import (
    CancelWorkflow,
    DeploymentVersion,
    InitializeWorkflow,
    NotifyHasPatch,
    SignalWorkflow,
    UpdateRandomSeed,
    ordered_map,
)
from perdure.replay.machines.update import UpdateMachine, UpdateRequest
from perdure.replay.markers import is_local_activity_marker, read_patch
from perdure.replay.matching import Step, match
from perdure.replay.mismatch import BadHistory, NondeterminismFound, Rule
from perdure.replay.run import Run, WorkflowTaskState
from perdure.replay.seed import randomness_seed
from perdure.wire.api import enums, history
from perdure.wire.times import timestamp_ns

_RESET = enums.WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
_ENDED_BY_SERVER = frozenset((ev.WORKFLOW_EXECUTION_TERMINATED, ev.WORKFLOW_EXECUTION_TIMED_OUT))
_PAUSED = enums.WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED


def apply_next(run: Run) -> int:
    """Apply the next sequence. Returns the number of its events, or 0 if there was none."""
    if run.seen_final_event:
        run.replaying = False
        return 0
    handled = run.current_started_id
    taken = run.buffer.take(handled)
    sequence, run.last_sequence = ([], True) if taken is None else taken
    if sequence and sequence[0].event_id <= run.last_processed_id:
        sequence = [event for event in sequence if event.event_id > run.last_processed_id]
    if not sequence:
        run.replaying = False
        _look_ahead(run, handled, {})
        return 0
    if not continues_a_heartbeat(run, sequence):
        run.local.activation_index = 0
    run.has_command_events = any(event.event_type in ev.COMMAND_EVENTS for event in sequence)
    _observe_completions(run, sequence)
    if sequence[-1].event_type == ev.WORKFLOW_TASK_STARTED:
        run.next_started_id = sequence[-1].event_id
    admitted: dict[str, UpdateRequest] = {}
    _apply_events(run, sequence, admitted)
    run.sequence = ()
    run.task_commands.clear()
    _look_ahead(run, handled, admitted)
    return len(sequence)


def continues_a_heartbeat(run: Run, sequence: list[history.HistoryEvent]) -> bool:
    """Whether a replay will merge this sequence with the one before it (R-3).

    If so, the count of activations continues, so that results of local activities keep their positions.
    """
    return (
        not run.has_command_events
        and len(sequence) > 1
        and sequence[0].event_type == ev.WORKFLOW_TASK_COMPLETED
        and sequence[1].event_type == ev.WORKFLOW_TASK_SCHEDULED
    )


def _observe_completions(run: Run, sequence: list[history.HistoryEvent]) -> None:
    for event in sequence:
        if event.event_type == ev.WORKFLOW_TASK_COMPLETED:
            observe(run, event.workflow_task_completed_event_attributes)
    ahead = run.buffer.next_completed(sequence[-1].event_id)
    if ahead is not None:
        observe(run, ahead)


def observe(run: Run, completed: history.WorkflowTaskCompletedEventAttributes) -> None:
    """Take over flags and the worker's version from a completed task."""
    run.flags.observe(completed)
    name, build_id = completed.worker_deployment_name, completed.worker_version.build_id
    legacy = completed.worker_deployment_version
    if legacy and "." in legacy:
        name, _, build_id = legacy.partition(".")
    if completed.HasField("deployment_version"):
        name = completed.deployment_version.deployment_name
        build_id = completed.deployment_version.build_id
    if name or build_id:
        run.deployment = DeploymentVersion(name, build_id)


def _apply_events(
    run: Run, sequence: list[history.HistoryEvent], admitted: dict[str, UpdateRequest]
) -> None:
    run.sequence = sequence
    run.task_commands.clear()
    skip = False
    for index, (event, following) in enumerate(zip(sequence, (*sequence[1:], None), strict=True)):
        run.position = index
        event_id, event_type = event.event_id, event.event_type
        if event_id != run.last_processed_id + 1:
            raise BadHistory(
                f"history is not contiguous: event {event_id} follows event {run.last_processed_id}",
                event_id,
            )
        if (
            run.replaying
            and run.last_sequence
            and event_id > run.previous_started_id
            and event_type != ev.WORKFLOW_TASK_COMPLETED
            and event_type not in ev.COMMAND_EVENTS
        ):
            run.replaying = False
        if event_type == ev.UPDATE_ADMITTED:
            request = UpdateRequest.from_admitted(event)
            if run.replaying:
                admitted[request.instance_id] = request
            else:
                run.requests.append(request)
            skip = True
        if run.requests:
            _deliver_requests(run, event_id - 1)
        skip = (
            not skip and _apply_event(run, event, event_type, following) is Step.SKIP_EVENT_AND_NEXT
        )
        run.last_processed_id = event_id


def _deliver_requests(run: Run, up_to: int) -> None:
    """Deliver the update requests sequenced at or before `up_to`, in order of arrival (R-26)."""
    waiting = run.requests
    run.requests = [request for request in waiting if request.sequencing_event_id > up_to]
    for request in waiting:
        if request.sequencing_event_id <= up_to:
            _request_update(run, request)


def _request_update(run: Run, request: UpdateRequest) -> None:
    machine = UpdateMachine(request)
    run.updates[request.instance_id] = machine
    run.push_job(machine.job(run_validator=not run.replaying))


def _apply_event(
    run: Run, event: history.HistoryEvent, event_type: int, following: history.HistoryEvent | None
) -> Step:
    if event_type in ev.FINAL_EVENTS:
        run.seen_final_event = True
    if event.worker_may_ignore and event_type in ev.IGNORABLE:
        return Step.DONE
    if event_type in _ENDED_BY_SERVER:
        if following is not None or not run.last_sequence:
            raise BadHistory("history goes on after the workflow was ended", event.event_id)
        return Step.DONE
    attributes_field = ev.ATTRIBUTES.get(event_type)
    if attributes_field is None or not event.HasField(attributes_field):  # pyright: ignore[reportArgumentType]
        if event.worker_may_ignore:
            return Step.DONE
        raise BadHistory(
            f"event {event.event_id} has a type this version does not know ({event_type}); "
            "upgrade the worker",
            event.event_id,
        )
    if event_type in ev.COMMAND_EVENTS:
        return match(run, event, following)
    parent_field = ev.PARENT_ID_FIELD.get(event_type)
    if parent_field is None:
        _apply_plain(run, event, event_type)
    else:
        parent_id: int = getattr(getattr(event, attributes_field), parent_field)
        if event_type in _TASK_EVENTS:
            _apply_task_event(run, event, event_type, parent_id)
        else:
            _apply_operation_event(run, event, parent_id)
    return Step.DONE


def _apply_operation_event(run: Run, event: history.HistoryEvent, parent_id: int) -> None:
    machine = run.by_event.get(parent_id)
    if machine is None:
        raise NondeterminismFound(Rule.UNKNOWN_OPERATION)
    machine.on_event(event, run)
    if machine.done:
        del run.by_event[parent_id]
        run.operations.forget(machine)


_TASK_EVENTS = frozenset(
    {
        ev.WORKFLOW_TASK_STARTED,
        ev.WORKFLOW_TASK_COMPLETED,
        ev.WORKFLOW_TASK_FAILED,
        ev.WORKFLOW_TASK_TIMED_OUT,
    }
)


def _apply_task_event(
    run: Run, event: history.HistoryEvent, event_type: int, scheduled_id: int
) -> None:
    task = run.tasks.get(scheduled_id)
    if task is None:
        raise BadHistory(
            f"event {event.event_id} belongs to workflow task {scheduled_id}, which was never "
            "scheduled",
            event.event_id,
        )
    if event_type == ev.WORKFLOW_TASK_STARTED:
        attributes = event.workflow_task_started_event_attributes
        run.history_size_bytes = attributes.history_size_bytes
        run.continue_as_new_suggested = attributes.suggest_continue_as_new
        run.suggest_reasons = tuple(attributes.suggest_continue_as_new_reasons)
        run.target_version_changed = attributes.target_worker_deployment_version_changed
        task.started_event_id = event.event_id
        task.started_time_ns = timestamp_ns(event.event_time)
        if event.event_id >= task.leads_to:
            run.task_started(task.leads_to, task.started_time_ns)
        return
    del run.tasks[scheduled_id]
    if event_type == ev.WORKFLOW_TASK_COMPLETED:
        if not task.started_event_id:
            raise BadHistory(
                f"workflow task {scheduled_id} completed without having been started",
                event.event_id,
            )
        run.task_started(task.started_event_id, task.started_time_ns)
    elif event_type == ev.WORKFLOW_TASK_FAILED:
        failed = event.workflow_task_failed_event_attributes
        if failed.cause == _RESET:
            run.push_job(UpdateRandomSeed(randomness_seed(failed.new_run_id)))
        elif not task.started_event_id and failed.cause != _PAUSED:
            raise BadHistory(
                f"workflow task {scheduled_id} failed before it was started", event.event_id
            )


def _apply_plain(run: Run, event: history.HistoryEvent, event_type: int) -> None:
    """Events that belong to the run itself."""
    if event_type == ev.WORKFLOW_TASK_SCHEDULED:
        run.tasks[event.event_id] = WorkflowTaskState(run.next_started_id)
    elif event_type == ev.WORKFLOW_EXECUTION_SIGNALED:
        signal = event.workflow_execution_signaled_event_attributes
        run.push_job(
            SignalWorkflow(
                signal_name=signal.signal_name,
                input=signal.input.payloads,
                identity=signal.identity,
                headers=ordered_map(signal.header.fields),
                event_id=event.event_id,
            )
        )
    elif event_type == ev.WORKFLOW_EXECUTION_CANCEL_REQUESTED:
        run.push_job(
            CancelWorkflow(event.workflow_execution_cancel_requested_event_attributes.cause)
        )
    elif event_type == ev.WORKFLOW_EXECUTION_STARTED:
        _start(run, event)
    else:
        raise BadHistory(
            f"{ev.type_name(event_type)} (event {event.event_id}) is not supported", event.event_id
        )


_INHERITED = ("memo", "search_attributes", "retry_policy")


def _start(run: Run, event: history.HistoryEvent) -> None:
    attributes = event.workflow_execution_started_event_attributes
    inherited = {
        name: getattr(attributes, name) for name in _INHERITED if attributes.HasField(name)
    }
    if inherited:
        run.started = history.WorkflowExecutionStartedEventAttributes(**inherited)
    start_time_ns = timestamp_ns(event.event_time)
    # A query may precede the first workflow task, and workflow time must be set for it.
    run.advance_clock(start_time_ns)
    run.push_job(
        InitializeWorkflow(
            workflow_id=run.info.workflow_id,
            workflow_type=attributes.workflow_type.name,
            arguments=attributes.input.payloads,
            randomness_seed=randomness_seed(attributes.original_execution_run_id),
            headers=ordered_map(attributes.header.fields),
            start_time_ns=start_time_ns,
            attributes=attributes,
        )
    )


def _look_ahead(run: Run, handled: int, admitted: dict[str, UpdateRequest]) -> None:
    """Find data in the next sequence that code needs before it runs (R-42)."""
    requests: list[UpdateRequest] = []
    markers: list[history.HistoryEvent] = []
    for event in run.buffer.peek(handled):
        event_type = event.event_type
        if event_type == ev.MARKER_RECORDED:
            patch = read_patch(event)
            if patch is not None:
                run.patches[patch.patch_id] = False
                run.push_job(NotifyHasPatch(patch.patch_id))
            elif is_local_activity_marker(event):
                markers.append(event)
        elif event_type == ev.UPDATE_ACCEPTED:
            accepted = event.workflow_execution_update_accepted_event_attributes
            known = admitted.pop(accepted.protocol_instance_id, None)
            requests.append(known or UpdateRequest.from_accepted(event))
    for marker in markers:
        run.local.remember_marker(run, marker)
    for request in requests:
        _request_update(run, request)
    run.local.release_if_idle(run)
