"""Activity tasks: from a poll response to an answer that the server has accepted.

Role: find the activity, decode, run it inside its context and interceptors, turn what it returned or raised into one of
completed, failed, cancelled, or nothing (completed from outside later). Time-outs are watched here too, so that an
attempt the server has given up frees its slot.

Invariant: every attempt is answered exactly once, or not at all when it will be completed asynchronously.
Not here: polling (`pollers`), threads and cancellation (`activity.attempt`, `threads`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.activity import ActivityCancellationDetails
from perdure.activity import logger as activity_logger
from perdure.activity.context import CompleteAsyncError, Context
from perdure.common.events import CompositeEvent
from perdure.common.metrics import MetricMeter
from perdure.converter import ActivitySerializationContext, DataConverter
from perdure.core.units import SECOND_NS
from perdure.core.user_code import QuietLogger, passes_through
from perdure.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError
from perdure.replay.jobs import Cancelled, Completed, Failed
from perdure.wire import errors
from perdure.wire.api import common, workflowservice
from perdure.wire.times import duration_ns, timestamp_ns
from perdure.worker.activity.attempt import Attempt, Deadline, InboundCall, OutboundCall
from perdure.worker.activity.heartbeats import Heartbeats, throttle_ns
from perdure.worker.activity.info import info_of
from perdure.worker.activity.loop_monitor import Suspect
from perdure.worker.activity.payloads import (
    decode_args,
    decode_headers,
    decode_heartbeat,
    encode_failure,
)
from perdure.worker.activity.registry import ActivityRegistry
from perdure.worker.activity.steps import Steps
from perdure.worker.interceptors.activity import ActivityInboundInterceptor, ExecuteActivityInput

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.worker.polling.rpc import WorkerRpc

Poll = workflowservice.PollActivityTaskQueueResponse
Heartbeat = Callable[[Sequence[Any]], None]
Intercept = Callable[[ActivityInboundInterceptor], ActivityInboundInterceptor]
logger = QuietLogger(activity_logger)
CANCELS = (asyncio.CancelledError, CancelledError)

# The server's clock decides. The worker's timer only frees the slot when the server's answer cannot arrive.
LOCAL_TIMEOUT_GRACE_NS = 5 * SECOND_NS
_SUSPECTS_MAX = 5


class Activities:
    """Runs the activity tasks of one worker."""

    def __init__(
        self,
        rpc: WorkerRpc,
        registry: ActivityRegistry,
        *,
        task_queue: str,
        executor: Executor | None,
        data_converter: DataConverter,
        interceptors: Sequence[Intercept],
        client: Client,
        metric_meter: MetricMeter,
        heartbeat_default_ns: int,
        heartbeat_max_ns: int,
        spawn: Callable[[Any, str], asyncio.Task[Any]],
        on_fatal: Callable[[BaseException], None],
        decodes_headers: bool = False,
    ) -> None:
        self._rpc = rpc
        self._registry = registry
        self._task_queue = task_queue
        self._executor = executor
        self._converter = data_converter
        self._local_converter = replace(data_converter, payload_codec=None)
        self._interceptors = interceptors
        self._client = client
        self._metric_meter = metric_meter
        self._heartbeat_default_ns = heartbeat_default_ns
        self._heartbeat_max_ns = heartbeat_max_ns
        self._spawn = spawn
        self._on_fatal = on_fatal
        self._decodes_headers = decodes_headers
        self._running: set[Attempt] = set()
        self._shutdown = CompositeEvent(threading.Event(), asyncio.Event())

    def notify_shutdown(self) -> None:
        """Let activities see that the worker is stopping; nothing is cancelled yet."""
        self._shutdown.set()

    def cancel_all(self) -> None:
        """Cancel what is still running, because the graceful shutdown time is over."""
        for attempt in list(self._running):
            attempt.cancel(ActivityCancellationDetails(worker_shutdown=True), by_request=True)

    async def handle(self, task: Poll) -> None:
        """Run one attempt and answer it."""
        attempt = self.new_attempt(task)
        try:
            converter = self._converter_for(task, is_local=False)
        except BaseException as error:
            if passes_through(error):
                raise
            await self._answer_error(task, attempt, self._converter, error)
            return
        heartbeats = self._heartbeats(task, attempt, converter)
        deadline = Deadline(_time_left_s(task))

        def was_slept_through() -> bool:
            return heartbeats.is_overdue or deadline.was_slept_through

        def is_overdue() -> bool:
            # The loop may have turned after the time-out, and the code may have blocked it only then.
            return was_slept_through() or deadline.is_past(LOCAL_TIMEOUT_GRACE_NS / SECOND_NS)

        attempt.is_overdue = is_overdue
        watchdog = self._watch_timeouts(task, attempt)
        try:
            kind, value = await self._outcome(task, attempt, converter, heartbeats.record)
            attempt.is_late |= was_slept_through()
        finally:
            heartbeats.close()
            deadline.close()
            if watchdog is not None:
                watchdog.cancel()
        if attempt.is_late:
            # The server's own time-out ends the attempt: at once, or when an engine in this process can go on.
            logger.warning(
                "The outcome of %s came after its time-out and is dropped", attempt.name()
            )
        elif kind == "result":
            await self._complete(task, attempt, converter, value, heartbeats)
        else:
            await self._answer_error(task, attempt, converter, value, heartbeats)

    async def run_local(self, task: Poll, attempt: Attempt) -> Completed | Failed | Cancelled:
        """Run one attempt of a local activity; its outcome goes to the workflow task, not to the server.

        Args:
            task: As a poll would have brought it. Its payloads have not been through the codec: the workflow task
                is decoded and encoded as a whole.
            attempt: From `new_attempt`; the caller may cancel it.
        """
        converter = self._local_converter
        try:
            converter = self._converter_for(task, is_local=True)
            kind, value = await self._outcome(task, attempt, converter, None)
            if kind == "result":
                payloads = await converter.encode([value])
                return Completed(payloads[0] if payloads else None)
        except BaseException as error:
            if passes_through(error):
                raise
            value = error
        if isinstance(value, CompleteAsyncError):
            value = ApplicationError(
                "A local activity cannot be completed asynchronously", non_retryable=True
            )
        elif isinstance(value, CANCELS) and attempt.by_request:
            logger.debug("Local activity was cancelled")
            return Cancelled(await encode_failure(converter, CancelledError("Cancelled")))
        error = _explain_cancel(value, attempt)
        _log_failure(task, error)
        if isinstance(error, BrokenExecutor):
            self._on_fatal(error)
        return Failed(await encode_failure(converter, error))

    def check_known(self, name: str) -> None:
        """Look for an activity's function.

        Raises:
            perdure.exceptions.ApplicationError: This worker does not have it.
        """
        if self._registry.find(name) is None:
            raise ApplicationError(
                f"Activity function {name} is not registered on this worker,"
                f" available activities: {', '.join(self._registry.names)}",
                type="NotFoundError",
            )

    def new_attempt(self, task: Poll) -> Attempt:
        """What one attempt of this task's activity needs; nothing runs yet."""
        definition = self._registry.find(task.activity_type.name)
        is_async = definition is None or definition.is_async
        attempt = Attempt.create(
            is_async=is_async,
            raises_in_thread=definition is not None
            and not is_async
            and not definition.no_thread_cancel_exception,
        )
        attempt.name = lambda: _describe(task)
        return attempt

    def on_the_loop(self, loop: asyncio.AbstractEventLoop) -> Callable[[], Suspect | None]:
        """What finds the async activity whose code is on the event loop at the moment; for another thread."""

        def suspect() -> Suspect | None:
            current = asyncio.current_task(loop)
            # All of these run in C, so the set cannot change meanwhile.
            running = [each for each in tuple(self._running) if each.is_async]
            for attempt in running:
                if attempt.task is current and current is not None:
                    return Suspect(attempt.name(), partial(attempt.interrupt, loop))
            if current is not None and sys.version_info >= (3, 12):
                # A task that an activity has started.
                context = Context.within(current.get_context())
                if context is not None:
                    info = context.info()
                    return Suspect(
                        _name(info.activity_type, info.activity_id, info.workflow_id or "")
                    )
            if not running:
                return None
            names = ", ".join(each.name() for each in running[:_SUSPECTS_MAX])
            return Suspect(f"code (async activities under way: {names})")

        return suspect

    def _converter_for(self, task: Poll, *, is_local: bool) -> DataConverter:
        converter = self._local_converter if is_local else self._converter
        return converter.with_context(
            ActivitySerializationContext(
                namespace=task.workflow_namespace or self._rpc.namespace,
                workflow_id=task.workflow_execution.workflow_id,
                workflow_type=task.workflow_type.name,
                activity_type=task.activity_type.name,
                activity_id=task.activity_id,
                activity_task_queue=self._task_queue,
                is_local=is_local,
            )
        )

    async def _outcome(
        self, task: Poll, attempt: Attempt, converter: DataConverter, heartbeat: Heartbeat | None
    ) -> tuple[str, Any]:
        """Run the user's code in a task of its own: cancelling it must not cancel the answer."""
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            steps = attempt.steps = Steps(self._execute(task, attempt, converter, heartbeat))
            try:
                result = await steps
            except BaseException as error:
                _settle(outcome, error=error)
                if not isinstance(error, asyncio.CancelledError) and passes_through(error):
                    raise
            else:
                _settle(outcome, result=result)

        attempt.task = self._spawn(run(), f"activity {task.activity_type.name}")
        # Cancelled before its first step, it never runs.
        attempt.task.add_done_callback(
            lambda _: _settle(outcome, error=asyncio.CancelledError("Activity cancelled"))
        )
        self._running.add(attempt)
        try:
            return await outcome
        finally:
            attempt.finish()
            self._running.discard(attempt)

    # Running.

    async def _execute(
        self, task: Poll, attempt: Attempt, converter: DataConverter, heartbeat: Heartbeat | None
    ) -> Any:
        definition = self._registry.find(task.activity_type.name)
        if definition is None:
            raise ApplicationError(
                f"Activity function {task.activity_type.name} for workflow"
                f" {task.workflow_execution.workflow_id} is not registered on this worker,"
                f" available activities: {', '.join(self._registry.names)}",
                type="NotFoundError",
            )
        args = await decode_args(definition, task, converter)
        details = await decode_heartbeat(task, converter)
        headers = task.header.fields
        if self._decodes_headers:
            headers = await decode_headers(headers, converter)
        info = info_of(
            task,
            details,
            task_queue=self._task_queue,
            namespace=self._rpc.namespace,
            is_local=heartbeat is None,
        )
        Context.set(
            Context(
                info=lambda: info,
                heartbeat=None,
                cancelled_event=attempt.cancelled_event,
                worker_shutdown_event=self._shutdown,
                shield_thread_cancel_exception=attempt.raiser.shielded if attempt.raiser else None,
                payload_converter_class_or_instance=converter.payload_converter,
                runtime_metric_meter=self._metric_meter,
                client=self._client if attempt.is_async else None,
                cancellation_details=attempt.details,
            )
        )
        chain: ActivityInboundInterceptor = InboundCall(attempt)
        for intercept in reversed(self._interceptors):
            chain = intercept(chain)
        chain.init(OutboundCall(info, heartbeat or _no_heartbeat))
        return await chain.execute_activity(
            ExecuteActivityInput(
                fn=definition.fn,
                args=args,
                executor=None if attempt.is_async else self._executor,
                headers=headers,
            )
        )

    def _heartbeats(self, task: Poll, attempt: Attempt, converter: DataConverter) -> Heartbeats:
        async def send(details: Sequence[Any]) -> None:
            request = workflowservice.RecordActivityTaskHeartbeatRequest(task_token=task.task_token)
            try:
                if details:
                    request.details.payloads.extend(await converter.encode(details))
            except BaseException as error:
                if passes_through(error):
                    raise
                logger.warning(
                    "Cancelling activity because its heartbeat could not be encoded", exc_info=True
                )
                attempt.cancel(
                    ActivityCancellationDetails(), by_request=False, heartbeat_error=error
                )
                return
            await self._send_heartbeat(request, attempt)

        interval_ns = throttle_ns(
            duration_ns(task.heartbeat_timeout), self._heartbeat_default_ns, self._heartbeat_max_ns
        )

        def overdue() -> None:
            attempt.is_late = True
            attempt.cancel(ActivityCancellationDetails(timed_out=True), by_request=True)

        return Heartbeats(
            send,
            interval_ns,
            lambda work: self._spawn(work, "heartbeat"),
            duration_ns(task.heartbeat_timeout) if attempt.is_async else 0,
            overdue,
        )

    async def _send_heartbeat(
        self, request: workflowservice.RecordActivityTaskHeartbeatRequest, attempt: Attempt
    ) -> None:
        try:
            response = await self._rpc.heartbeat(request)
        except errors.NotFound:
            attempt.cancel(ActivityCancellationDetails(not_found=True), by_request=True)
            return
        except errors.RpcError as error:
            # Not sent: the next one may get through before the heartbeat time-out.
            logger.debug("Heartbeat failed: %s", error.message)
            return
        if response.cancel_requested:
            attempt.cancel(ActivityCancellationDetails(cancel_requested=True), by_request=True)
        elif response.activity_reset:
            attempt.cancel(ActivityCancellationDetails(reset=True), by_request=False)
        elif response.activity_paused:
            attempt.cancel(ActivityCancellationDetails(paused=True), by_request=False)

    def _watch_timeouts(self, task: Poll, attempt: Attempt) -> asyncio.TimerHandle | None:
        timeout_ns = duration_ns(task.start_to_close_timeout)
        if not timeout_ns:
            return None
        return asyncio.get_running_loop().call_later(
            (timeout_ns + LOCAL_TIMEOUT_GRACE_NS) / SECOND_NS,
            lambda: attempt.cancel(ActivityCancellationDetails(timed_out=True), by_request=True),
        )

    # Answering.

    async def _complete(
        self,
        task: Poll,
        attempt: Attempt,
        converter: DataConverter,
        result: Any,
        heartbeats: Heartbeats,
    ) -> None:
        try:
            payloads = await converter.encode([result])
        except BaseException as error:
            if passes_through(error):
                raise
            await self._answer_error(task, attempt, converter, error, heartbeats)
            return
        await self._rpc.complete_activity(
            workflowservice.RespondActivityTaskCompletedRequest(
                task_token=task.task_token, result=common.Payloads(payloads=payloads)
            )
        )

    async def _answer_error(
        self,
        task: Poll,
        attempt: Attempt,
        converter: DataConverter,
        error: BaseException,
        heartbeats: Heartbeats | None = None,
    ) -> None:
        if isinstance(error, CompleteAsyncError):
            logger.debug("Activity will be completed asynchronously")
            return
        if isinstance(error, CANCELS) and attempt.by_request and not attempt.is_shutdown:
            logger.debug("Completing activity as cancelled")
            await self._rpc.cancel_activity(
                workflowservice.RespondActivityTaskCanceledRequest(task_token=task.task_token)
            )
            return
        error = _explain_cancel(error, attempt)
        _log_failure(task, error)
        request = workflowservice.RespondActivityTaskFailedRequest(
            task_token=task.task_token, failure=await encode_failure(converter, error)
        )
        unsent = heartbeats.unsent if heartbeats is not None else None
        if unsent:
            try:
                request.last_heartbeat_details.payloads.extend(await converter.encode(unsent))
            except BaseException as inner:
                if passes_through(inner):
                    raise
                # The failure is worth more than the details.
                logger.warning("The last heartbeat could not be encoded", exc_info=True)
        await self._rpc.fail_activity(request)
        if isinstance(error, BrokenExecutor):
            self._on_fatal(error)


def _name(activity_type: str, activity_id: str, workflow_id: str) -> str:
    return f"activity {activity_type} (id {activity_id}, workflow {workflow_id})"


def _describe(task: Poll) -> str:
    return _name(task.activity_type.name, task.activity_id, task.workflow_execution.workflow_id)


def _time_left_s(task: Poll) -> float:
    """How long an attempt may take, from its receipt on. The times of a task are of the server's clock."""
    limits_ns: list[int] = []
    if to_close_ns := duration_ns(task.start_to_close_timeout):
        limits_ns.append(to_close_ns)
    if in_all_ns := duration_ns(task.schedule_to_close_timeout):
        limits_ns.append(
            in_all_ns - timestamp_ns(task.started_time) + timestamp_ns(task.scheduled_time)
        )
    return min(limits_ns) / SECOND_NS if limits_ns else math.inf


def _log_failure(task: Poll, error: BaseException) -> None:
    """Say which attempt failed: the activity's own context has ended."""
    benign = (
        isinstance(error, ApplicationError) and error.category is ApplicationErrorCategory.BENIGN
    )
    logger.log(
        logging.DEBUG if benign else logging.WARNING,
        "Completing activity %s (id %s, attempt %d, workflow %s) as failed",
        task.activity_type.name,
        task.activity_id,
        task.attempt,
        task.workflow_execution.workflow_id,
        exc_info=error,
    )


def _no_heartbeat(details: Sequence[Any]) -> None:
    """Ignore heartbeats: local activities have none. The worker keeps the workflow task alive instead."""


def _settle(
    outcome: asyncio.Future[Any], *, result: Any = None, error: BaseException | None = None
) -> None:
    if not outcome.done():
        outcome.set_result(("result", result) if error is None else ("error", error))


def _explain_cancel(error: BaseException, attempt: Attempt) -> BaseException:
    """A cancellation that was not requested has another cause: name that one."""
    if not isinstance(error, CANCELS):
        return error
    if attempt.heartbeat_error is not None:
        return attempt.heartbeat_error
    if attempt.is_shutdown:
        return ApplicationError(
            "The worker was shut down before the activity ended", type="WorkerShutdown"
        )
    details = attempt.details.details
    for reason in ("pause", "reset"):
        if details is not None and getattr(details, "paused" if reason == "pause" else reason):
            return ApplicationError(
                f"Unhandled activity cancel error produced by activity {reason}",
                type=f"Activity{reason.capitalize()}",
            )
    return error
