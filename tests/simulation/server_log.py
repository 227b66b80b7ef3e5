"""Watches the node's log: a logged error that is neither a store error nor an answer to a caller is a bug.

The loops of a node rightly go on after an unexpected error. This module makes the world fail.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from perdure.storage.port import StoreError
from perdure.wire.errors import RpcError
from tests.simulation.violations import Kind, require

_LOGGERS = ("perdure.server", "perdure.matching", "perdure.storage")


class ServerLog(logging.Handler):
    """Collects unexpected errors. It formats no records: a world with many faults logs thousands."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.unforeseen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, StoreError | RpcError):
            self.unforeseen.append(f"{record.msg} ({type(error).__name__}: {error})")

    @contextmanager
    def listening(self) -> Generator[None]:
        """Collect the node's errors, and silence everything else, for the length of the block."""
        disabled = logging.root.manager.disable
        logging.disable(logging.INFO)
        silenced = logging.getLogger("perdure")
        before = silenced.propagate, silenced.handlers[:]
        silenced.propagate = False
        silenced.handlers[:] = [logging.NullHandler()]
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addHandler(self)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)
            silenced.propagate, silenced.handlers[:] = before
            logging.disable(disabled)

    def check(self) -> None:
        """No unexpected error was logged.

        Raises:
            Violation: One was.
        """
        require(not self.unforeseen, Kind.UNFORESEEN, "; ".join(self.unforeseen[:3]))
