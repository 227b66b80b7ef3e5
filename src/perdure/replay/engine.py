"""``WorkflowReplay``: one run's engine. See the package docstring for invariants.

The worker drives it like this; nothing here waits or raises for bad data::

    need = engine.feed(task)
    while need is not None:
        need = engine.feed_page(events, next_token)   # the caller fetched them
    while (activation := engine.next()) is not None:
        need = engine.commit(host.run(activation))    # again: feed_page until None
    if engine.error is None: answer = engine.ready()  # Completion, QueryAnswer or None
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.replay.commands import ActivationResult
from perdure.replay.jobs import Activation
from perdure.replay.task import Answer, EngineConfig, Fatal, NeedPage, RunInfo, WorkflowTask

if TYPE_CHECKING:
    from perdure import wire
    from perdure.replay.mismatch import Mismatch


class WorkflowReplay:
    """Replays and advances one workflow run.

    After ``error`` is set, ``next`` and ``ready`` return None: fail the workflow task (cause
    NonDeterministicError for a Mismatch) and drop the run from the cache.
    """

    error: Mismatch | Fatal | None

    def __init__(self, run: RunInfo, config: EngineConfig) -> None: ...

    @property
    def mismatch(self) -> Mismatch | None:
        """The nondeterminism found, if any."""

    def feed(self, task: WorkflowTask) -> NeedPage | None:
        """Take a new workflow task; the previous one must have been answered or failed."""

    def feed_page(
        self, events: Sequence[wire.HistoryEvent], next_page_token: bytes
    ) -> NeedPage | None:
        """Deliver the page asked for by ``NeedPage``."""

    def next(self) -> Activation | None:
        """The next round of work for user code; None when there is nothing to run."""

    def commit(self, result: ActivationResult) -> NeedPage | None:
        """Take what the activation returned by ``next`` produced."""

    def ready(self) -> Answer | None:
        """The answer to the workflow task; None while replaying a closed or recorded history."""

    def task_reported(self, reset_history_event_id: int = 0) -> None:
        """The server took the completion; non-zero when it dropped a speculative task."""
