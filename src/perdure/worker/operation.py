"""A worker at work: its parts, put together once, from the first poll to the graceful end.

Shutdown, in order: no new polls; tell the server, which ends the polls under way and routes sticky tasks elsewhere; let
running tasks finish (activities have `graceful_shutdown_timeout`, then they are cancelled); evict all cached runs.
Not here: what a task means (`workflow.tasks`, `activities`), how polls survive outages (`pollers`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from perdure.common import HeaderCodecBehavior
from perdure.common.metrics import MetricMeter
from perdure.core.ids import new_id
from perdure.core.units import SECOND_NS
from perdure.core.user_code import quiet_logger
from perdure.service import RPCError
from perdure.wire import errors
from perdure.wire.api import enums, taskqueue
from perdure.worker.activity.activities import Activities
from perdure.worker.activity.local import LocalActivities
from perdure.worker.activity.loop_monitor import watching_the_loop
from perdure.worker.polling.eager import EAGER_PER_COMPLETION_MAX, EagerActivities, EagerFirstTasks
from perdure.worker.polling.poll_numbers import activity_polls, workflow_polls
from perdure.worker.polling.pollers import TRANSIENT, Pollers, until_answered
from perdure.worker.polling.rpc import WorkerRpc
from perdure.worker.polling.slots import Slots
from perdure.worker.workflow.cache import RunCache
from perdure.worker.workflow.callbacks import EventLoopExecution, Execution
from perdure.worker.workflow.factory import WorkflowFactory
from perdure.worker.workflow.tasks import WorkflowTasks
from perdure.worker.workflow.threads import ThreadExecution

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.worker.activity.registry import ActivityRegistry
    from perdure.worker.host import WorkflowRegistry
    from perdure.worker.interceptors.interceptor import Interceptor
    from perdure.worker.options import WorkerOptions

logger = quiet_logger("perdure.worker")

CAN_STEP_TASKS_IN_TASKS = sys.version_info < (3, 14)
"""Whether a task can be stepped inside the step of another one. Inline workflow code needs this, because it steps the
tasks of its own loop. Later interpreters refuse it."""
POLLS_END_S = 5.0
"""What a server that ends polls itself may take to do so."""


class WorkerOperation:
    """Runs a worker from its first poll to the end of its graceful shutdown. It can be run once."""

    def __init__(
        self,
        client: Client,
        options: WorkerOptions,
        *,
        activities: ActivityRegistry,
        workflows: WorkflowRegistry,
        interceptors: Sequence[Interceptor],
        on_fatal_error: Callable[[BaseException], Awaitable[None]] | None,
    ) -> None:
        self._client = client
        self._options = options
        self._activity_registry = activities
        self._workflow_registry = workflows
        self._interceptors = interceptors
        self._on_fatal_error = on_fatal_error
        self._header_codec = client.config(active_config=True)["header_codec_behavior"]
        self._stop = asyncio.Event()
        self._polls_are_ended = False
        """The server ends the polls of a worker that shuts down: no need to give them up."""
        self._fatal: BaseException | None = None
        self._background: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """Begin the graceful end."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`, or until the call is cancelled.

        Raises:
            Exception: A fatal error: the server refuses the worker, or the activity executor broke.
        """
        options = self._options
        rpc = self._make_rpc()
        if not await self._check_namespace(rpc):
            return
        sticky_queue = f"{options.identity}-{new_id()}" if options.uses_sticky_queue else ""
        cache = RunCache(options.max_cached_workflows)
        activities = self._make_activities(rpc)
        activity_slots = Slots(options.max_concurrent_activities)
        local = LocalActivities(
            activities, Slots(options.max_concurrent_local_activities), self._spawn
        )
        workflow_slots, execution = self._make_execution(rpc)
        eager = EagerActivities(
            activity_slots,
            activities.handle,
            self._spawn,
            task_queue=options.task_queue,
            per_completion_max=(
                activity_slots.maximum if rpc.polls_are_free else EAGER_PER_COMPLETION_MAX
            ),
        )
        tasks = self._make_workflow_tasks(
            rpc, cache, sticky_queue, eager, local, execution, workflow_slots
        )
        pollers = [
            *self._workflow_pollers(rpc, workflow_slots, tasks, sticky_queue),
            self._activity_pollers(rpc, activity_slots, activities),
        ]
        first_tasks = EagerFirstTasks(
            workflow_slots,
            tasks.handle,
            self._spawn,
            is_stopping=lambda: rpc.is_shutting_down,
        )
        for poller in pollers:
            poller.start()
        try:
            with (
                self._takes_tasks_inline(rpc, tasks, sticky_queue, execution),
                self._takes_first_tasks(first_tasks),
                self._loop_is_watched(activities),
            ):
                await self._stop.wait()
        finally:
            await self._wind_down(
                rpc,
                pollers,
                sticky_queue,
                activities,
                local,
                [workflow_slots, activity_slots],
            )
            for run in cache:
                cache.evict(run)
            await execution.close()
        if self._fatal is not None:
            raise self._fatal

    async def _check_namespace(self, rpc: WorkerRpc) -> bool:
        """Whether the worker may begin. If its namespace does not exist, it would poll in vain forever.

        Raises:
            RuntimeError: The server refuses the worker, or its answer cannot be read. The cause is the `RPCError`.
        """
        try:
            described = await until_answered(
                "DescribeNamespace", rpc.describe_namespace, give_up=self._stop.is_set
            )
        except errors.Unimplemented:
            return True  # an older server: polls will report what is wrong
        except errors.RpcError as error:
            if self._stop.is_set() and isinstance(error, TRANSIENT):
                return False  # shutdown was requested while the server did not answer
            raise _invalid(error) from RPCError.from_wire(error)
        if described is None:
            missing = errors.namespace_not_found(rpc.namespace)
            raise _invalid(missing) from RPCError.from_wire(missing)
        capabilities = described.namespace_info.capabilities
        self._polls_are_ended = capabilities.worker_poll_complete_on_shutdown
        return True

    @contextmanager
    def _takes_tasks_inline(
        self,
        rpc: WorkerRpc,
        tasks: WorkflowTasks,
        sticky_queue: str,
        execution: Execution,
    ) -> Generator[None]:
        """Let an engine in this process run workflow code in its own steps, if this worker can."""
        options, registry = self._options, rpc.inline_workers
        can = isinstance(execution, EventLoopExecution) and CAN_STEP_TASKS_IN_TASKS
        if registry is None or not can or not options.workflows:
            yield
            return
        registry.register(
            tasks,
            namespace=self._client.namespace,
            task_queue=options.task_queue,
            sticky_queue=sticky_queue,
        )
        try:
            yield
        finally:
            registry.withdraw(tasks)

    @contextmanager
    def _takes_first_tasks(self, first_tasks: EagerFirstTasks) -> Generator[None]:
        if not self._options.workflows:
            yield
            return
        starts, queue = self._client.service_client.eager_starts, self._options.task_queue
        starts.register(self._client.namespace, queue, first_tasks.reserve)
        try:
            yield
        finally:
            starts.withdraw(self._client.namespace, queue, first_tasks.reserve)

    def _loop_is_watched(self, activities: Activities) -> AbstractContextManager[None]:
        if not self._options.deadlock_budget_ns:
            return nullcontext()  # a debugger stops for as long as its user likes
        return watching_the_loop(activities.on_the_loop(asyncio.get_running_loop()))

    async def _wind_down(
        self,
        rpc: WorkerRpc,
        pollers: Sequence[Pollers[Any]],
        sticky_queue: str,
        activities: Activities,
        local: LocalActivities,
        slots: Sequence[Slots],
    ) -> None:
        rpc.is_shutting_down = True
        for poller in pollers:
            poller.stop()
        is_known = await rpc.announce_shutdown(sticky_queue, self._options.task_queue)
        patience_s = POLLS_END_S if is_known and self._polls_are_ended else 0.0
        await asyncio.gather(*(poller.withdraw(patience_s) for poller in pollers))
        activities.notify_shutdown()
        idle = asyncio.gather(*(each.wait_idle() for each in slots))
        try:
            await asyncio.wait_for(
                asyncio.shield(idle), self._options.graceful_shutdown_ns / SECOND_NS
            )
        except asyncio.TimeoutError:  # noqa: UP041 - not the builtin on 3.10-compatible type stubs
            rpc.is_abandoned = True
            local.abandon()
            activities.cancel_all()
            await idle
        local.abandon()
        await asyncio.gather(*self._background, return_exceptions=True)

    # Its parts.

    def _make_rpc(self) -> WorkerRpc:
        client, options = self._client, self._options
        return WorkerRpc(
            client.connection,
            namespace=client.namespace,
            identity=options.identity,
            instance_key=new_id(),
            build_id=options.build_id,
            codec=client.data_converter.payload_codec,
            encodes_headers=self._header_codec is not HeaderCodecBehavior.NO_CODEC,
            size_warnings=client.service_client.size_warnings,
        )

    def _make_execution(self, rpc: WorkerRpc) -> tuple[Slots, Execution]:
        options = self._options
        numbers = workflow_polls(options, are_free=rpc.polls_are_free)
        slots = Slots(
            options.max_concurrent_workflow_tasks,
            fewest=sum(each.fewest for each in numbers) or 1,
        )
        in_threads = options.workflow_execution == "threads"
        return slots, ThreadExecution(slots) if in_threads else EventLoopExecution()

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
            decodes_headers=self._header_codec is HeaderCodecBehavior.CODEC,
        )

    def _make_workflow_tasks(
        self,
        rpc: WorkerRpc,
        cache: RunCache,
        sticky_queue: str,
        eager: EagerActivities,
        local: LocalActivities,
        execution: Execution,
        slots: Slots,
    ) -> WorkflowTasks:
        options = self._options
        factory = WorkflowFactory(
            rpc,
            self._workflow_registry,
            options,
            data_converter=self._client.data_converter,
            interceptors=self._interceptors,
            local_activities=local,
            execution=execution,
        )
        return WorkflowTasks(
            rpc,
            cache,
            factory.create_run,
            factory.to_failure,
            factory.render,
            sticky_queue=sticky_queue,
            sticky_timeout_ns=options.sticky_timeout_ns,
            eager_activities=eager,
            execution=execution,
            slots=slots,
            spawn=self._spawn,
        )

    def _workflow_pollers(
        self, rpc: WorkerRpc, slots: Slots, tasks: WorkflowTasks, sticky_queue: str
    ) -> list[Pollers[Any]]:
        name = self._options.task_queue
        normal = taskqueue.TaskQueue(name=name, kind=enums.TASK_QUEUE_KIND_NORMAL)
        sticky = taskqueue.TaskQueue(
            name=sticky_queue, kind=enums.TASK_QUEUE_KIND_STICKY, normal_name=name
        )
        numbers = workflow_polls(self._options, are_free=rpc.polls_are_free)
        return [
            Pollers(
                f"workflow poller of {name}",
                slots,
                rpc.workflow_task_poll(queue),
                tasks.handle,
                numbers=number,
                spawn=self._spawn,
                on_broken=self._polls_broke,
                wanted_more=rpc.wanted_more_polls,
            )
            for queue, number in zip((normal, sticky), numbers, strict=True)
        ]

    def _activity_pollers(
        self, rpc: WorkerRpc, slots: Slots, activities: Activities
    ) -> Pollers[Any]:
        name = self._options.task_queue
        queue = taskqueue.TaskQueue(name=name, kind=enums.TASK_QUEUE_KIND_NORMAL)
        return Pollers(
            f"activity poller of {name}",
            slots,
            rpc.activity_task_poll(queue, self._options.max_task_queue_activities_per_second),
            activities.handle,
            numbers=activity_polls(self._options, are_free=rpc.polls_are_free),
            spawn=self._spawn,
            on_broken=self._polls_broke,
            wanted_more=rpc.wanted_more_polls,
        )

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

    def _polls_broke(self, error: BaseException) -> None:
        """A connection that was closed is a clean end, anything else is a bug."""
        if not isinstance(error, errors.ConnectionClosed):
            self._fail(error)
        elif not self._stop.is_set():
            logger.warning(
                "The client of the worker of %s was closed, so the worker ends, and what it runs cannot be"
                " reported: end workers before their client",
                self._options.task_queue,
            )
            self._stop.set()

    def _fail(self, error: BaseException) -> None:
        """End the worker because of a fatal error."""
        if self._fatal is None:
            self._fatal = error
            if self._on_fatal_error is not None:
                self._background.add(asyncio.ensure_future(self._on_fatal_error(error)))
            self._stop.set()


def _invalid(error: errors.RpcError) -> RuntimeError:
    return RuntimeError(f"Worker validation failed: {error.message}")
