from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from perdure.storage.sqlite import open_memory
from tests.unit.server.world import World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    opened = await open_world(open_memory())
    yield opened
    opened.faults.gate.set()
    opened.faults.load_gate.set()
    opened.faults.is_full = False
    await opened.node.close()
