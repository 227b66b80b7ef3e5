"""The environment whose time is skipped: how far, when, and when not. Nothing here asserts on real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from perdure import activity, workflow
from perdure.client import RPCError, WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, TimeoutType
from perdure.exceptions import TimeoutError as TimeoutFailure
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker

QUEUE = "skipping"
MARGIN = timedelta(seconds=60)
"""How far test time may be ahead on a slow machine, where it flows like real time while something runs."""


@pytest.fixture
async def env() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping() as environment:
        yield environment


@activity.defn
async def third_time(name: str) -> str:
    if activity.info().attempt < 3:
        raise ApplicationError("not yet")
    return f"{name} at the {activity.info().attempt}rd"


@activity.defn
async def never_polled() -> None:
    raise AssertionError("nobody polls its queue")


@workflow.defn
class Sleeper:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.signal
    def note(self, text: str) -> None:
        self.seen.append(
            f"{text} after {workflow.now() - workflow.info().start_time}".split(".")[0]
        )

    @workflow.query
    def notes(self) -> list[str]:
        return self.seen

    @workflow.run
    async def run(self, days: int) -> list[str]:
        await workflow.sleep(timedelta(days=days))
        return self.seen


@workflow.defn
class Month:
    @workflow.run
    async def run(self) -> str:
        began = workflow.now()
        for day in range(30):
            await workflow.sleep(timedelta(days=1))
            await workflow.execute_activity(
                third_time,
                f"day {day}",
                start_to_close_timeout=timedelta(minutes=1),
                retry_policy=RetryPolicy(initial_interval=timedelta(minutes=5)),
            )
        return str((workflow.now() - began) // timedelta(minutes=1))


@workflow.defn
class NobodyThere:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            never_polled,
            task_queue="nobody polls this",
            schedule_to_start_timeout=timedelta(days=3),
            schedule_to_close_timeout=timedelta(days=30),
        )


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, days: list[int]) -> int:
        seen = await asyncio.gather(
            *(workflow.execute_child_workflow(Sleeper.run, each) for each in days)
        )
        return len(seen)


@workflow.defn
class Chain:
    @workflow.run
    async def run(self, more: int) -> str:
        await workflow.sleep(timedelta(hours=1))
        if more:
            workflow.continue_as_new(more - 1)
        return "end"


@workflow.defn
class Fails:
    @workflow.run
    async def run(self) -> None:
        assert 1 + 1 == 3, "sums"


class Naps:
    def __init__(self, env: WorkflowEnvironment) -> None:
        self.env = env

    @activity.defn
    async def nap(self) -> str:
        timeout = activity.info().heartbeat_timeout
        assert timeout is not None
        await self.env.sleep(timeout * 2)
        return "slept through"


@workflow.defn
class Napping:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity_method(
            Naps.nap,
            schedule_to_close_timeout=timedelta(hours=10),
            heartbeat_timeout=timedelta(minutes=30),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


class Watches:
    """Looks at test time for a while, as one who does not sleep in it."""

    def __init__(self, env: WorkflowEnvironment) -> None:
        self.env = env
        self.began = asyncio.Event()

    @activity.defn
    async def watch(self) -> float:
        began = await self.env.get_current_time()
        self.began.set()
        await asyncio.sleep(0.05)
        return (await passed(self.env, began)).total_seconds()


@workflow.defn
class Watching:
    @workflow.run
    async def run(self) -> float:
        return await workflow.execute_activity_method(
            Watches.watch, schedule_to_close_timeout=timedelta(hours=10)
        )


def worker(env: WorkflowEnvironment, *workflows: type) -> Worker:
    return Worker(env.client, task_queue=QUEUE, workflows=workflows, activities=[third_time])


async def passed(env: WorkflowEnvironment, since: datetime) -> timedelta:
    return await env.get_current_time() - since


async def test_waiting_for_a_result_skips_what_the_workflow_sleeps(
    env: WorkflowEnvironment,
) -> None:
    began = await env.get_current_time()
    async with worker(env, Sleeper):
        assert await env.client.execute_workflow(Sleeper.run, 365, id="w", task_queue=QUEUE) == []
    assert timedelta(days=365) <= await passed(env, began) < timedelta(days=365) + MARGIN
    assert env.supports_time_skipping


async def test_a_month_of_retries_takes_its_test_time_and_no_more(env: WorkflowEnvironment) -> None:
    began = await env.get_current_time()
    async with worker(env, Month):
        minutes = int(await env.client.execute_workflow(Month.run, id="w", task_queue=QUEUE))
    expected = 30 * (24 * 60 + 5 + 10)
    assert expected <= minutes <= expected + 1
    assert await passed(env, began) < timedelta(minutes=expected) + MARGIN
    history = await env.client.get_workflow_handle("w").fetch_history()
    assert len(history.events) > 300, "retention does not follow test time"


async def test_time_is_locked_until_somebody_waits(env: WorkflowEnvironment) -> None:
    async with worker(env, Sleeper):
        handle = await env.client.start_workflow(Sleeper.run, 2, id="w", task_queue=QUEUE)
        began = await env.get_current_time()
        await handle.signal(Sleeper.note, "at once")
        assert await handle.query(Sleeper.notes) == ["at once after 0:00:00"]
        assert await passed(env, began) < MARGIN
        await env.sleep(timedelta(days=1))
        assert timedelta(days=1) <= await passed(env, began) < timedelta(days=1) + MARGIN
        await handle.signal(Sleeper.note, "later")
        seen = await handle.result()
    assert seen[1].startswith("later after 1 day, 0:00:0")
    assert await passed(env, began) < timedelta(days=2) + MARGIN


async def test_env_sleep_ends_before_what_is_due_later(env: WorkflowEnvironment) -> None:
    async with worker(env, Sleeper):
        handle = await env.client.start_workflow(Sleeper.run, 10, id="w", task_queue=QUEUE)
        await handle.query(Sleeper.notes)
        began = await env.get_current_time()
        for _ in range(3):
            await env.sleep(3 * 86_400)
        description = await handle.describe()
        assert description.status is not None
        assert description.status.name == "RUNNING"
        assert timedelta(days=9) <= await passed(env, began) < timedelta(days=9) + MARGIN
        await handle.result()


async def test_what_waits_for_a_signal_does_not_move_time(env: WorkflowEnvironment) -> None:
    """A stored wake-up is a lower bound: one that has lost its reason is no reason to skip."""
    async with worker(env, Sleeper, Month):
        handle = await env.client.start_workflow(Month.run, id="w", task_queue=QUEUE)
        await env.sleep(timedelta(days=1, hours=1))
        began = await env.get_current_time()
        await env.sleep(1)
        assert await passed(env, began) < MARGIN
        await handle.terminate()


async def test_two_who_wait_share_one_unlocking(env: WorkflowEnvironment) -> None:
    async with worker(env, Sleeper):
        began = await env.get_current_time()
        client = env.client
        runs = [
            client.execute_workflow(Sleeper.run, days, id=f"w{days}", task_queue=QUEUE)
            for days in (3, 1, 2)
        ]
        await asyncio.gather(*runs)
        assert timedelta(days=3) <= await passed(env, began) < timedelta(days=3) + MARGIN
        handle = await client.start_workflow(Sleeper.run, 1, id="w", task_queue=QUEUE)
        before = await env.get_current_time()
        await handle.query(Sleeper.notes)
        assert await passed(env, before) < MARGIN, "time is locked again"


async def test_several_who_wait_do_not_unlock_for_a_running_activity(
    env: WorkflowEnvironment,
) -> None:
    watches = Watches(env)
    async with Worker(
        env.client, task_queue=QUEUE, workflows=[Sleeper, Watching], activities=[watches.watch]
    ):
        with env.auto_time_skipping_disabled():
            watched = await env.client.start_workflow(Watching.run, id="a", task_queue=QUEUE)
            sleepers = [
                await env.client.start_workflow(Sleeper.run, 1, id=f"w{each}", task_queue=QUEUE)
                for each in range(2)
            ]
            await watches.began.wait()
        await asyncio.gather(*(sleeper.result() for sleeper in sleepers))
        assert await watched.result() < MARGIN.total_seconds()


async def test_a_task_that_nobody_fetches_times_out_in_test_time(env: WorkflowEnvironment) -> None:
    began = await env.get_current_time()
    async with worker(env, NobodyThere):
        with pytest.raises(WorkflowFailureError) as caught:
            await env.client.execute_workflow(NobodyThere.run, id="w", task_queue=QUEUE)
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, TimeoutFailure)
    assert caught.value.cause.cause.type is TimeoutType.SCHEDULE_TO_START
    assert timedelta(days=3) <= await passed(env, began) < timedelta(days=3) + MARGIN


async def test_an_activity_may_sleep_through_its_own_heartbeat(env: WorkflowEnvironment) -> None:
    began = await env.get_current_time()
    async with Worker(
        env.client, task_queue=QUEUE, workflows=[Napping], activities=[Naps(env).nap]
    ):
        with pytest.raises(WorkflowFailureError) as caught:
            await env.client.execute_workflow(Napping.run, id="w", task_queue=QUEUE)
    cause = caught.value.cause
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, TimeoutFailure)
    assert cause.cause.type is TimeoutType.HEARTBEAT
    assert await passed(env, began) < timedelta(hours=1) + MARGIN


async def test_time_stands_while_skipping_is_disabled(env: WorkflowEnvironment) -> None:
    async with worker(env, Sleeper):
        handle = await env.client.start_workflow(Sleeper.run, 1, id="w", task_queue=QUEUE)
        began = await env.get_current_time()
        with env.auto_time_skipping_disabled():
            waiting = asyncio.ensure_future(handle.result())
            await handle.query(Sleeper.notes)
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert await passed(env, began) < MARGIN
            waiting.cancel()
        assert await handle.result() == []


async def test_a_failed_assert_fails_the_workflow(env: WorkflowEnvironment) -> None:
    async with worker(env, Fails):
        with pytest.raises(WorkflowFailureError) as caught:
            await env.client.execute_workflow(Fails.run, id="w", task_queue=QUEUE)
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("AssertionError", True)
    assert "sums" in cause.message


async def test_giving_up_a_wait_locks_time_again(env: WorkflowEnvironment) -> None:
    async with worker(env, Sleeper):
        handle = await env.client.start_workflow(Sleeper.run, 1, id="w", task_queue=QUEUE)
        waiting = asyncio.ensure_future(handle.result())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        began = await env.get_current_time()
        await asyncio.sleep(0.02)
        await handle.query(Sleeper.notes)
        assert await passed(env, began) < MARGIN


async def test_children_and_chains_of_runs_skip_together(env: WorkflowEnvironment) -> None:
    client = env.client
    async with worker(env, Parent, Sleeper, Chain):
        began = await env.get_current_time()
        assert await client.execute_workflow(Parent.run, [1, 5, 3], id="p", task_queue=QUEUE) == 3
        assert timedelta(days=5) <= await passed(env, began) < timedelta(days=5) + MARGIN
        began = await env.get_current_time()
        delayed = client.execute_workflow(
            Chain.run, 4, id="c", task_queue=QUEUE, start_delay=timedelta(days=2)
        )
        assert await delayed == "end"
        whole = timedelta(days=2, hours=5)
        assert whole <= await passed(env, began) < whole + MARGIN


async def test_nobody_waits_in_an_environment_that_was_shut_down() -> None:
    env = await WorkflowEnvironment.start_time_skipping()
    handle = await env.client.start_workflow(Sleeper.run, 1, id="w", task_queue="nobody")
    result = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0.01)
    await env.shutdown()
    async with asyncio.timeout(10):
        with pytest.raises(RPCError, match="closed"):
            await result
        with pytest.raises(RuntimeError, match="shut down"):
            await env.sleep(timedelta(days=1))


async def test_another_client_of_the_same_engine(env: WorkflowEnvironment) -> None:
    other = await env.connect_client()
    async with worker(env, Sleeper):
        await env.client.execute_workflow(Sleeper.run, 1, id="w", task_queue=QUEUE)
    description = await other.get_workflow_handle("w").describe()
    assert description.status is not None
    assert description.status.name == "COMPLETED"
    await env.shutdown()
    await env.shutdown()
