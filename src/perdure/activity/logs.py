"""The activity logger: each record says which activity wrote it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from perdure.activity.context import Context


class LoggerAdapter(logging.LoggerAdapter[logging.Logger]):
    """A logger adapter that adds the running activity to messages and records.

    Args:
        logger: The logger to write to.
        extra: Values for the records.

    Attributes:
        activity_info_on_message: Append the details to the message. Default: True.
        activity_info_on_extra: Store them in the record as `temporal_activity`. Default: True.
        full_activity_info_on_extra: Store the whole `Info` in the record as `activity_info`. Default: False.
    """

    def __init__(self, logger: logging.Logger, extra: Mapping[str, Any] | None) -> None:
        super().__init__(logger, extra or {})
        self.activity_info_on_message = True
        self.activity_info_on_extra = True
        self.full_activity_info_on_extra = False

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        context = Context.current_or_none()
        if context is None:
            return msg, kwargs
        if self.activity_info_on_message:
            msg = f"{msg} ({context.logger_details})"
        if self.activity_info_on_extra or self.full_activity_info_on_extra:
            extra: dict[str, Any] = dict(
                kwargs.get("extra") or {}
            )  # the caller's mapping is not changed
            if self.activity_info_on_extra:
                extra["temporal_activity"] = context.logger_details
            if self.full_activity_info_on_extra:
                extra["activity_info"] = context.info()
            kwargs["extra"] = extra
        return msg, kwargs

    @property
    def base_logger(self) -> logging.Logger:
        """The logger underneath, to add handlers and levels to."""
        return self.logger


logger = LoggerAdapter(logging.getLogger("perdure.activity"), None)
"""For activity code; usable outside activities too, then without details."""
