"""Where the code of workflows runs in the tests that ask for `execution`: each of them runs in both ways."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.unit.worker import escapes


@pytest.fixture(params=["event_loop", "threads"])
def execution(request: pytest.FixtureRequest) -> Generator[None]:
    before, escapes.execution = escapes.execution, request.param
    yield
    escapes.execution = before
