"""`Interceptor`: what a worker's user may put around activities and workflows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from perdure.worker.interceptors.activity import ActivityInboundInterceptor
from perdure.worker.interceptors.workflow import (
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class Interceptor:
    """Wraps what a worker runs. Override one or both methods."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the activity chain; called for each attempt."""
        return next

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,
    ) -> type[WorkflowInboundInterceptor] | None:
        """A class to wrap each run with, or None; called once per worker."""
        del input
        return None


def workflow_interceptor_classes(
    interceptors: Iterable[Interceptor],
) -> tuple[list[type[WorkflowInboundInterceptor]], Mapping[str, Callable[..., Any]]]:
    """The classes of all interceptors that have one, outermost first, and the extern functions they ask for."""
    given = WorkflowInterceptorClassInput(unsafe_extern_functions={})
    classes = [each.workflow_interceptor_class(given) for each in interceptors]
    return [each for each in classes if each is not None], given.unsafe_extern_functions
