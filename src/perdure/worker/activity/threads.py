"""Sync activities in threads: the call, and a cancellation that is raised inside the running thread.

CPython delivers the exception at the next bytecode of that thread; a blocking call in C delays it. `shielded` holds it
back (`activity.shield_thread_cancel_exception`). Not here: which activities run, and what cancels them.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from perdure.core.capi import raise_in_thread


class ThreadRaiser:
    """Raises an exception type in the thread that runs one activity, at most once, and never after it ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread_id: int | None = None
        self._pending: type[BaseException] | None = None
        self._shields = 0

    @contextmanager
    def running_here(self) -> Generator[None]:
        """Mark this thread as the one to raise in, for the length of the block."""
        with self._lock:
            self._thread_id = threading.get_ident()
            self._deliver()
        try:
            yield
        finally:
            with self._lock:
                self._thread_id = None
                self._pending = None

    def raise_in_thread(self, kind: type[BaseException]) -> None:
        """Raise now, or when the thread starts or the outermost shield ends."""
        with self._lock:
            self._pending = kind
            self._deliver()

    @contextmanager
    def shielded(self) -> Generator[None]:
        with self._lock:
            self._shields += 1
        try:
            yield
        finally:
            with self._lock:
                self._shields -= 1
                self._deliver()

    def _deliver(self) -> None:
        if self._thread_id is None or self._pending is None or self._shields:
            return
        kind, self._pending = self._pending, None
        raise_in_thread(self._thread_id, kind)
