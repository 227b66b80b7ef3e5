"""Workflow tasks: from a poll response to an answer that the server has taken.

A task goes to the run's cached engine, or to a new one that replays. The answer is a completion (whose reply may
carry the next task), a query's answer, or a failure. Failures are reported on the first attempt only (R-29): later
attempts time out, which paces the retries.

Invariants: one task of a run at a time; a run whose task failed, or whose answer the server did not take, is evicted.
A task that waited while the server issued a later one of its run is dropped: its answer would be refused, and
working off a queue of such tasks, each a replay, would make the last one late as well.
Not here: polling (`pollers`), replay (`workflow.run`), user code (`host`).
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.core.limits import COMPLETION_BYTES_MAX
from perdure.core.user_code import opened, passes_through, quiet_logger, sealed
from perdure.replay.task import Completion, Fatal, QueryAnswer, WorkflowTask
from perdure.service.calls import is_too_large
from perdure.wire import errors
from perdure.wire.api import common, enums, taskqueue, workflowservice
from perdure.wire.api import failure as failures
from perdure.wire.times import duration
from perdure.worker.host.watchdog import DeadlockError
from perdure.worker.polling.eager import EagerActivities
from perdure.worker.workflow.cache import RunCache
from perdure.worker.workflow.inline import BegunInline, CompletedInline
from perdure.worker.workflow.run import CachedRun

if TYPE_CHECKING:
    from perdure.replay.mismatch import Mismatch
    from perdure.replay.task import Answer
    from perdure.worker.polling.rpc import WorkerRpc
    from perdure.worker.polling.run_codec import RunCodec
    from perdure.worker.polling.slots import Slots
    from perdure.worker.workflow.callbacks import Execution
    from perdure.worker.workflow.inline import GoOn

logger = quiet_logger("perdure.worker")

Poll = workflowservice.PollWorkflowTaskQueueResponse
NON_DETERMINISTIC = enums.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
TOO_LARGE = enums.WORKFLOW_TASK_FAILED_CAUSE_GRPC_MESSAGE_TOO_LARGE
UNHANDLED = enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
DEPTH_MAX = 100
"""How many frames may be below workflow code that runs in the step of an engine."""


class _InHand:
    """What a worker has of one run: how many tasks, and the latest Started event that was seen meanwhile."""

    __slots__ = ("newest", "tasks")

    def __init__(self) -> None:
        self.tasks = 0
        self.newest = 0


class WorkflowTasks:
    """Handles the workflow tasks of one worker."""

    def __init__(
        self,
        rpc: WorkerRpc,
        cache: RunCache,
        create_run: Callable[[Poll, RunCodec], CachedRun],
        to_failure: Callable[[BaseException], failures.Failure],
        render: Callable[[Mismatch], str],
        *,
        sticky_queue: str,
        sticky_timeout_ns: int,
        eager_activities: EagerActivities,
        execution: Execution,
        slots: Slots,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._rpc = rpc
        self._cache = cache
        self._create_run = create_run
        self._to_failure = to_failure
        self._render = render
        self._sticky_queue = sticky_queue
        self._sticky_timeout_ns = sticky_timeout_ns
        self._eager = eager_activities
        self._execution = execution
        self._slots = slots
        self._spawn = spawn
        self._unpolled = 0
        """How many tasks hold a slot without a poll."""
        self._in_hand: dict[str, _InHand] = {}
        """By run id."""
        self._begun: dict[str, BegunInline] = {}
        """Tasks begun in a step of the engine and not delivered yet, by run id. Each holds a slot."""
        self._context = contextvars.copy_context()
        """The worker's context. Workflow code that runs in a caller's task must not see the caller's variables."""

    async def handle(self, task: Poll) -> None:
        """Work off a task, and those that come back with its answer."""
        await self._handle(task, None)

    async def _handle(self, task: Poll, begun: BegunInline | None) -> None:
        next_task: Poll | None = task
        while next_task is not None:
            next_task = await self._handle_one(next_task, begun)
            begun = None

    async def _handle_one(self, task: Poll, begun: BegunInline | None) -> Poll | None:
        run_id = task.workflow_execution.run_id
        in_hand = self._in_hand.setdefault(run_id, _InHand())
        in_hand.tasks += 1
        in_hand.newest = max(in_hand.newest, task.started_event_id)
        try:
            if begun is not None:
                return await self._process(begun.run, task, begun.go_on)
            return await self._in_turn(task, in_hand)
        finally:
            if begun is not None:
                begun.run.leave()
            in_hand.tasks -= 1
            if not in_hand.tasks:
                del self._in_hand[run_id]

    async def _in_turn(self, task: Poll, in_hand: _InHand) -> Poll | None:
        stale = self._begun.get(task.workflow_execution.run_id)
        if stale is not None and not task.HasField("query"):
            self._drop(stale)  # the task that was begun has timed out, and this is a later one
        known = self._cache.get(task.workflow_execution.run_id)
        codec = known.codec if known is not None else self._rpc.codec_of(task)
        try:
            await codec.decode(task)
        except BaseException as error:  # noqa: BLE001 - a user's codec may raise anything
            await self._fail_for(task, error)
            return None
        while True:
            run = self._cache.get(task.workflow_execution.run_id)
            if run is None:
                if (blocked := self._execution.blocked(task.workflow_execution.run_id)) is not None:
                    # Another attempt would block another thread.
                    text = f"[TMPRL1101] Potential deadlock: {blocked}; until it comes back, the run cannot go on"
                    await self._fail_for(task, DeadlockError(text))
                    return None
                try:
                    run = self._create_run(task, codec)
                except BaseException as error:  # noqa: BLE001 - reported to the server, whatever it is
                    await self._fail_for(task, error)
                    return None
                self._cache.add(run)
            async with run:
                if task.started_event_id < in_hand.newest and not task.HasField("query"):
                    logger.debug("A task of run %s was overtaken by a later one", run.run_id)
                    return None
                if run.is_closed:
                    continue  # Evicted while this task waited for the one before it.
                return await self._process(
                    run, task, partial(run.advance, WorkflowTask.from_poll(task))
                )

    async def _process(self, run: CachedRun, task: Poll, advance: GoOn) -> Poll | None:
        try:
            answer = await advance()
        except errors.NotFound:
            # The run is gone (deleted, or closed and past retention) while its history was being read.
            self._cache.evict(run)
            return None
        except BaseException as error:  # noqa: BLE001 - reported to the server, whatever it is
            self._cache.evict(run)
            await self._fail_for(task, error)
            return None
        if (problem := run.engine.error) is not None:
            self._cache.evict(run)
            await self._report_problem(task, problem)
            return None
        match answer:
            case Completion():
                return await self._complete(run, task, answer)
            case QueryAnswer():
                await self._answer_query(task, answer)
            case None:
                # A query task of a run in the cache always has an answer; nothing to say means nothing was asked.
                logger.debug("Nothing to answer for run %s", run.run_id)
        if run.engine.is_finished:
            self._cache.evict(run)
        self._cache.trim()
        return None

    async def _complete(self, run: CachedRun, task: Poll, answer: Completion) -> Poll | None:
        request = self.completion_request(task, answer)
        try:
            response = await self._send(request, run.codec)
        except errors.RpcError as error:
            # UnhandledCommand and the like: history went on without us, replay from the start.
            logger.debug("Completion of run %s was refused: %s", run.run_id, error.message)
            self._cache.evict(run)
            if is_too_large(error):
                await self._report_too_large(task, request.ByteSize())
            return None
        except BaseException as error:  # noqa: BLE001 - a user's codec may raise anything
            # Nothing was sent, and the run in the cache believes that it was.
            self._cache.evict(run)
            await self._fail_for(task, error)
            return None
        if response is None:
            self._cache.evict(run)
            self._cache.trim()
            return None
        self._settle(run, answer, response.reset_history_event_id)
        return response.workflow_task if response.workflow_task.task_token else None

    def _settle(self, run: CachedRun, answer: Completion, reset_history_event_id: int = 0) -> None:
        """The server has accepted this answer: keep the run for its next task, if there can be one."""
        no_cache = self._cache.maximum == 0 and not run.runs_local_activities
        if answer.is_terminal or no_cache:
            self._cache.evict(run)
        else:
            run.engine.task_reported(reset_history_event_id)
        self._cache.trim()

    # In the engine's step: see `perdure.wire.seam.InlineWorker`.

    @property
    def identity(self) -> str:
        """The worker's identity."""
        return self._rpc.identity

    @property
    def build_id(self) -> str:
        """The worker's build id."""
        return self._rpc.build_id

    def can_begin(self, run_id: str, *, is_sticky: bool) -> bool:
        """Whether the run is free, so that a task of it can be handled without waiting."""
        if self._rpc.is_shutting_down or run_id in self._in_hand or run_id in self._begun:
            return False
        if self._unpolled >= self._slots.maximum or _is_deep():
            return False
        run = self._cache.get(run_id)
        if run is None:
            return not is_sticky
        return run.is_idle and not run.is_closed

    def begin(self, task: Poll) -> CompletedInline | BegunInline | None:
        """Begin a task in the engine's step. None if that fails; the error is reported when the task is delivered."""
        run = self._cache.get(task.workflow_execution.run_id)
        if run is None:
            try:
                run = self._create_run(task, self._rpc.codec_of(task))
            except BaseException as error:  # noqa: BLE001 - raised again when the task is delivered, and reported then
                self._raise_later(error)
                return None
            self._cache.add(run)
        run.enter_now()
        try:
            answer = self._context.copy().run(run.advance_now, WorkflowTask.from_poll(task))
            if isinstance(answer, Completion):
                request = self.completion_request(task, answer)
                request.return_new_workflow_task = False  # the next task is offered like any other
                self._rpc.identify(request)
                if request.ByteSize() <= COMPLETION_BYTES_MAX:
                    self._rpc.check_sizes("RespondWorkflowTaskCompleted", request)
                    reserved = self._eager.reserve(request.commands)
                    return CompletedInline(
                        run,
                        answer,
                        request,
                        reserved,
                        self._eager,
                        self._settle,
                        self._cache.evict,
                        self._context,
                    )
        except BaseException as error:  # noqa: BLE001 - reported to the server, whatever it is
            self._raise_later(error)
            return self._keep(run, task, partial(_raise, sealed(error)))
        return self._keep(run, task, run.go_on if answer is None else partial(_return, answer))

    def deliver(self, task: Poll) -> None:
        """Handle a task that was started for this worker in a step."""
        begun = self._begun.get(task.workflow_execution.run_id)
        if begun is not None and not begun.is_of(task):
            self._drop(begun)
            begun = None
        if begun is None:
            self._hold_slot()
        else:
            del self._begun[begun.run.run_id]
        work = self._handle_unpolled(task, begun)
        self._context.copy().run(self._spawn, work, "workflow task without a poll")

    async def _handle_unpolled(self, task: Poll, begun: BegunInline | None) -> None:
        try:
            await self._handle(task, begun)
        finally:
            self._release_slot()

    def _hold_slot(self) -> None:
        # The task is already under way, so it does not wait for a slot. Parked polls may hold them all.
        self._unpolled += 1
        self._slots.take_another()

    def _release_slot(self) -> None:
        self._unpolled -= 1
        self._slots.release()

    def _keep(self, run: CachedRun, task: Poll, go_on: GoOn) -> BegunInline:
        self._hold_slot()
        begun = BegunInline(run, task, go_on, self._drop)
        self._begun[run.run_id] = begun
        return begun

    def _drop(self, begun: BegunInline) -> None:
        """Forget a task that was begun: it does not exist, or is delivered with more than was known of it."""
        if self._begun.get(begun.run.run_id) is begun:
            del self._begun[begun.run.run_id]
            self._cache.evict(begun.run)
            begun.run.leave()
            self._release_slot()

    def _raise_later(self, error: BaseException) -> None:
        """Let Ctrl-C end the event loop, but not in the middle of the engine's step."""
        if not isinstance(error, asyncio.CancelledError) and passes_through(error):
            asyncio.get_running_loop().call_soon(_raise_now, error)

    def completion_request(
        self, task: Poll, answer: Completion
    ) -> workflowservice.RespondWorkflowTaskCompletedRequest:
        """The request that answers a task. It does not yet say which worker it comes from."""
        request = workflowservice.RespondWorkflowTaskCompletedRequest(
            task_token=task.task_token,
            commands=answer.commands,
            messages=answer.messages,
            query_results=answer.query_results,
            sdk_metadata=answer.sdk_metadata,
            force_create_new_workflow_task=answer.force_create_new_workflow_task,
            return_new_workflow_task=bool(self._sticky_queue) and not self._rpc.is_shutting_down,
            capabilities=workflowservice.RespondWorkflowTaskCompletedRequest.Capabilities(
                discard_speculative_workflow_task_with_events=True
            ),
            versioning_behavior=enums.VersioningBehavior.ValueType(answer.versioning_behavior),
        )
        if self._sticky_queue and not answer.is_terminal and not self._rpc.is_shutting_down:
            request.sticky_attributes.worker_task_queue.CopyFrom(self._sticky(task))
            request.sticky_attributes.schedule_to_start_timeout.CopyFrom(
                duration(self._sticky_timeout_ns)
            )
        return request

    async def _send(
        self, request: workflowservice.RespondWorkflowTaskCompletedRequest, codec: RunCodec
    ) -> workflowservice.RespondWorkflowTaskCompletedResponse | None:
        reserved = self._eager.reserve(request.commands, is_ending=self._rpc.is_shutting_down)
        activities: Sequence[workflowservice.PollActivityTaskQueueResponse] = ()
        try:
            response = await self._rpc.complete_workflow_task(request, codec)
            if response is not None:
                activities = response.activity_tasks
        finally:
            self._eager.start(reserved, activities)
        return response

    def _sticky(self, task: Poll) -> taskqueue.TaskQueue:
        return taskqueue.TaskQueue(
            name=self._sticky_queue,
            kind=enums.TASK_QUEUE_KIND_STICKY,
            normal_name=task.workflow_execution_task_queue.name,
        )

    async def _answer_query(self, task: Poll, answer: QueryAnswer) -> None:
        request = workflowservice.RespondQueryTaskCompletedRequest(task_token=task.task_token)
        if answer.failure is not None:
            request.completed_type = enums.QUERY_RESULT_TYPE_FAILED
            request.error_message = answer.failure.message
            request.failure.CopyFrom(answer.failure)
        else:
            request.completed_type = enums.QUERY_RESULT_TYPE_ANSWERED
            payloads = [answer.result] if answer.result is not None else []
            request.query_result.CopyFrom(common.Payloads(payloads=payloads))
        await self._rpc.answer_query(request, self._rpc.codec_of(task))

    async def _report_problem(self, task: Poll, problem: Mismatch | Fatal) -> None:
        """A mismatch between history and code, or a history that makes no sense."""
        text = problem.message if isinstance(problem, Fatal) else self._render(problem)
        logger.error(
            "Workflow task of %s (run %s) failed: %s",
            task.workflow_execution.workflow_id,
            task.workflow_execution.run_id,
            text,
        )
        failure = failures.Failure(
            message=text,
            source="PerdurePython",
            application_failure_info=failures.ApplicationFailureInfo(type="NondeterminismError"),
        )
        cause = UNHANDLED if isinstance(problem, Fatal) else NON_DETERMINISTIC
        await self._fail(task, cause, failure)

    async def _report_too_large(self, task: Poll, size_bytes: int) -> None:
        """What the workflow did is no message that the server would take: say so, where people look for it."""
        text = (
            f"The workflow task's commands have {size_bytes} bytes together, more than the server takes in"
            " one message: keep large values elsewhere and pass references, or start fewer steps at once"
        )
        logger.error(
            "Workflow task of %s (run %s) failed: %s",
            task.workflow_execution.workflow_id,
            task.workflow_execution.run_id,
            text,
        )
        failure = failures.Failure(
            message=text,
            source="PerdurePython",
            application_failure_info=failures.ApplicationFailureInfo(
                type="GrpcMessageTooLarge", non_retryable=True
            ),
        )
        await self._fail(task, TOO_LARGE, failure)

    async def _fail_for(self, task: Poll, escaped: BaseException) -> None:
        """Report what user code raised. Raises it on when it is not user code's own."""
        if passes_through(escaped):
            raise escaped
        error = opened(escaped)
        self._log_failed(task, error)
        await self._fail(task, UNHANDLED, self._to_failure(error))

    def _log_failed(self, task: Poll, error: BaseException) -> None:
        execution = task.workflow_execution
        logger.warning(
            "Workflow task of %s (run %s, attempt %d) failed; the workflow waits, and its task is tried again until"
            " the code is put right",
            execution.workflow_id,
            execution.run_id,
            task.attempt,
            exc_info=error,
        )

    async def _fail(
        self,
        task: Poll,
        cause: enums.WorkflowTaskFailedCause.ValueType,
        failure: failures.Failure,
    ) -> None:
        if task.HasField("query"):
            await self._answer_query(task, QueryAnswer(result=None, failure=failure))
        elif task.attempt <= 1:
            await self._rpc.fail_workflow_task(
                workflowservice.RespondWorkflowTaskFailedRequest(
                    task_token=task.task_token, cause=cause, failure=failure
                ),
                self._rpc.codec_of(task),
            )


async def _raise(error: Exception) -> Answer | None:
    raise error


async def _return(answer: Answer) -> Answer | None:
    return answer


def _raise_now(error: BaseException) -> None:
    raise error


def _is_deep() -> bool:
    """Whether the caller's stack would leave workflow code noticeably less room than it has on the event loop."""
    try:
        sys._getframe(DEPTH_MAX)  # noqa: SLF001
    except ValueError:
        return False
    return True
