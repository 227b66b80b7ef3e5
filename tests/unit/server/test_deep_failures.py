"""A failure with as many causes as a request can carry is harmless, whichever way it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from perdure.core.units import SECOND_NS
from perdure.wire.api import command, common, enums, failure, query, update, workflowservice
from perdure.wire.errors import InvalidArgument
from perdure.wire.failures import LEVELS_MAX, failures_below, is_too_deep
from perdure.wire.seam import WORKFLOW_SERVICE, decoded
from tests.harness import builders
from tests.harness.builders import schedule_activity
from tests.unit.server.test_updates import accept, message, send
from tests.unit.server.world import World
from tests.unit.wire.test_failures import chain, messages, numbers

SENT = 97
CUT = [*numbers(LEVELS_MAX - 2), "…", str(SENT - 1)]


async def over_the_wire(world: World, name: str, **fields: Any) -> Any:
    """A call as gRPC makes it: from bytes to bytes."""
    method = WORKFLOW_SERVICE[name]
    fields.setdefault("namespace", "default")
    request = method.request_type(**fields)
    answer = await world.node.frontend.dispatch_encoded(
        method, request.SerializeToString(), {}, 10 * SECOND_NS
    )
    return decoded(method, answer)


def only_once() -> command.Command:
    made = schedule_activity("a")
    made.schedule_activity_task_command_attributes.retry_policy.maximum_attempts = 1
    return made


async def fail_activity(world: World, task: Any) -> None:
    await world.complete(task.task_token, only_once())
    attempt = await world.poll_activity()
    await over_the_wire(
        world, "RespondActivityTaskFailed", task_token=attempt.task_token, failure=chain(SENT)
    )


async def fail_activity_by_id(world: World, task: Any) -> None:
    await world.complete(task.task_token, only_once())
    await world.poll_activity()
    await over_the_wire(
        world,
        "RespondActivityTaskFailedById",
        workflow_id="w",
        activity_id="a",
        failure=chain(SENT),
    )


async def fail_workflow_task(world: World, task: Any) -> None:
    await over_the_wire(
        world, "RespondWorkflowTaskFailed", task_token=task.task_token, failure=chain(SENT)
    )


async def complete(world: World, task: Any, *given: command.Command) -> None:
    await over_the_wire(
        world, "RespondWorkflowTaskCompleted", task_token=task.task_token, commands=given
    )


async def fail_workflow(world: World, task: Any) -> None:
    made = builders.command("FAIL_WORKFLOW_EXECUTION", failure=chain(SENT))
    await complete(world, task, made)


async def record_marker(world: World, task: Any) -> None:
    made = builders.command("RECORD_MARKER", marker_name="m", failure=chain(SENT))
    await complete(world, task, made)


async def continue_as_new(world: World, task: Any) -> None:
    made = builders.command("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", failure=chain(SENT))
    await complete(world, task, made)


async def fail_update(world: World, task: Any) -> None:
    await world.complete(task.task_token)
    sent = send(world)
    with_update = await world.poll()
    outcome = update.Outcome(failure=chain(SENT))
    said = message("u", update.Response(meta=update.Meta(update_id="u"), outcome=outcome))
    await over_the_wire(
        world, "RespondWorkflowTaskCompleted", task_token=with_update.task_token, messages=[accept(), said]
    )  # fmt: skip
    assert messages((await sent).outcome.failure) == CUT


WAYS = [
    fail_activity, fail_activity_by_id, fail_workflow_task, fail_workflow, record_marker, continue_as_new, fail_update,
]  # fmt: skip


def failures_of(history: Any) -> list[failure.Failure]:
    return [each for event in history.events for each in failures_below(event)]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_it_is_cut_before_it_is_stored(
    world: World, way: Callable[[World, Any], Awaitable[None]]
):
    key = await world.start()
    await way(world, await world.poll())
    await world.engine.committer.flush()
    await world.check_memory(key)
    world.forget(key)
    read = await over_the_wire(
        world, "GetWorkflowExecutionHistory", execution={"workflow_id": "w", "run_id": key.run_id}
    )
    assert [messages(each) for each in failures_of(read.history)] == [CUT]
    await over_the_wire(
        world, "DescribeWorkflowExecution", execution={"workflow_id": "w", "run_id": key.run_id}
    )


async def test_the_next_run_begins_with_a_cut_one(world: World):
    await world.start()
    await continue_as_new(world, await world.poll())
    read = await over_the_wire(world, "GetWorkflowExecutionHistory", execution={"workflow_id": "w"})
    started = read.history.events[0].workflow_execution_started_event_attributes
    assert messages(started.continued_failure) == CUT


async def test_a_caller_may_start_with_a_failure(world: World):
    await over_the_wire(
        world,
        "StartWorkflowExecution",
        workflow_id="w",
        workflow_type={"name": "T"},
        task_queue={"name": "q"},
        request_id="r",
        continued_failure=chain(SENT),
    )
    task = await world.poll()
    assert all(messages(each) == CUT for each in failures_of(task.history))


async def test_attempts_that_raise_from_the_last_failure(world: World):
    """The history of an activity that fails at last, and what describes the attempts before."""
    await world.start()
    wanted = schedule_activity()
    policy = wanted.schedule_activity_task_command_attributes.retry_policy
    policy.initial_interval.nanos = 1_000_000
    policy.maximum_attempts = 3
    await world.complete((await world.poll()).task_token, wanted)
    for attempt in range(1, 4):
        task = await world.poll_activity()
        assert task.attempt == attempt
        await over_the_wire(
            world, "RespondActivityTaskFailed", task_token=task.task_token, failure=chain(SENT)
        )
        described = await over_the_wire(
            world, "DescribeWorkflowExecution", execution={"workflow_id": "w"}
        )
        for pending in described.pending_activities:
            assert messages(pending.last_failure) == CUT
    read = await over_the_wire(world, "GetWorkflowExecutionHistory", execution={"workflow_id": "w"})
    # The last attempt's Started tells the failure of the one before.
    assert [messages(each) for each in failures_of(read.history)] == [CUT, CUT]


async def test_an_update_that_is_rejected(world: World):
    await world.start()
    await world.complete((await world.poll()).task_token)
    sent = send(world)
    task = await world.poll()
    said = message("u", update.Rejection(failure=chain(SENT)))
    await over_the_wire(
        world, "RespondWorkflowTaskCompleted", task_token=task.task_token, messages=[said]
    )
    assert messages((await sent).outcome.failure) == CUT


@pytest.mark.parametrize("goes_alone", [True, False])
async def test_a_query_that_fails(world: World, *, goes_alone: bool):
    await world.start()
    task = await world.poll()
    if goes_alone:
        await world.complete(task.task_token)
    asked = asyncio.ensure_future(
        over_the_wire(
            world,
            "QueryWorkflow",
            execution={"workflow_id": "w"},
            query=query.WorkflowQuery(query_type="q"),
        )
    )
    await asyncio.sleep(0.01)
    if goes_alone:
        asking = await world.poll()
        await over_the_wire(
            world, "RespondQueryTaskCompleted", task_token=asking.task_token,
            completed_type=enums.QUERY_RESULT_TYPE_FAILED, error_message="no", failure=chain(SENT),
        )  # fmt: skip
    else:
        await world.signal()
        await world.complete(task.task_token)
        asking = await world.poll()
        (query_id,) = asking.queries
        result = query.WorkflowQueryResult(
            result_type=enums.QUERY_RESULT_TYPE_FAILED, error_message="no", failure=chain(SENT)
        )
        await over_the_wire(
            world, "RespondWorkflowTaskCompleted", task_token=asking.task_token, query_results={query_id: result}
        )  # fmt: skip
    with pytest.raises(InvalidArgument, match="no") as caught:
        await asked
    (detail,) = caught.value.details
    assert [messages(each) for each in failures_below(detail)] == [CUT]


async def test_a_request_of_a_caller_in_this_process_stays_as_it_is(world: World):
    await world.start()
    task = await world.poll()
    request = workflowservice.RespondWorkflowTaskFailedRequest(
        namespace="default", task_token=task.task_token
    )
    request.failure.CopyFrom(chain(2_000))  # more than could travel
    await world.call("RespondWorkflowTaskFailed", request)
    assert is_too_deep(request.failure)
    read = await world.call(
        "GetWorkflowExecutionHistory",
        workflowservice.GetWorkflowExecutionHistoryRequest(
            namespace="default", execution=common.WorkflowExecution(workflow_id="w")
        ),
    )
    assert [len(messages(each)) for each in failures_of(read.history)] == [LEVELS_MAX]


async def test_what_is_nested_too_deep_to_be_read_is_refused(world: World):
    deep = workflowservice.RespondActivityTaskFailedRequest(task_token=b"t")
    deep.failure.CopyFrom(chain(150))
    with pytest.raises(DecodeError):
        type(deep).FromString(deep.SerializeToString())
    with pytest.raises(InvalidArgument, match="not a valid RespondActivityTaskFailedRequest"):
        await world.node.frontend.dispatch_encoded(
            WORKFLOW_SERVICE["RespondActivityTaskFailed"], deep.SerializeToString(), {}, SECOND_NS
        )
