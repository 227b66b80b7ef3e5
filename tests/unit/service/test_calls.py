"""The rules of time-outs and retries, without clock and network."""

from __future__ import annotations

import pytest

from perdure.core.units import MS_NS, SECOND_NS
from perdure.service.calls import CallKind, call_kind, default_timeout_ns, retry_delay_ns
from perdure.service.config import RetryConfig
from perdure.wire import errors
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE

CONFIG = RetryConfig()
MIDDLE = 0.5  # no jitter
RETRYABLE = (
    errors.Internal,
    errors.Unknown,
    errors.ResourceExhausted,
    errors.Aborted,
    errors.OutOfRange,
    errors.Unavailable,
)
FINAL = (
    errors.InvalidArgument,
    errors.NotFound,
    errors.AlreadyExists,
    errors.PermissionDenied,
    errors.DataLoss,
    errors.FailedPrecondition,
    errors.Unimplemented,
    errors.Unauthenticated,
    errors.Canceled,
    errors.DeadlineExceeded,
)


def delay_ns(
    error: errors.RpcError,
    *,
    kind: CallKind = CallKind.NORMAL,
    attempt: int = 1,
    elapsed_ns: int = 0,
    own_timeout: bool = False,
    random: float = MIDDLE,
    config: RetryConfig = CONFIG,
) -> int | None:
    return retry_delay_ns(
        config,
        kind,
        error,
        attempt=attempt,
        elapsed_ns=elapsed_ns,
        own_timeout=own_timeout,
        random=random,
    )


@pytest.mark.parametrize("error", RETRYABLE)
def test_transient_errors_are_tried_again(error: type[errors.RpcError]) -> None:
    assert delay_ns(error("x")) is not None


@pytest.mark.parametrize("error", FINAL)
@pytest.mark.parametrize("own_timeout", [True, False])
def test_answers_are_final(error: type[errors.RpcError], own_timeout: bool) -> None:
    assert delay_ns(error("x"), own_timeout=own_timeout) is None


def test_back_off_grows_to_its_maximum() -> None:
    config = RetryConfig(max_elapsed_time_millis=None, max_retries=0)
    delays = [delay_ns(errors.Unavailable("x"), attempt=n, config=config) for n in (1, 2, 3, 50)]
    assert delays == [100 * MS_NS, 150 * MS_NS, 225 * MS_NS, 5 * SECOND_NS]


def test_jitter_goes_both_ways() -> None:
    assert delay_ns(errors.Unavailable("x"), random=0.0) == 80 * MS_NS
    assert delay_ns(errors.Unavailable("x"), random=1.0) == 120 * MS_NS


def test_overload_waits_longer() -> None:
    assert delay_ns(errors.ResourceExhausted("busy")) == SECOND_NS
    assert delay_ns(errors.ResourceExhausted("busy"), attempt=3) == 4 * SECOND_NS
    patient = RetryConfig(max_elapsed_time_millis=None, max_retries=0)
    assert delay_ns(errors.ResourceExhausted("busy"), attempt=9, config=patient) == 10 * SECOND_NS
    slow = RetryConfig(initial_interval_millis=3_000)
    assert delay_ns(errors.ResourceExhausted("busy"), config=slow) == 3 * SECOND_NS


@pytest.mark.parametrize(
    "message",
    [
        "grpc: received message larger than max (5 vs. 4)",
        "SERVER: Received message larger than max (5 vs. 4)",
    ],
)
def test_a_message_that_is_too_large_stays_too_large(message: str) -> None:
    assert delay_ns(errors.ResourceExhausted(message)) is None


@pytest.mark.parametrize(
    "error",
    [
        errors.ResourceExhausted("the message is large"),
        errors.ResourceExhausted("number of workflows larger than max"),
        errors.Unavailable("grpc: received message larger than max (5 vs. 4)"),
    ],
)
def test_other_errors_may_pass(error: errors.RpcError) -> None:
    assert delay_ns(error) is not None


def test_a_normal_call_gives_up() -> None:
    assert delay_ns(errors.Unavailable("x"), attempt=9) is not None
    assert delay_ns(errors.Unavailable("x"), attempt=10) is None
    assert delay_ns(errors.Unavailable("x"), elapsed_ns=9_900 * MS_NS) == 100 * MS_NS
    assert delay_ns(errors.Unavailable("x"), elapsed_ns=9_901 * MS_NS) is None


def test_a_long_poll_does_not() -> None:
    for error in (errors.Unavailable("x"), errors.DeadlineExceeded("x")):
        assert (
            delay_ns(error, kind=CallKind.LONG_POLL, attempt=10_000, elapsed_ns=10**18) is not None
        )


def test_unless_the_caller_set_its_time_out() -> None:
    assert delay_ns(errors.DeadlineExceeded("x"), kind=CallKind.LONG_POLL, own_timeout=True) is None
    assert delay_ns(errors.Unavailable("x"), kind=CallKind.LONG_POLL, own_timeout=True) is not None


def test_task_polls_are_the_pollers_business() -> None:
    assert delay_ns(errors.Unavailable("x"), kind=CallKind.TASK_POLL) is None


LONG_POLLS = {
    "UpdateWorkflowExecution",
    "PollWorkflowExecutionUpdate",
    "ExecuteMultiOperation",
    "PollActivityExecution",
    "PollNexusOperationExecution",
}
TASK_POLLS = {"PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue"}


def test_kinds() -> None:
    history = WORKFLOW_SERVICE["GetWorkflowExecutionHistory"]
    waiting = pb.GetWorkflowExecutionHistoryRequest(wait_new_event=True)
    assert call_kind(history, waiting) is CallKind.LONG_POLL
    kinds = {
        name: call_kind(method, method.request_type()) for name, method in WORKFLOW_SERVICE.items()
    }
    assert {name for name, kind in kinds.items() if kind is CallKind.LONG_POLL} == LONG_POLLS
    assert {name for name, kind in kinds.items() if kind is CallKind.TASK_POLL} == TASK_POLLS


def test_polls_have_more_time() -> None:
    assert default_timeout_ns(CallKind.NORMAL) == 30 * SECOND_NS
    assert default_timeout_ns(CallKind.LONG_POLL) == default_timeout_ns(CallKind.TASK_POLL)
    assert default_timeout_ns(CallKind.TASK_POLL) == 70 * SECOND_NS
