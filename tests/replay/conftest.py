"""Where the recorded histories are, and how many random ones to try."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replay.oracle.ours import Oracle

RECORDED = Path(__file__).parents[3] / "shared" / "histories" / "official"


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


def recorded_histories() -> list[Path]:
    """Histories recorded with the official SDK; they are kept beside the repository."""
    return sorted(RECORDED.glob("*.json"))


@pytest.fixture(scope="session")
def golden() -> list[Path]:
    found = recorded_histories()
    if not found and os.environ.get("CI"):
        pytest.fail(f"CI needs the recorded histories in {RECORDED}")
    if not found:
        pytest.skip(f"no recorded histories in {RECORDED}: a plain clone does not carry them")
    return found


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running
