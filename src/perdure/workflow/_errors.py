"""Errors and small enumerations of the workflow vocabulary.

Not here: the errors of activities and children (`perdure.exceptions`).
"""

from __future__ import annotations

from enum import Enum, IntEnum

from perdure.exceptions import TemporalError

__all__ = [
    "ContinueAsNewError",
    "ContinueAsNewVersioningBehavior",
    "NonDeterministicCall",
    "NondeterminismError",
    "NotInWorkflowEventLoopError",
    "ReadOnlyContextError",
    "VersioningIntent",
]


class NondeterminismError(TemporalError):
    """The workflow's code no longer matches the run's history.

    Args:
        message: What the code did, and what the history has at that place.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NonDeterministicCall(TemporalError):
    """Workflow code called something whose answer may differ on replay: a clock, I/O, a thread.

    The workflow task fails, not the workflow: the run continues once corrected code is deployed.

    Args:
        message: The line of the call, and what to call instead.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ReadOnlyContextError(TemporalError):
    """A query handler or an update validator tried to change the workflow.

    Args:
        message: What it tried to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotInWorkflowEventLoopError(TemporalError):
    """A function of `perdure.workflow` was called outside a workflow."""

    def __init__(self, *_args: object) -> None:
        self.message = "Not in workflow event loop"
        super().__init__(self.message)


class ContinueAsNewError(BaseException):
    """Raised by `continue_as_new` to unwind the workflow. Do not catch or construct it.

    Args:
        args: Only for the library's own subclass.

    Raises:
        RuntimeError: It is constructed directly.
    """

    def __init__(self, *args: object) -> None:
        if type(self) is ContinueAsNewError:
            message = "ContinueAsNewError cannot be raised; call workflow.continue_as_new instead"
            raise RuntimeError(message)
        super().__init__(*args)


class VersioningIntent(Enum):
    """Whether a command stays on workers with a compatible build id. Deprecated: use worker deployments.

    Attributes:
        COMPATIBLE: Only workers whose build id is compatible.
        DEFAULT: Any worker of the task queue's default version.
    """

    COMPATIBLE = 1
    DEFAULT = 2


class ContinueAsNewVersioningBehavior(IntEnum):
    """How the first task of a continued run picks its deployment version. Experimental.

    Attributes:
        UNSPECIFIED: As the run before it.
        AUTO_UPGRADE: The current version of the deployment.
        USE_RAMPING_VERSION: The version that is being ramped up, if there is one.
    """

    UNSPECIFIED = 0
    AUTO_UPGRADE = 1
    USE_RAMPING_VERSION = 2
