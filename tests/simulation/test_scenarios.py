"""Scripted scenarios with a second node or a crash. A naive implementation fails each of them.

Scenarios that need neither run on the real node in `tests/unit/server`:

    a batch fails with a duplicate in flight   test_durability: a_duplicate_waits_for_the_batch_of_the_first
    the seventh command of ten is bad          test_durability: the_seventh_command_of_ten_is_bad
    a stampede on a cold run                   test_durability: a_stampede_on_a_cold_run_costs_one_load
    one poison row in a batch of hundreds      test_durability: one_poison_row_among_hundreds
    a poll cancelled in mid-fsync              test_sync_match: a_workflow_poll_… and an_activity_poll_cancelled…

Here: a zombie owner in the middle of a commit; a signal during a workflow task, then a kill; commits out of order on a
queue.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from perdure.wire import errors
from tests.simulation.stage import Stage, insist, signals_in

pytestmark = [pytest.mark.simulation]


@pytest.mark.parametrize("seed", range(5))
def test_a_zombie_owner_before_its_commit_writes_nothing(seed: int):
    """Another node takes over during a commit: the fence refuses the commit, and the repeated signal counts once."""

    async def script(stage: Stage) -> None:
        await stage.start("w")
        zombie, store = stage.node_process, stage.store
        assert zombie is not None
        assert store is not None
        store.gate.clear()
        late = asyncio.ensure_future(stage.signal("w", "s"))
        await store.waiting.wait()
        await stage.start_node()
        store.gate.set()
        with pytest.raises(errors.Unavailable):
            await late
        zombie.kill()
        # A third node is needed because the zombie may have taken the shards back before it was killed.
        stage.kill_node()
        await stage.start_node()
        assert await stage.signals("w") == []
        await insist(lambda: stage.signal("w", "s"))
        assert await stage.signals("w") == ["s"]

    Stage(seed, script).run()


@pytest.mark.parametrize("seed", range(5))
def test_a_zombie_owner_after_its_commit_is_believed(seed: int):
    """Another node takes over after a commit but before the answer: the signal is neither lost nor doubled."""

    async def script(stage: Stage) -> None:
        await stage.start("w")
        zombie = stage.node_process
        assert zombie is not None
        stage.disk.delay_max_s = 1.0
        before = stage.rows("events")
        told = asyncio.ensure_future(stage.signal("w", "s"))
        await stage.until_durable("events", before + 1)
        assert not told.done()
        stage.disk.delay_max_s = 0.003
        await stage.start_node()
        assert await stage.signals("w") == ["s"]
        await insist(lambda: stage.signal("w", "s"))
        assert await stage.signals("w") == ["s"], "the request id of the repeated call is known"
        await told
        zombie.kill()

    Stage(seed, script).run()


@pytest.mark.parametrize("worker_answers", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_signal_during_a_workflow_task_then_a_kill(seed: int, *, worker_answers: bool):
    """The signal is buffered, and the buffer is stored: the next node has it, whether or not the worker answers."""

    async def script(stage: Stage) -> None:
        await stage.start("w")
        task = await stage.poll()
        await stage.signal("w", "s")
        stage.kill_node()
        await stage.start_node()
        assert await stage.signals("w") == [], (
            "no event may come between the start and the end of a workflow task (S-2)"
        )
        if worker_answers:
            await stage.answer(task.task_token)
        following = await stage.poll()  # without an answer: after the task's time-out
        assert signals_in(following.history.events) == ["s"]
        await stage.answer(following.task_token, is_last=True)
        assert await stage.signals("w") == ["s"]

    Stage(seed, script).run()


@pytest.mark.parametrize("seed", range(5))
def test_a_signal_that_was_never_acknowledged_counts_once_when_repeated(seed: int):
    """The node is killed between the commit of a buffered signal and the answer: the caller repeats the call."""

    async def script(stage: Stage) -> None:
        await stage.start("w")
        task = await stage.poll()
        stage.disk.delay_max_s = 1.0
        before = stage.rows("facts")
        lost = asyncio.ensure_future(stage.signal("w", "s"))
        await stage.until_durable("facts", before + 1)
        stage.kill_node()
        with pytest.raises(errors.Unavailable):
            await lost
        stage.disk.delay_max_s = 0.003
        await stage.start_node()
        await insist(lambda: stage.signal("w", "s"))
        await stage.answer(task.task_token)
        following = await stage.poll()
        assert signals_in(following.history.events) == ["s"]

    Stage(seed, script).run()


RUNS = 60
POLLERS = 4


@pytest.mark.parametrize("seed", range(5))
def test_commits_out_of_order_on_a_queue(seed: int):
    """The rows of one queue come from all shards, each with its own order, and with gaps where batches failed.

    Pollers read with cursors all the time, and a node dies in between. No task is lost, none is given out twice, and
    each run gets its signals in the order in which they were acknowledged.
    """

    async def script(stage: Stage) -> None:
        seen: dict[str, list[str]] = {}
        finished: defaultdict[str, int] = defaultdict(int)
        names = [f"run {number}" for number in range(RUNS)]

        async def user(workflow_id: str) -> None:
            await asyncio.sleep(stage.random.random() * 4)
            await insist(lambda: stage.start(workflow_id))
            for signal in ("a", "b"):
                await asyncio.sleep(stage.random.random() * 2)
                await insist(lambda signal=signal: stage.signal(workflow_id, signal))

        async def worker() -> None:
            while len(finished) < RUNS:
                try:
                    task = await stage.poll()
                except errors.RpcError:
                    await asyncio.sleep(0.2)
                    continue
                if not task.task_token:
                    continue
                workflow_id = task.workflow_execution.workflow_id
                seen[workflow_id] = signals_in(task.history.events)
                is_last = len(seen[workflow_id]) == 2
                try:
                    await stage.answer(task.task_token, is_last=is_last)
                except errors.RpcError:
                    continue  # there were new signals, or the node died: the run gets another task
                if is_last:
                    finished[workflow_id] += 1

        async def trouble() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                assert stage.store is not None
                stage.store.is_full = True
                await asyncio.sleep(stage.random.random())
                stage.store.is_full = False
            stage.kill_node()
            await asyncio.sleep(0.5)
            await stage.start_node()

        async with asyncio.timeout(600):
            await asyncio.gather(
                trouble(), *(user(name) for name in names), *(worker() for _ in range(POLLERS))
            )
        assert dict(finished) == dict.fromkeys(names, 1)
        assert seen == {name: ["a", "b"] for name in names}
        await asyncio.sleep(120)
        assert stage.rows("tasks") == 0

    Stage(seed, script).run()
