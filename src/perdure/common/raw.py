"""A payload that the converter leaves alone."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.wire.api import common as common_pb

# First byte of the pickled form: room for another form later.
_PICKLE_VERSION = b"1"


@dataclass(frozen=True)
class RawValue:
    """A payload without conversion: a parameter or result type for code that converts by itself.

    The payload codec still applies; only the payload converter does not.

    Attributes:
        payload: The payload message.

    Example:
        ```python
        from collections.abc import Sequence

        from perdure.common import RawValue


        @workflow.defn(dynamic=True)
        class AnyWorkflow:
            @workflow.run
            async def run(self, args: Sequence[RawValue]) -> str:
                number = workflow.payload_converter().from_payload(args[0].payload, int)
                return f"{workflow.info().workflow_type} {number}"


        async with Worker(client, task_queue="orders", workflows=[AnyWorkflow]):
            result = await client.execute_workflow("Refund", 7, id="refund-7", task_queue="orders")
        assert result == "Refund 7"
        ```
    """

    payload: common_pb.Payload

    def __getstate__(self) -> object:
        return _PICKLE_VERSION + self.payload.SerializeToString()

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, bytes):
            raise TypeError(f"Expected bytes state, got {type(state)}")
        if not state.startswith(_PICKLE_VERSION):
            raise ValueError("Bad version prefix")
        object.__setattr__(self, "payload", common_pb.Payload.FromString(state[1:]))
