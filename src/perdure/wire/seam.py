"""The one seam between services: a unary call with the API's messages.

Three implementations exist: gRPC (`perdure.service`), the engine in the same process (`perdure.embedded`), and the
simulated network of the test-suite. Client, worker and interceptors are written against `Connection` alone.

Invariants: errors are `perdure.wire.errors.RpcError`; cancelling a call withdraws a parked poll; messages passed to
or got from an in-process implementation are frozen: neither side changes them after the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from perdure.wire.api import operatorservice, testservice, workflowservice
from perdure.wire.errors import UndecodableAnswer

if TYPE_CHECKING:
    from types import ModuleType

    from google.protobuf.message import Message


class Waits(Enum):
    """What the answer to a method may wait for, besides the service itself."""

    FOR_NOTHING = "nothing"
    FOR_WORKER = "worker"
    """A worker's answer, for as long as any call may take."""
    FOR_CHANGE = "change"
    """A change of a workflow: a long poll."""
    FOR_TASK = "task"
    """A task for the worker that asks."""


class Method(NamedTuple):
    """One RPC of the API. `path` is what gRPC calls the full method name."""

    service: str
    name: str
    request_type: type[Message]
    response_type: type[Message]
    waits: Waits = Waits.FOR_NOTHING

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


class InlineTask(Protocol):
    """A workflow task that an inline worker has begun. The engine calls either `durable` or `lost`, once."""

    @property
    def completion(self) -> workflowservice.RespondWorkflowTaskCompletedRequest | None:
        """The worker's answer. None: it needs more time, and continues when the task is delivered to it."""
        ...

    def refused(self) -> None:
        """The completion was refused, and the task has failed. Called in the same step, before `durable`."""
        ...

    def durable(self, response: workflowservice.RespondWorkflowTaskCompletedResponse) -> None:
        """The task and its completion are durable, and `response` is the answer. Not called without a completion."""
        ...

    def lost(self) -> None:
        """Nothing was written: the task was never started."""
        ...


class InlineWorker(Protocol):
    """A worker in the engine's process that handles workflow tasks in the step that starts them.

    Nothing that it does may be visible outside before the task is durable. No method waits or raises.
    """

    @property
    def identity(self) -> str: ...

    @property
    def build_id(self) -> str: ...

    def can_begin(self, run_id: str, *, is_sticky: bool) -> bool:
        """Whether the worker can begin a task of this run now.

        Args:
            run_id: The run.
            is_sticky: Whether the task comes from the worker's sticky queue, and so lacks the earlier history.
        """
        ...

    def begin(self, task: workflowservice.PollWorkflowTaskQueueResponse) -> InlineTask | None:
        """Begin a task, right after `can_begin` has returned true.

        Args:
            task: As a poll would return it, but without a token.

        Returns:
            None if it cannot be begun. It is then delivered, and the worker reports what is wrong.
        """
        ...

    def deliver(self, task: workflowservice.PollWorkflowTaskQueueResponse) -> None:
        """Take a task that a step started for this worker and did not complete. It is durable and has a token."""
        ...


class InlineWorkers(Protocol):
    """Where the workers of the engine's process register."""

    def register(
        self, worker: InlineWorker, *, namespace: str, task_queue: str, sticky_queue: str
    ) -> None:
        """Offer workflow tasks of these queues to a worker. `sticky_queue` is empty if the worker has none."""
        ...

    def withdraw(self, worker: InlineWorker) -> None:
        """Stop offering tasks to a worker."""
        ...


class Connection(Protocol):
    """A way to reach a Perdure (or Temporal) frontend."""

    @property
    def polls_are_free(self) -> bool:
        """Whether a parked poll costs hardly more than the memory of a coroutine, as in the same process.

        A worker keeps more polls then, so that the server can hand tasks straight over.
        """
        ...

    @property
    def inline_workers(self) -> InlineWorkers | None:
        """Where workers of this process register; None if the engine is not in this process."""
        ...

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        """Call `method`; the response is of `method.response_type`.

        Args:
            method: A row of `WORKFLOW_SERVICE`, `OPERATOR_SERVICE` or `TEST_SERVICE`.
            request: A message of `method.request_type`.
            metadata: Headers of the call.
            timeout_ns: How long the caller waits, in nanoseconds; None for the implementation's default.

        Raises:
            perdure.wire.errors.RpcError: The typed form of every gRPC status but OK.
        """
        ...

    async def close(self) -> None:
        """Release what the connection holds; calls under way end with `Unavailable`."""
        ...


_WAITS: dict[str, Waits] = {
    "QueryWorkflow": Waits.FOR_WORKER,
    "GetWorkflowExecutionHistory": Waits.FOR_CHANGE,  # only if the request has `wait_new_event`
    "UpdateWorkflowExecution": Waits.FOR_CHANGE,
    "PollWorkflowExecutionUpdate": Waits.FOR_CHANGE,
    "ExecuteMultiOperation": Waits.FOR_CHANGE,
    "PollActivityExecution": Waits.FOR_CHANGE,
    "PollNexusOperationExecution": Waits.FOR_CHANGE,
    "PollWorkflowTaskQueue": Waits.FOR_TASK,
    "PollActivityTaskQueue": Waits.FOR_TASK,
    "PollNexusTaskQueue": Waits.FOR_TASK,
}
"""Methods that wait for more than the service."""


def _methods(service: str, messages: ModuleType) -> dict[str, Method]:
    # Nearly every RPC `X` of these services takes XRequest and returns XResponse (a test compares with the service
    # descriptors). Reading the descriptors here would load google.api, which only gRPC reflection needs.
    names = [name.removesuffix("Request") for name in vars(messages) if name.endswith("Request")]
    return {
        name: Method(
            service,
            name,
            getattr(messages, f"{name}Request"),
            getattr(messages, f"{name}Response"),
            _WAITS.get(name, Waits.FOR_NOTHING),
        )
        for name in names
        if hasattr(messages, f"{name}Response")
    }


WORKFLOW_SERVICE_NAME = "temporal.api.workflowservice.v1.WorkflowService"
OPERATOR_SERVICE_NAME = "temporal.api.operatorservice.v1.OperatorService"
TEST_SERVICE_NAME = "temporal.api.testservice.v1.TestService"

WORKFLOW_SERVICE: dict[str, Method] = _methods(WORKFLOW_SERVICE_NAME, workflowservice)
OPERATOR_SERVICE: dict[str, Method] = _methods(OPERATOR_SERVICE_NAME, operatorservice)
TEST_SERVICE: dict[str, Method] = _methods(TEST_SERVICE_NAME, testservice) | {
    # The three that do not follow the naming rule.
    name: Method(TEST_SERVICE_NAME, name, request, response)
    for name, request, response in (
        ("SleepUntil", testservice.SleepUntilRequest, testservice.SleepResponse),
        ("UnlockTimeSkippingWithSleep", testservice.SleepRequest, testservice.SleepResponse),
        ("GetCurrentTime", Empty, testservice.GetCurrentTimeResponse),
    )
}


def decoded(method: Method, answer: bytes) -> Message:
    """The message that an implementation got as bytes.

    Raises:
        UndecodableAnswer: They are no such message, or one that is nested too deep.
    """
    try:
        return method.response_type.FromString(answer)
    except DecodeError:
        raise UndecodableAnswer(method.name, answer) from None
