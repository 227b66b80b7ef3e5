"""Updates on virtual time: what a caller is told and when, and what is left when everybody has gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from perdure.core.limits import Limits
from perdure.core.units import SECOND_NS
from perdure.wire.api import command, common, enums, failure, protocol, update
from perdure.wire.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from tests.harness.builders import complete_workflow, continue_as_new
from tests.unit.frontend.conftest import Caller, settle, virtual_caller
from tests.unit.server.virtual import on_virtual_time

Stage = enums.UpdateWorkflowExecutionLifecycleStage
ADMITTED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
ACCEPTED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
COMPLETED = Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED


def now_s() -> float:
    return asyncio.get_running_loop().time()


def asked(update_id: str = "u", name: str = "add") -> dict[str, Any]:
    return {"meta": {"update_id": update_id}, "input": {"name": name}}


def send(
    caller: Caller,
    update_id: str = "u",
    stage: int = COMPLETED,
    timeout_s: float = 30,
    **fields: Any,
) -> asyncio.Task[Any]:
    fields.setdefault("workflow_execution", {"workflow_id": "w"})
    fields.setdefault("request", asked(update_id))
    return asyncio.get_running_loop().create_task(
        caller.call(
            "UpdateWorkflowExecution",
            timeout_ns=int(timeout_s * SECOND_NS),
            wait_policy={"lifecycle_stage": stage},
            **fields,
        )
    )


def poll(
    caller: Caller, update_id: str = "u", stage: int = COMPLETED, timeout_s: float = 30, **run: Any
) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(
        caller.call(
            "PollWorkflowExecutionUpdate",
            timeout_ns=int(timeout_s * SECOND_NS),
            update_ref={"workflow_execution": {"workflow_id": "w"} | run, "update_id": update_id},
            wait_policy={"lifecycle_stage": stage},
        )
    )


def message(update_id: str, body: Message) -> protocol.Message:
    packed = AnyMessage()
    packed.Pack(body)
    return protocol.Message(
        id=f"{update_id}/{type(body).__name__}", protocol_instance_id=update_id, body=packed
    )


def accept(update_id: str = "u") -> protocol.Message:
    return message(update_id, update.Acceptance(accepted_request_message_id="m"))


def respond(update_id: str = "u", text: bytes = b"done") -> protocol.Message:
    success = common.Payloads(payloads=[common.Payload(data=text)])
    outcome = update.Outcome(success=success)
    return message(
        update_id, update.Response(meta=update.Meta(update_id=update_id), outcome=outcome)
    )


def refuse(update_id: str = "u") -> protocol.Message:
    return message(update_id, update.Rejection(failure=failure.Failure(message="no")))


async def idle_run(caller: Caller) -> str:
    run_id = await caller.start()
    await caller.complete(await caller.poll())
    return run_id


def kept(caller: Caller) -> int:
    return len(caller.node.frontend.services.updates)


def data(answer: Any) -> bytes:
    return answer.outcome.success.payloads[0].data


@pytest.mark.parametrize("timeout_s", [20, 21, 300])
@on_virtual_time
async def test_a_caller_learns_how_far_an_update_has_come_before_he_gives_up(timeout_s: float):
    told_s = 20
    async with virtual_caller() as caller:
        await idle_run(caller)
        answer = await send(caller, timeout_s=timeout_s)
        assert (answer.stage, answer.HasField("outcome")) == (ADMITTED, False)
        assert now_s() == pytest.approx(told_s)
        task = await caller.poll()
        await caller.complete(task, messages=[accept()])
        began_s = now_s()
        answer = await send(caller, timeout_s=timeout_s)
        assert (answer.stage, answer.HasField("outcome")) == (ACCEPTED, False)
        assert now_s() - began_s == pytest.approx(told_s)


@pytest.mark.parametrize("timeout_s", [0.5, 2, 9])
@pytest.mark.parametrize("is_accepted", [False, True])
@on_virtual_time
async def test_a_caller_whose_time_is_up_first_gets_no_answer(
    timeout_s: float, *, is_accepted: bool
):
    async with virtual_caller() as caller:
        await idle_run(caller)
        first = send(caller, stage=ACCEPTED)
        if is_accepted:
            await caller.complete(await caller.poll(), messages=[accept()])
        await settle()
        for ask in (send, poll):
            began_s = now_s()
            with pytest.raises(DeadlineExceeded, match="in time"):
                await ask(caller, timeout_s=timeout_s)
            assert now_s() - began_s == pytest.approx(timeout_s)
        assert (await poll(caller, stage=0, timeout_s=0.5)).stage == ADMITTED + is_accepted
        assert (await poll(caller, stage=ADMITTED, timeout_s=0.5)).stage == ADMITTED + is_accepted
        if not is_accepted:
            await caller.complete(await caller.poll(), messages=[accept()])
        assert (await first).stage == ACCEPTED, "the update goes on"


@pytest.mark.parametrize("stage", [0, ACCEPTED, COMPLETED])
@on_virtual_time
async def test_each_stage_is_told_at_once_when_it_is_reached(stage: int):
    async with virtual_caller() as caller:
        run_id = await idle_run(caller)
        sent = send(caller, stage=stage)
        await asyncio.sleep(1)
        task = await caller.poll()
        await caller.complete(task, messages=[accept()])
        await settle()
        assert sent.done() is (stage == ACCEPTED)
        await asyncio.sleep(1)
        await caller.signal()
        await caller.complete(await caller.poll(), messages=[respond()])
        answer = await sent
        assert now_s() == 2
        assert answer.stage == (ACCEPTED if stage == ACCEPTED else COMPLETED)
        assert answer.update_ref.update_id == "u"
        assert answer.update_ref.workflow_execution.workflow_id == "w"
        assert answer.update_ref.workflow_execution.run_id == run_id
        again = await send(caller, stage=ACCEPTED)
        assert (again.stage, data(again)) == (COMPLETED, b"done"), "the best that is known"
        assert kept(caller) == 0


@on_virtual_time
async def test_an_update_without_an_id_is_given_one():
    async with virtual_caller() as caller:
        await idle_run(caller)
        sent = [
            send(caller, request={"meta": {"identity": "me"}, "input": {"name": "add"}})
            for _ in "ab"
        ]
        await settle()
        task = await caller.poll()
        first, second = (each.protocol_instance_id for each in task.messages)
        assert first
        assert second
        assert first != second
        await caller.complete(
            task,
            messages=[accept(first), respond(first), accept(second), respond(second)],
        )
        assert {(await each).update_ref.update_id for each in sent} == {first, second}
        body = update.Request()
        task.messages[0].body.Unpack(body)
        assert (body.meta.update_id, body.meta.identity, body.input.name) == (first, "me", "add")


@on_virtual_time
async def test_polling_tells_what_there_is_or_waits_for_the_stage_that_is_named():
    async with virtual_caller() as caller:
        await idle_run(caller)
        sent = send(caller)
        await settle()
        now = await poll(caller, stage=0)
        assert (now.stage, now_s()) == (ADMITTED, 0), "without a stage it does not wait"
        waiting = {stage: poll(caller, stage=stage) for stage in (ACCEPTED, COMPLETED)}
        await asyncio.sleep(1)
        assert not any(each.done() for each in waiting.values())
        await caller.complete(await caller.poll(), messages=[accept()])
        answer = await waiting[ACCEPTED]
        assert (answer.stage, answer.HasField("outcome")) == (ACCEPTED, False)
        assert (await poll(caller, stage=0)).stage == ACCEPTED
        await settle()
        assert not waiting[COMPLETED].done()
        await caller.signal()
        await caller.complete(await caller.poll(), messages=[respond()])
        assert data(await waiting[COMPLETED]) == data(await sent) == b"done"
        assert now_s() == 1
        assert (await poll(caller)).update_ref.update_id == "u"


@on_virtual_time
async def test_polling_names_its_run_and_its_update():
    async with virtual_caller() as caller:
        first = await idle_run(caller)
        sent = send(caller)
        await caller.complete(await caller.poll(), messages=[accept(), respond()])
        await sent
        await caller.signal()
        await caller.complete(await caller.poll(), complete_workflow())
        await caller.start()
        with pytest.raises(NotFound, match='update "u" not found'):
            await poll(caller)
        assert data(await poll(caller, run_id=first)) == b"done"
        with pytest.raises(NotFound, match='update "v" not found'):
            await poll(caller, "v", run_id=first)


@on_virtual_time
async def test_who_polls_an_update_that_its_run_never_took_is_told():
    async with virtual_caller() as caller:
        await idle_run(caller)
        sent = send(caller)
        await settle()
        waiting = poll(caller)
        await settle()
        await caller.call("TerminateWorkflowExecution", workflow_execution={"workflow_id": "w"})
        for each in (sent, waiting):
            with pytest.raises(NotFound, match="aborted by closing workflow"):
                await each
        assert kept(caller) == 0


@on_virtual_time
async def test_an_update_for_one_run_does_not_go_over_to_the_next():
    async with virtual_caller() as caller:
        run_id = await idle_run(caller)
        bound = send(caller, "bound", workflow_execution={"workflow_id": "w", "run_id": run_id})
        free = send(caller, "free")
        await settle()
        await caller.complete(await caller.poll(), continue_as_new())
        with pytest.raises(NotFound, match="aborted by closing workflow"):
            await bound
        task = await caller.poll()
        if not task.messages:
            await caller.complete(task)
            task = await caller.poll()
        assert [each.protocol_instance_id for each in task.messages] == ["free"]
        await caller.complete(task, messages=[accept("free"), respond("free")])
        assert (await free).update_ref.workflow_execution.run_id == task.workflow_execution.run_id
        assert kept(caller) == 0


@on_virtual_time
async def test_an_update_of_another_chain_is_refused():
    async with virtual_caller() as caller:
        run_id = await idle_run(caller)
        with pytest.raises(NotFound):
            await send(caller, first_execution_run_id="00000000-0000-4000-8000-000000000000")
        sent = send(caller, first_execution_run_id=run_id)
        await settle()
        assert not sent.done()
        sent.cancel()


@on_virtual_time
async def test_updates_under_way_are_bounded_and_a_repetition_is_no_other_one():
    async with virtual_caller(Limits(updates_in_flight_max=2)) as caller:
        await idle_run(caller)
        for update_id in ("a", "b"):
            send(caller, update_id)
        await settle()
        with pytest.raises(ResourceExhausted):
            await send(caller, "c")
        again = send(caller, "b")
        await settle()
        assert not again.done(), "it waits with the first one"
        task = await caller.poll()
        assert [each.protocol_instance_id for each in task.messages] == ["a", "b"]
        await caller.complete(task, messages=[accept("a"), respond("a"), refuse("b")])
        assert (await again).outcome.failure.message == "no"
        sent = send(caller, "c")
        await settle()
        assert not sent.done()
        sent.cancel()


@on_virtual_time
async def test_an_update_whose_caller_has_gone_reaches_the_worker_and_is_then_forgotten():
    async with virtual_caller() as caller:
        await idle_run(caller)
        sent = send(caller)
        await settle()
        sent.cancel()
        await settle()
        assert kept(caller) == 1
        task = await caller.poll()
        assert len(task.messages) == 1
        await caller.complete(task, messages=[accept(), respond()])
        assert kept(caller) == 0
        assert data(await send(caller)) == b"done"


@on_virtual_time
async def test_an_update_that_was_forgotten_before_a_worker_took_it_is_to_be_sent_again():
    async with virtual_caller() as caller:
        await idle_run(caller)
        sent = send(caller)
        await settle()
        memory = caller.node.frontend.services.updates
        (entity,) = memory._runs
        memory.forget(entity, "u")
        await caller.signal()
        with pytest.raises(Unavailable, match="update u was lost"):
            await sent


@on_virtual_time
async def test_a_worker_that_says_nothing_of_an_update_that_it_was_sent_has_refused_it():
    async with virtual_caller() as caller:
        await idle_run(caller)
        sent = send(caller)
        await settle()
        await caller.complete(await caller.poll())
        answer = await sent
        assert answer.stage == COMPLETED
        assert answer.outcome.failure.application_failure_info.type == "UnprocessedUpdate"
        assert kept(caller) == 0


@on_virtual_time
async def test_an_update_of_exactly_the_limit_is_taken_and_a_larger_one_is_not():
    body = update.Request(meta=update.Meta(update_id="u"), input=update.Input(name="x" * 300))
    for limit, is_taken in ((body.ByteSize(), True), (body.ByteSize() - 1, False)):
        async with virtual_caller(Limits(blob_size_bytes_max=limit)) as caller:
            await idle_run(caller)
            sent = send(caller, request=body)
            await settle()
            assert sent.done() is not is_taken
            if is_taken:
                sent.cancel()
            else:
                with pytest.raises(InvalidArgument, match=f"the limit is {limit}"):
                    await sent


CLOSINGS = {
    "complete": enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
    "fail": enums.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
    "cancel": enums.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
}


@pytest.mark.parametrize("how", CLOSINGS)
@on_virtual_time
async def test_an_update_that_no_worker_has_got_is_aborted_when_the_run_closes(how: str):
    async with virtual_caller() as caller:
        await caller.start()
        task = await caller.poll()
        sent, given_up = send(caller), send(caller, "gone", timeout_s=1)
        with pytest.raises(DeadlineExceeded):
            await given_up
        asking = poll(caller)
        await settle()
        closing = command.Command(command_type=CLOSINGS[how])
        getattr(closing, f"{how}_workflow_execution_command_attributes").SetInParent()
        if how == "fail":
            closing.fail_workflow_execution_command_attributes.failure.message = "oops"
        await caller.complete(task, closing)
        for call in (sent, asking):
            with pytest.raises(NotFound, match="aborted by closing workflow"):
                await call
        assert now_s() == 1
        assert kept(caller) == 0


@pytest.mark.parametrize("how", ["continue as new", "retry"])
@on_virtual_time
async def test_an_update_that_no_worker_has_got_moves_to_the_run_that_follows(how: str):
    async with virtual_caller() as caller:
        first = await caller.start(retry_policy={"initial_interval": {"seconds": 50}})
        task = await caller.poll()
        sent = send(caller)
        named = send(caller, "named", workflow_execution={"workflow_id": "w", "run_id": first})
        await settle()
        closing = command.Command(command_type=CLOSINGS["fail"])
        closing.fail_workflow_execution_command_attributes.failure.message = "oops"
        await caller.complete(task, continue_as_new() if how == "continue as new" else closing)
        with pytest.raises(NotFound, match="aborted by closing workflow"):
            await named
        task = await caller.poll()
        assert task.workflow_execution.run_id != first
        assert [each.protocol_instance_id for each in task.messages] == ["u"]
        await caller.complete(task, messages=[accept(), respond()])
        assert data(await sent) == b"done"
        assert now_s() == 0, "nor does it wait for the time at which that run would begin"


@on_virtual_time
async def test_events_that_wait_still_keep_the_run_open():
    async with virtual_caller() as caller:
        await caller.start()
        task = await caller.poll()
        sent = send(caller)
        await caller.signal()
        with pytest.raises(InvalidArgument, match="UnhandledCommand"):
            await caller.complete(task, complete_workflow())
        task = await caller.poll()
        assert len(task.messages) == 1
        await caller.complete(task, messages=[accept(), respond()])
        assert data(await sent) == b"done"


@pytest.mark.parametrize("held_back", ["delay", "signalled delay", "continue as new", "retry"])
@on_virtual_time
async def test_an_update_reaches_a_run_whose_first_task_is_held_back(held_back: str):
    async with virtual_caller() as caller:
        if "delay" in held_back:
            await caller.start(workflow_start_delay={"seconds": 60})
        else:
            await caller.start(retry_policy={"initial_interval": {"seconds": 60}})
            closing = command.Command(command_type=CLOSINGS["fail"])
            closing.fail_workflow_execution_command_attributes.failure.message = "oops"
            again = continue_as_new()
            attributes = again.continue_as_new_workflow_execution_command_attributes
            attributes.backoff_start_interval.FromSeconds(60)
            await caller.complete(
                await caller.poll(), again if held_back == "continue as new" else closing
            )
        if "signalled" in held_back:
            await caller.signal()
            assert not (await caller.poll(timeout_ns=3 * SECOND_NS)).task_token
        began_s = now_s()
        sent, other = send(caller), send(caller, "v")
        task = await caller.poll()
        assert (now_s(), task.attempt) == (began_s, 1)
        assert [each.protocol_instance_id for each in task.messages] == ["u", "v"]
        await caller.complete(task, messages=[accept(), respond(), accept("v"), respond("v")])
        assert (data(await sent), data(await other)) == (b"done", b"done")
        assert not (await caller.poll(timeout_ns=61 * SECOND_NS)).task_token, "it has begun"
