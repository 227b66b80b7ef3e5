"""`ActivityEnvironment`: runs an activity function with a context, without worker and engine. Official names."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from perdure.activity import ActivityCancellationDetails, Info
from perdure.activity.cancellation import CancellationDetailsHolder
from perdure.activity.context import Context
from perdure.activity.definition import Definition
from perdure.common import MetricMeter, Priority
from perdure.common.events import CompositeEvent
from perdure.converter import DataConverter, PayloadConverter
from perdure.exceptions import CancelledError
from perdure.worker.activity.threads import ThreadRaiser

if TYPE_CHECKING:
    from perdure.client import Client

P = ParamSpec("P")
R = TypeVar("R")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ActivityEnvironment:
    """Provides what `perdure.activity` needs, without worker and engine.

    Args:
        client: What `activity.client()` returns in async activities.

    Attributes:
        info: What `activity.info()` returns. Change it with `dataclasses.replace` before `run`.
        on_heartbeat: Called with the details of each heartbeat.
        payload_converter: What `activity.payload_converter()` returns.
        metric_meter: What `activity.metric_meter()` returns. By default it records nothing.

    Example:
        ```python
        import dataclasses

        from perdure.testing import ActivityEnvironment


        @activity.defn
        async def charge(order_id: str) -> str:
            return f"{order_id} paid in attempt {activity.info().attempt}"


        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, attempt=3)
        assert await environment.run(charge, "order-7") == "order-7 paid in attempt 3"
        ```
    """

    def __init__(self, client: Client | None = None) -> None:
        self.info = ActivityEnvironment.default_info()
        self.on_heartbeat: Callable[..., None] = lambda *_details: None
        self.payload_converter: PayloadConverter = DataConverter.default.payload_converter
        self.metric_meter: MetricMeter = MetricMeter.noop
        self._client = client
        self._is_cancelled = False
        self._is_worker_shutdown = False
        self._details = CancellationDetailsHolder()
        self._running: list[_Run] = []

    @staticmethod
    def default_info() -> Info:
        """A new `Info` of a first attempt in a workflow."""
        return Info(
            activity_id="test",
            activity_type="unknown",
            attempt=1,
            current_attempt_scheduled_time=EPOCH,
            heartbeat_details=[],
            heartbeat_timeout=None,
            is_local=False,
            namespace="default",
            schedule_to_close_timeout=timedelta(seconds=1),
            scheduled_time=EPOCH,
            start_to_close_timeout=timedelta(seconds=1),
            started_time=EPOCH,
            task_queue="test",
            task_token=b"test",
            workflow_id="test",
            workflow_namespace="default",
            workflow_run_id="test-run",
            workflow_type="test",
            priority=Priority.default,
            retry_policy=None,
            fencing_token=1,
        )

    def cancel(
        self,
        cancellation_details: ActivityCancellationDetails = ActivityCancellationDetails(  # noqa: B008 - frozen
            cancel_requested=True
        ),
    ) -> None:
        """Cancel what runs, and what will run, in this environment. Only the first call has an effect.

        Args:
            cancellation_details: What `activity.cancellation_details()` returns from then on.
        """
        if self._is_cancelled:
            return
        self._is_cancelled = True
        self._details.details = cancellation_details
        for run in tuple(self._running):
            run.cancel()

    def worker_shutdown(self) -> None:
        """Signal to what runs, and what will run, in this environment that the worker is shutting down."""
        self._is_worker_shutdown = True
        for run in tuple(self._running):
            run.context.worker_shutdown_event.set()

    def run(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in an activity context.

        Args:
            fn: An activity, or any callable that uses `perdure.activity`.
            args: Its positional arguments.
            kwargs: Its keyword arguments.

        Returns:
            The function's result; for an async function a coroutine to await.

        Example:
            ```python
            from perdure.testing import ActivityEnvironment


            @activity.defn
            def pack(items: list[str]) -> str:
                return f"{len(items)} items for {activity.info().workflow_id}"


            assert ActivityEnvironment().run(pack, ["book", "pen"]).startswith("2 items")
            ```
        """
        run = _Run(self, fn, self._context)
        if run.is_async:
            return cast("R", run.call_async(*args, **kwargs))
        return run.call(*args, **kwargs)

    def _context(self, *, is_async: bool, raiser: ThreadRaiser | None) -> Context:
        def event() -> CompositeEvent:
            return CompositeEvent(threading.Event(), asyncio.Event() if is_async else None)

        return Context(
            info=lambda: self.info,
            heartbeat=self._heartbeat,
            cancelled_event=event(),
            worker_shutdown_event=event(),
            shield_thread_cancel_exception=None if raiser is None else raiser.shielded,
            payload_converter_class_or_instance=self.payload_converter,
            runtime_metric_meter=self.metric_meter,
            client=self._client if is_async else None,
            cancellation_details=self._details,
        )

    def _heartbeat(self, *details: Any) -> None:
        self.on_heartbeat(*details)

    @contextmanager
    def around(self, run: _Run) -> Generator[None]:
        """Make a call current for the length of a block. For this module only.

        Args:
            run: The call.
        """
        if self._is_cancelled:
            run.context.cancelled_event.set()
        if self._is_worker_shutdown:
            run.context.worker_shutdown_event.set()
        self._running.append(run)
        token = Context.set(run.context)
        try:
            yield
        finally:
            Context.reset(token)
            self._running.remove(run)

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled


class _Run:
    """One call under way."""

    def __init__(
        self,
        environment: ActivityEnvironment,
        fn: Callable[..., Any],
        new_context: Callable[..., Context],
    ) -> None:
        self._environment = environment
        self._fn = fn
        call = getattr(fn, "__call__", None)  # noqa: B004 - objects with an async __call__
        self.is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(call)
        self._raiser: ThreadRaiser | None = None
        if not self.is_async:
            definition = Definition.from_callable(fn)
            if definition is None or not definition.no_thread_cancel_exception:
                self._raiser = ThreadRaiser()
        self.context = new_context(is_async=self.is_async, raiser=self._raiser)
        self._task: asyncio.Future[Any] | None = None

    def call(self, *args: Any, **kwargs: Any) -> Any:
        with self._environment.around(self):
            if self._raiser is None:
                return self._fn(*args, **kwargs)
            with self._raiser.running_here():
                return self._fn(*args, **kwargs)

    async def call_async(self, *args: Any, **kwargs: Any) -> Any:
        with self._environment.around(self):
            task: asyncio.Future[Any] = asyncio.ensure_future(self._fn(*args, **kwargs))
            self._task = task
            if self._environment.is_cancelled:
                task.cancel()
            return await task

    def cancel(self) -> None:
        self.context.cancelled_event.set()
        if self._raiser is not None:
            self._raiser.raise_in_thread(CancelledError)
        if self._task is not None:
            self._task.cancel()
