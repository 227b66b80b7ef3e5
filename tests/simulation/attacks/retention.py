"""Attacks on the retention: closed runs with undelivered effects, and workflow ids that are used again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.wire import errors
from perdure.wire.api import command, enums
from tests.harness.builders import start_child
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    from tests.simulation.stage import Stage

KEPT_S = 3
"""The retention of these worlds, in seconds."""


async def undelivered_effects(stage: Stage) -> None:
    """A child closes, and its parent cannot be told for longer than the retention time."""
    await stage.start("parent")
    await stage.answer((await stage.poll()).task_token, [_child("child")])
    first = await stage.poll()
    if first.workflow_execution.workflow_id == "parent":
        await stage.answer(first.task_token)
        first = await stage.poll()
    assert stage.store is not None
    stage.store.poisoned = {"parent"}
    await stage.answer(first.task_token, is_last=True)
    await asyncio.sleep(KEPT_S * (2 + stage.random.random()))
    stage.store.poisoned = set()
    await asyncio.sleep(35)
    ends = [
        event
        for event in await stage.events("parent")
        if event.event_type == enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED
    ]
    require(len(ends) == 1, Kind.LOST, f"the parent has {len(ends)} events of its child's end")
    await _gone(stage, "child", first.workflow_execution.run_id)


async def newer_run(stage: Stage) -> None:
    """A run closes, its workflow id is used again, and the old run is deleted."""
    first = await stage.start("reused")
    await stage.answer((await stage.poll()).task_token, is_last=True)
    await asyncio.sleep(stage.random.random() * KEPT_S)
    second = await stage.start("reused", request_id="again")
    await asyncio.sleep(KEPT_S * 3)
    await _gone(stage, "reused", first.run_id)
    try:
        await stage.signal("reused", "hello")
    except errors.NotFound as error:
        require(False, Kind.RETENTION, f"the newer run is not found: {error}")
    found = await stage.signals("reused", second.run_id)
    require(found == ["hello"], Kind.WRONG_RUN, f"the newer run has the signals {found}")


async def _gone(stage: Stage, workflow_id: str, run_id: str) -> None:
    try:
        await stage.signals(workflow_id, run_id)
    except errors.NotFound:
        return
    require(False, Kind.RETENTION, f"{workflow_id} {run_id} is still there")


def _child(workflow_id: str) -> command.Command:
    return start_child(workflow_id, workflow_type={"name": "T"}, task_queue={"name": TASK_QUEUE})
