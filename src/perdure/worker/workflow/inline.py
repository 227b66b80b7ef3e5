"""Workflow tasks that are worked off in the step of an embedded engine that starts them.

Role: the worker's side of `perdure.wire.seam.InlineWorkers`. A task is `CompletedInline`, or `BegunInline` when its run
has to wait for something: then it is delivered as well, and its handler goes on where the step stopped.

Invariant: a run is held from the step until its outcome is known, so that nobody sees what may be lost.
Not here: running the code (`workflow.run`), which runs there are (`workflow.tasks`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from perdure.wire.api import workflowservice

if TYPE_CHECKING:
    from perdure.replay.task import Answer, Completion
    from perdure.worker.polling.eager import EagerActivities
    from perdure.worker.workflow.run import CachedRun

Poll = workflowservice.PollWorkflowTaskQueueResponse
GoOn: TypeAlias = "Callable[[], Awaitable[Answer | None]]"
"""Goes on with a task, and returns or raises what `CachedRun.advance` does."""
Settle: TypeAlias = "Callable[[CachedRun, Completion], None]"
Evict: TypeAlias = "Callable[[CachedRun], None]"


class CompletedInline:
    """A task with its completion.

    Args:
        run: The run, which the caller has entered.
        answer: What its code did.
        completion: The same, as a request.
        reserved: How many slots are reserved for activities that the engine starts with it.
        eager: Runs those activities.
        settle: Keeps the run for its next task, or evicts it.
        evict: Forgets a run.
    """

    __slots__ = ("_answer", "_eager", "_evict", "_reserved", "_run", "_settle", "completion")

    def __init__(
        self,
        run: CachedRun,
        answer: Completion,
        completion: workflowservice.RespondWorkflowTaskCompletedRequest,
        reserved: int,
        eager: EagerActivities,
        settle: Settle,
        evict: Evict,
    ) -> None:
        self._run = run
        self._answer = answer
        self.completion = completion
        self._reserved = reserved
        self._eager = eager
        self._settle = settle
        self._evict = evict

    def refused(self) -> None:
        """History goes on without what the code did: replay from the start (R-29)."""
        self._evict(self._run)

    def durable(self, response: workflowservice.RespondWorkflowTaskCompletedResponse) -> None:
        self._eager.start(self._reserved, response.activity_tasks)
        if not self._run.is_closed:
            self._settle(self._run, self._answer)
        self._run.leave()

    def lost(self) -> None:
        self._eager.start(self._reserved)
        self._evict(self._run)
        self._run.leave()


class BegunInline:
    """A task whose run waits: for a local activity, for a page of history, or for its error to be reported.

    Args:
        run: The run, which the caller has entered.
        task: The task.
        go_on: Goes on with it.
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

        It may be a later one, because another worker got that, or have more with it: updates that came meanwhile.
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
