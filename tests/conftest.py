"""Settings and options of all tests.

Hypothesis has no deadlines, because a slow machine is not a bug. In CI it draws the same examples every time, so that a
failure can be reproduced. Locally it draws new ones, and keeps failing examples in `.hypothesis/`.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

pytest_plugins = ["tests.time_limits", "tests.parsing"]

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update",
        action="store_true",
        help="rewrite transcripts and replay scripts to match what the engine does",
    )
    parser.addoption(
        "--rounds",
        type=int,
        default=25,
        help="how many kills tests/e2e/test_kill.py makes",
    )
    parser.addoption(
        "--seeds",
        type=int,
        default=None,
        help="how many seeds tests/simulation and tests/fuzz play; by default few",
    )
    parser.addoption("--seed", type=int, default=None, help="the only seed to play")
