"""Attacks: small worlds, each made to break one guard of the server. The seed decides the timing.

A random world reaches the dangerous moment now and then; an attack reaches it every time. Every third seed is an attack
(`play.py`). An attack raises a `Violation` for what it notices itself; after it, the checks of `Stage` run.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.attacks.commits import chained_groups, two_owners
from tests.simulation.attacks.deadlines import (
    failing_wakes,
    many_delays,
    moved_deadlines,
    overtaken_deadlines,
    unread_wakes,
)
from tests.simulation.attacks.namesakes import (
    answered_before_death,
    messages_to_a_run,
    parents_close,
    restarts_between_runs,
    undelivered_at_death,
    unrecorded_children,
)
from tests.simulation.attacks.outcomes import (
    bad_commands,
    dead_workers,
    evicted_while_pending,
    next_numbers,
    repeated_requests,
    stale_load,
    stale_memory,
    unknown_outcomes,
)
from tests.simulation.attacks.pollers import (
    failed_hand_over,
    gone_sticky_worker,
    leaving_pollers,
    refused_start,
)
from tests.simulation.attacks.queues import dead_sticky_queue, one_new_event, scan_and_takeover
from tests.simulation.attacks.retention import newer_run, undelivered_effects
from tests.simulation.stage import Stage

Attack = Callable[[Stage], Coroutine[Any, Any, None]]

ATTACKS: tuple[Attack, ...] = (
    two_owners,
    chained_groups,
    moved_deadlines,
    overtaken_deadlines,
    unread_wakes,
    many_delays,
    failing_wakes,
    scan_and_takeover,
    dead_sticky_queue,
    one_new_event,
    undelivered_effects,
    newer_run,
    repeated_requests,
    unknown_outcomes,
    bad_commands,
    stale_memory,
    stale_load,
    evicted_while_pending,
    next_numbers,
    dead_workers,
    parents_close,
    messages_to_a_run,
    restarts_between_runs,
    undelivered_at_death,
    answered_before_death,
    unrecorded_children,
    refused_start,
    leaving_pollers,
    failed_hand_over,
    gone_sticky_worker,
)
