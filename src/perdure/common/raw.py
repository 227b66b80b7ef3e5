"""A payload that the converter leaves alone."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.wire.api import common as common_pb

# First byte of the pickled form: room for another form later.
_PICKLE_VERSION = b"1"


@dataclass(frozen=True)
class RawValue:
    """A payload as it is: a parameter or result type for code that converts by itself.

    The payload codec still applies; only the payload converter is passed by.

    Attributes:
        payload: The payload message.
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
