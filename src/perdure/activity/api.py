"""The functions that activity code calls. Each raises `RuntimeError` outside an activity, except `in_activity`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.activity.cancellation import ActivityCancellationDetails
from perdure.activity.context import CompleteAsyncError, Context, Info
from perdure.common.metrics import MetricMeter
from perdure.converter.payload import PayloadConverter

if TYPE_CHECKING:
    from perdure.client import Client


def in_activity() -> bool:
    """Whether the calling code runs in an activity. Never raises."""
    return Context.current_or_none() is not None


def info() -> Info:
    """The running activity: ids, type, attempt, time-outs, workflow.

    Raises:
        RuntimeError: The caller is not activity code.

    Example:
        ```python
        @activity.defn
        async def charge(order_id: str) -> str:
            return f"{activity.info().activity_type} {order_id}, attempt {activity.info().attempt}"


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self, order_id: str) -> str:
                return await workflow.execute_activity(
                    charge, order_id, start_to_close_timeout=timedelta(seconds=30)
                )


        async with Worker(client, task_queue="orders", workflows=[Order], activities=[charge]):
            result = await client.execute_workflow(Order.run, "o-7", id="o-7", task_queue="orders")
        assert result == "charge o-7, attempt 1"
        ```
    """
    return Context.current().info()


def client() -> Client:
    """The worker's client. Only in async activities.

    Raises:
        RuntimeError: The activity is not async, a test gave no client, or the caller is not activity code.

    Example:
        ```python
        @workflow.defn
        class Report:
            @workflow.run
            async def run(self) -> str:
                return "all is well"


        @activity.defn
        async def order_report(report_id: str) -> str:
            return await activity.client().execute_workflow(
                Report.run, id=report_id, task_queue="reports"
            )


        @workflow.defn
        class Month:
            @workflow.run
            async def run(self) -> str:
                return await workflow.execute_activity(
                    order_report, "report-7", start_to_close_timeout=timedelta(minutes=1)
                )


        async with Worker(
            client, task_queue="reports", workflows=[Report, Month], activities=[order_report]
        ):
            result = await client.execute_workflow(Month.run, id="month-7", task_queue="reports")
        assert result == "all is well"
        ```
    """
    found = Context.current().client
    if found is None:
        raise RuntimeError(
            "No client available. The client is only available in `async def` activities;"
            " in tests, give one to ActivityEnvironment."
        )
    return found


def heartbeat(*details: Any) -> None:
    """Report that the activity is alive, and optionally how far it is.

    A worker batches heartbeats: it sends the latest one within the heartbeat time-out. The answer tells the activity
    whether it was cancelled.

    Args:
        details: Values that the next attempt finds in `Info.heartbeat_details`.

    Raises:
        RuntimeError: The caller is not activity code.

    Example:
        ```python
        from perdure.testing import ActivityEnvironment


        @activity.defn
        async def ship(parcels: list[str]) -> None:
            begin = activity.info().heartbeat_details[0] if activity.info().heartbeat_details else 0
            for number in range(begin, len(parcels)):
                activity.heartbeat(number + 1)


        reported: list[int] = []
        environment = ActivityEnvironment()
        environment.on_heartbeat = reported.append
        await environment.run(ship, ["books", "pens"])
        assert reported == [1, 2]
        ```
    """
    send = Context.current().heartbeat
    if send is None:
        raise RuntimeError("Can only execute heartbeat after interceptor init")
    send(*details)


def is_cancelled() -> bool:
    """Whether a cancellation has reached this activity.

    Raises:
        RuntimeError: The caller is not activity code.

    Example:
        ```python
        from perdure.testing import ActivityEnvironment


        @activity.defn
        def sum_up(amounts: list[int]) -> int:
            total = 0
            for amount in amounts:
                if activity.is_cancelled():
                    break
                total += amount
            return total


        assert ActivityEnvironment().run(sum_up, [30, 12]) == 42
        ```
    """
    return Context.current().cancelled_event.is_set()


def cancellation_details() -> ActivityCancellationDetails | None:
    """Why the activity was cancelled; None while it was not.

    Raises:
        RuntimeError: The caller is not activity code.

    Example:
        ```python
        from perdure.testing import ActivityEnvironment


        @activity.defn
        async def watch() -> str:
            activity.heartbeat()  # the answer may be a cancellation
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                details = activity.cancellation_details()
                return "on request" if details and details.cancel_requested else "for other reasons"
            return "never"


        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *details: environment.cancel()
        assert await environment.run(watch) == "on request"
        ```
    """
    return Context.current().cancellation_details.details


@contextmanager
def shield_thread_cancel_exception() -> Generator[None]:
    """Delay the cancellation of a sync activity until a block of code has ended.

    For activities that run in threads. The exception is raised at the end of the outermost block, even when the block
    returns or raises by itself. Without effect in async activities and in other processes.

    Raises:
        perdure.exceptions.CancelledError: A cancellation came during the block.
        RuntimeError: The caller is not activity code.
    """
    shield = Context.current().shield_thread_cancel_exception
    if shield is None:
        yield
    else:
        with shield():
            yield


async def wait_for_cancelled() -> None:
    """Wait until the activity is cancelled. For async activities.

    Raises:
        asyncio.CancelledError: The activity was cancelled, which also cancels its task.
        RuntimeError: The caller is not activity code.

    Example:
        ```python
        from perdure.testing import ActivityEnvironment


        @activity.defn
        async def reserve(item: str) -> str:
            activity.heartbeat(f"{item} reserved")  # the answer may be a cancellation
            try:
                await activity.wait_for_cancelled()
            finally:
                released.append(item)
            return item


        released: list[str] = []
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *details: environment.cancel()
        try:
            await environment.run(reserve, "book")
        except asyncio.CancelledError:
            assert released == ["book"]
        ```
    """
    await Context.current().cancelled_event.wait()


def wait_for_cancelled_sync(timeout: timedelta | float | None = None) -> None:
    """Block the calling thread until the activity is cancelled.

    Args:
        timeout: Longest wait, in seconds or as a timedelta. None: no limit.

    Raises:
        RuntimeError: The caller is not activity code.
    """
    Context.current().cancelled_event.wait_sync(_seconds(timeout))


def is_worker_shutdown() -> bool:
    """Whether the worker is shutting down.

    Raises:
        RuntimeError: The caller is not activity code.
    """
    return Context.current().worker_shutdown_event.is_set()


async def wait_for_worker_shutdown() -> None:
    """Wait until the worker begins to shut down. For async activities.

    Raises:
        RuntimeError: The caller is not activity code.
    """
    await Context.current().worker_shutdown_event.wait()


def wait_for_worker_shutdown_sync(timeout: timedelta | float | None = None) -> None:
    """Block the calling thread until the worker begins to shut down.

    Args:
        timeout: Longest wait, in seconds or as a timedelta. None: no limit.

    Raises:
        RuntimeError: The caller is not activity code.
    """
    Context.current().worker_shutdown_event.wait_sync(_seconds(timeout))


def _seconds(timeout: timedelta | float | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


def raise_complete_async() -> NoReturn:
    """End the function but leave the activity open. A client completes it later (`Client.get_async_activity_handle`).

    Raises:
        CompleteAsyncError: Always. Do not catch it.

    Example:
        ```python
        tokens: asyncio.Queue[bytes] = asyncio.Queue()


        @activity.defn
        async def ask_for_approval() -> str:
            tokens.put_nowait(activity.info().task_token)
            activity.raise_complete_async()


        @workflow.defn
        class Purchase:
            @workflow.run
            async def run(self) -> str:
                return await workflow.execute_activity(
                    ask_for_approval, start_to_close_timeout=timedelta(days=3)
                )


        async with Worker(
            client, task_queue="orders", workflows=[Purchase], activities=[ask_for_approval]
        ):
            purchase = await client.start_workflow(Purchase.run, id="p-7", task_queue="orders")
            await client.get_async_activity_handle(task_token=await tokens.get()).complete(
                "approved"
            )
            assert await purchase.result() == "approved"
        ```
    """
    raise CompleteAsyncError


def payload_converter() -> PayloadConverter:
    """The payload converter with this activity's serialization context.

    Dynamic activities use it to convert raw values.

    Raises:
        RuntimeError: The caller is not activity code.
    """
    return Context.current().payload_converter


def metric_meter() -> MetricMeter:
    """A meter whose records carry the namespace, the task queue and the activity type.

    Raises:
        RuntimeError: The caller is not activity code.
    """
    return Context.current().metric_meter
