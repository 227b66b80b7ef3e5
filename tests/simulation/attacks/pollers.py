"""Attacks on the hand-over of tasks: starts that fail, pollers that leave, queues without a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

from perdure.wire import errors
from perdure.wire.api import enums, taskqueue
from tests.simulation.violations import Kind, require
from tests.simulation.workloads.base import TASK_QUEUE

if TYPE_CHECKING:
    from tests.simulation.stage import Stage

SOON_S = 5.0
SWEPT_S = 75
STICKY = taskqueue.TaskQueue(
    name="sticky", kind=enums.TASK_QUEUE_KIND_STICKY, normal_name=TASK_QUEUE
)


async def refused_start(stage: Stage) -> None:
    """A poller comes for a waiting task while the disk is full; when there is room again, the poller gets the task."""
    await stage.start("w")
    assert stage.store is not None
    with stage.outages.during("disk full", 16.0):
        stage.store.is_full = True
        poll = asyncio.ensure_future(stage.poll(timeout_s=50))
        await asyncio.sleep(1 + stage.random.random())
        stage.store.is_full = False
    await _served(poll, 20)


async def leaving_pollers(stage: Stage) -> None:
    """A poller leaves while its task is being started: the next poller gets the task at once."""
    assert stage.store is not None
    for number, waits_first in enumerate((True, False)):
        leaving = None
        if waits_first:
            leaving = asyncio.ensure_future(stage.poll())
            await asyncio.sleep(0.1)
            stage.store.gate.clear()
            started = asyncio.ensure_future(stage.start(f"w{number}"))
        else:
            started = asyncio.ensure_future(stage.start(f"w{number}"))
            await started
            stage.store.gate.clear()
            leaving = asyncio.ensure_future(stage.poll())
        await asyncio.sleep(0.1 + 0.1 * stage.random.random())
        leaving.cancel()
        await asyncio.sleep(0.1)
        stage.store.gate.set()
        await started
        poll = asyncio.ensure_future(stage.poll())
        await _served(poll, SOON_S)
        await stage.answer((await poll).task_token)


async def failed_hand_over(stage: Stage) -> None:
    """A new task goes to a parked poller, but its commit fails: the poller goes on waiting and gets the next task."""
    assert stage.store is not None
    poll = asyncio.ensure_future(stage.poll())
    await asyncio.sleep(0.1)
    stage.store.poisoned = {"bad"}
    (answer,) = await asyncio.gather(stage.start("bad"), return_exceptions=True)
    is_refused = isinstance(answer, errors.Internal)
    require(is_refused, Kind.LOST, f"a start that could not be stored was answered with {answer!r}")
    stage.store.poisoned = set()
    await stage.start("good")
    await _served(poll, SOON_S)


async def gone_sticky_worker(stage: Stage) -> None:
    """The worker of a sticky queue is gone: its tasks go to other workers, and no sweep removes them."""
    await stage.start("w")
    await stage.answer(
        (await stage.poll()).task_token,
        sticky_attributes=taskqueue.StickyExecutionAttributes(
            worker_task_queue=STICKY, schedule_to_start_timeout=Duration(seconds=300)
        ),
    )
    await stage.poll(queue=STICKY, timeout_s=2)
    await asyncio.sleep(12)
    await stage.signal("w", "s")
    if stage.random.random() < 0.5:
        await _served(asyncio.ensure_future(stage.poll()), SOON_S)
    else:
        await asyncio.sleep(SWEPT_S)


async def _served(poll: asyncio.Future[Any], within_s: float) -> None:
    done, _ = await asyncio.wait((poll,), timeout=within_s)
    is_served = bool(done) and bool(poll.result().task_token)
    require(is_served, Kind.LATE, f"a poller got no task within {within_s:.0f} s")
