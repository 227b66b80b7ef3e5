"""A service made of answers: implements the `Connection` seam and speaks the API's own messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from perdure.client import Client
from perdure.service import ConnectConfig, RetryConfig, ServiceClient
from perdure.wire.seam import Method

Answer = Message | BaseException | Callable[[Any], Message]


class ScriptedConnection:
    """Gives the answers that were queued for each method, the last one forever; remembers the requests."""

    polls_are_free = False

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.metadata: list[Mapping[str, str | bytes] | None] = []
        self.timeouts_ns: list[int | None] = []
        self.closed = False

    def on(self, name: str, *answers: Answer) -> None:
        self.answers.setdefault(name, []).extend(answers)

    def requests(self, name: str) -> list[Any]:
        return [request for called, request in self.calls if called == name]

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
        answers = self.answers[method.name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        response = answer(request) if callable(answer) else answer
        assert isinstance(response, method.response_type)
        return response

    async def close(self) -> None:
        self.closed = True


def client_over(connection: ScriptedConnection, **options: Any) -> Client:
    config = ConnectConfig(
        "scripted",
        identity="me",
        retry_config=RetryConfig(initial_interval_millis=1, max_interval_millis=1),
    )
    return Client(ServiceClient(config, connection), namespace="shop", **options)
