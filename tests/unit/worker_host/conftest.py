"""Closes every driven run: what is left of one must not be finished by the garbage collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.worker_host.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def close_drivers() -> Iterator[None]:
    yield
    while Driver.opened:
        Driver.opened.pop().host.close()
