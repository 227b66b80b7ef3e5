"""The headers of every call."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perdure import __version__

_KEY = re.compile(r"[0-9a-z_.-]+")
CLIENT_NAME = "perdure-python"
"""The client's name. It is not an official one, because servers refuse old versions of clients that they know."""


def base_headers(
    rpc_metadata: Mapping[str, str | bytes], api_key: str | None
) -> dict[str, str | bytes]:
    """The headers that identify the caller, with the API key and the user's own headers.

    Raises:
        TypeError: Metadata is malformed.
    """
    validate_metadata(rpc_metadata)
    headers: dict[str, str | bytes] = {
        "client-name": CLIENT_NAME,
        "client-version": __version__,
    }
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable()):
            raise TypeError("The API key must be printable ASCII")
        headers["authorization"] = f"Bearer {api_key}"
    headers.update(rpc_metadata)
    return headers


def is_header_text(value: str) -> bool:
    """Whether a header can have this value: printable ASCII, and something."""
    return value.isascii() and value.isprintable() and bool(value)


def validate_metadata(metadata: Mapping[str, str | bytes]) -> None:
    """Check keys and values against the rules of gRPC.

    Raises:
        TypeError: A key is not lower-case ASCII, or a value does not fit the key: bytes for `…-bin`, printable ASCII
            text otherwise.
    """
    for key, value in metadata.items():
        if not _KEY.fullmatch(key):
            raise TypeError(
                f"RPC metadata key {key!r} must consist of lower-case ASCII letters, digits, '-', '_' and '.'"
            )
        if key.endswith("-bin") != isinstance(value, bytes):
            raise TypeError(
                f"RPC metadata {key!r}: keys that end in '-bin' take bytes, all others take str"
            )
        if isinstance(value, str) and not is_header_text(value) and value:
            # The transport would refuse it too, but its error does not name the key. The value may be a secret.
            raise TypeError(f"RPC metadata {key!r}: the value must be printable ASCII")
