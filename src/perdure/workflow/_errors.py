"""Errors and small enumerations of the workflow vocabulary.

Not here: failures of activities and children; those are `perdure.exceptions`.
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
    """The workflow's code does not do what the run's history says that it did."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NonDeterministicCall(TemporalError):
    """Workflow code called something whose answer can differ on replay (a clock, I/O, a thread).

    The message names the line and says what to call instead. It fails the workflow task, not the
    workflow: the run goes on once corrected code is deployed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ReadOnlyContextError(TemporalError):
    """A query or an update validator tried to change the workflow."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotInWorkflowEventLoopError(TemporalError):
    """A function of `perdure.workflow` was called outside a workflow."""

    def __init__(self, *_args: object) -> None:
        self.message = "Not in workflow event loop"
        super().__init__(self.message)


class ContinueAsNewError(BaseException):
    """Raised by `continue_as_new` to unwind the workflow; not to be caught or constructed by users."""

    def __init__(self, *args: object) -> None:
        if type(self) is ContinueAsNewError:
            message = "ContinueAsNewError cannot be raised; call workflow.continue_as_new instead"
            raise RuntimeError(message)
        super().__init__(*args)


class VersioningIntent(Enum):
    """Whether a command should stay on a worker with a compatible build id (legacy versioning)."""

    COMPATIBLE = 1
    DEFAULT = 2


class ContinueAsNewVersioningBehavior(IntEnum):
    """How the first task of a continued run picks its deployment version (experimental)."""

    UNSPECIFIED = 0
    AUTO_UPGRADE = 1
    USE_RAMPING_VERSION = 2
