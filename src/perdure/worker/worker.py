"""`Worker`: the public class, and the life cycle of a worker.

Not here: polling and shutting down (`operation`), checks of the options (`options`).
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from perdure.worker.activity.registry import ActivityRegistry
from perdure.worker.config import NamedPlugin, WorkerConfig, configured
from perdure.worker.host import WorkflowRegistry
from perdure.worker.interceptors.interceptor import Interceptor
from perdure.worker.operation import WorkerOperation
from perdure.worker.options import (
    DEADLOCK_BUDGET_NS,
    MAX_CONCURRENT_DEFAULT,
    WorkerOptions,
    WorkflowExecution,
    default_workflow_execution,
    to_ns,
)

if TYPE_CHECKING:
    from perdure.client import Client

logger = logging.getLogger("perdure.worker")


class WorkerPlugin(NamedPlugin, ABC):
    """The half of a `Plugin` that is for workers."""

    @abstractmethod
    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Change the parameters of a worker before it is built.

        Args:
            config: All parameters; it may be changed and returned. The client cannot be replaced.

        Returns:
            The parameters to use.
        """

    @abstractmethod
    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the worker, usually with `await next(worker)`.

        Args:
            worker: The worker.
            next: Runs it, with the plugins that follow.
        """


class Worker:
    """Polls a task queue and runs workflows and activities.

    Args:
        client: The connection to the server, with namespace, identity and data converter.
        task_queue: The queue to poll.
        activities: Functions decorated with `activity.defn`.
        workflows: Classes decorated with `workflow.defn`.
        activity_executor: A `ThreadPoolExecutor` for activities that are not async.
        plugins: Outermost first. Those plugins of the client that are worker plugins come before them.
        interceptors: Outermost first. Those interceptors of the client that are worker interceptors come before them.
        build_id: Identifies the code. Default: a hash of the main module's file.
        identity: Name shown in histories and logs. Default: the client's.
        max_cached_workflows: Number of runs kept in memory. 0 replays every run from its start for every task.
        max_concurrent_workflow_tasks: Number of workflow tasks that run at once. Default: 100.
        max_concurrent_activities: Number of activities that run at once. Default: 100.
        max_concurrent_local_activities: Number of local activities that run at once. Default: 100.
        max_concurrent_workflow_task_polls: Number of pollers for workflow tasks, sticky and normal together. Default:
            5, and more under load when the engine is in the same process.
        nonsticky_to_sticky_poll_ratio: Share of these that poll the normal queue. There is at least one of each.
        max_concurrent_activity_task_polls: Number of pollers for activity tasks. The default is as for workflow tasks.
        no_remote_activities: Do not poll for activities.
        sticky_queue_schedule_to_start_timeout: How long a workflow task waits for this worker before any worker may
            take it.
        max_heartbeat_throttle_interval: Longest time between two heartbeats that are sent.
        default_heartbeat_throttle_interval: The same, for activities without a heartbeat time-out.
        max_task_queue_activities_per_second: A limit that the server applies to the whole queue.
        graceful_shutdown_timeout: How long activities may continue at shutdown before they are cancelled.
        workflow_failure_exception_types: Exceptions that fail workflows instead of workflow tasks.
        debug_mode: Switch the watchdog off, so that a debugger can stop in workflow code.
        disable_eager_activity_execution: Never ask for an activity task in the answer to a workflow task.
        workflow_execution: Where workflow code runs. `"event_loop"`: on the thread of the worker's event loop. Code
            that blocks stops the whole worker, and the program around it. `"threads"`: in threads of its own. A
            workflow that blocks costs its slot, and everything else goes on; CPU time grows by 7 to 15 % (see
            `docs/performance.md`). Default: `"event_loop"`, but `"threads"` in `perdure worker run`.
        on_fatal_error: Awaited with the error when the worker stops by itself.
        workflow_runner: Accepted for compatibility. There is no sandbox, and workflows are never re-imported.
        unsandboxed_workflow_runner: Accepted for compatibility.

    Raises:
        ValueError: An option is out of range, or two activities or two workflows have the same name.
        TypeError: The client was not awaited.

    Example:
        ```python
        @activity.defn
        async def charge(order_id: str) -> str:
            return f"receipt for {order_id}"


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self, order_id: str) -> str:
                return await workflow.execute_activity(
                    charge, order_id, start_to_close_timeout=timedelta(seconds=30)
                )


        async with Worker(client, task_queue="orders", workflows=[Order], activities=[charge]):
            receipt = await client.execute_workflow(Order.run, "o-7", id="o-7", task_queue="orders")
        assert receipt == "receipt for o-7"
        ```
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        activities: Sequence[Callable[..., Any]] = (),
        workflows: Sequence[type] = (),
        activity_executor: Executor | None = None,
        plugins: Sequence[WorkerPlugin] = (),
        interceptors: Sequence[Interceptor] = (),
        build_id: str | None = None,
        identity: str | None = None,
        max_cached_workflows: int = 1000,
        max_concurrent_workflow_tasks: int | None = None,
        max_concurrent_activities: int | None = None,
        max_concurrent_local_activities: int | None = None,
        max_concurrent_workflow_task_polls: int | None = None,
        nonsticky_to_sticky_poll_ratio: float = 0.2,
        max_concurrent_activity_task_polls: int | None = None,
        no_remote_activities: bool = False,
        sticky_queue_schedule_to_start_timeout: timedelta = timedelta(seconds=10),
        max_heartbeat_throttle_interval: timedelta = timedelta(seconds=60),
        default_heartbeat_throttle_interval: timedelta = timedelta(seconds=30),
        max_task_queue_activities_per_second: float | None = None,
        graceful_shutdown_timeout: timedelta = timedelta(),
        workflow_failure_exception_types: Sequence[type[BaseException]] = (),
        debug_mode: bool = False,
        disable_eager_activity_execution: bool = False,
        workflow_execution: WorkflowExecution | None = None,
        on_fatal_error: Callable[[BaseException], Awaitable[None]] | None = None,
        workflow_runner: object | None = None,
        unsandboxed_workflow_runner: object | None = None,
    ) -> None:
        del workflow_runner, unsandboxed_workflow_runner  # no sandbox: nothing to choose
        if inspect.isawaitable(client):
            raise TypeError("the client was not awaited: client = await Client.connect(...)")
        self._initial_config = WorkerConfig(
            client=client,
            task_queue=task_queue,
            activities=activities,
            workflows=workflows,
            activity_executor=activity_executor,
            plugins=plugins,
            interceptors=interceptors,
            build_id=build_id,
            identity=identity,
            max_cached_workflows=max_cached_workflows,
            max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
            max_concurrent_activities=max_concurrent_activities,
            max_concurrent_local_activities=max_concurrent_local_activities,
            max_concurrent_workflow_task_polls=max_concurrent_workflow_task_polls,
            nonsticky_to_sticky_poll_ratio=nonsticky_to_sticky_poll_ratio,
            max_concurrent_activity_task_polls=max_concurrent_activity_task_polls,
            no_remote_activities=no_remote_activities,
            sticky_queue_schedule_to_start_timeout=sticky_queue_schedule_to_start_timeout,
            max_heartbeat_throttle_interval=max_heartbeat_throttle_interval,
            default_heartbeat_throttle_interval=default_heartbeat_throttle_interval,
            max_task_queue_activities_per_second=max_task_queue_activities_per_second,
            graceful_shutdown_timeout=graceful_shutdown_timeout,
            workflow_failure_exception_types=workflow_failure_exception_types,
            debug_mode=debug_mode,
            disable_eager_activity_execution=disable_eager_activity_execution,
            workflow_execution=workflow_execution,
            on_fatal_error=on_fatal_error,
        )
        self._plugins = (*_plugins_of(client, plugins), *plugins)
        self._config = configured(
            self._initial_config,
            self._plugins,
            lambda plugin, config: plugin.configure_worker(config),
        )
        self._client = client
        self._options = _options(self._config, client)
        self._operation = WorkerOperation(
            client,
            self._options,
            activities=ActivityRegistry(
                self._config["activities"], self._config["activity_executor"]
            ),
            workflows=WorkflowRegistry(self._config["workflows"]),
            interceptors=[*_interceptors_of(client), *self._config["interceptors"]],
            on_fatal_error=self._config["on_fatal_error"],
        )
        self._started = False
        self._running = False
        self._finished = asyncio.Event()
        self._run_task: asyncio.Task[None] | None = None

    def config(self, *, active_config: bool = False) -> WorkerConfig:
        """A copy of the parameters, for making another worker.

        Args:
            active_config: After the plugins have changed them.
        """
        return (self._config if active_config else self._initial_config).copy()

    # What it is.

    @property
    def task_queue(self) -> str:
        """The queue that this worker polls."""
        return self._options.task_queue

    @property
    def client(self) -> Client:
        """The client that this worker uses."""
        return self._client

    @property
    def is_running(self) -> bool:
        """Whether `run` has begun and has not ended."""
        return self._running

    @property
    def is_shutdown(self) -> bool:
        """Whether the worker has ended."""
        return self._started and not self._running

    # Its life.

    async def run(self) -> None:
        """Run until `shutdown` is called or this call is cancelled. Cancelling it also shuts the worker down.

        Raises:
            RuntimeError: The worker has run before.
            Exception: A fatal error: the server refuses the worker (a `RuntimeError` whose cause is the `RPCError`),
                or the activity executor is broken.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> str:
                    return "paid"


            worker = Worker(client, task_queue="orders", workflows=[Order])
            running = asyncio.create_task(worker.run())
            assert (
                await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
                == "paid"
            )
            await worker.shutdown()
            await running
            ```
        """
        if self._started:
            raise RuntimeError("Already started")
        self._started = self._running = True
        run: Callable[[Worker], Awaitable[None]] = Worker._operate
        for plugin in reversed(self._plugins):
            run = _around(plugin, run)
        try:
            await run(self)
        finally:
            self._running = False
            self._finished.set()

    async def _operate(self) -> None:
        await self._operation.run()

    async def shutdown(self) -> None:
        """Shut down gracefully, and return when the worker has ended.

        Example:
            ```python
            @workflow.defn
            class Order:
                @workflow.run
                async def run(self) -> str:
                    return "paid"


            worker = Worker(client, task_queue="orders", workflows=[Order])
            async with worker:
                await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
                await worker.shutdown()
            assert worker.is_shutdown
            ```
        """
        self._operation.stop()
        if self._started:
            await self._finished.wait()

    async def __aenter__(self) -> Self:
        if self._started:
            raise RuntimeError("Already started")
        self._run_task = asyncio.create_task(self.run(), name=f"worker {self.task_queue}")
        user = asyncio.current_task()

        def failed(done: asyncio.Task[None]) -> None:
            # If the worker dies inside the block, its user must not wait indefinitely.
            if _has_died(done) and user is not None:
                user.cancel()

        self._run_task.add_done_callback(failed)
        self._watch = failed
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        run = self._run_task
        assert run is not None, "__aenter__ came first"
        run.remove_done_callback(self._watch)
        if run.done() and _has_died(run) and isinstance(error, asyncio.CancelledError):
            user = asyncio.current_task()
            assert user is not None, "a block is inside a task"
            user.uncancel()
        self._operation.stop()
        await run


def _has_died(run: asyncio.Task[None]) -> bool:
    """Nobody but a plugin cancels it."""
    return run.cancelled() or run.exception() is not None


def _around(
    plugin: WorkerPlugin, run: Callable[[Worker], Awaitable[None]]
) -> Callable[[Worker], Awaitable[None]]:
    def around(worker: Worker) -> Awaitable[None]:
        return plugin.run_worker(worker, run)

    return around


def _interceptors_of(client: Client) -> list[Interceptor]:
    """The client's interceptors that are also for workers."""
    return [each for each in client.config()["interceptors"] if isinstance(each, Interceptor)]


def _plugins_of(client: Client, plugins: Sequence[WorkerPlugin]) -> list[WorkerPlugin]:
    """The client's plugins that are also for workers."""
    own = {type(plugin) for plugin in plugins}
    found: list[WorkerPlugin] = [
        each for each in client.config()["plugins"] if isinstance(each, WorkerPlugin)
    ]
    for plugin in found:
        if type(plugin) in own:
            warnings.warn(
                f"plugin {plugin.name()} is on the client and on the worker, and is applied twice: "
                "a client's plugins reach its workers",
                stacklevel=3,
            )
    return found


def _options(config: WorkerConfig, client: Client) -> WorkerOptions:
    """What the parameters mean together."""
    no_remote_activities = config["no_remote_activities"]
    return WorkerOptions(
        task_queue=config["task_queue"],
        activities=config["activities"],
        workflows=config["workflows"],
        activity_executor=config["activity_executor"],
        build_id=config["build_id"] or default_build_id(),
        identity=config["identity"] or client.identity,
        max_cached_workflows=config["max_cached_workflows"],
        max_concurrent_workflow_tasks=config["max_concurrent_workflow_tasks"]
        or MAX_CONCURRENT_DEFAULT,
        max_concurrent_activities=config["max_concurrent_activities"] or MAX_CONCURRENT_DEFAULT,
        max_concurrent_local_activities=config["max_concurrent_local_activities"]
        or MAX_CONCURRENT_DEFAULT,
        workflow_pollers=config["max_concurrent_workflow_task_polls"] or None,
        activity_pollers=config["max_concurrent_activity_task_polls"] or None,
        nonsticky_to_sticky_poll_ratio=config["nonsticky_to_sticky_poll_ratio"],
        no_remote_activities=no_remote_activities,
        sticky_timeout_ns=to_ns(config["sticky_queue_schedule_to_start_timeout"]),
        heartbeat_throttle_max_ns=to_ns(config["max_heartbeat_throttle_interval"]),
        heartbeat_throttle_default_ns=to_ns(config["default_heartbeat_throttle_interval"]),
        max_task_queue_activities_per_second=config["max_task_queue_activities_per_second"],
        graceful_shutdown_ns=to_ns(config["graceful_shutdown_timeout"]),
        workflow_failure_exception_types=config["workflow_failure_exception_types"],
        # A worker that polls for no activities must not be handed one either.
        disable_eager_activity_execution=config["disable_eager_activity_execution"]
        or no_remote_activities
        or not config["activities"],
        workflow_execution=config["workflow_execution"] or default_workflow_execution.get(),
        # A debugger stops in workflow code for as long as its user likes.
        deadlock_budget_ns=0 if config["debug_mode"] else DEADLOCK_BUDGET_NS,
    )


def default_build_id() -> str:
    """A name for the code that runs: a hash of the main module's file."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if path is None:
        return "interactive"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - one read at start-up
            return hashlib.sha256(file.read()).hexdigest()[:16]
    except OSError:
        return "unknown"
