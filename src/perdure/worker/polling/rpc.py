"""The worker's calls to the server: one method each, with identity, namespace, codec and retries applied here.

The codec is applied here for workflow tasks only: activities convert value by value (`activities`).

Invariant: a completion is repeated with the same token until the server answers. Not here: what is in the requests.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from perdure.core.units import SECOND_NS
from perdure.core.user_code import passes_through
from perdure.service.calls import is_too_large
from perdure.service.headers import is_header_text
from perdure.service.payload_sizes import NO_WARNINGS, SizeWarnings
from perdure.wire import errors
from perdure.wire.api import common, deployment, enums, taskqueue, workflowservice
from perdure.wire.api import failure as failures
from perdure.wire.seam import WORKFLOW_SERVICE, Connection
from perdure.worker.polling.pollers import logger, until_answered
from perdure.worker.polling.run_codec import RunCodec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from perdure.converter import PayloadCodec
    from perdure.wire.seam import InlineWorkers

POLL_TIMEOUT_NS = 70 * SECOND_NS
CALL_TIMEOUT_NS = 10 * SECOND_NS
HISTORY_TIMEOUT_NS = 30 * SECOND_NS
QUERY_TRIES = 4
"""Queries are short-lived, because their callers ask again."""


class WorkerRpc:
    """Calls of one worker in one namespace."""

    def __init__(
        self,
        connection: Connection,
        *,
        namespace: str,
        identity: str,
        instance_key: str,
        build_id: str,
        codec: PayloadCodec | None,
        encodes_headers: bool = False,
        size_warnings: SizeWarnings = NO_WARNINGS,
    ) -> None:
        self._connection = connection
        self.namespace = namespace
        self.identity = identity
        self.instance_key = instance_key
        self.build_id = build_id
        self._codec = codec
        self._encodes_headers = encodes_headers
        self._size_warnings = size_warnings
        self._metadata = {"temporal-namespace": namespace} if is_header_text(namespace) else {}
        self.is_shutting_down = False
        self.is_abandoned = False
        """True when the time for a graceful shutdown is over. Calls are no longer repeated."""

    async def call(self, name: str, request: Message, timeout_ns: int = CALL_TIMEOUT_NS) -> Any:
        """One call, no retry."""
        self._size_warnings.check(name, request)
        return await self._connection.call(
            WORKFLOW_SERVICE[name], request, metadata=self._metadata, timeout_ns=timeout_ns
        )

    @property
    def polls_are_free(self) -> bool:
        """See `perdure.wire.seam.Connection.polls_are_free`."""
        return self._connection.polls_are_free

    @property
    def inline_workers(self) -> InlineWorkers | None:
        """Where this worker may register for inline tasks. None if it cannot: a codec, for one, has to be awaited."""
        return None if self._codec is not None else self._connection.inline_workers

    def codec_of(self, task: workflowservice.PollWorkflowTaskQueueResponse) -> RunCodec:
        """The codec for a run that is not in the cache, or for payloads whose context depends only on names."""
        return RunCodec(
            self._codec,
            namespace=self.namespace,
            workflow_id=task.workflow_execution.workflow_id,
            workflow_type=task.workflow_type.name,
            task_queue=task.workflow_execution_task_queue.name,
            headers=self._encodes_headers,
        )

    # Polls.

    @staticmethod
    def wanted_more_polls(
        task: workflowservice.PollWorkflowTaskQueueResponse
        | workflowservice.PollActivityTaskQueueResponse,
    ) -> int | None:
        """How many more polls the server wants. None if the response does not say; many servers never do."""
        if not task.HasField("poller_scaling_decision"):
            return None
        return task.poller_scaling_decision.poll_request_delta_suggestion

    def workflow_task_poll(
        self, queue: taskqueue.TaskQueue
    ) -> Callable[[], Awaitable[workflowservice.PollWorkflowTaskQueueResponse | None]]:
        """A function that polls `queue` once and returns None if no task arrived. It reuses one request message."""
        request = workflowservice.PollWorkflowTaskQueueRequest(
            namespace=self.namespace,
            task_queue=queue,
            identity=self.identity,
            worker_instance_key=self.instance_key,
            worker_version_capabilities=common.WorkerVersionCapabilities(build_id=self.build_id),
            deployment_options=self._deployment(),
        )

        async def poll() -> workflowservice.PollWorkflowTaskQueueResponse | None:
            try:
                response = await self.call("PollWorkflowTaskQueue", request, POLL_TIMEOUT_NS)
            except errors.UndecodableAnswer as error:
                await self._give_up_workflow_task(error)
                raise
            return response if response.task_token else None

        return poll

    def activity_task_poll(
        self, queue: taskqueue.TaskQueue, max_per_second: float | None
    ) -> Callable[[], Awaitable[workflowservice.PollActivityTaskQueueResponse | None]]:
        """Like `workflow_task_poll`."""
        request = workflowservice.PollActivityTaskQueueRequest(
            namespace=self.namespace,
            task_queue=queue,
            identity=self.identity,
            worker_instance_key=self.instance_key,
            worker_version_capabilities=common.WorkerVersionCapabilities(build_id=self.build_id),
            deployment_options=self._deployment(),
        )
        if max_per_second is not None:
            request.task_queue_metadata.max_tasks_per_second.value = max_per_second

        async def poll() -> workflowservice.PollActivityTaskQueueResponse | None:
            try:
                response = await self.call("PollActivityTaskQueue", request, POLL_TIMEOUT_NS)
            except errors.UndecodableAnswer as error:
                await self._give_up_activity(error)
                raise
            return response if response.task_token else None

        return poll

    async def _give_up_workflow_task(self, unread: errors.UndecodableAnswer) -> None:
        """Fail a task that cannot be read. Otherwise it would only time out, without a reason."""
        if unread.task_token:
            request = workflowservice.RespondWorkflowTaskFailedRequest(
                namespace=self.namespace,
                identity=self.identity,
                task_token=unread.task_token,
                cause=enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
                failure=_unread(unread),
            )
            with suppress(errors.RpcError):  # also if it is the task of a query
                await self.call("RespondWorkflowTaskFailed", request)

    async def _give_up_activity(self, unread: errors.UndecodableAnswer) -> None:
        """Like `_give_up_workflow_task`. The retry policy of the activity decides what follows."""
        if unread.task_token:
            request = workflowservice.RespondActivityTaskFailedRequest(
                namespace=self.namespace,
                identity=self.identity,
                task_token=unread.task_token,
                failure=_unread(unread),
            )
            with suppress(errors.RpcError):
                await self.call("RespondActivityTaskFailed", request)

    def _deployment(self) -> deployment.WorkerDeploymentOptions:
        return deployment.WorkerDeploymentOptions(
            build_id=self.build_id,
            worker_versioning_mode=enums.WORKER_VERSIONING_MODE_UNVERSIONED,
        )

    # Completions: repeated until the server has accepted them.

    async def complete_workflow_task(
        self, request: workflowservice.RespondWorkflowTaskCompletedRequest, codec: RunCodec
    ) -> workflowservice.RespondWorkflowTaskCompletedResponse | None:
        """Returns None if the task no longer exists."""
        self.identify(request)
        await codec.encode(request)
        return await self._answer("RespondWorkflowTaskCompleted", request)

    def identify(self, request: workflowservice.RespondWorkflowTaskCompletedRequest) -> None:
        """Say in a completion which worker it comes from."""
        request.namespace = self.namespace
        request.identity = self.identity
        request.worker_version_stamp.build_id = self.build_id
        request.deployment_options.CopyFrom(self._deployment())
        request.worker_instance_key = self.instance_key

    def check_sizes(self, name: str, request: Message) -> None:
        """Warn of large payloads in a request that is not sent by `call`."""
        self._size_warnings.check(name, request)

    async def fail_workflow_task(
        self, request: workflowservice.RespondWorkflowTaskFailedRequest, codec: RunCodec
    ) -> None:
        try:
            await codec.encode(request)
        except BaseException as error:
            if passes_through(error):
                raise
            logger.warning("The failure of a workflow task could not be encoded", exc_info=error)
            request.failure.CopyFrom(_without_payloads(request.failure, error))
        await self._answer_or_drop("RespondWorkflowTaskFailed", request)

    async def answer_query(
        self, request: workflowservice.RespondQueryTaskCompletedRequest, codec: RunCodec
    ) -> None:
        """Answer a query. An answer that cannot be sent becomes an error, and a lost one is repeated a few times."""
        try:
            await codec.encode(request)
        except BaseException as error:
            if passes_through(error):
                raise
            logger.warning("The answer to a query could not be encoded", exc_info=error)
            why = f"The answer could not be encoded: {type(error).__name__}"
            request = _query_failed(request.task_token, why)
        request.namespace = self.namespace
        try:
            await self._answer_query(request)
        except errors.RpcError as error:
            if is_too_large(error):
                why = (
                    f"The answer has {request.ByteSize()} bytes, more than the server takes in one message:"
                    " ask for less at once"
                )
                request = _query_failed(request.task_token, why)
                request.namespace = self.namespace
                with suppress(errors.RpcError):
                    await self._answer_query(request)

    async def _answer_query(
        self, request: workflowservice.RespondQueryTaskCompletedRequest
    ) -> None:
        name = "RespondQueryTaskCompleted"
        tries = iter(range(1, QUERY_TRIES))
        await until_answered(
            name, lambda: self.call(name, request), give_up=lambda: next(tries, None) is None
        )

    async def complete_activity(
        self, request: workflowservice.RespondActivityTaskCompletedRequest
    ) -> None:
        try:
            await self._answer("RespondActivityTaskCompleted", request)
        except errors.RpcError as error:
            if not is_too_large(error):
                logger.warning("RespondActivityTaskCompleted was refused: %s", error.message)
                return
            await self.fail_activity(_too_large(request.task_token, "result", request.ByteSize()))

    async def fail_activity(
        self, request: workflowservice.RespondActivityTaskFailedRequest
    ) -> None:
        try:
            await self._answer("RespondActivityTaskFailed", request)
        except errors.RpcError as error:
            if not is_too_large(error):
                logger.warning("RespondActivityTaskFailed was refused: %s", error.message)
                return
            short = _too_large(request.task_token, "failure", request.ByteSize())
            await self._answer_or_drop("RespondActivityTaskFailed", short)

    async def cancel_activity(
        self, request: workflowservice.RespondActivityTaskCanceledRequest
    ) -> None:
        await self._answer_or_drop("RespondActivityTaskCanceled", request)

    async def heartbeat(
        self, request: workflowservice.RecordActivityTaskHeartbeatRequest
    ) -> workflowservice.RecordActivityTaskHeartbeatResponse:
        request.namespace = self.namespace
        request.identity = self.identity
        return await self.call("RecordActivityTaskHeartbeat", request)

    async def _answer(self, name: str, request: Any) -> Any:
        request.namespace = self.namespace
        request.identity = self.identity
        return await until_answered(
            name, lambda: self.call(name, request), give_up=lambda: self.is_abandoned
        )

    async def _answer_or_drop(self, name: str, request: Any) -> None:
        try:
            await self._answer(name, request)
        except errors.RpcError as error:
            # Refused permanently. The task runs into its time-out.
            logger.warning("%s was refused: %s", name, error.message)

    # Reads and housekeeping.

    async def history_page(
        self, workflow_id: str, run_id: str, token: bytes, codec: RunCodec
    ) -> workflowservice.GetWorkflowExecutionHistoryResponse:
        request = workflowservice.GetWorkflowExecutionHistoryRequest(
            namespace=self.namespace,
            execution=common.WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            next_page_token=token,
        )
        name = "GetWorkflowExecutionHistory"
        page = await until_answered(
            name,
            lambda: self.call(name, request, HISTORY_TIMEOUT_NS),
            give_up=lambda: self.is_abandoned,
        )
        if page is None:
            raise errors.not_found(f"history of workflow {workflow_id!r}, run {run_id} is gone")
        await codec.decode(page)
        return cast("workflowservice.GetWorkflowExecutionHistoryResponse", page)

    async def announce_shutdown(self, sticky_queue: str, task_queue: str) -> bool:
        """Tell the server to end this worker's polls and to stop using its sticky queue. Returns whether it did."""
        try:
            await self.call(
                "ShutdownWorker",
                workflowservice.ShutdownWorkerRequest(
                    namespace=self.namespace,
                    sticky_task_queue=sticky_queue,
                    identity=self.identity,
                    reason="graceful shutdown",
                    worker_instance_key=self.instance_key,
                    task_queue=task_queue,
                ),
                2 * SECOND_NS,
            )
        except errors.RpcError:
            return False
        return True

    async def describe_namespace(self) -> workflowservice.DescribeNamespaceResponse:
        return await self.call(
            "DescribeNamespace",
            workflowservice.DescribeNamespaceRequest(namespace=self.namespace),
        )


def _query_failed(task_token: bytes, why: str) -> workflowservice.RespondQueryTaskCompletedRequest:
    return workflowservice.RespondQueryTaskCompletedRequest(
        task_token=task_token,
        completed_type=enums.QUERY_RESULT_TYPE_FAILED,
        error_message=why,
        failure=failures.Failure(message=why, source="PerdurePython"),
    )


def _unread(error: errors.UndecodableAnswer) -> failures.Failure:
    return failures.Failure(
        message=f"The worker cannot read the task. {error.message}",
        source="PerdurePython",
        application_failure_info=failures.ApplicationFailureInfo(type="UndecodableTask"),
    )


def _without_payloads(failure: failures.Failure, why: BaseException) -> failures.Failure:
    """The replacement of a failure whose payloads cannot be encoded. It contains no payload."""
    return failures.Failure(
        message=f"{failure.message} (its details could not be encoded: {type(why).__name__})",
        source=failure.source or "PerdurePython",
        application_failure_info=failures.ApplicationFailureInfo(
            type=failure.application_failure_info.type
        ),
    )


def _too_large(
    task_token: bytes, what: str, size_bytes: int
) -> workflowservice.RespondActivityTaskFailedRequest:
    """Fail an attempt whose outcome is too large for the server. It is not retried, because that would not help."""
    text = (
        f"The activity's {what} has {size_bytes} bytes, more than the server takes in one message:"
        " keep it elsewhere and return a reference"
    )
    logger.warning("%s", text)
    return workflowservice.RespondActivityTaskFailedRequest(
        task_token=task_token,
        failure=failures.Failure(
            message=text,
            source="PerdurePython",
            application_failure_info=failures.ApplicationFailureInfo(
                type="GrpcMessageTooLarge", non_retryable=True
            ),
        ),
    )
