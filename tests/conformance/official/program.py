"""The official client and worker against a server: prints one line of JSON with what they saw.

    python program.py HOST:PORT SCENARIO

It runs in a process of its own, because one process cannot hold the official SDK's core and be trusted to be ours.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from datetime import timedelta
from typing import Any

import definitions as d
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeTaskQueueRequest,
    ListNamespacesRequest,
    RegisterNamespaceRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.common import (
    QueryRejectCondition,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker

QUEUE = "conformance"


def worker(client: Client, **options: Any) -> Worker:
    return Worker(
        client, task_queue=QUEUE, workflows=d.WORKFLOWS, activities=d.ACTIVITIES, **options
    )


def new_id() -> str:
    return f"conformance-{uuid.uuid4()}"


async def replay(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Replay the run's history in the official replayer; its event types."""
    history = await handle.fetch_history()
    await Replayer(workflows=d.WORKFLOWS).replay_workflow(history)
    return [event["eventType"] for event in history.to_json_dict()["events"]]


async def failure_of(awaitable: Any) -> str:
    try:
        await awaitable
    except WorkflowFailureError as error:
        cause: BaseException | None = error
        names: list[str] = []
        while (cause := cause.__cause__) is not None:
            names.append(type(cause).__name__)
        return " <- ".join(names)
    except (WorkflowContinuedAsNewError, RPCError) as error:
        return type(error).__name__
    return "none"


async def greeting(client: Client) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with worker(client):
        handle = await client.start_workflow(
            d.Greeting.run, id=new_id(), task_queue=QUEUE, memo={"why": "conformance"}
        )
        seen["stage before"] = await handle.query(d.Greeting.stage)
        try:
            await handle.query(d.Greeting.broken)
        except WorkflowQueryFailedError as error:
            seen["failed query"] = str(error)
        await handle.signal(d.Greeting.name, "Ada")
        seen["result"] = await handle.result()
        seen["stage after"] = await handle.query(d.Greeting.stage)
        try:
            await handle.query(d.Greeting.stage, reject_condition=QueryRejectCondition.NOT_OPEN)
        except WorkflowQueryRejectedError as error:
            seen["rejected query"] = error.status.name if error.status else None
        description = await handle.describe()
        seen["status"] = description.status.name if description.status else None
        seen["type"] = description.workflow_type
        seen["memo"] = await description.memo()
        seen["events"] = await replay(handle)
    return seen


async def cold(client: Client) -> dict[str, Any]:
    """A run begins in one worker and goes on in another that must replay it."""
    handle = await client.start_workflow(d.Greeting.run, id=new_id(), task_queue=QUEUE)
    async with worker(client):
        stage = await handle.query(d.Greeting.stage)
    await handle.signal(d.Greeting.name, "Grace")
    async with worker(client, max_cached_workflows=0):
        result = await handle.result()
    return {"stage": stage, "result": result, "events": await replay(handle)}


async def cancellation(client: Client) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with worker(client):
        handle = await client.start_workflow(d.Cancellable.run, id=new_id(), task_queue=QUEUE)
        while not (await handle.describe()).raw_description.pending_activities:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await handle.cancel()
        seen["cleaned"] = await handle.result()
        seen["events"] = await replay(handle)
        other = await client.start_workflow(d.Cancelled.run, id=new_id(), task_queue=QUEUE)
        await other.cancel()
        await other.cancel()
        seen["cancelled"] = await failure_of(other.result())
        await other.cancel()
        third = await client.start_workflow(d.Cancelled.run, id=new_id(), task_queue=QUEUE)
        await third.terminate("enough")
        seen["terminated"] = await failure_of(third.result())
        try:
            await third.terminate("again")
        except RPCError as error:
            seen["terminate closed"] = error.status.name
        try:
            await third.signal("name", "late")
        except RPCError as error:
            seen["signal closed"] = error.status.name
    return seen


async def failures(client: Client) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with worker(client):
        handle = await client.start_workflow(d.Failing.run, id=new_id(), task_queue=QUEUE)
        seen["failing"] = await failure_of(handle.result())
        seen["events"] = await replay(handle)
        late = await client.start_workflow(
            d.Cancelled.run,
            id=new_id(),
            task_queue=QUEUE,
            run_timeout=timedelta(milliseconds=300),
        )
        seen["run timeout"] = await failure_of(late.result())
        seen["timeouts"] = await client.execute_workflow(
            d.Timeouts.run, id=new_id(), task_queue=QUEUE
        )
        seen["resumed"] = await client.execute_workflow(
            d.Heartbeats.run, id=new_id(), task_queue=QUEUE
        )
    return seen


async def fan_out(client: Client) -> dict[str, Any]:
    async with worker(client):
        handles = [
            await client.start_workflow(d.FanOut.run, 30, id=new_id(), task_queue=QUEUE)
            for _ in range(5)
        ]
        results = await asyncio.gather(*(handle.result() for handle in handles))
        local = await client.start_workflow(d.LocalActivity.run, id=new_id(), task_queue=QUEUE)
        seen: dict[str, Any] = {"results": results, "local": await local.result()}
        for handle in (*handles, local):
            seen["events"] = await replay(handle)
    return seen


async def ids(client: Client) -> dict[str, Any]:
    """Id conflicts and reuse; no worker is needed."""
    seen: dict[str, Any] = {}
    workflow_id = new_id()

    def start(**options: Any) -> Any:
        return client.start_workflow(
            d.Cancelled.run, id=workflow_id, task_queue="nobody", **options
        )

    first = await start()
    try:
        await start()
    except WorkflowAlreadyStartedError as error:
        seen["running"] = error.run_id == first.result_run_id
    used = await start(id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING)
    seen["used"] = used.result_run_id == first.result_run_id
    second = await start(id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING)
    seen["replaced"] = second.result_run_id != first.result_run_id
    seen["first ended"] = await failure_of(first.result())
    await second.terminate()
    try:
        await start(id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE)
    except WorkflowAlreadyStartedError:
        seen["rejected duplicate"] = True
    third = await start(id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY)
    seen["after failure"] = third.result_run_id not in (first.result_run_id, second.result_run_id)
    await third.terminate()
    return seen


async def surface(client: Client) -> dict[str, Any]:
    """What surrounds runs: namespaces, lists, queues, health, and errors for what is not there."""
    seen: dict[str, Any] = {}
    service = client.workflow_service
    name = f"ns-{uuid.uuid4()}"
    await service.register_namespace(RegisterNamespaceRequest(namespace=name))
    listed = await service.list_namespaces(ListNamespacesRequest())
    seen["listed"] = name in [n.namespace_info.name for n in listed.namespaces]
    seen["health"] = await client.service_client.check_health()
    workflow_id = new_id()
    handle = await client.start_workflow(d.Cancelled.run, id=workflow_id, task_queue="nobody")
    query = f"WorkflowId = '{workflow_id}' AND ExecutionStatus = 'Running'"
    seen["found"] = [run.id == workflow_id async for run in client.list_workflows(query)]
    count = await service.count_workflow_executions(
        CountWorkflowExecutionsRequest(namespace="default", query=query)
    )
    seen["counted"] = count.count
    await handle.terminate()
    seen["found after"] = [run.id async for run in client.list_workflows(query)]
    queue = DescribeTaskQueueRequest(namespace="default")
    queue.task_queue.name = "nobody"
    seen["pollers"] = len((await service.describe_task_queue(queue)).pollers)
    seen["unknown run"] = await status_of(client.get_workflow_handle("nobody").describe())
    other = await Client.connect(client.service_client.config.target_host, namespace="nowhere")
    seen["unknown namespace"] = await status_of(other.start_workflow("x", id="x", task_queue="x"))
    seen["unimplemented"] = await status_of(
        service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(namespace="default")
        )
    )
    seen["large"] = await status_of(
        client.start_workflow("FanOut", "x" * 3_000_000, id=new_id(), task_queue="nobody")
    )
    return seen


async def children(client: Client) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with worker(client):
        handle = await client.start_workflow(d.Parent.run, id=new_id(), task_queue=QUEUE)
        result = await handle.result()
        seen["result"] = [text.replace(handle.id, "ID") for text in result]
        seen["events"] = await replay(handle)
        ends: list[str] = []
        for name in ("terminated", "asked"):
            child = client.get_workflow_handle(f"{handle.id}-{name}")
            ends.append(await failure_of(child.result()))
        seen["ends"] = ends
        abandoned = client.get_workflow_handle(f"{handle.id}-abandoned")
        await abandoned.signal("say", "alone")
        seen["abandoned"] = (await abandoned.result()).replace(handle.id, "ID")
    return seen


async def updates(client: Client) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    # Any: the official overloads of update calls are partially unknown to a strict checker.
    handle: Any = await client.start_workflow(d.Updatable.run, id=new_id(), task_queue=QUEUE)
    # Before there is any worker.
    early = asyncio.create_task(handle.execute_update(d.Updatable.add, 1, id="one"))
    await asyncio.sleep(0.2)
    async with worker(client):
        seen["early"] = await early
        seen["again"] = await handle.execute_update(d.Updatable.add, 1, id="one")
        seen["second"] = await handle.execute_update(d.Updatable.add, 2)
        seen["rejected"] = await update_failure(handle.execute_update(d.Updatable.add, -1))
        seen["failed"] = await update_failure(handle.execute_update(d.Updatable.fails))
        seen["unknown"] = await update_failure(handle.execute_update("nothing"))
        started = await handle.start_update(
            d.Updatable.slow, wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )
        many = [handle.execute_update(d.Updatable.add, 1) for _ in range(5)]
        seen["many"] = sorted(await asyncio.gather(*many))
        seen["slow"] = await started.result()
        seen["polled"] = await handle.get_update_handle("one").result()
        seen["nowhere"] = await status_of(handle.get_update_handle("none").result())
        endless = await handle.start_update(
            d.Updatable.endless, wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )
        await handle.signal(d.Updatable.stop, "now")
        seen["result"] = await handle.result()
        seen["endless"] = await update_failure(endless.result())
        seen["closed known"] = await handle.execute_update(d.Updatable.add, 1, id="one")
        seen["closed"] = await status_of(handle.execute_update(d.Updatable.add, 1))
        seen["events"] = await replay(handle)
    cold: Any = await client.start_workflow(d.Updatable.run, id=new_id(), task_queue=QUEUE)
    async with worker(client, max_cached_workflows=0):
        seen["cold"] = [await cold.execute_update(d.Updatable.add, 1) for _ in range(3)]
        await cold.signal(d.Updatable.stop, "again")
        following: Any = client.get_workflow_handle(cold.id)
        while (await following.describe()).run_id == cold.first_execution_run_id:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        seen["following"] = await following.execute_update(d.Updatable.add, 1)
        await following.terminate()
    return seen


async def update_failure(awaitable: Any) -> str:
    try:
        await awaitable
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        return f"{type(cause).__name__}: {cause}"
    return "none"


async def eager(client: Client) -> dict[str, Any]:
    """The worker in the same process takes the first task out of the answer to the start."""
    async with worker(client):
        handle = await client.start_workflow(
            d.Failing.run,
            id=new_id(),
            task_queue=QUEUE,
            request_eager_start=True,
        )
        seen: dict[str, Any] = {"failing": await failure_of(handle.result())}
        history = await handle.fetch_history()
        started = history.events[0].workflow_execution_started_event_attributes
        seen["eager"] = started.eager_execution_accepted
        seen["events"] = await replay(handle)
    return seen


async def update_with_start(client: Client) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    untyped: Any = client  # see `updates`
    workflow_id = new_id()

    async def add(
        amount: int, conflict: WorkflowIDConflictPolicy, **options: Any
    ) -> tuple[Any, WithStartWorkflowOperation[Any, Any]]:
        start = WithStartWorkflowOperation(
            d.Updatable.run,
            id=workflow_id,
            task_queue=QUEUE,
            id_conflict_policy=conflict,
        )
        value = await untyped.execute_update_with_start_workflow(
            d.Updatable.add, amount, start_workflow_operation=start, **options
        )
        return value, start

    use, fail = WorkflowIDConflictPolicy.USE_EXISTING, WorkflowIDConflictPolicy.FAIL
    async with worker(client):
        seen["new"], first = await add(1, fail, id="first")
        seen["existing"], second = await add(2, use)
        one, other = await first.workflow_handle(), await second.workflow_handle()
        seen["same run"] = one.first_execution_run_id == other.first_execution_run_id
        seen["known"], _ = await add(1, fail, id="first")
        try:
            await add(1, fail)
        except WorkflowAlreadyStartedError:
            seen["conflict"] = True
        seen["rejected"] = await update_failure(add(-1, use))
        await one.signal(d.Updatable.stop, "now")
        seen["result"] = await one.result()
        seen["after close"], _ = await add(5, fail)
        await client.get_workflow_handle(workflow_id).terminate()
        bad: Any = client.get_workflow_handle(workflow_id)
        seen["closed"] = await status_of(bad.execute_update(d.Updatable.add, 1))
    return seen


async def status_of(awaitable: Any) -> str:
    try:
        await awaitable
    except RPCError as error:
        return f"{error.status.name}: {error.message}"
    return "OK"


async def restarts(client: Client, path: str) -> dict[str, Any]:
    """Three rounds of runs; the server is killed in the middle of each, when told so."""
    results: list[list[str]] = []
    async with worker(client):
        for round_ in range(3):
            names = [f"{round_}-{number}" for number in range(10)]
            handles = [
                await client.start_workflow(
                    d.TwoSteps.run, args=[path, name], id=new_id(), task_queue=QUEUE
                )
                for name in names
            ]
            # Every effect is there and acknowledged: the timers of all runs are started.
            for handle in handles:
                while not await has_timer(handle):  # noqa: ASYNC110 -- another process is asked
                    await asyncio.sleep(0.01)
            print("half way", flush=True)
            results.append(list(await asyncio.gather(*(h.result() for h in handles))))
    return {"results": results}


async def has_timer(handle: WorkflowHandle[Any, Any]) -> bool:
    events = (await handle.fetch_history()).events
    return any(event.HasField("timer_started_event_attributes") for event in events)


SCENARIOS: dict[str, Any] = {
    function.__name__: function
    for function in (
        greeting,
        cold,
        cancellation,
        failures,
        fan_out,
        ids,
        children,
        updates,
        eager,
        update_with_start,
        surface,
        restarts,
    )
}


async def main(address: str, scenario: str, *arguments: str) -> None:
    client = await Client.connect(address)
    seen = await asyncio.wait_for(SCENARIOS[scenario](client, *arguments), 100)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
