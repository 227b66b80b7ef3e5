"""Attacks on waiting callers: pollers during a take-over, queries to dead workers, readers of a history."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from perdure.wire import errors
from perdure.wire.api import common, enums, query, taskqueue
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    from tests.simulation.stage import Stage

STARTS = 6
STICKY = "sticky"
ROUNDS = 4
SOON_S = 5.0


async def scan_and_takeover(stage: Stage) -> None:
    """While a node reads the rows of a queue, another takes its shards, writes rows, and loses the shards again."""
    owner, first, store = stage.owner, stage.own_endpoint, stage.store
    assert store is not None
    if stage.random.random() < 0.7:
        store.tasks_gate.clear()
    polls = [asyncio.ensure_future(stage.poll(at=first)) for _ in range(2 * STARTS)]
    await asyncio.sleep(0.1)
    await stage.start_node()
    rival = stage.node_process
    assert rival is not None
    for number in range(STARTS):
        await stage.start(f"w{number}")
    await stage.start_later("later", 8)
    rival.kill()
    stage.owner, stage.endpoint = owner, first
    started = STARTS
    # The first node notices that it has lost the shards, and takes each one back.
    for number in range(STARTS):
        try:
            await stage.start(f"x{number}", at=first)
            started += 1
        except errors.RpcError:
            await asyncio.sleep(0.3)
    await asyncio.sleep(1)
    store.tasks_gate.set()
    await asyncio.sleep(SOON_S)
    served = sum(poll.done() and bool(poll.result().task_token) for poll in polls)
    require(
        served == started,
        Kind.LATE,
        f"pollers wait, and only {served} of {started} tasks were given out",
    )
    for poll in polls:
        poll.cancel()
    await asyncio.sleep(5)


async def dead_sticky_queue(stage: Stage) -> None:
    """The worker that has a run cached is gone: a query goes to one other worker."""
    await stage.start("asked")
    task = await stage.poll()
    sticky = taskqueue.TaskQueue(
        name=STICKY, kind=enums.TASK_QUEUE_KIND_STICKY, normal_name=TASK_QUEUE
    )
    await stage.answer(
        task.task_token,
        sticky_attributes=taskqueue.StickyExecutionAttributes(
            worker_task_queue=sticky, schedule_to_start_timeout=Duration(seconds=5)
        ),
    )
    await stage.poll(queue=sticky, timeout_s=2 + stage.random.random())
    answer = asyncio.ensure_future(
        stage.call(
            "QueryWorkflow",
            execution=common.WorkflowExecution(workflow_id="asked"),
            query=query.WorkflowQuery(query_type="q"),
        )
    )
    asked = await stage.poll()
    require(asked.HasField("query"), Kind.LOST, "the query reached no worker")
    again = await stage.poll(queue=sticky, timeout_s=2)
    require(not again.HasField("query"), Kind.TWICE, "the query went to a second worker")
    await stage.call(
        "RespondQueryTaskCompleted",
        task_token=asked.task_token,
        completed_type=enums.QUERY_RESULT_TYPE_ANSWERED,
    )
    await answer


async def one_new_event(stage: Stage) -> None:
    """A reader waits for the next event of a history, and exactly one is added."""
    await stage.start("read")
    execution = common.WorkflowExecution(workflow_id="read")
    token = b""
    for number in range(ROUNDS):
        reply = await stage.call(
            "GetWorkflowExecutionHistory",
            execution=execution,
            wait_new_event=True,
            next_page_token=token,
        )
        token = reply.next_page_token
        waiting = asyncio.ensure_future(
            stage.call(
                "GetWorkflowExecutionHistory",
                execution=execution,
                wait_new_event=True,
                next_page_token=token,
            )
        )
        await asyncio.sleep(stage.random.random())
        await stage.signal("read", f"signal {number}")
        done, _ = await asyncio.wait((waiting,), timeout=SOON_S)
        require(done, Kind.STALE_READ, "a reader still waits, and a new event is there")
        found = len((await waiting).history.events)
        require(found == 1, Kind.STALE_READ, f"a reader got {found} events instead of one")
