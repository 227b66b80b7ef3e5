"""Replay of one recorded history: the replay engine and the workflow host, joined, without any I/O.

Role: what `Replayer` does for each history, step by step, so that a caller may do something else between
steps. Not here: reading histories, codecs, waiting (`replayer`).
"""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

import perdure
from perdure.converter.groups import text_of
from perdure.core.user_code import passes_through
from perdure.replay.engine import WorkflowReplay
from perdure.replay.report import render
from perdure.replay.task import EngineConfig, Fatal, RunInfo, WorkflowTask
from perdure.wire.api import enums
from perdure.worker.host import WorkflowHost
from perdure.workflow import NondeterminismError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.replay.commands import ActivationResult
    from perdure.replay.jobs import Activation
    from perdure.wire.api import history as history_pb
    from perdure.worker.host import HostOptions, WorkflowRegistry

    Observer = Callable[[Activation, ActivationResult], None]

    HistoryEvent = history_pb.HistoryEvent

_STARTED = enums.EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED


class HistoryReplay:
    """One history being replayed.

    Args:
        workflow_id: The workflow's id; histories do not contain it.
        events: The history from its first event on.
        registry: The workflow classes.
        options: Options of the host.
        namespace: Namespace that the workflow sees.
        observer: Called after each activation, with what it returned.

    Example:
        ```python
        replay = HistoryReplay("order-7", events, WorkflowRegistry([Order]), HostOptions())
        while replay.step():
            pass
        replay.close()
        print(replay.failure)
        ```
    """

    def __init__(
        self,
        workflow_id: str,
        events: Sequence[HistoryEvent],
        registry: WorkflowRegistry,
        options: HostOptions,
        *,
        namespace: str = "ReplayNamespace",
        observer: Observer | None = None,
    ) -> None:
        self.failure: Exception | None = None
        self._observer = observer
        self._host: WorkflowHost | None = None
        started = events[0].workflow_execution_started_event_attributes
        run = RunInfo(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=started.original_execution_run_id,
            workflow_type=started.workflow_type.name,
            task_queue=started.task_queue.name,
        )
        self._engine = WorkflowReplay(run, EngineConfig(sdk_version=perdure.__version__))
        try:
            definition = registry.definition_for(run.workflow_type)
            self._host = WorkflowHost(definition, run, options)
        except BaseException as error:  # user code: a result of the replay
            if passes_through(error):
                raise
            self._fail(error)
            return
        last = max((e.event_id for e in events if e.event_type == _STARTED), default=0)
        # Everything up to the last started task counts as replay: nothing new is to be done.
        self._engine.feed(
            WorkflowTask(events=events, previous_started_event_id=last, started_event_id=last)
        )

    @property
    def wait_for_profile_matters(self) -> bool:
        """Whether another interpreter's `asyncio.wait_for` could have led to other commands."""
        return self._host is not None and self._host.wait_for_profile_matters

    def step(self) -> bool:
        """Run one activation; False when there is nothing left, or something went wrong."""
        if self.failure is not None or self._host is None:
            return False
        activation = self._engine.next()
        if activation is None:
            self._conclude()
            return False
        try:
            result = self._host.activate(activation)
        except BaseException as error:  # user code: a result of the replay
            if passes_through(error):
                raise
            self._fail(error)
            return False
        if self._observer is not None:
            self._observer(activation, result)
        self._engine.commit(result)
        return True

    def _conclude(self) -> None:
        error = self._engine.error
        if isinstance(error, Fatal):
            where = f" (at event {error.event_id})" if error.event_id else ""
            self.failure = RuntimeError(f"The history cannot be replayed{where}: {error.message}")
        elif error is not None:
            self.failure = NondeterminismError(render(error, linecache.getline))

    def _fail(self, error: BaseException) -> None:
        self.failure = RuntimeError(f"The workflow task fails on replay: {text_of(error)}")
        self.failure.__cause__ = error

    def close(self) -> None:
        """Tear the run down."""
        if self._host is not None:
            self._host.close()
