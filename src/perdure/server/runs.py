"""Finds the run that a call addresses by workflow id, and changes which run is current.

Role: the engine knows entities by their keys. Calls name a workflow id, and its pointer names the current run.

Invariant: the pointer and its run are read in the same synchronous step as the change. Not here: what a call does to a
run (`perdure.history`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from perdure.core.ids import run_key, workflow_id_key
from perdure.history.run import start
from perdure.wire.api import workflowservice

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.entity.env import Env
    from perdure.history.draft.transition import RunTransition
    from perdure.history.state.pointer import CurrentRun
    from perdure.history.state.run_state import RunState
    from perdure.server.engine import Engine
    from perdure.server.shards.group import Entry

T = TypeVar("T")

StartRequest = workflowservice.StartWorkflowExecutionRequest


class Runs:
    """Changes and reads of runs, for frontends and deliveries.

    Example:
        reply = await Runs(engine).start(namespace_id, request)
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(self, namespace_id: str, request: StartRequest) -> Any:
        """Start a run (S-22 to S-24). Returns the StartWorkflowExecutionResponse."""
        return await self.start_with(
            namespace_id,
            request.workflow_id,
            lambda current: start.needs_existing(current, request),
            lambda current, existing, env: start.start(
                current, existing, request, namespace_id, env
            ),
        )

    async def start_with(
        self,
        namespace_id: str,
        workflow_id: str,
        needs_existing: Callable[[CurrentRun], bool],
        change: Callable[[CurrentRun | None, RunState | None, Env], tuple[RunTransition, ...]],
    ) -> Any:
        """Change the pointer of a workflow id. `change` gets the pointer and, if needed, the state of its run."""
        entities = self._engine.entities
        pointer_key = workflow_id_key(namespace_id, workflow_id)
        with self._engine.committer.under_way():
            while True:
                entries = await entities.ready(pointer_key)
                current: CurrentRun | None = entries[0].state
                if current is None or not needs_existing(current):
                    break
                entries = await entities.ready(
                    pointer_key, run_key(namespace_id, workflow_id, current.run_id)
                )
                if entries[0].state is current:
                    break
        run = entries[1] if len(entries) > 1 else None
        existing: RunState | None = None if run is None else run.state
        outcome = entities.perform(entries, run, change, current, existing)
        return await entities.durable_reply(outcome)

    async def update_current(
        self,
        namespace_id: str,
        workflow_id: str,
        run_id: str,
        change: Callable[[RunState, Env], RunTransition | tuple[RunTransition, ...]],
        *,
        is_report: bool = False,
    ) -> Any:
        """Like `Engine.update`, but an empty `run_id` means the current run. Raises NotFound as S-27 says.

        `is_report` says that the change records what a worker has done; see `Steps.perform`.
        """
        entities = self._engine.entities
        with self._engine.committer.under_way():
            entries = await self._ready_current(namespace_id, workflow_id, run_id)
            outcome = entities.change(entries, change, is_report=is_report)
        return await entities.durable_reply(outcome)

    async def read_current(
        self, namespace_id: str, workflow_id: str, run_id: str, look: Callable[[RunState, Env], T]
    ) -> T:
        """Like `Engine.read`, but an empty `run_id` means the current run."""
        entries = await self._ready_current(namespace_id, workflow_id, run_id)
        return await self._engine.entities.look(entries, look)

    async def _ready_current(self, namespace_id: str, workflow_id: str, run_id: str) -> list[Entry]:
        """The run and its pointer, or the pointer alone if the workflow id is unknown."""
        entities = self._engine.entities
        if run_id:
            return await entities.ready_to_change(run_key(namespace_id, workflow_id, run_id))
        pointer_key = workflow_id_key(namespace_id, workflow_id)
        while True:
            (pointer,) = await entities.ready(pointer_key)
            current: CurrentRun | None = pointer.state
            if current is None:
                return [pointer]
            key = run_key(namespace_id, workflow_id, current.run_id)
            run, pointer = await entities.ready(key, pointer_key)
            # The pointer may have changed while the run was loaded.
            if pointer.state is not None and pointer.state.run_id == key.run_id:
                return [run, pointer]
