"""Effects reach the run that was meant, though its workflow id may mean another one by now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.ids import EntityKey, run_key
from perdure.core.limits import Limits
from perdure.entity.transition import Effect
from perdure.history.delivery.messages import Address, CreateChild, Receipt, Refusal, Signal
from perdure.history.run.start import Parent
from perdure.history.workflow_task.steps import SERVER_IDENTITY
from perdure.server.owners.messages import DeliverMessage
from perdure.server.runs import Runs
from perdure.wire.api import common, enums, operatorservice, workflowservice
from perdure.wire.errors import InvalidArgument
from tests.harness.builders import (
    cancel_external,
    complete_workflow,
    continue_as_new,
    signal_external,
    start_child,
)
from tests.unit.server.test_children import (
    Cut,
    Policy,
    beyond_tasks,
    child_of,
    delivered,
    event,
    family,
    step,
)
from tests.unit.server.virtual import on_virtual_time, virtual_world
from tests.unit.server.world import World, settle

TERMINATED = "WORKFLOW_EXECUTION_TERMINATED"
ASKED = "WORKFLOW_EXECUTION_CANCEL_REQUESTED"
POLICIES = [
    (Policy.PARENT_CLOSE_POLICY_TERMINATE, TERMINATED),
    (Policy.PARENT_CLOSE_POLICY_REQUEST_CANCEL, ASKED),
]


class Post:
    """Holds up deliveries until it is told to let them go."""

    def __init__(self, world: World) -> None:
        self.gate = asyncio.Event()
        self.kinds: list[str] = []
        self._deliver = world.engine.outbox.deliver
        world.engine.outbox.deliver = self.deliver

    async def deliver(self, source: EntityKey, effect: Effect) -> None:
        await self.gate.wait()
        await self._deliver(source, effect)
        self.kinds.append(effect.kind)


@pytest.mark.parametrize(("policy", "seen"), POLICIES)
async def test_a_run_that_only_has_the_id_of_a_child_is_left_alone_when_the_parent_closes(
    world: World, policy: Policy.ValueType, seen: str
):
    parent, child = await family(world, parent_close_policy=policy)
    task = await world.poll()
    assert task.workflow_execution.workflow_id == "p"
    post = Post(world)
    await world.terminate("c")
    other = await world.start("c", request_id="somebody else's")
    assert other != child
    await world.complete(task.task_token, complete_workflow())
    await settle()
    post.gate.set()
    await delivered(world)
    assert len(post.kinds) == 2, "the end of the child, and that of the parent"
    assert await beyond_tasks(world, other) == ["WORKFLOW_EXECUTION_STARTED"]
    assert await beyond_tasks(world, child) == ["WORKFLOW_EXECUTION_STARTED", TERMINATED]
    assert (await beyond_tasks(world, parent))[-1] == "WORKFLOW_EXECUTION_COMPLETED"
    assert seen not in await beyond_tasks(world, other)


@pytest.mark.parametrize(("policy", "seen"), POLICIES)
async def test_a_child_that_continued_as_new_is_meant_by_the_policy_too(
    world: World, policy: Policy.ValueType, seen: str
):
    _, first = await family(world, parent_close_policy=policy)
    await step(world, "p")
    await step(world, "c", continue_as_new())
    last = await child_of(world)
    assert last != first
    await world.terminate("p")
    await delivered(world)
    assert seen in await beyond_tasks(world, last)
    assert seen not in await beyond_tasks(world, first)


@pytest.mark.parametrize("command_of", [signal_external, cancel_external])
async def test_a_message_to_a_run_does_not_reach_the_next_one(world: World, command_of: Any):
    old = await world.start("o")
    await world.poll()
    sender = await world.start("s")
    task = await world.poll()
    assert task.workflow_execution.workflow_id == "s"
    post = Post(world)
    await world.complete(task.task_token, command_of("o", run_id=old.run_id))
    await world.terminate("o")
    new = await world.start("o", request_id="new")
    post.gate.set()
    await delivered(world)
    assert await beyond_tasks(world, new) == ["WORKFLOW_EXECUTION_STARTED"]
    if command_of is signal_external:
        failed = await event(world, sender, "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")
        assert failed.workflow_execution.run_id == old.run_id


@pytest.mark.parametrize("command_of", [signal_external, cancel_external])
async def test_a_message_without_a_run_reaches_the_current_one(world: World, command_of: Any):
    await world.start("o")
    await world.poll()
    await world.start("s")
    task = await world.poll()
    post = Post(world)
    await world.complete(task.task_token, command_of("o"))
    await world.terminate("o")
    new = await world.start("o", request_id="new")
    post.gate.set()
    await delivered(world)
    assert len(await beyond_tasks(world, new)) == 2


@pytest.mark.parametrize("number", [1, 2])
async def test_a_cancel_request_that_is_delivered_again_counts_once(world: World, number: int):
    other = await world.start("o")
    task = await world.poll()
    await world.complete(task.task_token)
    sender = await world.start("s")
    cut = Cut(world, number, before=False)
    await step(world, "s", cancel_external("o"))
    assert (cut.calls > number) == (number == 1)
    await event(world, other, ASKED)
    await event(world, sender, "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED")


@pytest.mark.parametrize("command_of", [signal_external, cancel_external])
async def test_an_answered_message_is_not_sent_again_to_who_has_the_id_by_now(
    world: World, command_of: Any
):
    """The row of the effect outlives its answer when the process dies in between."""
    old = await world.start("o")
    await world.poll()
    await world.start("s")
    task = await world.poll()
    finish = world.engine.outbox._finish
    failures = [0]

    async def fails_once(stored: Any) -> None:
        if not failures[0]:
            failures[0] += 1
            await world.terminate("o")
            await world.start("o", request_id="new")
            for _ in range(2):  # as the next process begins it
                await world.engine.outbox.deliver(stored.source, stored.effect)
        await finish(stored)

    world.engine.outbox._finish = fails_once
    await world.complete(task.task_token, command_of("o"))
    await delivered(world)
    assert failures == [1]
    new = await child_of(world, "o")
    assert new != old
    assert await beyond_tasks(world, new) == ["WORKFLOW_EXECUTION_STARTED"]
    assert len(await beyond_tasks(world, old)) == 3


# Namespaces, and limits.


async def other_namespace(world: World) -> str:
    await world.call(
        "RegisterNamespace", workflowservice.RegisterNamespaceRequest(namespace="other")
    )
    found = world.engine.namespaces.find("other")
    assert found is not None
    return found.namespace_id


@on_virtual_time
async def test_messages_and_children_reach_another_namespace_where_that_is_allowed():
    async with virtual_world(limits=Limits(allows_cross_namespace_commands=True)) as world:
        await commands_for_another_namespace(world)


async def commands_for_another_namespace(world: World) -> None:
    namespace_id = await other_namespace(world)
    request = workflowservice.StartWorkflowExecutionRequest(
        namespace="other", workflow_id="o", request_id="o"
    )
    request.workflow_type.name, request.task_queue.name = "T", "elsewhere"
    run_id = (await world.call("StartWorkflowExecution", request)).run_id
    same_name = await world.start("o")
    await world.poll()
    await world.start("s")
    await step(
        world,
        "s",
        signal_external("o", namespace="other"),
        cancel_external("o", namespace="other"),
        start_child("c", namespace="other"),
    )
    there = run_key(namespace_id, "o", run_id)
    assert await world.engine.read(there, lambda state: state.signal_count) == 1
    assert await world.engine.read(there, lambda state: state.cancel_requested_event_id)
    assert await beyond_tasks(world, same_name) == ["WORKFLOW_EXECUTION_STARTED"]
    child = await Runs(world.engine).read_current(namespace_id, "c", "", lambda state, _: state.key)
    parent = await world.engine.read(child, lambda state: state.info.parent)
    assert parent is not None
    assert (parent.namespace_id, parent.name) == (world.namespace_id, "s")


@on_virtual_time
async def test_rule_45_a_workflow_reaches_another_with_a_long_id():
    async with virtual_world() as world:
        long = "\N{GRINNING FACE}" * 1_000
        target = await world.start(long, request_id="r")
        await step(world, long)
        await world.start("s")
        await step(world, "s", signal_external(long), cancel_external(long))
        assert await world.engine.read(target, lambda state: state.signal_count) == 1
        assert await world.engine.read(target, lambda state: state.cancel_requested_event_id)


def keyword(name: str) -> dict[str, Any]:
    value = {"metadata": {"encoding": b"json/plain"}, "data": b'"x"'}
    return {"indexed_fields": {name: value}}


@on_virtual_time
async def test_rule_49_attributes_of_a_child_are_those_of_its_namespace():
    async with virtual_world(limits=Limits(allows_cross_namespace_commands=True)) as world:
        namespace_id = await other_namespace(world)
        kind = enums.INDEXED_VALUE_TYPE_KEYWORD
        for namespace, name in (("default", "Ours"), ("other", "Theirs")):
            request = operatorservice.AddSearchAttributesRequest(
                namespace=namespace, search_attributes={name: kind}
            )
            await world.call("AddSearchAttributes", request)
        await world.start("s")
        refusal = "Namespace other has no mapping defined for search attribute Ours"
        with pytest.raises(InvalidArgument, match=refusal):
            await step(
                world, "s", start_child("c", namespace="other", search_attributes=keyword("Ours"))
            )
        theirs = keyword("Theirs")
        await step(world, "s", start_child("c", namespace="other", search_attributes=theirs))
        found = await Runs(world.engine).read_current(
            namespace_id, "c", "", lambda state, _: state.search_attributes
        )
        [(name, value)] = found
        assert name == "Theirs"
        assert common.Payload.FromString(value).metadata["type"] == b"Keyword"
        # The parent's own namespace does not know that name.
        with pytest.raises(InvalidArgument, match="Namespace default has no mapping"):
            await step(world, "s", start_child("d", search_attributes=theirs))


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (signal_external("o", namespace="other"), "BadSignalWorkflowExecutionAttributes"),
        (
            cancel_external("o", namespace="other"),
            "BadRequestCancelExternalWorkflowExecutionAttributes",
        ),
        (start_child("c", namespace="other"), "BadStartChildExecutionAttributes"),
    ],
)
async def test_rule_42_commands_for_another_namespace_are_refused(
    world: World, command: Any, cause: str
):
    await other_namespace(world)
    sender = await world.start("s")
    refusal = f"{cause}: cross namespace commands are not allowed"
    with pytest.raises(InvalidArgument, match=refusal):
        await step(world, "s", command)
    assert "WORKFLOW_TASK_FAILED" in await world.event_types(sender)
    await step(world, "s", signal_external("o", namespace="default"))
    assert "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED" in await world.event_types(sender)


@on_virtual_time
async def test_a_signal_that_the_receiver_can_not_take_any_more_is_told_as_such():
    async with virtual_world(limits=Limits(signals_per_run_max=2)) as world:
        await world.start("o")
        await world.poll()
        for number in range(2):
            await world.signal("o", request_id=str(number))
        sender = await world.start("s")
        await step(world, "s", signal_external("o"))
        failed = await event(world, sender, "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED")
        assert failed.cause == (
            enums.SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED
        )
        assert failed.initiated_event_id == 5


async def test_what_is_sent_is_what_arrives(world: World):
    other = await world.start("o")
    await world.complete((await world.poll()).task_token)
    await world.start("s")
    said = common.Payloads(payloads=[common.Payload(data=b"what")])
    header = common.Header(fields={"h": common.Payload(data=b"head")})
    await step(world, "s", signal_external("o", input=said, header=header))
    got = await event(world, other, "WORKFLOW_EXECUTION_SIGNALED")
    assert (got.input, got.header) == (said, header)


@pytest.mark.parametrize("command_of", [signal_external, cancel_external, start_child])
async def test_a_command_for_a_namespace_that_is_not_there_fails_its_task(
    world: World, command_of: Any
):
    sender = await world.start("s")
    task = await world.poll()
    with pytest.raises(InvalidArgument, match="Namespace nowhere is not found"):
        await world.complete(task.task_token, command_of("o", namespace="nowhere"))
    assert "WORKFLOW_TASK_FAILED" in await world.event_types(sender)


SIGNAL_CAUSE = enums.SignalExternalWorkflowExecutionFailedCause
CANCEL_CAUSE = enums.CancelExternalWorkflowExecutionFailedCause
START_CAUSE = enums.StartChildWorkflowExecutionFailedCause
GONE = "EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND"


@pytest.mark.parametrize(
    ("command_of", "refusal", "kind", "cause"),
    [
        (
            signal_external,
            Refusal.NO_NAMESPACE,
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
            f"SIGNAL_{GONE}",
        ),
        (
            cancel_external,
            Refusal.NO_NAMESPACE,
            "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
            f"CANCEL_{GONE}",
        ),
        (
            start_child,
            Refusal.NO_NAMESPACE,
            "START_CHILD_WORKFLOW_EXECUTION_FAILED",
            "START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_NAMESPACE_NOT_FOUND",
        ),
        (
            start_child,
            Refusal.INVALID,
            "START_CHILD_WORKFLOW_EXECUTION_FAILED",
            "START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_UNSPECIFIED",
        ),
    ],
)
async def test_the_sender_records_why_its_destination_refuses(
    world: World, command_of: Any, refusal: Refusal, kind: str, cause: str
):
    async def refuse(_: DeliverMessage) -> Receipt:
        return Receipt(refusal)

    world.node.owners.serve({DeliverMessage: refuse})
    sender = await world.start("s")
    await step(world, "s", command_of("o"))
    failed = await event(world, sender, kind)
    names = {value: name for name, value in type_of_cause(command_of).items()}
    assert names[failed.cause] == cause


def type_of_cause(command_of: Any) -> dict[str, int]:
    causes: dict[Any, Any] = {
        signal_external: SIGNAL_CAUSE,
        cancel_external: CANCEL_CAUSE,
        start_child: START_CAUSE,
    }
    return dict(causes[command_of].items())


async def test_a_message_to_a_namespace_that_is_not_there_is_refused(world: World):
    request = workflowservice.SignalWorkflowExecutionRequest(signal_name="x")
    to, sender = Address("nowhere", "o"), run_key(world.namespace_id, "s", "r")
    message = DeliverMessage(Signal(to, sender, 5, request, child_only=False))
    place = run_key("nowhere", "o", "")
    assert await world.node.owners.ask(place, message) == Receipt(Refusal.NO_NAMESPACE)
    message = DeliverMessage(
        Signal(Address(world.namespace_id, "o"), sender, 5, request, child_only=False)
    )
    assert await world.node.owners.ask(place, message) == Receipt(Refusal.NOT_FOUND)


async def test_a_child_that_cannot_be_started_is_refused_and_the_log_says_why(
    world: World, caplog: pytest.LogCaptureFixture
):
    parent = Parent(run_key(world.namespace_id, "p", "r"), "default", 5, "p", "r")
    request = workflowservice.StartWorkflowExecutionRequest(
        workflow_id="c", cron_schedule="* * * * *"
    )
    message = CreateChild(Address(world.namespace_id, "c"), parent, request)
    place = run_key(world.namespace_id, "c", "")
    receipt = await world.node.owners.ask(place, DeliverMessage(message))
    assert receipt == Receipt(Refusal.INVALID)
    assert "child workflow c cannot be started: cron_schedule is not supported" in caplog.text
    caplog.clear()
    await world.start("c")
    request = workflowservice.StartWorkflowExecutionRequest(workflow_id="c")
    message = CreateChild(Address(world.namespace_id, "c"), parent, request)
    receipt = await world.node.owners.ask(place, DeliverMessage(message))
    assert receipt == Receipt(Refusal.EXISTS)
    assert "cannot be started" not in caplog.text


async def test_what_is_not_sent_does_not_arrive_and_the_server_is_named_as_the_sender(world: World):
    other = await world.start("o")
    await world.complete((await world.poll()).task_token)
    await world.start("s")
    await step(world, "s", signal_external("o"), cancel_external("o"))
    got = await event(world, other, "WORKFLOW_EXECUTION_SIGNALED")
    assert not got.HasField("input")
    assert not got.HasField("header")
    assert got.identity == SERVER_IDENTITY
    assert (await event(world, other, ASKED)).identity == SERVER_IDENTITY
