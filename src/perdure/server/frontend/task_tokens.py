"""Task tokens of requests: issued by this server, for a task of the namespace that the request names.

Invariant: a handler gets the token of a task only from here. A token without a seal, of an earlier version, is good for
tasks that were started before the namespace got its key, and for no other.
Not here: which task a token names and whether it still runs (`history.draft.tokens`, transitions), seals
(`server.common.seals`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from perdure.history.draft import tokens
from perdure.history.draft.tokens import ActivityTaskToken, QueryToken, TaskToken, WorkflowTaskToken
from perdure.server.common import seals
from perdure.wire.errors import InvalidArgument

if TYPE_CHECKING:
    from perdure.server.frontend.services import Services

T = TypeVar("T", WorkflowTaskToken, ActivityTaskToken, QueryToken)


class Carries(Protocol):
    """A request with a task token."""

    @property
    def namespace(self) -> str: ...
    @property
    def task_token(self) -> bytes: ...


class Opened(NamedTuple, Generic[T]):
    """A task token that may be used."""

    token: T
    started_until_ns: int
    """The attempt must have been started no later; 0: at any time, because the token is sealed."""


def issue(services: Services, token: TaskToken) -> bytes:
    """The token for a worker."""
    key = services.token_key(token.namespace_id)
    return seals.seal(tokens.encode_token(token), key, seals.TASK)


def opened(services: Services, request: Carries | Any, kind: type[T]) -> Opened[T]:
    """The token of a request. A request that names no namespace means that of its token.

    Raises:
        InvalidArgument: It is no token of this server and kind, or one of another namespace.
        NotFound: The namespace of the request does not exist.
    """
    name, sealed = request.namespace, request.task_token
    asked = services.namespace_id(name) if name else ""
    if not sealed:
        raise InvalidArgument("Task token not set on request.")
    token = tokens.decode_token(seals.body_of(sealed), kind)
    if asked and token.namespace_id != asked:
        raise InvalidArgument("Operation requested with a token from a different namespace.")
    namespace = services.engine.namespaces.by_id(token.namespace_id)
    if namespace is None:
        raise tokens.not_issued()
    if seals.is_genuine(sealed, namespace.token_key, seals.TASK):
        return Opened(token, 0)
    until_ns = namespace.unsealed_until_ns
    if seals.is_sealed(sealed) or not until_ns:
        raise tokens.not_issued()
    if isinstance(token, QueryToken):
        # Queries do not outlive the process.
        raise tokens.not_issued()
    if isinstance(token, WorkflowTaskToken) and token.started_ns > until_ns:
        # The token of an attempt with another start is refused where the run is known.
        raise tokens.not_issued()
    return Opened(token, until_ns)
