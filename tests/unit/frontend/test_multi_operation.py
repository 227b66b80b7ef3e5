"""Update-with-start: one step or none, and an error that says which operation is at fault (S-21)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.wire.api import enums, errordetails, failure
from perdure.wire.errors import RpcError, RPCStatusCode
from tests.harness import builders
from tests.unit.frontend.conftest import (
    QUEUE,
    Caller,
    settle,
    virtual_caller,
)
from tests.unit.frontend.test_update_calls import (
    ACCEPTED,
    COMPLETED,
    accept,
    asked,
    data,
    kept,
    refuse,
    respond,
    send,
)
from tests.unit.server.virtual import on_virtual_time

USE_EXISTING = enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
FAIL = enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL
TERMINATE = enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING


def start_part(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "namespace": "default",
        "workflow_id": "w",
        "workflow_type": {"name": "Greeting"},
        "task_queue": {"name": QUEUE},
        "request_id": "r",
        "workflow_id_conflict_policy": USE_EXISTING,
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def update_part(update_id: str = "u", stage: int = COMPLETED, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "namespace": "default",
        "workflow_execution": {"workflow_id": "w"},
        "request": asked(update_id),
        "wait_policy": {"lifecycle_stage": stage},
    }
    return fields | changes


def execute(
    caller: Caller,
    start: dict[str, Any] | None = None,
    updating: dict[str, Any] | None = None,
    **fields: Any,
) -> asyncio.Task[Any]:
    operations = [
        {"start_workflow": start_part() if start is None else start},
        {"update_workflow": update_part() if updating is None else updating},
    ]
    fields.setdefault("operations", operations)
    return asyncio.get_running_loop().create_task(caller.call("ExecuteMultiOperation", **fields))


def parts(response: Any) -> tuple[Any, Any]:
    first, second = response.responses
    return first.start_workflow, second.update_workflow


async def fault(call: Any) -> tuple[RPCStatusCode, list[tuple[int, str]]]:
    """The status of a failed call, and code and message of each operation."""
    with pytest.raises(RpcError) as caught:
        await call
    (detail,) = caught.value.details
    assert isinstance(detail, errordetails.MultiOperationExecutionFailure)
    for status in detail.statuses:
        if status.code == RPCStatusCode.ABORTED and status.message == "Operation was aborted.":
            aborted = failure.MultiOperationExecutionAborted()
            assert status.details[0].Unpack(aborted)
    return caught.value.status_code, [(s.code, s.message) for s in detail.statuses]


ABORTED = (int(RPCStatusCode.ABORTED), "Operation was aborted.")


@pytest.mark.parametrize("stage", [0, ACCEPTED, COMPLETED])
@on_virtual_time
async def test_a_new_run_is_started_with_the_update_in_its_first_task(stage: int):
    async with virtual_caller() as caller:
        sent = execute(caller, updating=update_part(stage=stage))
        task = await caller.poll()
        assert [each.protocol_instance_id for each in task.messages] == ["u"]
        assert task.started_event_id == 3
        await caller.complete(
            task, messages=[accept(), *([] if stage == ACCEPTED else [respond()])]
        )
        started, updated = parts(await sent)
        run_id = task.workflow_execution.run_id
        assert (started.run_id, started.started) == (run_id, True)
        assert updated.update_ref.update_id == "u"
        assert updated.update_ref.workflow_execution.run_id == run_id
        assert updated.stage == (ACCEPTED if stage == ACCEPTED else COMPLETED)
        assert updated.HasField("outcome") is (stage != ACCEPTED)
        assert kept(caller) == 0


@on_virtual_time
async def test_a_running_workflow_takes_the_update():
    async with virtual_caller() as caller:
        run_id = await caller.start()
        await caller.complete(await caller.poll())
        sent = execute(caller)
        task = await caller.poll()
        await caller.complete(task, messages=[accept(), respond()])
        started, updated = parts(await sent)
        assert (started.run_id, started.started) == (run_id, False)
        assert data(updated) == b"done"


@on_virtual_time
async def test_a_repeated_call_starts_and_updates_once():
    async with virtual_caller() as caller:
        first = execute(caller, start_part(workflow_id_conflict_policy=FAIL))
        await settle()
        again = execute(caller, start_part(workflow_id_conflict_policy=FAIL))
        await settle()
        task = await caller.poll()
        assert len(task.messages) == 1
        await caller.complete(task, messages=[accept(), respond()])
        (started, updated), (started_again, updated_again) = parts(await first), parts(await again)
        assert started.run_id == started_again.run_id
        assert data(updated) == data(updated_again) == b"done"
        late = parts(await execute(caller, start_part(workflow_id_conflict_policy=FAIL)))
        assert (late[0].run_id, data(late[1])) == (started.run_id, b"done")


@on_virtual_time
async def test_a_waiting_update_lets_a_second_start_join_whatever_its_policy():
    async with virtual_caller() as caller:
        first = execute(caller, start_part())
        await settle()
        second = execute(caller, start_part(request_id="another", workflow_id_conflict_policy=FAIL))
        await settle()
        await caller.complete(await caller.poll(), messages=[accept(), respond()])
        assert parts(await first)[0].run_id == parts(await second)[0].run_id


@on_virtual_time
async def test_a_start_that_is_refused_leaves_the_update_out():
    async with virtual_caller() as caller:
        await caller.start()
        refused = start_part(request_id="another", workflow_id_conflict_policy=FAIL)
        code, operations = await fault(execute(caller, refused))
        assert code is RPCStatusCode.ALREADY_EXISTS
        assert operations[0][0] == RPCStatusCode.ALREADY_EXISTS
        assert operations[1] == ABORTED
        assert kept(caller) == 0


@on_virtual_time
async def test_a_refused_update_comes_back_as_its_outcome():
    async with virtual_caller() as caller:
        sent = execute(caller)
        await caller.complete(await caller.poll(), messages=[refuse()])
        started, updated = parts(await sent)
        assert started.started
        assert updated.outcome.failure.message == "no"


@on_virtual_time
async def test_a_new_run_that_closes_before_it_takes_the_update_is_told_as_the_updates_fault():
    async with virtual_caller() as caller:
        sent = execute(caller)
        await settle()
        await caller.call("TerminateWorkflowExecution", workflow_execution={"workflow_id": "w"})
        code, operations = await fault(sent)
        assert code is RPCStatusCode.NOT_FOUND
        assert operations[0][0] == 0, "the start went well"
        assert operations[1][0] == RPCStatusCode.NOT_FOUND


@on_virtual_time
async def test_an_existing_run_that_closes_before_it_takes_the_update_makes_room_for_a_new_one():
    async with virtual_caller() as caller:
        old = await caller.start()
        await caller.complete(await caller.poll())
        sent = execute(caller)
        await settle()
        await caller.call("TerminateWorkflowExecution", workflow_execution={"workflow_id": "w"})
        task = await caller.poll()
        assert task.workflow_execution.run_id != old
        await caller.complete(task, messages=[accept(), respond()])
        started, updated = parts(await sent)
        assert started.started
        assert started.run_id == task.workflow_execution.run_id
        assert data(updated) == b"done"


@on_virtual_time
async def test_an_update_whose_task_fails_is_told_as_the_updates_fault():
    async with virtual_caller() as caller:
        await caller.start()
        await caller.complete(await caller.poll())
        sent = execute(caller)
        task = await caller.poll()
        bad = builders.command("START_TIMER")
        with pytest.raises(RpcError):
            await caller.complete(task, bad, messages=[accept()])
        code, operations = await fault(sent)
        assert code is RPCStatusCode.FAILED_PRECONDITION
        assert operations[0] == ABORTED
        assert operations[1][0] == RPCStatusCode.FAILED_PRECONDITION


@on_virtual_time
async def test_terminate_existing_starts_anew_for_the_update():
    async with virtual_caller() as caller:
        old = await caller.start()
        sent = execute(
            caller, start_part(request_id="another", workflow_id_conflict_policy=TERMINATE)
        )
        task = await caller.poll()
        assert task.workflow_execution.run_id != old
        await caller.complete(task, messages=[accept(), respond()])
        assert parts(await sent)[0].started


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [{"start_workflow": start_part()}],
        [{"update_workflow": update_part()}, {"start_workflow": start_part()}],
        [{"start_workflow": start_part()}] * 2,
        [
            {"start_workflow": start_part()},
            {"update_workflow": update_part()},
            {"update_workflow": update_part("v")},
        ],
    ],
)
@on_virtual_time
async def test_only_a_start_and_an_update_go_together(operations: list[Any]):
    async with virtual_caller() as caller:
        with pytest.raises(RpcError, match=r"exactly \[Start, Update\]"):
            await execute(caller, operations=operations)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"namespace": "other"}, "did not match"),
        ({"workflow_type": None}, "WorkflowType is not set"),
        ({"request_eager_execution": True}, "RequestEagerExecution is not supported"),
        ({"workflow_start_delay": {"seconds": 1}}, "WorkflowStartDelay is not supported"),
        ({"workflow_run_timeout": {"seconds": -1}}, "must not be negative"),
    ],
)
@on_virtual_time
async def test_what_is_wrong_with_the_start_is_told_as_its_fault(
    changes: dict[str, Any], message: str
):
    async with virtual_caller() as caller:
        code, operations = await fault(execute(caller, start_part(**changes)))
        assert code is RPCStatusCode.INVALID_ARGUMENT
        assert message in operations[0][1]
        assert operations[1] == ABORTED


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"namespace": "other"}, RPCStatusCode.INVALID_ARGUMENT, "did not match"),
        ({"first_execution_run_id": "x"}, RPCStatusCode.INVALID_ARGUMENT, "FirstExecutionRunId"),
        (
            {"workflow_execution": {"workflow_id": "w", "run_id": "x"}},
            RPCStatusCode.INVALID_ARGUMENT,
            "RunId is not allowed",
        ),
        (
            {"workflow_execution": {"workflow_id": "v"}},
            RPCStatusCode.INVALID_ARGUMENT,
            "WorkflowId is",
        ),
        ({"request": {"input": {"name": "n"}}}, RPCStatusCode.INVALID_ARGUMENT, "meta is not set"),
        (
            {"wait_policy": {"lifecycle_stage": 1}},
            RPCStatusCode.PERMISSION_DENIED,
            "ADMITTED is not supported",
        ),
    ],
)
@on_virtual_time
async def test_what_is_wrong_with_the_update_is_told_as_its_fault_and_nothing_is_started(
    changes: dict[str, Any], code: RPCStatusCode, message: str
):
    async with virtual_caller() as caller:
        found, operations = await fault(execute(caller, updating=update_part(**changes)))
        assert found is code
        assert operations[0] == ABORTED
        assert message in operations[1][1]
        with pytest.raises(RpcError, match="workflow not found"):
            await caller.history()


@on_virtual_time
async def test_names_may_be_left_out_of_the_operations_and_of_the_start_its_id():
    async with virtual_caller() as caller:
        sent = execute(
            caller, start_part(namespace=None, request_id=None), update_part(namespace="")
        )
        await caller.complete(await caller.poll(), messages=[accept(), respond()])
        assert parts(await sent)[0].started
        with pytest.raises(RpcError, match="no mapping defined for search attribute Color"):
            await execute(
                caller,
                start_part(search_attributes={"indexed_fields": {"Color": {"data": b"x"}}}),
            )
        with pytest.raises(RpcError, match="Namespace nowhere is not found"):
            await execute(caller, namespace="nowhere")


@on_virtual_time
async def test_who_gives_up_is_told_how_far_the_update_has_come():
    async with virtual_caller() as caller:
        code, operations = await fault(execute(caller, timeout_ns=10_000_000_000))
        assert code is RPCStatusCode.DEADLINE_EXCEEDED
        assert (operations[0][0], operations[1][0]) == (0, RPCStatusCode.DEADLINE_EXCEEDED)
        assert asyncio.get_running_loop().time() == 10
        started, updated = parts(await execute(caller, timeout_ns=30_000_000_000))
        assert not started.started
        assert (updated.stage, updated.HasField("outcome")) == (1, False)
        assert asyncio.get_running_loop().time() == 30


@on_virtual_time
async def test_a_second_run_that_closes_before_it_takes_the_update_ends_the_call():
    async with virtual_caller() as caller:
        await caller.start()
        await caller.complete(await caller.poll())
        sent = execute(caller)
        await settle()
        for _ in range(2):
            await caller.call("TerminateWorkflowExecution", workflow_execution={"workflow_id": "w"})
            await settle()
        code, operations = await fault(sent)
        assert code is RPCStatusCode.NOT_FOUND
        assert (operations[0][0], operations[1][0]) == (0, RPCStatusCode.NOT_FOUND)
        assert kept(caller) == 0


@pytest.mark.parametrize("is_start_given", [True, False])
@on_virtual_time
async def test_an_id_that_was_refused_and_comes_again_is_another_update(is_start_given: bool):
    async with virtual_caller() as caller:
        await caller.start()
        await caller.complete(await caller.poll())
        first = send(caller)
        task = await caller.poll()
        caller.disk.gate.clear()
        completed = asyncio.ensure_future(caller.complete(task, messages=[refuse()]))
        await settle()
        again = execute(caller) if is_start_given else send(caller)
        await settle()
        caller.disk.gate.set()
        await completed
        task = await caller.poll()
        assert [each.protocol_instance_id for each in task.messages] == ["u"]
        await caller.complete(task, messages=[accept(), respond()])
        answer = await again
        assert data(parts(answer)[1] if is_start_given else answer) == b"done"
        await first
        assert kept(caller) == 0
