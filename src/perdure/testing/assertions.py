"""In a test environment a failed `assert` in a workflow fails the workflow, not the workflow task.

A failed workflow task is retried without end, so that a bug can be fixed while its workflow is open. A test would wait
in vain.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure.client import Interceptor as ClientInterceptor
from perdure.exceptions import ApplicationError
from perdure.worker import (
    ExecuteWorkflowInput,
    HandleSignalInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

if TYPE_CHECKING:
    from collections.abc import Generator


class AssertionErrors(ClientInterceptor, Interceptor):
    """For the client of an environment: its workers inherit it."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Wrap runs and signal handlers."""
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        with _as_failures():
            return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        with _as_failures():
            await super().handle_signal(input)


@contextmanager
def _as_failures() -> Generator[None]:
    try:
        yield
    except AssertionError as error:
        failure = ApplicationError(str(error), type="AssertionError", non_retryable=True)
        raise failure.with_traceback(error.__traceback__) from None
