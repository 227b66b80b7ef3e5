"""The commands that schedule an activity and ask for its cancellation. S-7, S-32, S-33 and S-34.

Not here: the attempts (`activity`), the close event (`activity.close`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from perdure.core.limits import EAGER_ACTIVITIES_BYTES_MAX
from perdure.entity.workers import PollInfo
from perdure.history.activity.attempts import start_attempt
from perdure.history.activity.close import (
    close_after_commands,
    enter_phase,
    put_progress,
)
from perdure.history.activity.phase import FRESH, running
from perdure.history.commands.checks import (
    ACTIVITIES_LIMIT,
    CommandChecks,
    metadata_of,
    pending_limit,
    text_payloads,
)
from perdure.history.commands.table import Command, CommandContext, CommandRejected, handles
from perdure.history.draft.flush import is_ending
from perdure.wire.api import command as commands_api
from perdure.wire.api import enums, history, taskqueue
from perdure.wire.errors import shown
from perdure.wire.times import duration

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft

Schedule = commands_api.ScheduleActivityTaskCommandAttributes
RequestCancel = commands_api.RequestCancelActivityTaskCommandAttributes

_BAD_SCHEDULE = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES
_BAD_CANCEL = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES
_DUPLICATE = enums.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID

NOT_STARTED = "ACTIVITY_ID_NOT_STARTED"
"""What the details of a cancellation say when no worker had the activity (S-32)."""


TASK_OVERHEAD_BYTES = 500
"""What an activity task holds besides its command and names: the ids of its run, times, the seal of its token."""


class Timeouts(NamedTuple):
    """The time-outs of an activity in ns; 0 for none."""

    schedule_to_close_ns: int
    schedule_to_start_ns: int
    start_to_close_ns: int
    heartbeat_ns: int


def normalised(timeouts: Timeouts, run_timeout_ns: int) -> Timeouts:
    """What the time-outs mean together (S-33).

    Args:
        timeouts: As in the command, each 0 when it is not set.
        run_timeout_ns: The run's own time-out, which bounds all of them; 0 for none.

    Raises:
        ValueError: Neither schedule-to-close nor start-to-close is set.
    """
    to_close, to_start, start_to_close, heartbeat = timeouts
    if to_close:
        to_start = min(to_start or to_close, to_close)
        start_to_close = min(start_to_close or to_close, to_close)
    elif start_to_close:
        to_close = run_timeout_ns
        to_start = to_start or run_timeout_ns
    else:
        raise ValueError("set the start-to-close or the schedule-to-close timeout")
    if run_timeout_ns:
        to_close, to_start, start_to_close = (
            min(value, run_timeout_ns) for value in (to_close, to_start, start_to_close)
        )
    return Timeouts(to_close, to_start, start_to_close, min(heartbeat, start_to_close))


@handles(enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
def _schedule(
    draft: Draft, attributes: Schedule, command: Command, context: CommandContext
) -> None:
    state = draft.state
    limits = draft.env.limits
    check = CommandChecks(command, _BAD_SCHEDULE, limits)
    check.id(attributes.activity_id, "activity id")
    check.id(attributes.activity_type.name, "activity type")
    if attributes.activity_id in state.activity_ids:
        raise CommandRejected(
            _DUPLICATE,
            f"An activity with the id {shown(attributes.activity_id)} is already pending.",
        )
    check.blob(attributes.input.ByteSize(), ".Input")
    if attributes.HasField("priority"):
        check.priority(attributes.priority)
    pending_limit(
        ACTIVITIES_LIMIT, "activities", len(state.activities), limits.pending_activities_max
    )
    draft.add(
        _scheduled_event(draft, attributes, check, context), user_metadata=metadata_of(command)
    )
    activity = state.activities[state.activity_ids[attributes.activity_id]]
    if (
        attributes.request_eager_execution
        and not context.is_closing
        and _fits(draft, attributes, context)
    ):
        # S-34: started for the worker that asked, unless a later command of this task cancels it.
        poll = PollInfo(identity=context.identity, request_id=draft.env.new_id())
        context.eager_activities.append(start_attempt(draft, activity, poll))
    else:
        enter_phase(draft, activity)


def _fits(draft: Draft, attributes: Schedule, context: CommandContext) -> bool:
    """Whether the reply has room for this activity, which it takes."""
    key = draft.state.key
    # Each task repeats the names of its run. Its token has two of the ids once more.
    names = (
        key.name, key.name, draft.state.info.workflow_type, draft.env.namespace, attributes.activity_id
    )  # fmt: skip
    task_bytes = (
        attributes.ByteSize() + TASK_OVERHEAD_BYTES + sum(len(name.encode()) for name in names)
    )
    size_bytes = context.eager_bytes + task_bytes
    if size_bytes > EAGER_ACTIVITIES_BYTES_MAX:
        return False
    context.eager_bytes = size_bytes
    return True


def _scheduled_event(
    draft: Draft, attributes: Schedule, check: CommandChecks, context: CommandContext
) -> history.ActivityTaskScheduledEventAttributes:
    timeouts = Timeouts(
        check.duration_ns(attributes.schedule_to_close_timeout, "schedule-to-close timeout"),
        check.duration_ns(attributes.schedule_to_start_timeout, "schedule-to-start timeout"),
        check.duration_ns(attributes.start_to_close_timeout, "start-to-close timeout"),
        check.duration_ns(attributes.heartbeat_timeout, "heartbeat timeout"),
    )
    info = draft.state.info
    try:
        timeouts = normalised(timeouts, info.run_timeout_ns)
    except ValueError as error:
        raise check.reject(f"activity {shown(attributes.activity_id)}: {error}.") from None
    queue_name = attributes.task_queue.name or info.task_queue
    check.queue_name(queue_name)
    return history.ActivityTaskScheduledEventAttributes(
        activity_id=attributes.activity_id,
        activity_type=attributes.activity_type,
        task_queue=taskqueue.TaskQueue(name=queue_name, kind=enums.TASK_QUEUE_KIND_NORMAL),
        header=attributes.header if attributes.HasField("header") else None,
        input=attributes.input if attributes.HasField("input") else None,
        schedule_to_close_timeout=duration(timeouts.schedule_to_close_ns),
        schedule_to_start_timeout=duration(timeouts.schedule_to_start_ns),
        start_to_close_timeout=duration(timeouts.start_to_close_ns),
        heartbeat_timeout=duration(timeouts.heartbeat_ns),
        workflow_task_completed_event_id=context.completed_event_id,
        retry_policy=check.retry_policy(attributes.retry_policy),
        use_workflow_build_id=attributes.use_workflow_build_id,
        priority=attributes.priority if attributes.HasField("priority") else None,
    )


@handles(enums.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
def _request_cancel(
    draft: Draft, attributes: RequestCancel, command: Command, context: CommandContext
) -> None:
    state = draft.state
    check = CommandChecks(command, _BAD_CANCEL, draft.env.limits)
    key = attributes.scheduled_event_id
    activity = state.activities.get(key)
    if activity is None and not is_ending(state, key):
        raise check.reject(f"event {key} is not that of a pending activity.")
    if activity is not None and activity.cancel_requested_event_id:
        raise check.reject(
            f"cancellation of activity {shown(activity.activity_id)} is requested already."
        )
    requested_event_id = draft.add(
        history.ActivityTaskCancelRequestedEventAttributes(
            scheduled_event_id=key, workflow_task_completed_event_id=context.completed_event_id
        ),
        user_metadata=metadata_of(command),
    )
    if activity is None:
        return  # Its end waits in the buffer.
    _take_back_eager_start(draft, key, context)
    if running(state, activity) is not None:
        return  # Its worker learns of the request by heartbeat.
    context.needs_workflow_task = True
    context.own_buffered += 1
    close_after_commands(
        draft,
        activity,
        history.ActivityTaskCanceledEventAttributes(
            details=text_payloads(NOT_STARTED),
            latest_cancel_requested_event_id=requested_event_id,
            scheduled_event_id=key,
            identity=context.identity,
        ),
    )


def _take_back_eager_start(draft: Draft, key: int, context: CommandContext) -> None:
    """S-34: an activity that is canceled in the task that scheduled it is not handed out."""
    for reply in context.eager_activities:
        if reply.token.scheduled_event_id == key:
            context.eager_activities.remove(reply)
            put_progress(draft, key, FRESH)
            return
