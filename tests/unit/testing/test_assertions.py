"""A failed assert in workflow code ends the workflow of a test; other mistakes are what they are elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.exceptions import ApplicationError
from perdure.testing.assertions import AssertionErrors, _as_failures, _Inbound
from perdure.worker import (
    ExecuteWorkflowInput,
    HandleSignalInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class Next(WorkflowInboundInterceptor):
    """What comes after: returns or raises what it was given."""

    def __init__(self, end: Any) -> None:
        self.end = end
        self.signals = 0

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        return self._finish()

    async def handle_signal(self, input: HandleSignalInput) -> None:
        self.signals += 1
        self._finish()

    def _finish(self) -> Any:
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end


async def run(end: Any, *, is_signal: bool) -> Any:
    given: Any = None
    inbound = _Inbound(Next(end))
    if is_signal:
        return await inbound.handle_signal(given)
    return await inbound.execute_workflow(given)


@pytest.mark.parametrize("is_signal", [False, True], ids=["run", "signal"])
async def test_a_failed_assert_is_a_failure_that_is_not_retried(is_signal: bool) -> None:
    with pytest.raises(ApplicationError) as caught:
        await run(AssertionError("sums"), is_signal=is_signal)
    error = caught.value
    assert (error.message, error.type, error.non_retryable) == ("sums", "AssertionError", True)
    assert error.__cause__ is None
    names = [entry.name for entry in caught.traceback]
    assert "_finish" in names, "it shows where the assert stands"


@pytest.mark.parametrize("is_signal", [False, True], ids=["run", "signal"])
@pytest.mark.parametrize("error", [KeyError("k"), ApplicationError("mine"), KeyboardInterrupt()])
async def test_other_errors_pass(error: BaseException, is_signal: bool) -> None:
    with pytest.raises(type(error)) as caught:
        await run(error, is_signal=is_signal)
    assert caught.value is error


async def test_results_pass() -> None:
    assert await run("result", is_signal=False) == "result"
    assert await run(None, is_signal=True) is None
    with _as_failures():
        pass


def test_every_workflow_is_wrapped() -> None:
    given: WorkflowInterceptorClassInput = None  # type: ignore[assignment]
    assert AssertionErrors().workflow_interceptor_class(given) is _Inbound
