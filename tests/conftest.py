"""Settings shared by all tests.

Hypothesis: no deadlines (a noisy machine is not a bug), and in CI the same examples every time, so that a red build is
red again on the next machine. Locally it explores, and remembers what failed in `.hypothesis/`.
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
        help="rewrite transcripts and replay scripts as the engine behaves",
    )
    parser.addoption(
        "--rounds",
        type=int,
        default=25,
        help="how often the kill campaign kills (tests/e2e/test_kill.py)",
    )
    parser.addoption(
        "--seeds",
        type=int,
        default=200,
        help="how many worlds the simulation plays (tests/simulation)",
    )
    parser.addoption("--seed", type=int, default=None, help="the one world to play again")
