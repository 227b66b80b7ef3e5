"""One call in progress: what a handler knows about it besides the request."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from perdure.core.units import MINUTE_NS, SECOND_NS
from perdure.wire.errors import FailedPrecondition

LONG_POLL_MARGIN_NS = SECOND_NS
"""S-40: an empty answer reaches the client at least this long before it gives up."""
LONG_POLL_MIN_NS = 2 * SECOND_NS
LONG_POLL_MAX_NS = MINUTE_NS


class Call(msgspec.Struct, frozen=True):
    """The caller's headers and timeout."""

    method: str
    timeout_ns: int
    """How long the caller waits, counted from the arrival of the call."""
    metadata: Mapping[str, str | bytes] = {}

    def long_poll_ns(self, at_most_ns: int = LONG_POLL_MAX_NS) -> int:
        """How long this call may wait for a result. Raises FailedPrecondition if there is no time to wait."""
        if self.timeout_ns < LONG_POLL_MIN_NS:
            raise FailedPrecondition(
                f"Context timeout is too short. {self.method} is a long poll: "
                f"give it at least {LONG_POLL_MIN_NS // SECOND_NS} seconds."
            )
        return min(self.timeout_ns - LONG_POLL_MARGIN_NS, at_most_ns)

    def header(self, name: str) -> str:
        """A text header, or the empty string."""
        value = self.metadata.get(name, "")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
