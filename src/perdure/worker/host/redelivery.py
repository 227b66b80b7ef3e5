"""Cancellations that anyio delivers in each round of the loop, until a scope's tasks have left it.

Role: a task that waits for an operation of the server stays in a cancelled scope until the server has answered, so
anyio would keep the loop busy and the activation would never end. A delivery that is repeated although nothing has
happened since the last one is deferred until something does: another step of workflow code, in this activation or in a
later one.

Invariants: only handles that anyio schedules for itself are deferred. While there is progress they run as on any loop,
because their order is part of recorded histories.
Not here: what a cancellation does to an operation (`waiting`), and which steps count (`loop`).
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import asyncio

_BY_SCOPE = ("Cancelled via cancel scope", "Cancelled by cancel scope")


def is_redelivery(callback: object) -> TypeGuard[MethodType]:
    """Whether a callback is the method with which an anyio scope cancels its tasks."""
    if type(callback) is not MethodType:
        return False
    function = callback.__func__
    return (
        getattr(function, "__name__", "") == "_deliver_cancellation"
        and getattr(function, "__module__", "") == "anyio._backends._asyncio"
    )


def is_from_scope(error: asyncio.CancelledError) -> bool:
    """Whether an anyio scope cancelled the task. Scopes do this repeatedly. anyio itself checks the text as well."""
    text = error.args[0] if error.args else None
    return isinstance(text, str) and text.startswith(_BY_SCOPE)


class Redeliveries:
    """The deferred deliveries of one loop."""

    __slots__ = ("_deferred", "_deferred_at", "_requested_at", "_runs")

    def __init__(self) -> None:
        self._runs = 0
        self._requested_at: dict[MethodType, int] = {}
        """The progress at which each delivery was last requested."""
        self._deferred: list[asyncio.Handle] = []
        self._deferred_at = 0

    def run(self, callback: MethodType, args: tuple[object, ...]) -> None:
        """Deliver; the handles call this. It does not count as progress."""
        self._runs += 1
        callback(*args)

    def take(self, handle: asyncio.Handle, callback: MethodType, steps: int) -> bool:
        """Whether a delivery may run in the loop's next round. Otherwise it is deferred.

        Args:
            handle: Calls `run`.
            callback: The delivery, which identifies the scope.
            steps: How many steps of the loop had an effect, including deliveries.
        """
        progress = steps - self._runs
        if self._requested_at.get(callback) != progress:
            self._requested_at[callback] = progress
            return True
        self._deferred.append(handle)
        self._deferred_at = progress
        return False

    def due(self, steps: int, *, is_quiet: bool) -> list[asyncio.Handle]:
        """The deferred deliveries, if there was progress since.

        Args:
            steps: As for `take`.
            is_quiet: Nothing is ready, so no delivery that ran can follow another one.
        """
        self._deferred = [handle for handle in self._deferred if not handle.cancelled()]
        if not self._deferred:
            if is_quiet:
                self._requested_at.clear()
        elif steps - self._runs != self._deferred_at:
            due, self._deferred = self._deferred, []
            return due
        return []
