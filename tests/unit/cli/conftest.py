from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Generator

import pytest

from tests.unit.cli.engine import Engine, environment
from tests.unit.cli.table import Bench


@pytest.fixture(scope="module")
def engine() -> Generator[Engine]:
    with environment():
        running = Engine()
        running.start()
        yield running
        running.stop()


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)


@pytest.fixture
def process() -> Generator[None]:
    """What a command that serves changes in its process is put back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    threshold = gc.get_threshold()
    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    gc.set_threshold(*threshold)
    gc.unfreeze()
    for number, handler in handled.items():
        signal.signal(number, handler)
