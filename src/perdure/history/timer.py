"""Durable timers: the commands that start and cancel them, and their firing. S-2 and S-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.history.commands.checks import CommandChecks, metadata_of
from perdure.history.commands.table import Command, CommandContext, CommandRejected, handles
from perdure.history.draft.deadlines import arm, deadline
from perdure.history.state.facts import FactKind
from perdure.history.state.run_state import DeadlineKind
from perdure.history.workflow_task.steps import schedule_workflow_task
from perdure.wire.api import command as commands_api
from perdure.wire.api import enums, history
from perdure.wire.errors import shown
from perdure.wire.times import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.history.draft.draft import Draft
    from perdure.history.state.run_state import RunState

Start = commands_api.StartTimerCommandAttributes
Cancel = commands_api.CancelTimerCommandAttributes

_BAD_START = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_TIMER_ATTRIBUTES
_BAD_CANCEL = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_CANCEL_TIMER_ATTRIBUTES
_DUPLICATE = enums.WORKFLOW_TASK_FAILED_CAUSE_START_TIMER_DUPLICATE_ID


@handles(enums.COMMAND_TYPE_START_TIMER)
def _start(draft: Draft, attributes: Start, command: Command, context: CommandContext) -> None:
    state = draft.state
    check = CommandChecks(command, _BAD_START, draft.env.limits)
    check.id(attributes.timer_id, "timer id")
    delay_ns = check.duration_ns(attributes.start_to_fire_timeout, "start-to-fire timeout")
    if attributes.timer_id in state.timers:
        raise CommandRejected(
            _DUPLICATE, f"A timer with the id {shown(attributes.timer_id)} is already pending."
        )
    event_id = draft.add(
        history.TimerStartedEventAttributes(
            timer_id=attributes.timer_id,
            start_to_fire_timeout=duration(delay_ns),
            workflow_task_completed_event_id=context.completed_event_id,
        ),
        user_metadata=metadata_of(command),
    )
    arm(draft, DeadlineKind.TIMER, state.timers[attributes.timer_id].fire_ns, event_id)


@handles(enums.COMMAND_TYPE_CANCEL_TIMER)
def _cancel(draft: Draft, attributes: Cancel, command: Command, context: CommandContext) -> None:
    state = draft.state
    check = CommandChecks(command, _BAD_CANCEL, draft.env.limits)
    check.id(attributes.timer_id, "timer id")
    timer = state.timers.get(attributes.timer_id)
    started_event_id = timer.started_event_id if timer else _unfire(draft, attributes.timer_id)
    if not started_event_id:
        raise check.reject(f"no timer with the id {shown(attributes.timer_id)} is pending.")
    draft.add(
        history.TimerCanceledEventAttributes(
            timer_id=attributes.timer_id,
            started_event_id=started_event_id,
            workflow_task_completed_event_id=context.completed_event_id,
            identity=context.identity,
        ),
        user_metadata=metadata_of(command),
    )


def _unfire(draft: Draft, timer_id: str) -> int:
    """S-5: the timer fired while the worker decided to cancel it. Take the event back; its TimerStarted, or 0."""
    buffered = draft.state.buffered
    number = buffered.fired(timer_id)
    if not number:
        return 0
    started_event_id = buffered[number].ends_event_id
    draft.fact(FactKind.BUFFERED, str(number), None)
    return started_event_id


def _keys(state: RunState) -> Iterable[int]:
    return tuple(state.timers_by_event)


def _fire_ns(state: RunState, started_event_id: int) -> int:
    timer_id = state.timers_by_event.get(started_event_id)
    return state.timers[timer_id].fire_ns if timer_id is not None else 0


@deadline(DeadlineKind.TIMER, keys=_keys, due_ns=_fire_ns)
def _fire(draft: Draft, started_event_id: int) -> None:
    draft.buffer_or_add(
        history.TimerFiredEventAttributes(
            timer_id=draft.state.timers_by_event[started_event_id],
            started_event_id=started_event_id,
        )
    )
    schedule_workflow_task(draft)
