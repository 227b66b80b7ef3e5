"""A client of a service that is made of answers."""

from __future__ import annotations

import pytest

from perdure.client import Client
from tests.harness.connections import ScriptedConnection
from tests.unit.client.scripted import client_over


@pytest.fixture
def connection() -> ScriptedConnection:
    return ScriptedConnection()


@pytest.fixture
def client(connection: ScriptedConnection) -> Client:
    return client_over(connection)
