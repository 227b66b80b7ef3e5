"""Attacks on effects under way: while they are delayed, another run takes the workflow id that they go to."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from perdure.wire import errors
from perdure.wire.api import command, common, enums, taskqueue
from tests.harness.builders import cancel_external, signal_external, start_child
from tests.simulation import right_run
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.core.ids import EntityKey
    from perdure.entity.transition import Effect
    from tests.simulation.stage import Stage

FAMILIES = 20
_RUNNING = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
_CANCEL_REQUESTED = enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED


async def parents_close(stage: Stage) -> None:
    """A parent closes; before its child is told, another run takes the workflow id of the child."""
    for policy in (enums.PARENT_CLOSE_POLICY_TERMINATE, enums.PARENT_CLOSE_POLICY_REQUEST_CANCEL):
        parent, child = f"parent-{policy}", f"child-{policy}"
        await _family(stage, parent, child, policy)
        held = _Held(stage)
        await _wake(stage, parent, is_last=True)
        namesake = await _take_over(stage, child)
        await held.go_on()
        await _untouched(stage, child, namesake)


async def messages_to_a_run(stage: Stage) -> None:
    """Signals and cancel requests go to a run and to a child; meanwhile another run takes the workflow id."""
    await _family(stage, "parent", "child", enums.PARENT_CLOSE_POLICY_ABANDON)
    run_id = (await stage.events("child"))[
        0
    ].workflow_execution_started_event_attributes.original_execution_run_id
    held = _Held(stage)
    await _wake(
        stage,
        "parent",
        [
            _signal("child", run_id, "to the run"),
            _signal("child", "", "to the child", child_only=True),
            _cancel("child", run_id),
        ],
    )
    namesake = await _take_over(stage, "child")
    await held.go_on()
    await _untouched(stage, "child", namesake)
    outcomes = [
        event
        for event in await stage.events("parent")
        if event.event_type
        in (
            enums.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED,
            enums.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED,
        )
    ]
    require(len(outcomes) == 2, Kind.LOST, f"the parent has outcomes of {len(outcomes)} signals")


async def restarts_between_runs(stage: Stage) -> None:
    """A worker completes a terminated run after a newer run took the workflow id: the newer run stays current."""
    await stage.start("w")
    first = await stage.poll()
    namesake = await _take_over(stage, "w")
    with contextlib.suppress(errors.NotFound):  # it was terminated
        await stage.answer(first.task_token, is_last=True)
    await stage.signal("w", "hello")
    found = await stage.signals("w", namesake)
    require(found == ["hello"], Kind.WRONG_RUN, f"the newer run has the signals {found}")


async def undelivered_at_death(stage: Stage) -> None:
    """A node dies after it has written effects and before it has delivered them: the next node delivers them."""
    await stage.start("parent")
    _Held(stage)
    await stage.answer((await stage.poll()).task_token, [_child("child")])
    await asyncio.sleep(stage.random.random())
    stage.kill_node()
    await stage.start_node()
    await asyncio.sleep(3)
    found = [event.event_type for event in await stage.events("parent")]
    require(
        enums.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED in found,
        Kind.LOST,
        f"the child never started: {found}",
    )
    require(len(await stage.events("child")) > 1, Kind.LOST, "the child has no workflow task")


async def answered_before_death(stage: Stage) -> None:
    """The node dies after a delivered signal was recorded and before its effect was removed; a namesake follows."""
    await _family(stage, "parent", "child", enums.PARENT_CLOSE_POLICY_ABANDON)
    assert stage.node is not None
    outbox: Any = stage.node.engine.outbox
    never = asyncio.Event()

    async def finish(_: object) -> None:
        await never.wait()

    outbox._finish = finish
    await _wake(stage, "parent", [_signal("child", "", "to the current run")])
    await asyncio.sleep(0.5 + stage.random.random())
    namesake = await _take_over(stage, "child")
    stage.kill_node()
    await stage.start_node()
    await asyncio.sleep(3)
    await _untouched(stage, "child", namesake)


async def unrecorded_children(stage: Stage) -> None:
    """Parents are terminated while their children start: a child that its parent has not recorded never runs."""
    stage.disk.delay_max_s = 0.2

    async def one(number: int) -> None:
        parent = f"parent-{number}"
        await stage.start(parent)
        await stage.answer((await stage.poll()).task_token, [_child(f"child-{number}")])
        await asyncio.sleep(stage.random.random())
        await stage.call(
            "TerminateWorkflowExecution",
            workflow_execution=common.WorkflowExecution(workflow_id=parent),
        )

    for number in range(FAMILIES):
        await one(number)
    stage.disk.delay_max_s = 0.003
    await asyncio.sleep(5)
    right_run.check(stage.archive.histories(), {})


class _Held:
    """Delays the delivery of effects until `go_on`."""

    def __init__(self, stage: Stage) -> None:
        assert stage.node is not None
        self._outbox: Any = stage.node.engine.outbox
        self._deliver = self._outbox.deliver
        self._gate = asyncio.Event()
        self._outbox.deliver = self._later

    async def _later(self, source: EntityKey, effect: Effect) -> None:
        await self._gate.wait()
        await self._deliver(source, effect)

    async def go_on(self) -> None:
        self._gate.set()
        self._outbox.deliver = self._deliver
        await asyncio.sleep(3)


async def _family(stage: Stage, parent: str, child: str, policy: int) -> None:
    """Start a parent and its child, and complete their first workflow tasks."""
    await stage.start(parent)
    await stage.answer((await stage.poll()).task_token, [_child(child, policy)])
    for _ in range(2):
        await stage.answer((await stage.poll()).task_token)


async def _wake(
    stage: Stage,
    workflow_id: str,
    commands: Sequence[command.Command] = (),
    *,
    is_last: bool = False,
) -> None:
    await stage.signal(workflow_id, "wake up")
    await stage.answer((await stage.poll()).task_token, commands, is_last=is_last)


async def _take_over(stage: Stage, workflow_id: str) -> str:
    """Start an unrelated run under this workflow id, and return its run id."""
    reply = await stage.call(
        "StartWorkflowExecution",
        workflow_id=workflow_id,
        workflow_type=common.WorkflowType(name="Namesake"),
        task_queue=taskqueue.TaskQueue(name="elsewhere"),
        request_id=f"take over {workflow_id}",
        workflow_id_conflict_policy=enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
    )
    return reply.run_id


async def _untouched(stage: Stage, workflow_id: str, run_id: str) -> None:
    reply = await stage.call(
        "DescribeWorkflowExecution",
        execution=common.WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
    )
    status = reply.workflow_execution_info.status
    require(status == _RUNNING, Kind.WRONG_RUN, f"{workflow_id}: a namesake was ended ({status})")
    events = await stage.events(workflow_id, run_id)
    reached = [event.event_type for event in events[2:]]
    require(not reached, Kind.WRONG_RUN, f"{workflow_id}: a namesake got {reached}")


def _child(workflow_id: str, policy: int = enums.PARENT_CLOSE_POLICY_ABANDON) -> command.Command:
    return start_child(
        workflow_id,
        workflow_type={"name": "T"},
        task_queue={"name": TASK_QUEUE},
        parent_close_policy=policy,
    )


def _signal(
    workflow_id: str, run_id: str, name: str, *, child_only: bool = False
) -> command.Command:
    return signal_external(workflow_id, run_id, signal_name=name, child_workflow_only=child_only)


def _cancel(workflow_id: str, run_id: str) -> command.Command:
    return cancel_external(workflow_id, run_id)
