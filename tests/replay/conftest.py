"""The official core, and how many random histories to try."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.replay.oracle.ours import Oracle


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options by hand: ``pytest tests/replay --histories 20000``; elsewhere the environment."""
    parser.addoption("--histories", type=int, help="how many random histories to compare")
    parser.addoption("--first-history", type=int, help="seed of the first of them")


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> range:
    """Seeds of the random histories. The options exist only when this folder is named."""
    count: int | None = request.config.getoption("--histories", default=None)
    first: int | None = request.config.getoption("--first-history", default=None)
    start = first or 0
    return range(start, start + (count or int(os.environ.get("PERDURE_HISTORIES", "1000"))))


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running
