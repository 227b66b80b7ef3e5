"""Plugins: one object that configures clients (and, when it is a worker plugin too, workers)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from perdure.service import ConnectConfig, ServiceClient

if TYPE_CHECKING:
    from perdure.client.config import ClientConfig


class Plugin(ABC):
    """Changes how clients are configured and connected. Earlier plugins wrap later ones."""

    def name(self) -> str:
        """The plugin's name: module and class unless overridden."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @abstractmethod
    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """The configuration to use instead of `config` (which may be changed and returned)."""

    @abstractmethod
    async def connect_service_client(
        self,
        config: ConnectConfig,
        next: Callable[[ConnectConfig], Awaitable[ServiceClient]],
    ) -> ServiceClient:
        """Connect, usually through ``await next(config)``."""
