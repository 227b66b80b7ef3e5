"""Activities that are answered by id: the same as by token, for callers that know the workflow and the activity."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.wire.api import common, enums, history
from perdure.wire.errors import NotFound
from tests.harness.builders import cancel_activity, complete_workflow
from tests.unit.frontend.conftest import QUEUE, Caller, schedule_activity

DETAILS = common.Payloads(payloads=[common.Payload(data=b"details")])
WHO: dict[str, Any] = {"workflow_id": "w", "activity_id": "a", "identity": "me"}


async def started(caller: Caller, *, tries: int = 1) -> Any:
    """A run with a started activity `a`, and its task."""
    await caller.start()
    asked = schedule_activity("a")
    asked.schedule_activity_task_command_attributes.retry_policy.maximum_attempts = tries
    await caller.complete(await caller.poll(), asked)
    return await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE}, identity="w")


async def last_event(caller: Caller, kind: str) -> history.HistoryEvent:
    events = (await caller.history()).history.events
    wanted = enums.EventType.Value(f"EVENT_TYPE_{kind}")
    return [event for event in events if event.event_type == wanted][-1]


async def test_an_activity_is_completed_by_id(caller: Caller):
    task = await started(caller)
    await caller.call("RespondActivityTaskCompletedById", result=DETAILS, **WHO)
    event = await last_event(caller, "ACTIVITY_TASK_COMPLETED")
    said = event.activity_task_completed_event_attributes
    assert (said.result, said.identity) == (DETAILS, "me")
    with pytest.raises(NotFound):
        await caller.call("RespondActivityTaskCompleted", task_token=task.task_token)
    with pytest.raises(NotFound):
        await caller.call("RespondActivityTaskCompletedById", **WHO)


async def test_an_activity_is_failed_by_id_and_keeps_its_details_for_the_next_attempt(
    caller: Caller,
):
    await started(caller, tries=2)
    failure = {"message": "x", "application_failure_info": {"next_retry_delay": {"nanos": 1}}}
    await caller.call(
        "RespondActivityTaskFailedById", failure=failure, last_heartbeat_details=DETAILS, **WHO
    )
    again = await caller.call("PollActivityTaskQueue", task_queue={"name": QUEUE})
    assert (again.attempt, again.heartbeat_details) == (2, DETAILS)
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    (pending,) = described.pending_activities
    assert pending.last_failure.message == "x"
    await caller.call("RespondActivityTaskFailedById", failure=failure, **WHO)
    event = await last_event(caller, "ACTIVITY_TASK_FAILED")
    said = event.activity_task_failed_event_attributes
    assert (said.failure.message, said.identity) == ("x", "me")


async def test_an_activity_is_canceled_by_id_when_that_was_asked_for(caller: Caller):
    await started(caller)
    beat = await caller.call("RecordActivityTaskHeartbeatById", details=DETAILS, **WHO)
    assert not beat.cancel_requested
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    assert described.pending_activities[0].heartbeat_details == DETAILS
    await caller.signal()
    await caller.complete(await caller.poll(), cancel_activity(5))
    beat = await caller.call("RecordActivityTaskHeartbeatById", **WHO)
    assert beat.cancel_requested
    await caller.call("RespondActivityTaskCanceledById", details=DETAILS, **WHO)
    event = await last_event(caller, "ACTIVITY_TASK_CANCELED")
    said = event.activity_task_canceled_event_attributes
    assert (said.details, said.identity) == (DETAILS, "me")


async def test_a_heartbeat_by_id_that_is_too_large_fails_the_attempt_in_the_name_of_its_sender(
    caller: Caller,
):
    await started(caller)
    large = common.Payloads(payloads=[common.Payload(data=bytes(2 * 1024 * 1024 + 1))])
    beat = await caller.call("RecordActivityTaskHeartbeatById", details=large, **WHO)
    assert beat.cancel_requested
    event = await last_event(caller, "ACTIVITY_TASK_FAILED")
    assert event.activity_task_failed_event_attributes.identity == "me"


async def test_a_run_id_names_the_run(caller: Caller):
    await started(caller)
    described = await caller.call("DescribeWorkflowExecution", execution={"workflow_id": "w"})
    run_id = described.workflow_execution_info.execution.run_id
    await caller.signal()
    await caller.complete(await caller.poll(), complete_workflow())
    await caller.start()
    for named in (run_id, ""):
        with pytest.raises(NotFound):
            await caller.call("RespondActivityTaskCompletedById", run_id=named, **WHO)
    with pytest.raises(NotFound):
        await caller.call("RespondActivityTaskCompletedById", workflow_id="x", activity_id="a")
    with pytest.raises(NotFound):
        await caller.call("RespondActivityTaskCompletedById", workflow_id="w", activity_id="x")
