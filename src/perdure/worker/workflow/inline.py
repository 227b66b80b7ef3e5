"""Workflow tasks that the worker handles in the step of an embedded engine that starts them.

Role: the worker's side of `perdure.wire.seam.InlineWorkers`. A task is `CompletedInline`, or `BegunInline` if its run
has to wait for something. Then it is delivered as well, and its handler continues where the step stopped.

Invariant: a run is held from the step until the step's outcome is known, so that nothing is seen that may yet be lost.
Not here: running the code (`workflow.run`), which runs there are (`workflow.tasks`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TYPE_CHECKING, TypeAlias

from perdure.wire.api import workflowservice

if TYPE_CHECKING:
    from perdure.replay.task import Answer, Completion
    from perdure.worker.polling.eager import EagerActivities
    from perdure.worker.workflow.run import CachedRun

Poll = workflowservice.PollWorkflowTaskQueueResponse
GoOn: TypeAlias = "Callable[[], Awaitable[Answer | None]]"
"""Continues a task. Returns and raises what `CachedRun.advance` does."""
Settle: TypeAlias = "Callable[[CachedRun, Completion], None]"
Evict: TypeAlias = "Callable[[CachedRun], None]"


class CompletedInline:
    """A task that the workflow's code has completed.

    Args:
        run: The run, which the caller has entered.
        answer: What its code did.
        completion: The answer as a request.
        reserved: How many slots are reserved for activities that the engine starts with the completion.
        eager: Runs those activities.
        settle: Keeps the run for its next task, or evicts it.
        evict: Evicts a run.
    """

    __slots__ = (
        "_answer",
        "_context",
        "_eager",
        "_evict",
        "_reserved",
        "_run",
        "_settle",
        "completion",
    )

    def __init__(
        self,
        run: CachedRun,
        answer: Completion,
        completion: workflowservice.RespondWorkflowTaskCompletedRequest,
        reserved: int,
        eager: EagerActivities,
        settle: Settle,
        evict: Evict,
        context: Context,
    ) -> None:
        self._run = run
        self._answer = answer
        self.completion = completion
        self._reserved = reserved
        self._eager = eager
        self._settle = settle
        self._evict = evict
        self._context = context

    def refused(self) -> None:
        """The history continues without what the code did, so the run has to be replayed from the start (R-29)."""
        self._evict(self._run)

    def durable(self, response: workflowservice.RespondWorkflowTaskCompletedResponse) -> None:
        try:
            # Activities have the worker's context variables, not those of the task that commits.
            start = self._eager.start
            self._context.copy().run(start, self._reserved, response.activity_tasks)
            if not self._run.is_closed:
                self._settle(self._run, self._answer)
        finally:
            self._run.leave()

    def lost(self) -> None:
        try:
            self._eager.start(self._reserved)
            self._evict(self._run)
        finally:
            self._run.leave()


class BegunInline:
    """A task whose run waits: for a local activity, for a page of history, or for its error to be reported.

    Args:
        run: The run, which the caller has entered.
        task: The task.
        go_on: Continues the task.
        forget: Called when the task turns out not to exist.
    """

    __slots__ = ("_forget", "_what", "go_on", "run")

    completion = None

    def __init__(
        self,
        run: CachedRun,
        task: Poll,
        go_on: GoOn,
        forget: Callable[[BegunInline], None],
    ) -> None:
        self.run = run
        self.go_on = go_on
        self._what = _what(task)
        self._forget = forget

    def is_of(self, task: Poll) -> bool:
        """Whether a delivered task is the one that was begun.

        Updates that have arrived since may come with it.
        """
        return self._what == _what(task)

    def refused(self) -> None:
        raise AssertionError("there is nothing to refuse")

    def durable(self, response: workflowservice.RespondWorkflowTaskCompletedResponse) -> None:
        raise AssertionError("the task is delivered instead")

    def lost(self) -> None:
        self._forget(self)


def _what(task: Poll) -> tuple[int, list[str], list[str]]:
    return task.started_event_id, [message.id for message in task.messages], sorted(task.queries)
