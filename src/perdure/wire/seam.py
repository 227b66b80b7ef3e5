"""The one seam between services: a unary call with the API's messages.

Three implementations exist: gRPC (`perdure.service`), the engine in the same process (`perdure.embedded`), and the
simulated network of the test-suite. Client, worker and interceptors are written against `Connection` alone.

Invariants: errors are `perdure.wire.errors.RpcError`; cancelling a call withdraws a parked poll; messages passed to
or got from an in-process implementation are frozen: neither side changes them after the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import temporalio.api.operatorservice.v1.service_pb2 as operator_pb2
import temporalio.api.testservice.v1.service_pb2 as test_pb2
import temporalio.api.workflowservice.v1.service_pb2 as workflow_pb2
from google.protobuf import message_factory

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor
    from google.protobuf.message import Message


class Method(NamedTuple):
    """One RPC of the API. `path` is what gRPC calls the full method name."""

    service: str
    name: str
    request_type: type[Message]
    response_type: type[Message]

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


class Connection(Protocol):
    """A way to reach a Perdure (or Temporal) frontend."""

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        """Call `method`; the response is of `method.response_type`.

        Args:
            method: A row of `WORKFLOW_SERVICE`, `OPERATOR_SERVICE` or `TEST_SERVICE`.
            request: A message of `method.request_type`.
            metadata: Headers of the call.
            timeout_ns: How long the caller waits, in nanoseconds; None for the implementation's default.

        Raises:
            perdure.wire.errors.RpcError: The typed form of every gRPC status but OK.
        """
        ...

    async def close(self) -> None:
        """Release what the connection holds; calls under way end with `Unavailable`."""
        ...


def _methods(service: ServiceDescriptor) -> dict[str, Method]:
    return {
        method.name: Method(
            service.full_name,
            method.name,
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
        )
        for method in service.methods
    }


WORKFLOW_SERVICE: dict[str, Method] = _methods(workflow_pb2.DESCRIPTOR.services_by_name["WorkflowService"])
OPERATOR_SERVICE: dict[str, Method] = _methods(operator_pb2.DESCRIPTOR.services_by_name["OperatorService"])
TEST_SERVICE: dict[str, Method] = _methods(test_pb2.DESCRIPTOR.services_by_name["TestService"])

WORKFLOW_SERVICE_NAME = workflow_pb2.DESCRIPTOR.services_by_name["WorkflowService"].full_name
OPERATOR_SERVICE_NAME = operator_pb2.DESCRIPTOR.services_by_name["OperatorService"].full_name
TEST_SERVICE_NAME = test_pb2.DESCRIPTOR.services_by_name["TestService"].full_name
