"""The functions that activity code calls. Each raises RuntimeError outside an activity, except `in_activity`."""

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
    """Whether this code runs inside an activity."""
    return Context.current_or_none() is not None


def info() -> Info:
    """The running activity."""
    return Context.current().info()


def client() -> Client:
    """The worker's client, for async activities.

    Raises:
        RuntimeError: The activity is not async, or a test gave no client.
    """
    found = Context.current().client
    if found is None:
        raise RuntimeError(
            "No client available. The client is only available in `async def` activities;"
            " in tests, give one to ActivityEnvironment."
        )
    return found


def heartbeat(*details: Any) -> None:
    """Tell the server that the activity is alive, and how far it is.

    Args:
        details: Given to the next attempt as `Info.heartbeat_details`.
    """
    send = Context.current().heartbeat
    if send is None:
        raise RuntimeError("Can only execute heartbeat after interceptor init")
    send(*details)


def is_cancelled() -> bool:
    """Whether a cancellation has reached this activity."""
    return Context.current().cancelled_event.is_set()


def cancellation_details() -> ActivityCancellationDetails | None:
    """Why the activity is cancelled; None while it is not."""
    return Context.current().cancellation_details.details


@contextmanager
def shield_thread_cancel_exception() -> Generator[None]:
    """Hold back the cancellation exception of a sync activity in a thread until the (outermost) block ends.

    A pending cancellation is raised at the end even when the block returns or raises by itself. No effect in async
    activities and in other processes.

    Raises:
        perdure.exceptions.CancelledError: A cancellation came during the block.
    """
    shield = Context.current().shield_thread_cancel_exception
    if shield is None:
        yield
    else:
        with shield():
            yield


async def wait_for_cancelled() -> None:
    """Wait until the activity is cancelled (async activities)."""
    await Context.current().cancelled_event.wait()


def wait_for_cancelled_sync(timeout: timedelta | float | None = None) -> None:
    """Block this thread until the activity is cancelled, or for `timeout` (seconds, or a timedelta)."""
    Context.current().cancelled_event.wait_sync(_seconds(timeout))


def is_worker_shutdown() -> bool:
    """Whether the worker has begun to stop."""
    return Context.current().worker_shutdown_event.is_set()


async def wait_for_worker_shutdown() -> None:
    """Wait until the worker begins to stop (async activities)."""
    await Context.current().worker_shutdown_event.wait()


def wait_for_worker_shutdown_sync(timeout: timedelta | float | None = None) -> None:
    """Block this thread until the worker begins to stop, or for `timeout` (seconds, or a timedelta)."""
    Context.current().worker_shutdown_event.wait_sync(_seconds(timeout))


def _seconds(timeout: timedelta | float | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


def raise_complete_async() -> NoReturn:
    """Leave the activity open: somebody will complete it through `Client.get_async_activity_handle`."""
    raise CompleteAsyncError


def payload_converter() -> PayloadConverter:
    """The payload converter with this activity's serialization context (for dynamic activities, mostly)."""
    return Context.current().payload_converter


def metric_meter() -> MetricMeter:
    """A meter whose records carry namespace, task queue and activity type."""
    return Context.current().metric_meter
