"""The simulation notices when a guard of the server is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.mutations import MUTATIONS, SEEDS_DEFAULT, catch, draw

pytestmark = pytest.mark.simulation


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("guard", MUTATIONS)
def test_a_removed_guard_is_noticed(guard: str) -> None:
    found = catch(MUTATIONS[guard], draw(0, SEEDS_DEFAULT))
    assert found is not None, (
        f"no world of {SEEDS_DEFAULT} seeds differs without the guard {guard!r}"
    )
