"""How activity events change the state: pending from Scheduled to the one event that closes it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from perdure.entity.transition import DEFAULT_PRIORITY
from perdure.history.state.fold.evolve import evolves
from perdure.history.state.run_state import Activity, RetryPolicy
from perdure.wire.api import common, enums, history
from perdure.wire.times import duration_ns, timestamp_ns

if TYPE_CHECKING:
    from perdure.history.state.run_state import RunState


def retry_policy_of(message: common.RetryPolicy) -> RetryPolicy:
    """The policy as the state keeps it."""
    return _policy(message.SerializeToString())


@lru_cache(maxsize=256)
def _policy(encoded: bytes) -> RetryPolicy:
    # A program has few policies and many activities.
    message = common.RetryPolicy.FromString(encoded)
    return RetryPolicy(
        initial_interval_ns=duration_ns(message.initial_interval),
        backoff_coefficient=message.backoff_coefficient,
        maximum_interval_ns=duration_ns(message.maximum_interval),
        maximum_attempts=message.maximum_attempts,
        non_retryable_error_types=tuple(message.non_retryable_error_types),
    )


def _priority_of(state: RunState, own: common.Priority) -> int:
    if own.priority_key:
        return own.priority_key
    return state.info.priority_key or DEFAULT_PRIORITY


@evolves(enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
def _scheduled(state: RunState, event: history.HistoryEvent) -> None:
    attributes = event.activity_task_scheduled_event_attributes
    has_policy = attributes.HasField("retry_policy")
    activity = Activity(
        scheduled_event_id=event.event_id,
        activity_id=attributes.activity_id,
        activity_type=attributes.activity_type.name,
        queue_name=attributes.task_queue.name,
        scheduled_ns=timestamp_ns(event.event_time),
        schedule_to_close_ns=duration_ns(attributes.schedule_to_close_timeout),
        schedule_to_start_ns=duration_ns(attributes.schedule_to_start_timeout),
        start_to_close_ns=duration_ns(attributes.start_to_close_timeout),
        heartbeat_ns=duration_ns(attributes.heartbeat_timeout),
        retry_policy=retry_policy_of(attributes.retry_policy) if has_policy else None,
        attributes=attributes.SerializeToString(deterministic=True),
        priority=_priority_of(state, attributes.priority),
    )
    state.activities = state.owned(state.activities)
    state.activities.set(event.event_id, activity)
    state.activity_bytes += len(activity.attributes)
    state.activity_ids = state.owned(state.activity_ids)
    state.activity_ids.set(activity.activity_id, event.event_id)


@evolves(enums.EVENT_TYPE_ACTIVITY_TASK_STARTED)
def _started(state: RunState, event: history.HistoryEvent) -> None:
    scheduled_event_id = event.activity_task_started_event_attributes.scheduled_event_id
    # S-28: Started is written with the close event, so the activity may be gone when both come from the buffer.
    if (activity := state.activities.get(scheduled_event_id)) is not None:
        state.activities.set(
            scheduled_event_id, msgspec.structs.replace(activity, started_event_id=event.event_id)
        )


@evolves(enums.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
def _cancel_requested(state: RunState, event: history.HistoryEvent) -> None:
    scheduled_event_id = event.activity_task_cancel_requested_event_attributes.scheduled_event_id
    # S-32: the request is recorded also when the activity's end is already buffered.
    if (activity := state.activities.get(scheduled_event_id)) is not None:
        state.activities.set(
            scheduled_event_id,
            msgspec.structs.replace(activity, cancel_requested_event_id=event.event_id),
        )


@evolves(enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
def _completed(state: RunState, event: history.HistoryEvent) -> None:
    state.drop_activity(event.activity_task_completed_event_attributes.scheduled_event_id)


@evolves(enums.EVENT_TYPE_ACTIVITY_TASK_FAILED)
def _failed(state: RunState, event: history.HistoryEvent) -> None:
    state.drop_activity(event.activity_task_failed_event_attributes.scheduled_event_id)


@evolves(enums.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
def _timed_out(state: RunState, event: history.HistoryEvent) -> None:
    state.drop_activity(event.activity_task_timed_out_event_attributes.scheduled_event_id)


@evolves(enums.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
def _canceled(state: RunState, event: history.HistoryEvent) -> None:
    state.drop_activity(event.activity_task_canceled_event_attributes.scheduled_event_id)
