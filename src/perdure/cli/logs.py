"""Logging of the commands: one readable line per record on stderr, or one JSON object.

This is the only place in Perdure that configures logging. Only commands call it, so the configuration of programs that
use the library is never changed.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from perdure.rendering.visible import visible

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "never": logging.CRITICAL + 1,
}
FORMATS = ("text", "json", "pretty")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, and the `extra` fields that are plain values."""

    converter = staticmethod(time.gmtime)
    """A worker's determinism guard makes it a function of Python, which a class would turn into a method."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {
            key: value
            for key, value in vars(record).items()
            if key not in _STANDARD and isinstance(value, str | int | float | bool)
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return visible(json.dumps(entry, ensure_ascii=False))


class TextFormatter(logging.Formatter):
    """One line, then the lines of an exception. Ids and messages of others cannot steer the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        return visible(super().formatMessage(record), keep_lines=True)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name in logging
        return visible(super().formatException(ei), keep_lines=True)


def set_up(level: str, log_format: str) -> None:
    """Send the records of the whole process to stderr.

    Args:
        level: A key of `LEVELS`.
        log_format: `text` (or `pretty`, its name elsewhere) or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        text = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s  %(message)s"
        handler.setFormatter(TextFormatter(text, datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
