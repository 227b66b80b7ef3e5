"""Updates through a real node: who waits for what, what is sent again, and what a failed commit takes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from perdure.core.ids import run_key
from perdure.server.pending.updates import Updates
from perdure.wire.api import command, common, enums, failure, protocol, update, workflowservice
from perdure.wire.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from tests.harness import builders
from tests.harness.builders import complete_workflow, continue_as_new
from tests.unit.server.world import World, settle

Stage = enums.UpdateWorkflowExecutionLifecycleStage
ACCEPTED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
ADMITTED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
COMPLETED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
Response = workflowservice.UpdateWorkflowExecutionResponse


def send(world: World, update_id: str = "u", **changes: Any) -> asyncio.Task[Response]:
    fields: dict[str, Any] = {"wait_policy": update.WaitPolicy(lifecycle_stage=COMPLETED)}
    timeout_s = changes.pop("timeout_s", 20)
    request = workflowservice.UpdateWorkflowExecutionRequest(
        namespace="default",
        workflow_execution=common.WorkflowExecution(workflow_id="w"),
        request=update.Request(
            meta=update.Meta(update_id=update_id), input=update.Input(name="add")
        ),
        **(fields | changes),
    )
    return asyncio.ensure_future(world.call("UpdateWorkflowExecution", request, timeout_s))


def message(update_id: str, body: Message) -> protocol.Message:
    packed = AnyMessage()
    packed.Pack(body)
    name = type(body).__name__
    return protocol.Message(id=f"{update_id}/{name}", protocol_instance_id=update_id, body=packed)


def accept(update_id: str = "u") -> protocol.Message:
    return message(update_id, update.Acceptance(accepted_request_message_id="m"))


def respond(update_id: str = "u") -> protocol.Message:
    outcome = update.Outcome(success=common.Payloads())
    outcome.success.SetInParent()
    return message(
        update_id, update.Response(meta=update.Meta(update_id=update_id), outcome=outcome)
    )


def refuse(update_id: str = "u") -> protocol.Message:
    return message(update_id, update.Rejection(failure=failure.Failure(message="no")))


async def finish(
    world: World, task: Any, *messages: protocol.Message, commands: tuple[command.Command, ...] = ()
) -> Any:
    request = workflowservice.RespondWorkflowTaskCompletedRequest(
        namespace="default",
        task_token=task.task_token,
        identity="me",
        messages=messages,
        commands=commands,
    )
    return await world.call("RespondWorkflowTaskCompleted", request)


async def idle(world: World) -> None:
    await world.start()
    await finish(world, await world.poll())


async def test_a_task_carries_the_update_and_its_outcome_comes_back(world: World):
    await idle(world)
    sent = send(world)
    task = await world.poll()
    (carried,) = task.messages
    assert (carried.id, carried.protocol_instance_id) == ("u/request", "u")
    assert carried.event_id == task.started_event_id - 1
    await finish(world, task, accept(), respond())
    answer = await sent
    assert answer.stage == COMPLETED
    assert answer.outcome.HasField("success")
    assert answer.update_ref.update_id == "u"
    assert (await send(world)).stage == COMPLETED, "S-19: the same id, the same answer"


async def test_who_waits_for_acceptance_is_answered_by_it(world: World):
    await idle(world)
    first = send(world, wait_policy=update.WaitPolicy(lifecycle_stage=ACCEPTED))
    second = send(world)
    task = await world.poll()
    assert len(task.messages) == 1, "the same update, asked for twice"
    await finish(world, task, accept())
    assert (await first).stage == ACCEPTED
    assert not second.done()
    await world.signal()
    await finish(world, await world.poll(), respond())
    assert (await second).stage == COMPLETED


async def test_a_rejection_is_told_and_forgotten(world: World):
    await idle(world)
    for _ in range(2):
        sent = send(world)
        task = await world.poll()
        assert len(task.messages) == 1
        await finish(world, task, refuse())
        assert (await sent).outcome.failure.message == "no"


async def test_all_who_wait_are_told_of_a_rejection(world: World):
    await idle(world)
    both = [send(world), send(world)]
    await settle()
    await finish(world, await world.poll(), refuse())
    for sent in both:
        assert (await sent).outcome.failure.message == "no"


async def test_what_is_decided_is_kept_for_nobody(world: World):
    await idle(world)
    memory = world.node.frontend.services.updates
    for number in range(3):
        sent = send(world, f"u{number}")
        task = await world.poll()
        sent.cancel()
        await settle()
        assert len(memory) == 1, "no worker has answered yet"
        await finish(world, task, refuse(f"u{number}"))
        assert len(memory) == 0


def test_updates_that_wait_are_bounded_in_bytes():
    memory = Updates(bytes_max=2500)
    keys = [run_key("ns", "w", str(number)) for number in range(3)]
    request = update.Request(input=update.Input(name="x" * 1000))
    for key in keys:
        memory.admit(key, "u", request)
    assert [memory.find(key, "u") is not None for key in keys] == [False, True, True]
    memory.admit(keys[2], "u", request)
    memory.forget(keys[1], "u")
    memory.admit(keys[0], "u", request)
    assert len(memory) == 2


async def test_a_rejection_that_was_never_written_is_not_told(world: World):
    await idle(world)
    sent = send(world)
    task = await world.poll()
    world.faults.unknown = "lost"
    with pytest.raises(Exception, match=r".*"):
        await finish(world, task, refuse())
    await settle()
    assert not sent.done()
    await finish(world, task, accept(), respond())
    assert (await sent).outcome.HasField("success")


async def test_a_caller_whose_time_is_up_gets_no_answer(world: World):
    await idle(world)
    with pytest.raises(DeadlineExceeded):
        await send(world, timeout_s=0.05)


async def test_an_update_that_comes_while_a_task_runs_is_in_the_next(world: World):
    await world.start()
    task = await world.poll()
    sent = send(world)
    await settle()
    await finish(world, task)
    following = await world.poll()
    assert len(following.messages) == 1
    await finish(world, following, accept(), respond())
    assert (await sent).stage == COMPLETED


async def test_a_failed_task_carries_the_update_again(world: World):
    await idle(world)
    sent = send(world)
    task = await world.poll()
    await world.call(
        "RespondWorkflowTaskFailed",
        workflowservice.RespondWorkflowTaskFailedRequest(
            namespace="default", task_token=task.task_token
        ),
    )
    again = await world.poll()
    assert len(again.messages) == 1
    await finish(world, again, accept(), respond())
    assert (await sent).stage == COMPLETED


@pytest.mark.parametrize("failures", [0, 1])
async def test_rule_20_an_update_fails_with_the_task_that_brought_it(world: World, failures: int):
    await idle(world)
    sent = send(world, timeout_s=1)
    task = await world.poll()
    for _ in range(failures):
        await world.call(
            "RespondWorkflowTaskFailed",
            workflowservice.RespondWorkflowTaskFailedRequest(
                namespace="default", task_token=task.task_token
            ),
        )
        task = await world.poll()
    assert (task.attempt, len(task.messages)) == (1 + failures, 1)
    bad = builders.command("START_TIMER")
    with pytest.raises(InvalidArgument):
        await finish(world, task, accept(), commands=(bad,))
    with pytest.raises(FailedPrecondition, match="unexpected workflow task failure"):
        await sent


async def test_rule_20_what_becomes_of_updates_when_the_run_closes(world: World):
    await idle(world)
    accepted = send(world)
    await finish(world, await world.poll(), accept())
    waiting = send(world, "v")
    await settle()
    await world.terminate()
    info = (await accepted).outcome.failure.application_failure_info
    assert info.type == "AcceptedUpdateCompletedWorkflow"
    with pytest.raises(NotFound, match="aborted by closing workflow"):
        await waiting
    with pytest.raises(NotFound, match="workflow execution already completed"):
        await send(world, "x")


async def test_rule_20_the_run_that_follows_takes_the_update(world: World):
    await idle(world)
    sent = send(world)
    task = await world.poll()
    again = continue_as_new()
    await finish(world, task, commands=(again,))
    following = await world.poll()
    if not following.messages:  # its first task was on its way before the update came over
        await finish(world, following)
        following = await world.poll()
    await finish(world, following, accept(), respond())
    assert (await sent).update_ref.workflow_execution.run_id == following.workflow_execution.run_id


async def test_polling(world: World):
    await idle(world)
    reference = update.UpdateRef(
        workflow_execution=common.WorkflowExecution(workflow_id="w"), update_id="u"
    )
    request = workflowservice.PollWorkflowExecutionUpdateRequest(
        namespace="default", update_ref=reference
    )
    with pytest.raises(NotFound, match='update "u" not found'):
        await world.call("PollWorkflowExecutionUpdate", request)
    sent = send(world)
    task = await world.poll()
    assert (await world.call("PollWorkflowExecutionUpdate", request)).stage == ADMITTED
    await finish(world, task, accept(), respond())
    await sent
    await world.signal()
    await finish(world, await world.poll(), commands=(complete_workflow(),))
    polled = await world.call("PollWorkflowExecutionUpdate", request)
    assert polled.stage == COMPLETED
    assert polled.outcome.HasField("success")


async def test_waiting_for_admission_is_refused(world: World):
    await idle(world)
    with pytest.raises(PermissionDenied):
        await send(world, wait_policy=update.WaitPolicy(lifecycle_stage=ADMITTED))
