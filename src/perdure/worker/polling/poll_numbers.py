"""How many polls a worker keeps open: as configured, or as many as are useful over its connection.

A task that finds a parked poll starts at once; every other task has to be written, read and polled for individually.
So the number grows with the load and shrinks when no tasks arrive. In the same process a poll costs almost nothing.
Over a network each poll costs the server memory, so the bound is lower. Some slots are left for tasks that arrive with
other responses (`eager`).

Pure. Not here: polling (`pollers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from perdure.worker.options import WorkerOptions

POLLERS_DEFAULT = 5
NETWORK_POLLS_MAX = 20
"""The most polls of one queue over a network. Each is a call that the server keeps open. Forty would save a loaded
server another tenth of its CPU time, but workers that become idle would keep twice as many calls open."""

WORKFLOW_SHARE = 0.4
"""The share of workflow task slots for the polls of one queue. The normal and the sticky queue need about as many."""
ACTIVITY_SHARE = 0.5
"""The share of activity slots for polls. Activities that start eagerly need the others."""


class PollNumbers(NamedTuple):
    """Between `fewest` and `most` polls. Both are the same if the user set a number."""

    fewest: int
    most: int


NO_POLLS = PollNumbers(0, 0)


def workflow_polls(options: WorkerOptions, *, are_free: bool) -> tuple[PollNumbers, PollNumbers]:
    """For the normal queue and for the sticky one.

    Each queue has at least one. Together they never need more slots than there are, because the polls of one queue
    could otherwise hold all of them while no task arrives.

    Args:
        options: The options of the worker.
        are_free: See `perdure.wire.seam.Connection.polls_are_free`.
    """
    if not options.workflows:
        return NO_POLLS, NO_POLLS
    slots = options.max_concurrent_workflow_tasks
    total = min(options.workflow_pollers or POLLERS_DEFAULT, slots)
    if not options.uses_sticky_queue:
        normal, sticky = PollNumbers(total, total), NO_POLLS
    else:
        wanted = round(total * options.nonsticky_to_sticky_poll_ratio)
        few = min(max(wanted, 1), total - 1)
        normal, sticky = PollNumbers(few, few), PollNumbers(total - few, total - few)
    if options.workflow_pollers is None:
        most = _most(int(slots * WORKFLOW_SHARE), are_free=are_free)
        normal, sticky = _up_to(normal, most), _up_to(sticky, most)
    return normal, sticky


def activity_polls(options: WorkerOptions, *, are_free: bool) -> PollNumbers:
    """For activities; see `workflow_polls`."""
    if not options.activities or options.no_remote_activities:
        return NO_POLLS
    slots = options.max_concurrent_activities
    if options.activity_pollers is not None:
        return PollNumbers(options.activity_pollers, options.activity_pollers)
    few = PollNumbers(POLLERS_DEFAULT, POLLERS_DEFAULT)
    return _up_to(few, _most(int(slots * ACTIVITY_SHARE), are_free=are_free))


def _most(share_of_slots: int, *, are_free: bool) -> int:
    return share_of_slots if are_free else min(share_of_slots, NETWORK_POLLS_MAX)


def _up_to(numbers: PollNumbers, most: int) -> PollNumbers:
    return PollNumbers(numbers.fewest, max(most, numbers.fewest)) if numbers.fewest else NO_POLLS
