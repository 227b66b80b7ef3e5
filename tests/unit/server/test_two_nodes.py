"""Whatever passes between runs, workers and callers also passes between nodes: two engines, each with half the shards.

Every test has its runs, its task queue and its caller on different nodes; `two_nodes` checks at the end that no node
has kept anything that belongs to the other.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.wire.api import common, enums, errordetails
from perdure.wire.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from tests.harness.builders import (
    cancel_external,
    complete_workflow,
    continue_as_new,
    signal_external,
    start_child,
)
from tests.unit.frontend.conftest import Caller, settle
from tests.unit.frontend.test_multi_operation import start_part, update_part
from tests.unit.frontend.test_update_calls import (
    ACCEPTED,
    COMPLETED,
    accept,
    asked,
    data,
    refuse,
    respond,
)
from tests.unit.server.cluster import two_nodes
from tests.unit.server.sides import Side, both_ways, run_of, value
from tests.unit.server.virtual import on_virtual_time

Policy = enums.ParentClosePolicy


# Runs and their callers.


@both_ways
@on_virtual_time
async def test_a_run_of_one_node_is_worked_on_and_seen_through_the_other(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        run_id = await side.start(side.far)
        closing = side.later(
            "GetWorkflowExecutionHistory",
            execution=run_of(side.far),
            wait_new_event=True,
            history_event_filter_type=enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        following = side.later(
            "GetWorkflowExecutionHistory",
            execution=run_of(side.far, run_id),
            wait_new_event=True,
        )
        await side.caller.call(
            "SignalWorkflowExecution", workflow_execution=run_of(side.far), signal_name="go"
        )
        described = await side.caller.call("DescribeWorkflowExecution", execution=run_of(side.far))
        assert described.workflow_execution_info.execution.run_id == run_id
        task = await side.step(side.far, complete_workflow())
        assert [event.event_id for event in task.history.events] == [1, 2, 3, 4]
        (end,) = (await closing).history.events
        assert end.event_type == enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
        assert len((await following).history.events) >= 2
        listed = await side.caller.call("ListWorkflowExecutions")
        assert [each.execution.run_id for each in listed.executions] == [run_id]
        assert cluster.messages("CallRpc") > 5


@both_ways
@on_virtual_time
async def test_errors_arrive_with_their_details(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        run_id = await side.start(side.far)
        with pytest.raises(AlreadyExists) as taken:
            await side.caller.call(
                "StartWorkflowExecution",
                workflow_id=side.far,
                workflow_type={"name": "T"},
                task_queue={"name": side.queue},
                request_id="another",
            )
        (detail,) = taken.value.details
        assert isinstance(detail, errordetails.WorkflowExecutionAlreadyStartedFailure)
        assert detail.run_id == run_id
        with pytest.raises(NotFound):
            await side.caller.call(
                "TerminateWorkflowExecution", workflow_execution=run_of(side.far, f"{run_id[:-1]}f")
            )
        with pytest.raises(InvalidArgument, match="SignalName"):
            await side.caller.call(
                "SignalWorkflowExecution", workflow_execution=run_of(side.far), signal_name=""
            )


@both_ways
@on_virtual_time
async def test_signal_with_start_cancel_and_terminate(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        for _ in range(2):
            await side.caller.call(
                "SignalWithStartWorkflowExecution",
                workflow_id=side.far,
                workflow_type={"name": "T"},
                task_queue={"name": side.queue},
                signal_name="go",
            )
        await side.caller.call(
            "RequestCancelWorkflowExecution", workflow_execution=run_of(side.far)
        )
        await side.caller.call("TerminateWorkflowExecution", workflow_execution=run_of(side.far))
        assert await side.kinds(side.far) == [
            "WORKFLOW_EXECUTION_STARTED",
            "WORKFLOW_EXECUTION_SIGNALED",
            "WORKFLOW_EXECUTION_SIGNALED",
            "WORKFLOW_EXECUTION_CANCEL_REQUESTED",
            "WORKFLOW_EXECUTION_TERMINATED",
        ]


@both_ways
@on_virtual_time
async def test_a_chain_goes_on_where_it_began(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        first = await side.start(side.far)
        await side.step(side.far, continue_as_new())
        await side.step(side.far, continue_as_new())
        last = await side.step(side.far, complete_workflow())
        assert last.workflow_execution.run_id != first
        ended = await side.attributes(side.far, "WORKFLOW_EXECUTION_STARTED")
        assert ended.first_execution_run_id == first
        assert (await side.kinds(side.far, first))[-1] == "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"


# Between runs.


@both_ways
@on_virtual_time
async def test_signals_and_cancel_requests_between_runs_of_different_nodes(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.far)
        await side.step(side.far)
        await side.start(side.own)
        said = common.Payloads(payloads=[common.Payload(data=b"what")])
        await side.step(
            side.own,
            signal_external(side.far, input=said),
            cancel_external(side.far),
            signal_external(cluster.named(side.there, "nobody")),
            cancel_external(cluster.named(side.there, "nobody")),
            signal_external(side.own),
        )
        got = await side.attributes(side.far, "WORKFLOW_EXECUTION_SIGNALED")
        assert got.input == said
        assert got.external_workflow_execution.workflow_id == side.own
        await side.attributes(side.far, "WORKFLOW_EXECUTION_CANCEL_REQUESTED")
        assert sorted((await side.kinds(side.own))[6:]) == [
            "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED",
            "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED",
            "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
        ]
        assert cluster.messages("DeliverMessage") == 4, "what it sends to itself stays here"


@both_ways
@on_virtual_time
async def test_a_child_on_the_other_node_starts_and_reports_its_end(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        run_id = await side.start(side.own)
        await side.step(side.own, start_child(side.far))
        await side.steps(1)  # the parent has heard of the start, or the child has its first task
        await side.steps(1)
        started = await side.attributes(side.far, "WORKFLOW_EXECUTION_STARTED")
        assert started.parent_workflow_execution.run_id == run_id
        assert started.parent_workflow_namespace == "default"
        assert started.root_workflow_execution.workflow_id == side.own
        await side.caller.call(
            "SignalWorkflowExecution", workflow_execution=run_of(side.far), signal_name="end"
        )
        await side.step(side.far, complete_workflow())
        assert (await side.kinds(side.own))[1:] == [
            "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
            "CHILD_WORKFLOW_EXECUTION_STARTED",
            "CHILD_WORKFLOW_EXECUTION_COMPLETED",
        ]
        await side.step(side.own, complete_workflow())
        assert cluster.messages("DeliverMessage") == 3, "create, release, the end"


@both_ways
@on_virtual_time
async def test_a_grandchild_knows_its_root(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        run_id = await side.start(side.own)
        grandchild = cluster.named(here, "grandchild")
        await side.step(side.own, start_child(side.far))
        for _ in range(2):
            task = await side.caller.poll(side.queue)
            is_child = task.workflow_execution.workflow_id == side.far
            await side.caller.complete(task, *([start_child(grandchild)] if is_child else []))
        started = await side.attributes(grandchild, "WORKFLOW_EXECUTION_STARTED")
        assert started.parent_workflow_execution.workflow_id == side.far
        assert started.root_workflow_execution.workflow_id == side.own
        assert started.root_workflow_execution.run_id == run_id


@both_ways
@on_virtual_time
async def test_children_whose_ids_are_taken_and_children_that_are_discarded(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.far)
        await side.step(side.far)
        await side.start(side.own)
        never = cluster.named(side.there, "never")
        await side.step(side.own, start_child(side.far))
        failed = await side.attributes(side.own, "START_CHILD_WORKFLOW_EXECUTION_FAILED")
        assert failed.cause == (
            enums.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
        )
        # The parent closes in the step that asks for the child, so it never records the start.
        await side.step(side.own, start_child(never), complete_workflow())
        await asyncio.sleep(5)
        with pytest.raises(NotFound):
            await side.caller.call("DescribeWorkflowExecution", execution=run_of(never))


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (Policy.PARENT_CLOSE_POLICY_TERMINATE, "WORKFLOW_EXECUTION_TERMINATED"),
        (Policy.PARENT_CLOSE_POLICY_REQUEST_CANCEL, "WORKFLOW_EXECUTION_CANCEL_REQUESTED"),
        (Policy.PARENT_CLOSE_POLICY_ABANDON, "WORKFLOW_EXECUTION_STARTED"),
    ],
)
@both_ways
@on_virtual_time
async def test_the_parent_close_policy(here: str, policy: Policy.ValueType, seen: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.own)
        await side.step(side.own, start_child(side.far, parent_close_policy=policy))
        await side.steps(2)
        await side.caller.call("TerminateWorkflowExecution", workflow_execution=run_of(side.own))
        assert (await side.kinds(side.far))[-1] == seen


@both_ways
@on_virtual_time
async def test_effects_wait_for_a_node_that_does_not_answer_and_count_once(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        near = cluster.named(here, "near")
        await side.start(side.far)
        await side.step(side.far)
        await side.start(side.own, task_queue={"name": near})
        task = await side.caller.poll(near)
        cluster.wire.is_cut = True
        await side.caller.complete(task, signal_external(side.far), cancel_external(side.far))
        with pytest.raises(Unavailable):
            await side.caller.call("DescribeWorkflowExecution", execution=run_of(side.far))
        await asyncio.sleep(20)
        assert len(await side.kinds(side.own)) == 3
        cluster.wire.is_cut = False
        await asyncio.sleep(60)
        assert (await side.kinds(side.far))[1:] == [
            "WORKFLOW_EXECUTION_SIGNALED",
            "WORKFLOW_EXECUTION_CANCEL_REQUESTED",
        ]
        assert len(await side.kinds(side.own)) == 5
        await side.steps(1)


# Updates and queries.


@both_ways
@on_virtual_time
async def test_updates(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.far)
        await side.step(side.far)

        def send(update_id: str, stage: int) -> asyncio.Task[Any]:
            return side.later(
                "UpdateWorkflowExecution",
                workflow_execution=run_of(side.far),
                request=asked(update_id),
                wait_policy={"lifecycle_stage": stage},
            )

        accepted = send("u", ACCEPTED)
        task = await side.caller.poll(side.queue)
        assert [message.protocol_instance_id for message in task.messages] == ["u"]
        await side.caller.complete(task, messages=[accept()])
        assert (await accepted).stage == ACCEPTED
        waiting = side.later(
            "PollWorkflowExecutionUpdate",
            update_ref={"workflow_execution": run_of(side.far), "update_id": "u"},
            wait_policy={"lifecycle_stage": COMPLETED},
        )
        refused = send("v", COMPLETED)
        task = await side.caller.poll(side.queue)
        await side.caller.complete(task, messages=[respond(), refuse("v")])
        assert data(await waiting) == b"done"
        assert (await refused).outcome.failure.message == "no"


@both_ways
@on_virtual_time
async def test_update_with_start(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)

        def execute(update_id: str) -> asyncio.Task[Any]:
            start = start_part(workflow_id=side.far, task_queue={"name": side.queue})
            updating = update_part(update_id, workflow_execution={"workflow_id": side.far})
            operations = [{"start_workflow": start}, {"update_workflow": updating}]
            return side.later("ExecuteMultiOperation", operations=operations)

        for update_id in ("u", "v"):
            call = execute(update_id)
            task = await side.caller.poll(side.queue)
            answers = [accept(update_id), respond(update_id)]
            await side.caller.complete(task, messages=answers)
            first, second = (await call).responses
            assert first.start_workflow.run_id == task.workflow_execution.run_id
            assert data(second.update_workflow) == b"done"


@both_ways
@on_virtual_time
async def test_queries_with_a_task_and_without(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.far)

        def ask(seconds: int = 30) -> asyncio.Task[Any]:
            return side.later(
                "QueryWorkflow",
                execution=run_of(side.far),
                query={"query_type": "stage"},
                timeout_ns=seconds * SECOND_NS,
            )

        task = await side.caller.poll(side.queue)
        with_task = ask()
        await settle()
        await asyncio.sleep(0.1)
        await side.caller.complete(task, force_create_new_workflow_task=True)
        task = await side.caller.poll(side.queue)
        (query_id,) = task.queries
        results = {query_id: {"result_type": 1, "answer": value("with a task")}}
        await side.caller.complete(task, query_results=results)
        assert (await with_task).query_result == value("with a task")

        alone = ask()
        task = await side.caller.poll(side.queue)
        assert task.query.query_type == "stage"
        assert len(task.history.events) > 2
        await side.caller.call(
            "RespondQueryTaskCompleted",
            task_token=task.task_token,
            completed_type=enums.QUERY_RESULT_TYPE_ANSWERED,
            query_result=value("alone"),
        )
        assert (await alone).query_result == value("alone")
        with pytest.raises(NotFound):
            await side.caller.call(
                "RespondQueryTaskCompleted",
                task_token=task.task_token,
                completed_type=enums.QUERY_RESULT_TYPE_ANSWERED,
            )
        # A caller who leaves takes the query along.
        gone = ask(3)
        await asyncio.wait((gone,))
        assert not (await side.caller.poll(side.queue, timeout_ns=5 * SECOND_NS)).task_token


@both_ways
@on_virtual_time
async def test_a_query_whose_worker_goes_is_given_to_another(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        await side.start(side.own)
        await side.step(side.own)
        far: Caller = getattr(cluster, side.there)
        poll, taken = side.caller.parked(side.queue), cluster.wire.next("WriteQueryTask")
        asking = side.later(
            "QueryWorkflow", execution=run_of(side.own), query={"query_type": "stage"}
        )
        await taken.wait()
        poll.cancel()
        task = await far.poll(side.queue)
        await far.call(
            "RespondQueryTaskCompleted",
            task_token=task.task_token,
            completed_type=enums.QUERY_RESULT_TYPE_ANSWERED,
            query_result=value("second"),
        )
        assert (await asking).query_result == value("second")


# Namespaces.


@both_ways
@on_virtual_time
async def test_namespaces_are_known_to_all_nodes(here: str):
    async with two_nodes() as cluster:
        side = Side(cluster, here)
        far: Caller = getattr(cluster, side.there)
        for number in range(4):
            await side.caller.call("RegisterNamespace", namespace=f"n{number}")
            described = await far.call("DescribeNamespace", namespace=f"n{number}")
            assert described.namespace_info.name == f"n{number}"
            with pytest.raises(AlreadyExists):
                await far.call("RegisterNamespace", namespace=f"n{number}")
        keyword = enums.INDEXED_VALUE_TYPE_KEYWORD
        await side.caller.call("AddSearchAttributes", search_attributes={"Colour": keyword})
        await far.call("AddSearchAttributes", search_attributes={"Size": keyword})
        known = await side.caller.call("ListSearchAttributes")
        assert {"Colour", "Size"} <= set(known.custom_attributes)
