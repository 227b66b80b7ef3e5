"""An environment over a stage: its time is virtual, and its worker is raw calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from perdure.client import Interceptor
from perdure.testing import WorkflowEnvironment
from perdure.testing.time_skipping import TimeSkippingBackend
from tests.unit.testing.stage import Stage, staged

Test = Callable[[Stage, WorkflowEnvironment], Coroutine[Any, Any, None]]


def environment(stage: Stage, *interceptors: Interceptor) -> WorkflowEnvironment:
    backend = TimeSkippingBackend(
        stage.opened,
        config={"identity": "tester"},
        client={"namespace": "default", "interceptors": interceptors},
    )
    return WorkflowEnvironment._on(backend)


def backend_of(env: WorkflowEnvironment) -> TimeSkippingBackend:
    backend = env._backend
    assert isinstance(backend, TimeSkippingBackend)
    return backend


def hosted(test: Test) -> Callable[[], None]:
    """A test on virtual time with an environment over the stage."""

    async def play(stage: Stage) -> None:
        await test(stage, environment(stage))

    run = staged(play)
    run.__name__ = test.__name__
    return run


async def start(env: WorkflowEnvironment, workflow_id: str = "w") -> Any:
    return await env.client.start_workflow("T", id=workflow_id, task_queue="q")


def locks(stage: Stage) -> tuple[int, int]:
    return (stage.time.locks, stage.time.lent)


async def settle() -> None:
    await asyncio.sleep(0.001)
