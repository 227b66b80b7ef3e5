"""Activities that are paused, unpaused and reset by RPC: over one node, from the poll to what the database holds."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.server.admin.audit import audit_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.wire.api import enums, workflow
from perdure.wire.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.unit.frontend.conftest import (
    QUEUE,
    Caller,
    open_caller,
    schedule_activity,
    virtual_caller,
)
from tests.unit.server.virtual import on_virtual_time

RUN = {"workflow_id": "w"}
LATER: dict[str, Any] = {"workflow_id": "w", "activity_id": "a"}


async def scheduled(caller: Caller, *activity_ids: str) -> None:
    await caller.start()
    commands = [schedule_activity(activity_id) for activity_id in activity_ids or ("a",)]
    await caller.complete(await caller.poll(), *commands)


async def pending(caller: Caller) -> list[workflow.PendingActivityInfo]:
    described = await caller.call("DescribeWorkflowExecution", execution=RUN)
    return list(described.pending_activities)


async def poll_activity(caller: Caller) -> Any:
    return await caller.call(
        "PollActivityTaskQueue", task_queue={"name": QUEUE}, timeout_ns=4 * SECOND_NS
    )


@on_virtual_time
async def test_a_paused_activity_is_not_handed_out_until_it_is_unpaused() -> None:
    async with virtual_caller() as caller:
        await scheduled(caller)
        parked = asyncio.ensure_future(poll_activity(caller))
        assert (await parked).task_token, "it waits for a worker before the pause"
        await caller.call("PauseActivity", execution=RUN, id="a", identity="me", reason="why")
        (shown,) = await pending(caller)
        assert shown.state == enums.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
        manual = shown.pause_info.manual
        assert (shown.paused, manual.identity, manual.reason) == (True, "me", "why")
        await caller.call(
            "RespondActivityTaskFailed",
            task_token=parked.result().task_token,
            failure={"message": "no", "application_failure_info": {}},
        )
        assert not (await poll_activity(caller)).task_token
        (shown,) = await pending(caller)
        assert shown.state == enums.PENDING_ACTIVITY_STATE_PAUSED
        await caller.call("UnpauseActivity", execution=RUN, id="a")
        task = await poll_activity(caller)
        assert task.attempt == 2
        beat = await caller.call("RecordActivityTaskHeartbeat", task_token=task.task_token)
        assert not beat.activity_paused


@on_virtual_time
async def test_a_task_in_its_queue_is_taken_out_by_a_pause() -> None:
    async with virtual_caller() as caller:
        await scheduled(caller, "a", "b")
        await caller.call("PauseActivity", execution=RUN, id="a")
        assert (await poll_activity(caller)).activity_id == "b"
        assert not (await poll_activity(caller)).task_token
        await caller.call("UnpauseActivity", execution=RUN, unpause_all=True)
        assert (await poll_activity(caller)).activity_id == "a"


@on_virtual_time
async def test_time_outs_wait_for_the_end_of_a_pause() -> None:
    async with virtual_caller() as caller:
        await scheduled(caller)
        await poll_activity(caller)
        await caller.call("PauseActivity", execution=RUN, id="a")
        await asyncio.sleep(3600)
        (shown,) = await pending(caller)
        assert (shown.state, shown.attempt) == (enums.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED, 1)
        await caller.call("UnpauseActivity", execution=RUN, id="a")
        task = await poll_activity(caller)
        assert task.attempt == 2, "the start-to-close timeout has passed"


async def test_the_later_names_do_the_same(caller: Caller) -> None:
    await scheduled(caller)
    await caller.call(
        "PauseActivityExecution", identity="me", reason="why", request_id="r", **LATER
    )
    (shown,) = await pending(caller)
    manual = shown.pause_info.manual
    assert (manual.identity, manual.reason) == ("me", "why")
    await caller.call("PauseActivityExecution", request_id="r", **LATER)
    with pytest.raises(FailedPrecondition, match="Already paused: a"):
        await caller.call("PauseActivityExecution", request_id="other", **LATER)
    await caller.call("UnpauseActivityExecution", jitter={"seconds": 3600}, **LATER)
    (shown,) = await pending(caller)
    assert not shown.paused
    assert shown.next_attempt_schedule_time == shown.scheduled_time


@pytest.mark.parametrize(
    "name", ["PauseActivityExecution", "UnpauseActivityExecution", "ResetActivityExecution"]
)
async def test_the_later_names_need_a_workflow_and_an_activity(caller: Caller, name: str) -> None:
    run_id = await caller.start()
    with pytest.raises(InvalidArgument, match="ActivityId is not set"):
        await caller.call(name, workflow_id="w")
    with pytest.raises(NotFound, match="without a workflow"):
        await caller.call(name, activity_id="a")
    with pytest.raises(InvalidArgument, match="Invalid RunId"):
        await caller.call(name, run_id="junk", **LATER)
    with pytest.raises(NotFound, match="no pending activity with the id 'a'"):
        await caller.call(name, run_id=run_id, **LATER)


@pytest.mark.parametrize("name", ["UnpauseActivityExecution", "ResetActivityExecution"])
async def test_nothing_is_put_off_by_less_than_nothing(caller: Caller, name: str) -> None:
    await scheduled(caller)
    with pytest.raises(InvalidArgument, match="jitter must not be negative"):
        await caller.call(name, jitter={"seconds": -1}, **LATER)


@pytest.mark.parametrize("later", [False, True])
async def test_an_activity_begins_again(caller: Caller, *, later: bool) -> None:
    await scheduled(caller)
    task = await poll_activity(caller)
    details = {"payloads": [{"data": b"half"}]}
    await caller.call("RecordActivityTaskHeartbeat", task_token=task.task_token, details=details)
    await caller.call(
        "RespondActivityTaskFailed",
        task_token=task.task_token,
        failure={"message": "no", "application_failure_info": {"next_retry_delay": {"seconds": 9}}},
    )
    await caller.call("PauseActivity", execution=RUN, id="a")

    async def reset(**fields: Any) -> workflow.PendingActivityInfo:
        chosen = LATER if later else {"execution": RUN, "id": "a"}
        await caller.call(f"ResetActivity{'Execution' if later else ''}", **chosen, **fields)
        (shown,) = await pending(caller)
        return shown

    shown = await reset(keep_paused=True)
    assert (shown.attempt, shown.paused) == (1, True)
    assert shown.heartbeat_details.payloads
    shown = await reset(jitter={"seconds": 3600})
    assert not shown.paused
    assert shown.HasField("next_attempt_schedule_time")
    assert shown.heartbeat_details.payloads
    assert not (await reset(reset_heartbeat=True)).heartbeat_details.payloads
    task = await poll_activity(caller)
    assert (task.attempt, len(task.heartbeat_details.payloads)) == (1, 0)
    await reset()
    beat = await caller.call("RecordActivityTaskHeartbeat", task_token=task.task_token)
    assert beat.activity_reset


@pytest.mark.parametrize("name", ["PauseActivity", "UnpauseActivity", "ResetActivity"])
async def test_a_request_chooses_activities(caller: Caller, name: str) -> None:
    await scheduled(caller)
    with pytest.raises(InvalidArgument, match=r"Either Activity\.Id or Activity\.Type"):
        await caller.call(name, execution=RUN)
    with pytest.raises(NotFound, match="of the type 'other'"):
        await caller.call(name, execution=RUN, type="other")
    await caller.call(name, execution=RUN, type="greet")
    (shown,) = await pending(caller)
    assert shown.paused is (name == "PauseActivity")


async def test_a_database_with_paused_activities_is_sound_and_opens_again() -> None:
    with contextlib.closing(connect_memory(4)) as connection:
        first = await open_caller(connection)
        await scheduled(first, "a", "b")
        task = await poll_activity(first)
        await first.call("PauseActivity", execution=RUN, type="greet", reason="why")
        report = audit_memory(connection)
        assert report.findings == []
        assert report.stale_tasks == 1, "the row of the one that waited"
        before = await pending(first)
        await first.node.close()
        second = await open_caller(connection)
        assert await pending(second) == before
        beat = await second.call("RecordActivityTaskHeartbeat", task_token=task.task_token)
        assert beat.activity_paused
        await second.node.close()
