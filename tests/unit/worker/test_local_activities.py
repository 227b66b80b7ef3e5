"""Local activities on an engine in this process: results, retries, time-outs, cancellation, long ones, eviction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, CancelledError
from perdure.exceptions import TimeoutError as TimedOut
from perdure.replay.commands import ScheduleLocalActivity
from perdure.replay.jobs import Cancelled
from perdure.replay.local import LocalActivityCancel, LocalActivityRequest
from perdure.replay.task import RunInfo
from perdure.wire.api import enums
from perdure.worker import Replayer, Worker
from perdure.worker.activity.local import LocalActivities
from perdure.worker.interceptors.activity import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
)
from perdure.worker.interceptors.interceptor import Interceptor
from perdure.worker.polling.slots import Slots

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
FAST = RetryPolicy(initial_interval=timedelta(milliseconds=1), backoff_coefficient=1)


class Record:
    """What the activities of one test saw, and the gates that hold them."""

    def __init__(self) -> None:
        self.infos: list[activity.Info] = []
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        self.ended_by: list[str] = []
        self.ended = asyncio.Event()


record: Record


@pytest.fixture(autouse=True)
async def fresh_record() -> None:
    global record  # noqa: PLW0603 - activities are plain functions
    record = Record()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await Client.connect("memory:") as connected:
        yield connected


@activity.defn
async def greet(name: str) -> str:
    record.infos.append(activity.info())
    activity.heartbeat("ignored")
    return f"Hello, {name}!"


@activity.defn
def greet_in_a_thread(name: str) -> str:
    assert threading.current_thread() is not threading.main_thread()
    return f"Hello, {name}, from {activity.info().activity_type}!"


@activity.defn
async def flaky(failures: int) -> int:
    record.infos.append(activity.info())
    if activity.info().attempt <= failures:
        raise ApplicationError("not yet", type="NotYet")
    return activity.info().attempt


@activity.defn
async def held() -> str:
    record.infos.append(activity.info())
    record.began.set()
    try:
        await record.gate.wait()
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        assert details is not None
        record.ended_by.append("time-out" if details.timed_out else "request")
        record.ended.set()
        raise
    return "let go"


@activity.defn
async def nothing() -> None:
    return None


@activity.defn
async def later() -> None:
    activity.raise_complete_async()


ACTIVITIES = [greet, greet_in_a_thread, flaky, held, nothing, later]


@workflow.defn
class Local:
    """Runs one local activity with the options that the test asks for."""

    def __init__(self) -> None:
        self.signals = 0
        self.stage = "new"

    @workflow.signal
    def nudge(self) -> None:
        self.signals += 1

    @workflow.query
    def seen(self) -> int:
        return self.signals

    @workflow.run
    async def run(self, name: str, args: list[Any], options: dict[str, float]) -> Any:
        retry = RetryPolicy(
            initial_interval=timedelta(seconds=options.pop("interval", 0.001)),
            backoff_coefficient=1,
            maximum_attempts=int(options.pop("attempts", 0)),
        )
        spans = {key: timedelta(seconds=value) for key, value in options.items()}
        spans.setdefault("schedule_to_close_timeout", MINUTE)
        return await workflow.execute_local_activity(
            name,
            args=args,
            retry_policy=retry,
            **spans,  # type: ignore[arg-type]
        )


@workflow.defn
class Cancels:
    """Cancels a local activity that runs."""

    @workflow.run
    async def run(self, kind: int) -> str:
        handle = workflow.start_local_activity(
            held,
            start_to_close_timeout=MINUTE,
            cancellation_type=workflow.ActivityCancellationType(kind),
        )
        await workflow.execute_local_activity(nothing, start_to_close_timeout=MINUTE)
        while not record.began.is_set():  # the tests' own signal: the activity has begun
            await workflow.execute_local_activity(nothing, start_to_close_timeout=MINUTE)
        handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            return f"{error.message} <- {type(error.cause).__name__}"
        except asyncio.CancelledError:
            return "cancelled"


def worker(client: Client, **options: Any) -> Worker:
    return Worker(
        client,
        task_queue="q",
        workflows=[Local, Cancels],
        activities=ACTIVITIES,
        activity_executor=ThreadPoolExecutor(2),
        **options,
    )


async def start(
    client: Client, name: str, *args: Any, **options: float
) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(
        Local.run, args=[name, list(args), options], id=f"w-{name}", task_queue="q"
    )


async def events(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """The history's event types; it must replay."""
    history = await handle.fetch_history()
    await Replayer(workflows=[Local, Cancels]).replay_workflow(history)
    assert not any(
        event.HasField("activity_task_scheduled_event_attributes") for event in history.events
    )
    return [
        str(event.WhichOneof("attributes")).removesuffix("_event_attributes")
        for event in history.events
    ]


async def history_of(handle: WorkflowHandle[Any, Any], length: int) -> None:
    """Wait until the history has so many events."""
    seen = 0
    async for _ in handle.fetch_history_events(wait_new_event=True):
        seen += 1
        if seen == length:
            return


async def cause_of(handle: WorkflowHandle[Any, Any]) -> BaseException | None:
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    return failed.value.cause


async def test_it_runs_inside_the_first_workflow_task(client: Client) -> None:
    async with worker(client):
        handle = await start(client, "greet", "Ada", start_to_close_timeout=5)
        assert await handle.result() == "Hello, Ada!"
    assert await events(handle) == [
        "workflow_execution_started",
        "workflow_task_scheduled",
        "workflow_task_started",
        "workflow_task_completed",
        "marker_recorded",
        "workflow_execution_completed",
    ]
    (info,) = record.infos
    assert (info.is_local, info.attempt, info.activity_id) == (True, 1, "1")
    assert info.workflow_id == handle.id
    assert info.start_to_close_timeout == 5 * SECOND
    assert info.schedule_to_close_timeout == MINUTE
    assert info.heartbeat_timeout is None


async def test_threads_nothing_and_interceptors(client: Client) -> None:
    seen: list[str] = []

    class Inbound(ActivityInboundInterceptor):
        async def execute_activity(self, input: ExecuteActivityInput) -> Any:
            seen.append(activity.info().activity_type)
            return await super().execute_activity(input)

    class Watch(Interceptor):
        def intercept_activity(
            self, next: ActivityInboundInterceptor
        ) -> ActivityInboundInterceptor:
            return Inbound(next)

    async with worker(client, interceptors=[Watch()]):
        handle = await start(client, "greet_in_a_thread", "Ada")
        assert await handle.result() == "Hello, Ada, from greet_in_a_thread!"
        assert await (await start(client, "nothing")).result() is None
    assert seen == ["greet_in_a_thread", "nothing"]


async def test_retries_stay_within_the_task(client: Client) -> None:
    async with worker(client):
        handle = await start(client, "flaky", 2)
        assert await handle.result() == 3
    assert [info.attempt for info in record.infos] == [1, 2, 3]
    assert (await events(handle)).count("marker_recorded") == 1


async def test_the_last_failure_is_the_workflows(client: Client) -> None:
    async with worker(client):
        cause = await cause_of(await start(client, "flaky", 5, attempts=2))
        assert isinstance(cause, ApplicationError)
        assert cause.type == "NotYet"
        cause = await cause_of(await start(client, "later"))
        assert isinstance(cause, ApplicationError)
        assert "cannot be completed asynchronously" in str(cause)


async def test_an_activity_that_the_worker_does_not_have_fails_the_task(client: Client) -> None:
    async with worker(client):
        handle = await start(client, "unknown")
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == enums.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failure = event.workflow_task_failed_event_attributes.failure
                assert "Activity function unknown is not registered" in failure.message
                assert failure.application_failure_info.type == "NotFoundError"
                break
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await handle.terminate()


async def test_a_long_back_off_is_a_timer_and_attempts_go_on_counting(client: Client) -> None:
    async with worker(client):
        handle = await start(client, "flaky", 2, local_retry_threshold=0.0005)
        assert await handle.result() == 3
    assert [info.attempt for info in record.infos] == [1, 2, 3]
    assert len({info.scheduled_time for info in record.infos}) == 1
    seen = await events(handle)
    assert (seen.count("marker_recorded"), seen.count("timer_fired")) == (3, 2)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"start_to_close_timeout": 0.02, "attempts": 1}, "START_TO_CLOSE"),
        ({"schedule_to_close_timeout": 0.02}, "SCHEDULE_TO_CLOSE"),
        # The last attempt's time is up before the whole activity's.
        (
            {"start_to_close_timeout": 0.02, "schedule_to_close_timeout": 5, "attempts": 2},
            "START_TO_CLOSE",
        ),
    ],
)
async def test_time_outs(client: Client, options: dict[str, float], kind: str) -> None:
    async with worker(client):
        handle = await start(client, "held", **options)
        cause = await cause_of(handle)
    assert isinstance(cause, ActivityError)
    assert cause.message == "Local Activity timed out"
    assert isinstance(cause.cause, TimedOut)
    assert cause.cause.type is not None
    assert cause.cause.type.name == kind
    assert record.ended_by == ["time-out"] * int(options.get("attempts", 1))
    await events(handle)


async def test_schedule_to_start_while_others_hold_the_slots(client: Client) -> None:
    async with worker(client, max_concurrent_local_activities=1):
        first = await start(client, "held")
        await record.began.wait()
        second = await start(client, "greet", "Ada", schedule_to_start_timeout=0.02)
        cause = await cause_of(second)
        assert isinstance(cause, ActivityError)
        assert isinstance(cause.cause, TimedOut)
        assert cause.cause.type is not None
        assert cause.cause.type.name == "SCHEDULE_TO_START"
        record.gate.set()
        assert await first.result() == "let go"
        assert await (await start(client, "nothing")).result() is None, "the slot came back"


@pytest.mark.parametrize(
    ("kind", "result", "ended_by"),
    [
        (
            workflow.ActivityCancellationType.TRY_CANCEL,
            "Local Activity cancelled <- CancelledError",
            ["request"],
        ),
        (
            workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            "Local Activity cancelled <- CancelledError",
            ["request"],
        ),
        (
            workflow.ActivityCancellationType.ABANDON,
            "Local Activity cancelled <- CancelledError",
            None,
        ),
    ],
)
async def test_cancellation(
    client: Client,
    kind: workflow.ActivityCancellationType,
    result: str,
    ended_by: list[str] | None,
) -> None:
    async with worker(client):
        handle = await client.start_workflow(Cancels.run, int(kind), id="w", task_queue="q")
        assert await handle.result() == result
        record.gate.set()
    if ended_by is not None:
        assert record.ended_by == ended_by
    await Replayer(workflows=[Cancels]).replay_workflow(await handle.fetch_history())


async def test_a_cancel_in_the_moment_of_the_start_is_not_lost() -> None:
    def spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.create_task(work, name=name)

    slots = Slots(1)

    class Known:
        """No attempt begins, so there is nothing that would run it."""

        def check_known(self, name: str) -> None: ...

    never: Any = Known()
    local = LocalActivities(never, slots, spawn).of_run(RunInfo("default", "w", "r", "Local", "q"))
    asked = LocalActivityRequest(ScheduleLocalActivity(seq=1, activity_type="held"))
    local.apply([asked, LocalActivityCancel(1)], 0)
    await local.wait(10)
    ((seq, result),) = local.take_results()
    assert (seq, type(result.outcome)) == (1, Cancelled)
    assert slots.used == 0


async def test_a_cancel_ends_the_wait_for_the_next_attempt(client: Client) -> None:
    async with worker(client):
        handle = await client.start_workflow(
            Local.run,
            args=["flaky", [9], {"interval": 50.0}],
            id="w",
            task_queue="q",
            task_timeout=SECOND,
        )
        await handle.cancel()
        assert isinstance(await cause_of(handle), CancelledError)
    await events(handle)


async def test_a_long_one_is_kept_alive_and_does_not_hold_up_signals_and_queries(
    client: Client,
) -> None:
    async with worker(client):
        handle = await client.start_workflow(
            Local.run, args=["held", [], {}], id="w", task_queue="q", task_timeout=SECOND
        )
        await record.began.wait()
        await handle.signal(Local.nudge)
        assert await handle.query(Local.seen) == 1
        await history_of(handle, 10)
        record.gate.set()
        assert await handle.result() == "let go"
    assert len(record.infos) == 1, "one attempt, whatever the number of workflow tasks"
    seen = await events(handle)
    assert seen.count("workflow_task_completed") >= 2
    assert "workflow_task_timed_out" not in seen


async def test_without_a_cache_it_still_runs_once(client: Client) -> None:
    async with worker(client, max_cached_workflows=0):
        handle = await client.start_workflow(
            Local.run, args=["held", [], {}], id="w", task_queue="q", task_timeout=SECOND
        )
        await record.began.wait()
        await history_of(handle, 7)
        record.gate.set()
        assert await handle.result() == "let go"
    assert len(record.infos) == 1


async def test_a_worker_that_stops_leaves_it_to_another(client: Client) -> None:
    async with worker(client):
        handle = await start(client, "held")
        await record.began.wait()
    assert record.ended_by == ["request"]
    record.gate.set()
    async with worker(client):
        assert await handle.result() == "let go"
    assert [info.attempt for info in record.infos] == [1, 1]
    seen = await events(handle)
    assert seen.count("marker_recorded") == 1


async def test_a_run_that_ends_meanwhile_cancels_it(client: Client) -> None:
    async with worker(client):
        handle = await client.start_workflow(
            Local.run, args=["held", [], {}], id="w", task_queue="q", task_timeout=SECOND
        )
        await record.began.wait()
        await handle.terminate()
        await record.ended.wait()
    assert record.ended_by == ["request"]


@workflow.defn
class CancelsOneOfTwo:
    @workflow.run
    async def run(self) -> str:
        first, second = (
            workflow.start_local_activity(
                held,
                schedule_to_close_timeout=MINUTE,
                cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
            )
            for _ in range(2)
        )
        await workflow.execute_local_activity(nothing, schedule_to_close_timeout=MINUTE)
        first.cancel()
        return await second


async def test_a_result_that_nobody_waits_for_ends_no_task(client: Client) -> None:
    async with Worker(
        client, task_queue="q", workflows=[CancelsOneOfTwo], activities=[held, nothing]
    ):
        handle = await client.start_workflow(CancelsOneOfTwo.run, id="w", task_queue="q")
        await record.ended.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        record.gate.set()
        assert await handle.result() == "let go"
    history = await handle.fetch_history()
    kinds = [event.WhichOneof("attributes") for event in history.events]
    assert kinds.count("workflow_task_completed_event_attributes") == 1
