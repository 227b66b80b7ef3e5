"""`Worker`: the public façade, and the life of a worker from its first poll to its graceful end.

Shutdown, in order: no new polls; tell the server, which ends the polls under way and routes sticky tasks elsewhere; let
running tasks finish (activities have `graceful_shutdown_timeout`, then they are cancelled); evict all cached runs.
Not here: what a task means (`workflow_tasks`, `activities`), how polls survive outages (`pollers`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from perdure.common.metrics import MetricMeter
from perdure.core.ids import new_id
from perdure.core.units import SECOND_NS
from perdure.service import RPCError
from perdure.wire import errors
from perdure.wire.api import enums, taskqueue, workflowservice
from perdure.worker.activities import Activities
from perdure.worker.activity_registry import ActivityRegistry
from perdure.worker.cache import RunCache
from perdure.worker.host import WorkflowRegistry
from perdure.worker.interceptors import Interceptor
from perdure.worker.options import (
    MAX_CONCURRENT_DEFAULT,
    POLLERS_DEFAULT,
    WorkerOptions,
    to_ns,
)
from perdure.worker.pollers import Poller, until_answered
from perdure.worker.rpc import WorkerRpc
from perdure.worker.slots import Slots
from perdure.worker.workflow_factory import WorkflowFactory
from perdure.worker.workflow_tasks import WorkflowTasks

if TYPE_CHECKING:
    from perdure.client import Client

logger = logging.getLogger("perdure.worker")


class Worker:
    """Polls a task queue and runs workflows and activities.

    Args:
        client: How to reach the server, and with which namespace, identity and data converter.
        task_queue: The queue to poll.
        activities: Functions decorated with `activity.defn`.
        workflows: Classes decorated with `workflow.defn`.
        activity_executor: A ThreadPoolExecutor for activities that are not async.
        interceptors: Outermost first; those of the client that are worker interceptors come before them.
        build_id: Names the code; a hash of the main module's file unless given.
        identity: The client's unless given.
        max_cached_workflows: Runs kept in memory; 0 replays every run from its start at every task.
        max_concurrent_workflow_tasks: How many at once.
        max_concurrent_activities: How many at once.
        max_concurrent_workflow_task_polls: Pollers for workflow tasks, sticky and normal together.
        nonsticky_to_sticky_poll_ratio: Share of them that poll the normal queue; one of each always.
        max_concurrent_activity_task_polls: Pollers for activity tasks.
        no_remote_activities: Do not poll for activities.
        sticky_queue_schedule_to_start_timeout: How long a task waits for this worker before any may have it.
        max_heartbeat_throttle_interval: Upper bound between two heartbeats that are sent.
        default_heartbeat_throttle_interval: The same for activities without heartbeat time-out.
        max_task_queue_activities_per_second: Asked of the server, for the whole queue.
        graceful_shutdown_timeout: What activities get at the end before they are cancelled.
        workflow_failure_exception_types: Exceptions that fail workflows instead of workflow tasks.
        debug_mode: No watchdog, so that a debugger can stop in workflow code.
        disable_eager_activity_execution: Never ask for an activity together with a workflow task's answer.
        on_fatal_error: Told when the worker stops by itself.
        workflow_runner: Accepted for compatibility; workflows are never re-imported (there is no sandbox).
        unsandboxed_workflow_runner: As `workflow_runner`.

    Raises:
        ValueError: A bad option, see `WorkerOptions`, or two activities or workflows of the same name.

    Example:
        >>> async with Worker(client, task_queue="orders", workflows=[Order], activities=[charge]):
        ...     await client.execute_workflow(Order.run, order, id="order-1", task_queue="orders")
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        activities: Sequence[Callable[..., Any]] = (),
        workflows: Sequence[type] = (),
        activity_executor: Executor | None = None,
        interceptors: Sequence[Interceptor] = (),
        build_id: str | None = None,
        identity: str | None = None,
        max_cached_workflows: int = 1000,
        max_concurrent_workflow_tasks: int | None = None,
        max_concurrent_activities: int | None = None,
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
        on_fatal_error: Callable[[BaseException], Awaitable[None]] | None = None,
        workflow_runner: object | None = None,
        unsandboxed_workflow_runner: object | None = None,
    ) -> None:
        del workflow_runner, unsandboxed_workflow_runner  # no sandbox: nothing to choose
        self._options = WorkerOptions(
            task_queue=task_queue,
            activities=activities,
            workflows=workflows,
            activity_executor=activity_executor,
            build_id=build_id or default_build_id(),
            identity=identity or client.identity,
            max_cached_workflows=max_cached_workflows,
            max_concurrent_workflow_tasks=max_concurrent_workflow_tasks or MAX_CONCURRENT_DEFAULT,
            max_concurrent_activities=max_concurrent_activities or MAX_CONCURRENT_DEFAULT,
            workflow_pollers=max_concurrent_workflow_task_polls
            or (POLLERS_DEFAULT if max_cached_workflows else max(1, POLLERS_DEFAULT)),
            activity_pollers=max_concurrent_activity_task_polls or POLLERS_DEFAULT,
            nonsticky_to_sticky_poll_ratio=nonsticky_to_sticky_poll_ratio,
            no_remote_activities=no_remote_activities,
            sticky_timeout_ns=to_ns(sticky_queue_schedule_to_start_timeout),
            heartbeat_throttle_max_ns=to_ns(max_heartbeat_throttle_interval),
            heartbeat_throttle_default_ns=to_ns(default_heartbeat_throttle_interval),
            max_task_queue_activities_per_second=max_task_queue_activities_per_second,
            graceful_shutdown_ns=to_ns(graceful_shutdown_timeout),
            workflow_failure_exception_types=workflow_failure_exception_types,
            # Whoever polls for no activities must not be handed one either.
            disable_eager_activity_execution=disable_eager_activity_execution
            or no_remote_activities
            or not activities,
            debug_mode=debug_mode,
        )
        self._client = client
        self._interceptors = [
            *(each for each in client.config()["interceptors"] if isinstance(each, Interceptor)),
            *interceptors,
        ]
        self._activity_registry = ActivityRegistry(activities, activity_executor)
        self._workflow_registry = WorkflowRegistry(workflows)
        self._on_fatal_error = on_fatal_error
        self._started = False
        self._running = False
        self._stop = asyncio.Event()
        self._finished = asyncio.Event()
        self._fatal: BaseException | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._run_task: asyncio.Task[None] | None = None

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
        """Whether `run` has begun and not ended."""
        return self._running

    @property
    def is_shutdown(self) -> bool:
        """Whether the worker has ended."""
        return self._started and not self._running

    # Its life.

    async def run(self) -> None:
        """Run until `shutdown` is called, or this call is cancelled, which shuts down as well.

        Raises:
            RuntimeError: The worker has run before.
            Exception: A fatal error: the namespace does not exist, or the activity executor broke.
        """
        if self._started:
            raise RuntimeError("Already started")
        self._started = self._running = True
        try:
            await self._run()
        finally:
            self._running = False
            self._finished.set()

    async def shutdown(self) -> None:
        """Ask the worker to end gracefully, and wait until it has."""
        self._stop.set()
        if self._started:
            await self._finished.wait()

    async def __aenter__(self) -> Self:
        if self._started:
            raise RuntimeError("Already started")
        self._run_task = asyncio.create_task(self.run(), name=f"worker {self.task_queue}")
        user = asyncio.current_task()

        def failed(done: asyncio.Task[None]) -> None:
            # A worker that died in the middle of the block must not leave its user waiting for ever.
            if not done.cancelled() and done.exception() is not None and user is not None:
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
        if run.done() and run.exception() is not None:
            if isinstance(error, asyncio.CancelledError) and (user := asyncio.current_task()):
                user.uncancel()
            await run
        self._stop.set()
        await run

    async def _run(self) -> None:
        options = self._options
        rpc = WorkerRpc(
            self._client.connection,
            namespace=self._client.namespace,
            identity=options.identity,
            instance_key=new_id(),
            build_id=options.build_id,
            codec=self._client.data_converter.payload_codec,
        )
        await self._check_namespace(rpc)
        sticky_queue = f"{options.identity}-{new_id()}"
        cache = RunCache(options.max_cached_workflows)
        activities = self._make_activities(rpc)
        activity_slots = Slots(options.max_concurrent_activities)
        workflow_slots = Slots(options.max_concurrent_workflow_tasks)
        tasks = self._make_workflow_tasks(rpc, cache, sticky_queue, activities, activity_slots)
        pollers = [
            *self._workflow_pollers(rpc, workflow_slots, tasks, sticky_queue),
            *self._activity_pollers(rpc, activity_slots, activities),
        ]
        loops = [asyncio.create_task(poller.run(), name="poller") for poller in pollers]
        try:
            await self._wait_for_end(loops)
        finally:
            await self._wind_down(
                rpc, pollers, loops, sticky_queue, activities, [workflow_slots, activity_slots]
            )
            for run in cache:
                cache.evict(run)
            await asyncio.sleep(0)  # the evictions happen in callbacks
        if self._fatal is not None:
            raise self._fatal

    async def _check_namespace(self, rpc: WorkerRpc) -> None:
        """A worker whose namespace does not exist would poll in vain for ever."""
        described = await until_answered(
            "DescribeNamespace", rpc.describe_namespace, give_up=self._stop.is_set
        )
        if described is None:
            missing = RPCError.from_wire(errors.namespace_not_found(rpc.namespace))
            raise RuntimeError(f"Worker validation failed: {missing.message}") from missing

    async def _wait_for_end(self, loops: Sequence[asyncio.Task[None]]) -> None:
        stop = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait([stop, *loops], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        for loop in done & set(loops):
            loop.result()  # a poller never ends by itself: this raises what broke it

    async def _wind_down(
        self,
        rpc: WorkerRpc,
        pollers: Sequence[Poller[Any]],
        loops: Sequence[asyncio.Task[None]],
        sticky_queue: str,
        activities: Activities,
        slots: Sequence[Slots],
    ) -> None:
        rpc.is_shutting_down = True
        for poller in pollers:
            poller.stop()
        await rpc.announce_shutdown(sticky_queue, self._options.task_queue)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        activities.notify_shutdown()
        idle = asyncio.gather(*(each.wait_idle() for each in slots))
        try:
            await asyncio.wait_for(
                asyncio.shield(idle), self._options.graceful_shutdown_ns / SECOND_NS
            )
        except asyncio.TimeoutError:  # noqa: UP041 - not the builtin on 3.10-compatible type stubs
            activities.cancel_all()
            rpc.is_abandoned = True
            await idle
        await asyncio.gather(*self._background, return_exceptions=True)

    # Its parts.

    def _make_activities(self, rpc: WorkerRpc) -> Activities:
        options = self._options
        return Activities(
            rpc,
            self._activity_registry,
            task_queue=options.task_queue,
            executor=options.activity_executor,
            data_converter=self._client.data_converter,
            interceptors=[each.intercept_activity for each in self._interceptors],
            client=self._client,
            metric_meter=MetricMeter.noop,
            heartbeat_default_ns=options.heartbeat_throttle_default_ns,
            heartbeat_max_ns=options.heartbeat_throttle_max_ns,
            spawn=self._spawn,
            on_fatal=self._fail,
        )

    def _make_workflow_tasks(
        self,
        rpc: WorkerRpc,
        cache: RunCache,
        sticky_queue: str,
        activities: Activities,
        activity_slots: Slots,
    ) -> WorkflowTasks:
        options = self._options
        factory = WorkflowFactory(
            rpc,
            self._workflow_registry,
            options,
            data_converter=self._client.data_converter,
            interceptors=self._interceptors,
        )

        def run_eagerly(response: workflowservice.RespondWorkflowTaskCompletedResponse) -> None:
            for task in response.activity_tasks:
                self._spawn(_with_slot(activity_slots, activities.handle(task)), "eager activity")

        return WorkflowTasks(
            rpc,
            cache,
            factory.create_run,
            factory.to_failure,
            factory.render,
            sticky_queue=sticky_queue,
            sticky_timeout_ns=options.sticky_timeout_ns,
            on_activities=run_eagerly,
        )

    def _workflow_pollers(
        self, rpc: WorkerRpc, slots: Slots, tasks: WorkflowTasks, sticky_queue: str
    ) -> list[Poller[Any]]:
        options = self._options
        if not options.workflows:
            return []
        normal = taskqueue.TaskQueue(name=options.task_queue, kind=enums.TASK_QUEUE_KIND_NORMAL)
        sticky = taskqueue.TaskQueue(
            name=sticky_queue, kind=enums.TASK_QUEUE_KIND_STICKY, normal_name=options.task_queue
        )
        queues = [normal] * options.normal_pollers
        queues += [sticky] * (options.workflow_pollers - len(queues))

        def poller(queue: taskqueue.TaskQueue) -> Poller[Any]:
            name = f"workflow poller of {options.task_queue}"
            return Poller(
                name, slots, lambda: rpc.poll_workflow_task(queue), tasks.handle, self._spawn
            )

        return [poller(queue) for queue in queues]

    def _activity_pollers(
        self, rpc: WorkerRpc, slots: Slots, activities: Activities
    ) -> list[Poller[Any]]:
        options = self._options
        if not options.activities or options.no_remote_activities:
            return []
        queue = taskqueue.TaskQueue(name=options.task_queue, kind=enums.TASK_QUEUE_KIND_NORMAL)
        limit = options.max_task_queue_activities_per_second
        name = f"activity poller of {options.task_queue}"
        return [
            Poller(
                name,
                slots,
                lambda: rpc.poll_activity_task(queue, limit),
                activities.handle,
                self._spawn,
            )
            for _ in range(options.activity_pollers)
        ]

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(
                "A background task of the worker failed: %s", task.get_name(), exc_info=error
            )

    def _fail(self, error: BaseException) -> None:
        """End the worker because of a fatal error."""
        if self._fatal is None:
            self._fatal = error
            if self._on_fatal_error is not None:
                self._background.add(asyncio.ensure_future(self._on_fatal_error(error)))
            self._stop.set()


async def _with_slot(slots: Slots, work: Awaitable[None]) -> None:
    await slots.take()
    try:
        await work
    finally:
        slots.release()


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
