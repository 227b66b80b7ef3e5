"""`workflow.unsafe`: for the few programs that must know about replay or bypass the determinism guard."""

from __future__ import annotations

import contextvars
from contextlib import contextmanager, suppress
from enum import Flag, auto
from typing import TYPE_CHECKING

from perdure.workflow import _runtime

if TYPE_CHECKING:
    from collections.abc import Generator

_unrestricted: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "perdure_unrestricted", default=False
)
_passed_through: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "perdure_imports_passed_through", default=False
)


@contextmanager
def _set(variable: contextvars.ContextVar[bool]) -> Generator[None]:
    token = variable.set(True)
    try:
        yield
    finally:
        # Code that was given up may be closed in another context, where there is nothing to take back.
        with suppress(ValueError):
            variable.reset(token)


class SandboxImportNotificationPolicy(Flag):
    """Kept for compatibility. Workflow modules are imported once, in the normal way; there is no sandbox.

    Attributes:
        SILENT: No effect.
        WARN_ON_DYNAMIC_IMPORT: No effect.
        WARN_ON_UNINTENTIONAL_PASSTHROUGH: No effect.
        RAISE_ON_UNINTENTIONAL_PASSTHROUGH: No effect.
    """

    SILENT = auto()
    WARN_ON_DYNAMIC_IMPORT = auto()
    WARN_ON_UNINTENTIONAL_PASSTHROUGH = auto()
    RAISE_ON_UNINTENTIONAL_PASSTHROUGH = auto()


class unsafe:  # the official name  # noqa: N801
    """A namespace of functions that most workflows do not need.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> bool:
                return workflow.unsafe.is_replaying()


        async with Worker(client, task_queue="orders", workflows=[Order]):
            assert not await client.execute_workflow(Order.run, id="order-7", task_queue="orders")
        ```

    Raises:
        NotImplementedError: It is instantiated.
    """

    def __init__(self) -> None:
        message = "workflow.unsafe is a namespace and cannot be instantiated"
        raise NotImplementedError(message)

    @staticmethod
    def is_replaying() -> bool:
        """Whether the workflow is catching up with its history. Also true in queries of such a run.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return _runtime.current().is_replaying()

    @staticmethod
    def is_replaying_history_events() -> bool:
        """Like `is_replaying`, but false in queries and update validators, which are never replayed.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return _runtime.current().is_replaying_history_events()

    @staticmethod
    def is_read_only() -> bool:
        """Whether the calling code is a query handler or an update validator, which must not change the workflow.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return _runtime.current().is_read_only()

    @staticmethod
    def in_sandbox() -> bool:
        """Always False, because there is no sandbox."""
        return False

    @staticmethod
    def is_sandbox_unrestricted() -> bool:
        """Whether the determinism guard is switched off for the calling code."""
        return _unrestricted.get()

    @staticmethod
    @contextmanager
    def sandbox_unrestricted() -> Generator[None]:
        """Switch the determinism guard off for a block of code.

        What the block does must not influence the workflow's commands.
        """
        with _set(_unrestricted):
            yield

    @staticmethod
    def is_imports_passed_through() -> bool:
        """Whether the calling code is inside `imports_passed_through`. Kept for compatibility."""
        return _passed_through.get()

    @staticmethod
    @contextmanager
    def imports_passed_through() -> Generator[None]:
        """Kept for compatibility. Imports always work in the normal way."""
        with _set(_passed_through):
            yield

    @staticmethod
    def current_import_notification_policy_override() -> SandboxImportNotificationPolicy | None:
        """Kept for compatibility. Always None."""
        return None

    @staticmethod
    @contextmanager
    def sandbox_import_notification_policy(
        policy: SandboxImportNotificationPolicy,  # compatibility  # noqa: ARG004
    ) -> Generator[None]:
        """Kept for compatibility. Has no effect.

        Args:
            policy: Ignored.
        """
        yield


def guard_is_off() -> bool:
    """For the guard: whether the calling code is exempt from checks."""
    return _unrestricted.get()
