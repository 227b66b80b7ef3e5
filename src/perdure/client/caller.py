"""What requests are made from.

`Caller` is a value: the settings that are part of every request. `CallingClient` is the client as iterators and update
handles see it. They call the service directly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perdure.converter import DataConverter, WorkflowSerializationContext
from perdure.service import ServiceClient


@dataclass(frozen=True)
class Caller:
    """Identity, namespace and conversion for requests."""

    namespace: str
    identity: str
    data_converter: DataConverter
    encodes_headers: bool

    def converter_for(self, workflow_id: str) -> DataConverter:
        """The data converter with the workflow's context."""
        context = WorkflowSerializationContext(namespace=self.namespace, workflow_id=workflow_id)
        return self.data_converter.with_context(context)


class CallingClient(Protocol):
    """A client that calls the service without its interceptors."""

    @property
    def caller(self) -> Caller:
        """What requests are made from."""
        ...

    @property
    def service_client(self) -> ServiceClient:
        """The service client."""
        ...
