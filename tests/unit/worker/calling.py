"""A worker's calls over a scripted connection that keeps metadata and time-outs, and a codec to see them sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdure.converter import PayloadCodec
from perdure.wire import errors
from perdure.wire.api import common, workflowservice
from perdure.worker.polling.rpc import WorkerRpc
from tests.unit.worker.scripted import ScriptedConnection

if TYPE_CHECKING:
    from perdure.worker.polling.run_codec import RunCodec

PAYLOADS = common.Payloads(payloads=[common.Payload(data=b"value")])
SEALED = common.Payloads(payloads=[common.Payload(data=b"sealed value")])
TOO_LARGE = errors.ResourceExhausted("grpc: received message larger than max (2 vs. 1)")
REFUSED = errors.InvalidArgument("bad token")
DOWN = errors.Unavailable("down")


class Codec(PayloadCodec):
    """Marks what it encoded; what has no mark is no message of its own."""

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [common.Payload(data=b"sealed " + each.data) for each in payloads]

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        return [common.Payload(data=each.data.removeprefix(b"sealed ")) for each in payloads]


class Broken(Codec):
    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        raise LookupError("no key")


def rpc_over(
    codec: PayloadCodec | None = None, **answers: Callable[[Any], Any]
) -> tuple[WorkerRpc, ScriptedConnection]:
    connection = ScriptedConnection(**answers)
    rpc = WorkerRpc(
        connection,
        namespace="ns",
        identity="me",
        instance_key="key",
        build_id="build",
        codec=codec,
    )
    return rpc, connection


def codec_of(rpc: WorkerRpc) -> RunCodec:
    return rpc.codec_of(workflowservice.PollWorkflowTaskQueueResponse())


def raising(*outcomes: Exception | None) -> Any:
    """An answer that raises these errors one after the other, and ends with empty messages."""
    left = list(outcomes)

    def answer(request: Any) -> Any:
        outcome = left.pop(0) if left else None
        if outcome is not None:
            raise outcome
        name = type(request).__name__.replace("Request", "Response")
        return getattr(workflowservice, name)()

    return answer
