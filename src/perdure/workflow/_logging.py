"""`workflow.logger`: log records with the workflow's identity, and silence while replaying."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from perdure.workflow import _runtime
from perdure.workflow._runtime import current_update_info
from perdure.workflow._unsafe import unsafe

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    LoggerBase = logging.LoggerAdapter[logging.Logger]
else:
    LoggerBase = logging.LoggerAdapter


class LoggerAdapter(LoggerBase):
    """A logger adapter that adds the running workflow's identity to log records. It is silent during replay.

    Values of `extra` given with a call override those added here.

    Args:
        logger: The logger to write to.
        extra: Values for the records.

    Attributes:
        workflow_info_on_message: Append the workflow's identity to the message. Default: True.
        workflow_info_on_extra: Store it in the record as `temporal_workflow`. Default: True.
        full_workflow_info_on_extra: Store the whole `Info` in the record as `workflow_info`. Default: False.
        log_during_replay: Also log during replay. Default: False.
        disable_sandbox: Kept for compatibility; there is no sandbox.
    """

    def __init__(self, logger: logging.Logger, extra: Mapping[str, Any] | None) -> None:
        super().__init__(logger, dict(extra or {}))
        self.workflow_info_on_message = True
        self.workflow_info_on_extra = True
        self.full_workflow_info_on_extra = False
        self.log_during_replay = False
        self.disable_sandbox = False

    @override
    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        runtime = _runtime.maybe_current()
        details: dict[str, Any] = dict(runtime.logger_details()) if runtime else {}
        update = current_update_info()
        if update is not None:
            details.update(update.logger_details())
        extra: dict[str, Any] = {}
        if details and self.workflow_info_on_extra:
            extra["temporal_workflow"] = details
        if runtime is not None and self.full_workflow_info_on_extra:
            extra["workflow_info"] = runtime.info()
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        if details and self.workflow_info_on_message:
            msg = f"{msg} ({details})"
        return msg, kwargs

    @override
    def isEnabledFor(self, level: int) -> bool:
        runtime = _runtime.maybe_current()
        if runtime is None:
            return super().isEnabledFor(level)
        if not self.log_during_replay and runtime.is_replaying_history_events():
            return False
        return super().isEnabledFor(level)

    @override
    def log(self, level: int, msg: object, *args: Any, stacklevel: int = 1, **kwargs: Any) -> None:
        if _runtime.maybe_current() is None:
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **kwargs)
            return
        # Log handlers may write files and read clocks. The guard must not blame the workflow for it.
        with unsafe.sandbox_unrestricted():
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **kwargs)

    @property
    def base_logger(self) -> logging.Logger:
        """The logger underneath, to add handlers and formatters to."""
        return self.logger

    def unsafe_disable_sandbox(self, value: bool = True) -> None:
        """Kept for compatibility; there is no sandbox.

        Args:
            value: Stored in `disable_sandbox`.
        """
        self.disable_sandbox = value


logger = LoggerAdapter(logging.getLogger("perdure.workflow"), None)
"""Logger for workflow code: records carry the workflow's identity; silent while replaying."""
