"""A pytest plugin that keeps the garbage collector out of coverage.

Coverage holds a lock while it takes over what was traced. When the collector runs there, a finalizer that is traced
wants the same lock, and the process waits for itself. So nothing is collected while a test runs, and young objects are
collected after it. It is loaded with `-p tests.planting.collecting`, for recordings only.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

TESTS_BETWEEN_FULL_COLLECTIONS = 200

_tests = 0


def pytest_sessionstart() -> None:
    gc.disable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    global _tests  # noqa: PLW0603 - one count for one process
    gc.disable()  # a test may have turned it on again
    try:
        return (yield)
    finally:
        _tests += 1
        gc.collect(2 if _tests % TESTS_BETWEEN_FULL_COLLECTIONS == 0 else 1)
