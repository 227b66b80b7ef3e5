"""Children, signals and cancel requests between workflows, through a real node: S-38 and D-9."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.core.ids import EntityKey, run_key
from perdure.core.units import MS_NS
from perdure.history.delivery.settle import PARENT_CLOSED_REASON
from perdure.wire.api import command, common, enums, history, workflow, workflowservice
from perdure.wire.errors import Unavailable
from perdure.wire.events import parse_rows
from perdure.wire.times import duration
from tests.harness.builders import (
    cancel_external,
    cancel_workflow,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    signal_external,
    start_child,
)
from tests.unit.server.world import World

Policy = enums.ParentClosePolicy


async def delivered(world: World) -> None:
    """Wait until no effect is on its way."""
    for _ in range(4_000):
        await world.engine.committer.flush()
        if not world.engine.clock_control.is_busy:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("an effect is never delivered")


async def describe(world: World, workflow_id: str) -> Any:
    request = workflowservice.DescribeWorkflowExecutionRequest(
        namespace="default", execution=common.WorkflowExecution(workflow_id=workflow_id)
    )
    return await world.call("DescribeWorkflowExecution", request)


async def step(world: World, workflow_id: str, *commands: command.Command) -> EntityKey:
    """Complete the next workflow task, which must be that of this workflow."""
    task = await world.poll()
    assert task.workflow_execution.workflow_id == workflow_id
    await world.complete(task.task_token, *commands)
    await delivered(world)
    return run_key(world.namespace_id, workflow_id, task.workflow_execution.run_id)


async def events(world: World, key: EntityKey) -> list[history.HistoryEvent]:
    return list(parse_rows(await world.engine.history(key, 1, 10_000)).events)


async def event(world: World, key: EntityKey, kind: str) -> Any:
    """The attributes of the only event of this kind."""
    event_type = enums.EventType.Value(f"EVENT_TYPE_{kind}")
    (found,) = [each for each in await events(world, key) if each.event_type == event_type]
    return getattr(found, found.WhichOneof("attributes") or "")


async def beyond_tasks(world: World, key: EntityKey) -> list[str]:
    """The types of the run's events, without those of its workflow tasks."""
    return [kind for kind in await world.event_types(key) if not kind.startswith("WORKFLOW_TASK")]


async def child_of(world: World, workflow_id: str = "c") -> EntityKey:
    info = (await describe(world, workflow_id)).workflow_execution_info
    return run_key(world.namespace_id, workflow_id, info.execution.run_id)


async def family(world: World, **changes: Any) -> tuple[EntityKey, EntityKey]:
    """A parent whose child has started, with a workflow task of each waiting."""
    parent = await world.start("p")
    await step(world, "p", start_child(**changes))
    return parent, await child_of(world)


async def test_a_child_starts_runs_and_reports_its_end(world: World):
    parent, child = await family(world, input=common.Payloads(payloads=[common.Payload(data=b"x")]))
    started = await event(world, child, "WORKFLOW_EXECUTION_STARTED")
    assert started.parent_workflow_execution.workflow_id == "p"
    assert started.parent_workflow_execution.run_id == parent.run_id
    assert started.parent_workflow_namespace == "default"
    assert started.parent_workflow_namespace_id == world.namespace_id
    assert started.parent_initiated_event_id == 5
    assert started.root_workflow_execution.run_id == parent.run_id
    assert started.task_queue.name == "q", "the parent's, unless another is named"
    assert started.input.payloads[0].data == b"x"
    (pending,) = (await describe(world, "p")).pending_children
    assert pending == workflow.PendingChildExecutionInfo(
        workflow_id="c",
        run_id=child.run_id,
        workflow_type_name="C",
        initiated_id=5,
        parent_close_policy=Policy.PARENT_CLOSE_POLICY_TERMINATE,
    )
    described = (await describe(world, "c")).workflow_execution_info
    assert described.parent_execution.run_id == parent.run_id
    assert described.root_execution.run_id == parent.run_id
    await step(world, "p")
    await step(world, "c", complete_workflow())
    assert await beyond_tasks(world, parent) == [
        "WORKFLOW_EXECUTION_STARTED",
        "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
        "CHILD_WORKFLOW_EXECUTION_STARTED",
        "CHILD_WORKFLOW_EXECUTION_COMPLETED",
    ]
    ended = await event(world, parent, "CHILD_WORKFLOW_EXECUTION_COMPLETED")
    assert ended.workflow_execution.run_id == child.run_id
    assert ended.workflow_type.name == "C"
    assert (ended.initiated_event_id, ended.started_event_id) == (5, 6)
    await step(world, "p", complete_workflow())
    for key in (parent, child):
        await world.check_memory(key)


@pytest.mark.parametrize(
    ("end", "kind"), [(fail_workflow, "FAILED"), (cancel_workflow, "CANCELED")]
)
async def test_other_ends_of_a_child(
    world: World, end: Callable[[], command.Command], kind: str
) -> None:
    parent, _ = await family(world)
    await step(world, "p")
    await step(world, "c", end())
    assert (await beyond_tasks(world, parent))[-1] == f"CHILD_WORKFLOW_EXECUTION_{kind}"


async def test_a_terminated_and_a_timed_out_child(world: World):
    parent, _ = await family(world)
    await step(world, "p", start_child("d", workflow_run_timeout=duration(50 * MS_NS)))
    await world.terminate("c")
    kinds: list[str] = []
    for _ in range(200):
        kinds = await beyond_tasks(world, parent)
        if "CHILD_WORKFLOW_EXECUTION_TIMED_OUT" in kinds:
            break
        await asyncio.sleep(0.02)
    assert "CHILD_WORKFLOW_EXECUTION_TERMINATED" in kinds
    assert "CHILD_WORKFLOW_EXECUTION_TIMED_OUT" in kinds


async def test_a_child_whose_workflow_id_is_taken(world: World):
    await world.start("c")
    parent = await world.start("p")
    task = await world.poll()
    assert task.workflow_execution.workflow_id == "c"
    await step(world, "p", start_child())
    failed = await event(world, parent, "START_CHILD_WORKFLOW_EXECUTION_FAILED")
    exists = enums.StartChildWorkflowExecutionFailedCause
    assert failed.cause == (
        exists.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
    )
    assert failed.initiated_event_id == 5
    assert not (await describe(world, "p")).pending_children
    await step(world, "p", complete_workflow())


class Cut:
    """Breaks a delivery off: after its n-th call of the engine, which has done its work durably, or before it."""

    def __init__(self, world: World, number: int, *, before: bool) -> None:
        self.left = number
        self.calls = 0
        self.before = before
        runs = world.node.frontend.services.runs
        for owner, names in ((world.engine, ("update",)), (runs, ("update_current", "start_with"))):
            for name in names:
                setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            task = asyncio.current_task()
            in_delivery = task is not None and "Outbox" in str(task.get_coro())
            if not in_delivery:
                return await method(*arguments, **options)
            self.calls += 1
            self.left -= 1
            if self.left == 0 and self.before:
                raise Unavailable("cut short (test)")
            result = await method(*arguments, **options)
            if self.left == 0:
                raise Unavailable("cut short (test)")
            return result

        return call


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("number", range(1, 5))
async def test_a_handshake_that_is_cut_short_anywhere_comes_to_the_same(
    world: World, number: int, before: bool
):
    cut = Cut(world, number, before=before)
    parent = await world.start("p")
    await step(world, "p", start_child())
    await step(world, "p")
    await step(world, "c", complete_workflow())
    await step(world, "p", complete_workflow())
    assert cut.left <= 0, "the delivery was cut"
    assert await beyond_tasks(world, parent) == [
        "WORKFLOW_EXECUTION_STARTED",
        "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
        "CHILD_WORKFLOW_EXECUTION_STARTED",
        "CHILD_WORKFLOW_EXECUTION_COMPLETED",
        "WORKFLOW_EXECUTION_COMPLETED",
    ]
    child = await child_of(world)
    assert await beyond_tasks(world, child) == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_EXECUTION_COMPLETED",
    ]


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (Policy.PARENT_CLOSE_POLICY_UNSPECIFIED, "WORKFLOW_EXECUTION_TERMINATED"),
        (Policy.PARENT_CLOSE_POLICY_TERMINATE, "WORKFLOW_EXECUTION_TERMINATED"),
        (Policy.PARENT_CLOSE_POLICY_REQUEST_CANCEL, "WORKFLOW_EXECUTION_CANCEL_REQUESTED"),
        (Policy.PARENT_CLOSE_POLICY_ABANDON, None),
    ],
)
async def test_parent_close_policy(
    world: World, policy: Policy.ValueType, seen: str | None
) -> None:
    parent, child = await family(world, parent_close_policy=policy)
    await step(world, "p", complete_workflow())
    kinds = await beyond_tasks(world, child)
    assert kinds == ["WORKFLOW_EXECUTION_STARTED", *([seen] if seen else [])]
    if seen == "WORKFLOW_EXECUTION_TERMINATED":
        said = await event(world, child, seen)
        assert (said.reason, said.identity) == (PARENT_CLOSED_REASON, "history-service")
    elif seen:
        said = await event(world, child, seen)
        assert said.identity == "history-service"
        assert said.external_workflow_execution.workflow_id == "p"
    if seen != "WORKFLOW_EXECUTION_TERMINATED":
        await step(world, "c", complete_workflow())
    assert (await beyond_tasks(world, parent))[-1] == "WORKFLOW_EXECUTION_COMPLETED"


async def test_a_child_that_the_parent_never_recorded_is_discarded(world: World):
    """The parent closes between the child's creation and the record of its start."""
    parent = await world.start("p")
    task = await world.poll()
    start_with = world.node.frontend.services.runs.start_with

    async def slowly(*arguments: Any) -> Any:
        reply = await start_with(*arguments)
        await world.terminate("p")
        return reply

    world.node.frontend.services.runs.start_with = slowly  # type: ignore[method-assign]
    await world.complete(
        task.task_token,
        start_child(parent_close_policy=Policy.PARENT_CLOSE_POLICY_ABANDON),
    )
    await delivered(world)
    child = await child_of(world)
    assert await world.event_types(child) == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_EXECUTION_TERMINATED",
    ]
    assert "CHILD_WORKFLOW_EXECUTION_STARTED" not in await world.event_types(parent)


async def test_a_child_that_ends_before_its_start_is_recorded_is_recorded_as_started_first(
    world: World,
):
    parent = await world.start("p")
    task = await world.poll()
    start_with = world.node.frontend.services.runs.start_with

    async def slowly(*arguments: Any) -> Any:
        reply = await start_with(*arguments)
        await world.signal("c")  # wakes nobody before the parent knows
        await world.terminate("c")
        for _ in range(50):
            await asyncio.sleep(0.005)
        return reply

    world.node.frontend.services.runs.start_with = slowly  # type: ignore[method-assign]
    await world.complete(task.task_token, start_child())
    await delivered(world)
    assert (await beyond_tasks(world, parent))[2:] == [
        "CHILD_WORKFLOW_EXECUTION_STARTED",
        "CHILD_WORKFLOW_EXECUTION_TERMINATED",
    ]
    assert await world.event_types(await child_of(world)) == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_EXECUTION_TERMINATED",
    ]


async def test_a_chain_of_a_child_reports_only_its_end(world: World):
    parent, first = await family(world)
    await step(world, "p")
    again = continue_as_new()
    await step(world, "c", again)
    last = await child_of(world)
    assert last != first
    started = await event(world, last, "WORKFLOW_EXECUTION_STARTED")
    assert started.parent_workflow_execution.run_id == parent.run_id
    assert started.parent_workflow_namespace == "default"
    await step(world, "c", complete_workflow())
    ended = await event(world, parent, "CHILD_WORKFLOW_EXECUTION_COMPLETED")
    assert ended.workflow_execution.run_id == last.run_id


# Signals and cancel requests to others.


async def test_a_signal_and_a_cancel_request_to_another_workflow(world: World):
    other = await world.start("o")
    task = await world.poll()
    await world.complete(task.task_token)
    sender = await world.start("s")
    await step(
        world,
        "s",
        signal_external("o", control="c1"),
        cancel_external("o", reason="because"),
    )
    signaled = await event(world, other, "WORKFLOW_EXECUTION_SIGNALED")
    assert signaled.signal_name == "hello"
    assert signaled.identity == "history-service"
    assert signaled.external_workflow_execution.run_id == sender.run_id
    asked = await event(world, other, "WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    assert asked.cause == "because"
    assert asked.external_initiated_event_id == 6
    assert asked.external_workflow_execution.workflow_id == "s"
    arrived = await event(world, sender, "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED")
    assert (arrived.initiated_event_id, arrived.control) == (5, "c1")
    assert arrived.workflow_execution.workflow_id == "o"
    arrived = await event(world, sender, "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    assert arrived.initiated_event_id == 6
    for key in (other, sender):
        await world.check_memory(key)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_signal_that_is_delivered_again_counts_once(world: World, number: int):
    other = await world.start("o")
    task = await world.poll()
    await world.complete(task.task_token)
    sender = await world.start("s")
    cut = Cut(world, number, before=False)
    await step(world, "s", signal_external("o"))
    again = {1: "it was delivered again", 2: "its answer is recorded, nothing is left to do"}
    assert (cut.calls > number) == (number == 1), again[number]
    await event(world, other, "WORKFLOW_EXECUTION_SIGNALED")
    await event(world, sender, "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED")


@pytest.mark.parametrize(
    "commands",
    [
        (signal_external("nobody"), cancel_external("nobody")),
        (signal_external("s"), cancel_external("s")),
        (
            signal_external("o", child_workflow_only=True),
            cancel_external("o", child_workflow_only=True),
        ),
    ],
    ids=["unknown", "itself", "no child"],
)
async def test_what_can_not_arrive_fails(
    world: World, commands: tuple[command.Command, ...]
) -> None:
    await world.start("o")
    task = await world.poll()
    await world.complete(task.task_token)
    sender = await world.start("s")
    await step(world, "s", *commands)
    failed = await event(world, sender, "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")
    assert enums.SignalExternalWorkflowExecutionFailedCause.Name(failed.cause).endswith(
        "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
    )
    assert failed.initiated_event_id == 5
    failed = await event(world, sender, "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")
    assert failed.initiated_event_id == 6
    await step(world, "s", complete_workflow())


async def test_a_child_is_signalled_and_canceled_by_its_parent(world: World):
    _, child = await family(world)
    await step(
        world,
        "p",
        signal_external("c", child_workflow_only=True),
        cancel_external("c", child_workflow_only=True),
    )
    assert (await beyond_tasks(world, child))[1:] == [
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_EXECUTION_CANCEL_REQUESTED",
    ]


async def test_the_parent_close_policy_also_holds_when_the_parent_continues_as_new(world: World):
    _, child = await family(world)
    again = continue_as_new()
    await step(world, "p", again)
    assert (await beyond_tasks(world, child))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
