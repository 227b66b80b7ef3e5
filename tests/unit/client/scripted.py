"""A client over a connection whose answers are scripted."""

from __future__ import annotations

from typing import Any

from perdure.client import Client
from perdure.service import ConnectConfig, RetryConfig, ServiceClient
from tests.harness.connections import ScriptedConnection


def client_over(connection: ScriptedConnection, **options: Any) -> Client:
    config = ConnectConfig(
        "scripted",
        identity="me",
        retry_config=RetryConfig(initial_interval_millis=1, max_interval_millis=1),
    )
    return Client(ServiceClient(config, connection), namespace="shop", **options)
