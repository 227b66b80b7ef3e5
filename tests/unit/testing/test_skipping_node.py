"""The node whose time can be skipped: what it is made of, how it ends, and how time outlives a node that died."""

from __future__ import annotations

import asyncio
import socket
from random import Random
from typing import Any, cast

import msgspec
import pytest

from perdure.client import Client
from perdure.core.clock import SystemClock
from perdure.core.ids import new_id, seeded_ids
from perdure.core.limits import DEFAULT_LIMITS
from perdure.core.units import DAY_NS, HOUR_NS
from perdure.server.common.options import ServerStartError
from perdure.server.frontend.rpcs import RPCS, Access
from perdure.server.node.node import Node, open_node
from perdure.server.time_skipping.node import open_time_skipping_node, run_test_server
from perdure.server.time_skipping.rpcs import table
from perdure.server.time_skipping.skipping import SkippingClock, TimeSkipping
from perdure.storage.port import Store
from perdure.storage.sqlite import open_memory
from perdure.storage.sqlite_open import connect_memory
from perdure.testing.simulation.loop import SimClock, SimLoop
from perdure.wire.api import enums, operatorservice, testservice, workflowservice
from perdure.wire.errors import InvalidArgument, Unavailable
from perdure.wire.seam import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE
from tests.harness.builders import schedule_activity
from tests.stores.faults import FaultyStore
from tests.unit.server.world import World
from tests.unit.testing.stage import Stage, staged, timer

DAY_S = 86_400.0


def test_the_table_has_every_method_of_the_test_service_besides_all_others() -> None:
    rows = table(TimeSkipping(SkippingClock()))
    own = {method.path for method in TEST_SERVICE.values()}
    assert len(own) == 6
    assert rows.keys() == RPCS.keys() | own
    for path in own:
        row = rows[path]
        assert row.access is Access.ADMIN
        assert row.default_timeout_ns == 600 * 10**9, "sleeps of locked time are long"
    for path, row in rows.items():
        assert row.method.path == path
        if path in RPCS:
            assert row._replace(handler=RPCS[path].handler) == RPCS[path]
            assert (row.handler is RPCS[path].handler) == (row.access is Access.WORK)


async def test_runs_are_kept_and_other_limits_are_as_given() -> None:
    limits = msgspec.structs.replace(DEFAULT_LIMITS, id_length_max=7, retention_default_ns=HOUR_NS)
    opened = await open_time_skipping_node(
        namespaces=("one", "two"), search_attributes={"City": "Keyword"}, limits=limits
    )
    dispatch = opened.node.frontend.dispatch
    for name in ("one", "two"):
        found: Any = await dispatch(
            WORKFLOW_SERVICE["DescribeNamespace"],
            workflowservice.DescribeNamespaceRequest(namespace=name),
        )
        kept = found.config.workflow_execution_retention_ttl
        assert kept.ToNanoseconds() == 100 * 365 * DAY_NS
        attributes: Any = await dispatch(
            OPERATOR_SERVICE["ListSearchAttributes"],
            operatorservice.ListSearchAttributesRequest(namespace=name),
        )
        assert list(attributes.custom_attributes) == ["City"]
        request = workflowservice.StartWorkflowExecutionRequest(namespace=name, request_id="r")
        request.workflow_id = "12345678"
        request.workflow_type.name = request.task_queue.name = "T"
        with pytest.raises(InvalidArgument, match="7"):
            await dispatch(WORKFLOW_SERVICE["StartWorkflowExecution"], request)
    await opened.close()


@staged
async def test_a_skip_of_years_deletes_no_run(stage: Stage) -> None:
    key = await stage.start()
    await stage.terminate()
    for _ in range(3):
        await stage.sleep(20 * 365 * DAY_S, unlock=True)
        await asyncio.sleep(120)
    assert await stage.event_types(key)


@staged
async def test_the_end_of_polls_ends_skipping(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    parked = asyncio.ensure_future(stage.poll(60))
    sleeping = asyncio.ensure_future(stage.sleep(2 * DAY_S))
    await asyncio.sleep(1)
    await stage.opened.stop_polls()
    assert not (await parked).task_token
    await sleeping
    stage.time.unlock()
    await asyncio.sleep(5)
    assert (stage.time.skips, stage.real_s) == (0, 6)


@staged
async def test_the_end_of_the_node_ends_skipping_and_calls(stage: Stage) -> None:
    await stage.started_run("w", timer(DAY_S))
    sleeping = asyncio.ensure_future(stage.sleep(2 * DAY_S))
    await asyncio.sleep(1)
    await stage.opened.close()
    await sleeping
    assert stage.time._loop is not None
    assert stage.time._loop.done(), "nothing looks at a closed store"
    stage.time.unlock()
    await asyncio.sleep(5)
    assert stage.time.skips == 0
    with pytest.raises(Unavailable):
        await stage.start("late")


# A node dies, and another one takes over.


async def _node(time: TimeSkipping, connection: object, real: SimClock) -> World:
    faults = FaultyStore(open_memory(connection=connection))  # type: ignore[arg-type]
    node: Node = await open_node(
        cast("Store", faults),
        clock=time.clock,
        new_id=new_id,
        matching_clock=real,
        rpcs=table(time),
    )
    return World(node, faults)


def test_what_ran_on_a_dead_node_is_looked_at_again() -> None:
    loop = SimLoop()
    real = SimClock(loop)
    time = TimeSkipping(SkippingClock(real))
    database = connect_memory(1)

    async def main() -> None:
        world = await _node(time, database, real)
        time.open(world.engine, world.node.matching)
        for name in ("activity", "ended", "task"):
            await world.start(name)
        for _ in range(2):
            task = await world.poll()
            await world.complete(task.task_token, schedule_activity())
            await world.poll_activity()
        await world.poll()
        await world.start("waiting")
        assert (time._activities, time._in_workflow_tasks, len(time.work)) == (2, 1, 4)
        time._unsettled[loop.create_future()] = ()  # what a node that is killed leaves behind
        await time.close()
        await world.node.close()

        world = await _node(time, database, real)
        await world.terminate("ended")
        await world.terminate("waiting")
        await time.take_over(world.engine)
        time.open(world.engine, world.node.matching)
        assert (time._activities, time._in_workflow_tasks, time._unsettled) == (1, 1, {})
        assert {key.name for key in time.work} == {"activity", "task"}
        assert not time._since_ns
        await world.terminate("activity")
        await world.terminate("task")
        assert (time._activities, time._in_workflow_tasks, time.work) == (0, 0, {})
        await time.close()
        await world.node.close()

    with seeded_ids(Random(0)):
        loop.run(main())
    database.close()


def test_a_task_that_waited_on_a_dead_node_has_its_start_up_anew() -> None:
    loop = SimLoop()
    real = SimClock(loop)
    time = TimeSkipping(SkippingClock(real))
    database = connect_memory(1)

    async def main() -> None:
        world = await _node(time, database, real)
        time.open(world.engine, world.node.matching)
        await world.start("waits")
        await asyncio.sleep(20)
        await time.close()
        await world.node.close()
        world = await _node(time, database, real)
        await time.take_over(world.engine)
        time.open(world.engine, world.node.matching)
        time.unlock()
        began_ns = real.monotonic_ns()
        await time.sleep_until(time.clock.now_ns() + DAY_NS)
        assert 1.0 <= (real.monotonic_ns() - began_ns) / 10**9 < 1.25
        await time.close()
        await world.node.close()

    with seeded_ids(Random(0)):
        loop.run(main())
    database.close()


# Over gRPC.


async def test_the_test_server_serves_until_it_is_told_to_stop() -> None:
    before = asyncio.all_tasks()
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(
        run_test_server("127.0.0.1", 0, stop=stop, on_ready=port.set_result)
    )
    bound = await port
    with pytest.raises(ServerStartError, match=str(bound)):
        await run_test_server("127.0.0.1", bound, stop=asyncio.Event(), on_ready=lambda _: None)
    async with await Client.connect(f"127.0.0.1:{bound}") as client:
        request = testservice.SleepRequest()
        request.duration.FromNanoseconds(DAY_NS)
        before_ns = SystemClock().now_ns()
        await client.test_service.unlock_time_skipping_with_sleep(request)
        now = await client.test_service.get_current_time(_empty())
        assert now.time.ToNanoseconds() >= before_ns + DAY_NS
        assert not serving.done()
        stop.set()
        await serving
    await only(before)


async def test_a_test_server_answers_polls_empty_before_it_stops() -> None:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(
        run_test_server("127.0.0.1", 0, stop=stop, on_ready=port.set_result)
    )
    async with await Client.connect(f"127.0.0.1:{await port}") as client:
        service = client.workflow_service
        poll = workflowservice.PollWorkflowTaskQueueRequest(namespace="default", identity="me")
        poll.task_queue.name = "q"
        polling = asyncio.ensure_future(service.poll_workflow_task_queue(poll))
        describe = workflowservice.DescribeTaskQueueRequest(
            namespace="default",
            task_queue=poll.task_queue,
            task_queue_type=enums.TASK_QUEUE_TYPE_WORKFLOW,
        )
        async with asyncio.timeout(60):
            while not (await service.describe_task_queue(describe)).pollers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stop.set()
        assert not (await polling).task_token
        await serving


async def test_a_test_server_that_cannot_listen_ends_its_node() -> None:
    before = asyncio.all_tasks()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bound = taken.getsockname()[1]
        with pytest.raises(ServerStartError, match=str(bound)):
            await run_test_server("127.0.0.1", bound, stop=asyncio.Event(), on_ready=lambda _: None)
    await only(before)


async def only(tasks: set[asyncio.Task[Any]]) -> None:
    """Nothing else is left running: a node that has not ended looks after its shards forever."""
    if left := asyncio.all_tasks() - tasks:
        _, running = await asyncio.wait(left, timeout=20)
        assert not running


def _empty() -> object:
    from google.protobuf.empty_pb2 import Empty

    return Empty()
