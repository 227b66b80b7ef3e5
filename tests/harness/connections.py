"""Services made of answers: they implement the `Connection` seam and speak the API's own messages."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from perdure.wire.seam import Method

Answer = Message | BaseException | Callable[[Any], Message | Awaitable[Message]]


class ScriptedConnection:
    """Gives the answers that were queued for each method, the last one forever; remembers the calls.

    An answer is a message, an error to raise, or a function of the request that returns or raises one, or returns an
    awaitable.
    """

    polls_are_free = False
    inline_workers = None

    def __init__(self, **answers: Answer) -> None:
        self.answers: dict[str, list[Answer]] = {name: [each] for name, each in answers.items()}
        self.calls: list[tuple[str, Any]] = []
        self.metadata: list[Mapping[str, str | bytes] | None] = []
        self.timeouts_ns: list[int | None] = []
        self.is_closed = False

    def on(self, name: str, *answers: Answer) -> None:
        self.answers.setdefault(name, []).extend(answers)

    def requests(self, name: str) -> list[Any]:
        return [request for called, request in self.calls if called == name]

    @property
    def settings(self) -> list[tuple[Mapping[str, str | bytes] | None, int | None]]:
        """Metadata and time-out of each call."""
        return list(zip(self.metadata, self.timeouts_ns, strict=True))

    async def call(
        self,
        method: Method,
        request: Message,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout_ns: int | None = None,
    ) -> Message:
        assert isinstance(request, method.request_type)
        copy = method.request_type.FromString(request.SerializeToString())
        self.calls.append((method.name, copy))
        self.metadata.append(metadata)
        self.timeouts_ns.append(timeout_ns)
        answers = self.answers.get(method.name)
        if answers is None:
            return await self.unscripted(method)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        response = answer if isinstance(answer, Message) else answer(copy)
        if inspect.isawaitable(response):
            response = await response
        assert isinstance(response, method.response_type)
        return response

    async def unscripted(self, method: Method) -> Message:
        """A call of a method without answers."""
        raise AssertionError(f"no answer for {method.name}")

    async def close(self) -> None:
        self.is_closed = True
