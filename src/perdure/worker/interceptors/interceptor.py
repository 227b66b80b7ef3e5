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
    """Wraps what a worker runs. Subclasses override one or both methods.

    Example:
        ```python
        from typing import Any

        from perdure.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor


        class Shouting(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                return f"{await super().execute_activity(input)}!"


        class Louder(Interceptor):
            def intercept_activity(
                self, next: ActivityInboundInterceptor
            ) -> ActivityInboundInterceptor:
                return Shouting(super().intercept_activity(next))


        @activity.defn
        async def greet(name: str) -> str:
            return f"Hello, {name}"


        @workflow.defn
        class Greeting:
            @workflow.run
            async def run(self, name: str) -> str:
                return await workflow.execute_activity(
                    greet, name, start_to_close_timeout=timedelta(seconds=10)
                )


        async with Worker(
            client,
            task_queue="greetings",
            workflows=[Greeting],
            activities=[greet],
            interceptors=[Louder()],
        ):
            text = await client.execute_workflow(
                Greeting.run, "Ada", id="greeting-7", task_queue="greetings"
            )
        assert text == "Hello, Ada!"
        ```
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the chain of an activity. Called for each attempt.

        Args:
            next: The rest of the chain.

        Returns:
            The chain to use. Without an override: `next`.
        """
        return next

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,
    ) -> type[WorkflowInboundInterceptor] | None:
        """Choose a class that wraps each run of a workflow. Called once per worker.

        Args:
            input: Functions for workflow code can be added to it.

        Returns:
            The class, or None.
        """
        del input
        return None


def workflow_interceptor_classes(
    interceptors: Iterable[Interceptor],
) -> tuple[list[type[WorkflowInboundInterceptor]], Mapping[str, Callable[..., Any]]]:
    """The classes of all interceptors that have one, outermost first, and the extern functions they ask for."""
    input = WorkflowInterceptorClassInput(unsafe_extern_functions={})
    classes = [each.workflow_interceptor_class(input) for each in interceptors]
    return [each for each in classes if each is not None], input.unsafe_extern_functions
