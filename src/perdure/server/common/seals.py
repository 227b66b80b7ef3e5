"""Seals of tokens: what a caller hands back was issued by this server, for this namespace and purpose.

Role: a token is its body behind a mark and a keyed hash of it. Each namespace has a key of its own, so a token of one
namespace is worth nothing in another. Tokens of earlier versions are the body alone: msgpack, which no mark begins.
Invariant: keys and hashes are never logged. Not here: what is in a body, and which unsealed tokens are still good
(`frontend.task_tokens`, `frontend.pages`).
"""

from __future__ import annotations

import hmac
from hashlib import blake2b

TASK = b"perdure task"
PAGE = b"perdure page"

_MARK = b"\xc1"
"""The one byte that msgpack never uses."""
_HASH_BYTES = 16
_HEAD_BYTES = 1 + _HASH_BYTES
_NO_CONTEXT = bytes(4)
"""The length of an empty context, which those of all task tokens are."""


def seal(body: bytes, key: bytes, purpose: bytes, context: str = "") -> bytes:
    """The token with this body.

    Args:
        body: What the server wants back.
        key: Of the namespace. Without one, as on a node that has not been told of it yet, there is no seal.
        purpose: `TASK` or `PAGE`.
        context: What the token may be used for; `is_genuine` must get the same.
    """
    return _MARK + _hash(body, key, purpose, context) + body if key else body


def is_sealed(token: bytes) -> bool:
    return token[:1] == _MARK


def is_genuine(token: bytes, key: bytes, purpose: bytes, context: str = "") -> bool:
    """Whether `seal` made the token, with the same key, purpose and context."""
    if not key or token[:1] != _MARK:
        return False
    expected = _hash(token[_HEAD_BYTES:], key, purpose, context)
    return hmac.compare_digest(token[1:_HEAD_BYTES], expected)


def body_of(token: bytes) -> bytes:
    """The body, whether the seal is genuine or not."""
    return token[_HEAD_BYTES:] if token[:1] == _MARK else token


def _hash(body: bytes, key: bytes, purpose: bytes, context: str) -> bytes:
    head = _NO_CONTEXT
    if context:
        told = context.encode("utf-8", "surrogatepass")
        head = len(told).to_bytes(4, "big") + told
    return blake2b(head + body, key=key, person=purpose, digest_size=_HASH_BYTES).digest()
