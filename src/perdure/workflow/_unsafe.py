"""`workflow.unsafe`: for the rare code that must know about replay or step around the guard."""

from __future__ import annotations

import contextvars
from contextlib import contextmanager
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


class SandboxImportNotificationPolicy(Flag):
    """Kept for compatibility: workflow modules are imported once, normally; there is no sandbox."""

    SILENT = auto()
    WARN_ON_DYNAMIC_IMPORT = auto()
    WARN_ON_UNINTENTIONAL_PASSTHROUGH = auto()
    RAISE_ON_UNINTENTIONAL_PASSTHROUGH = auto()


class unsafe:  # the official name  # noqa: N801
    """Static functions only; most workflows need none of them."""

    def __init__(self) -> None:
        message = "workflow.unsafe is a namespace and cannot be instantiated"
        raise NotImplementedError(message)

    @staticmethod
    def is_replaying() -> bool:
        """Whether the workflow is catching up with its history; true in queries of such a run, too."""
        return _runtime.current().is_replaying()

    @staticmethod
    def is_replaying_history_events() -> bool:
        """Like `is_replaying`, but false in queries and validators, which happen now."""
        return _runtime.current().is_replaying_history_events()

    @staticmethod
    def is_read_only() -> bool:
        """Whether the calling code is a query or a validator, which must not change the workflow."""
        return _runtime.current().is_read_only()

    @staticmethod
    def in_sandbox() -> bool:
        """Always False: there is no sandbox."""
        return False

    @staticmethod
    def is_sandbox_unrestricted() -> bool:
        """Whether the determinism guard is switched off for the calling code."""
        return _unrestricted.get()

    @staticmethod
    @contextmanager
    def sandbox_unrestricted() -> Generator[None]:
        """Switch the determinism guard off for a block of code.

        What is called inside must not influence what the workflow does.
        """
        token = _unrestricted.set(True)
        try:
            yield
        finally:
            _unrestricted.reset(token)

    @staticmethod
    def is_imports_passed_through() -> bool:
        """Whether the calling code is inside `imports_passed_through`."""
        return _passed_through.get()

    @staticmethod
    @contextmanager
    def imports_passed_through() -> Generator[None]:
        """Kept for compatibility: imports always behave normally."""
        token = _passed_through.set(True)
        try:
            yield
        finally:
            _passed_through.reset(token)

    @staticmethod
    def current_import_notification_policy_override() -> SandboxImportNotificationPolicy | None:
        """Kept for compatibility: always None."""
        return None

    @staticmethod
    @contextmanager
    def sandbox_import_notification_policy(
        policy: SandboxImportNotificationPolicy,  # compatibility  # noqa: ARG004
    ) -> Generator[None]:
        """Kept for compatibility: does nothing."""
        yield


def guard_is_off() -> bool:
    """For the guard: whether the calling code asked not to be checked."""
    return _unrestricted.get()
