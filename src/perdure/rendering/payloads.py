"""Payloads and failures as people read them, and command-line input as payloads. Pure.

Role: JSON payloads are shown as JSON, anything else by its encoding and size (base64 where the whole value is asked
for). Input is passed on byte for byte, so that a number too large for a float arrives as it was typed.
Not here: codecs; what a codec encrypted is shown as `<binary/encrypted, 123 bytes>`.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from perdure.wire.api import common

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perdure.wire.api import failure

JSON_ENCODINGS = ("json/plain", "json/protobuf")
CAUSES_SHOWN_MAX = 10


def encoding_of(payload: common.Payload) -> str:
    return payload.metadata.get("encoding", b"").decode("utf-8", "replace")


def value(payload: common.Payload) -> object:
    """The JSON value of a payload; for other encodings an object with encoding and base64 data."""
    encoding = encoding_of(payload)
    if encoding == "binary/null":
        return None
    if encoding in JSON_ENCODINGS:
        try:
            return json.loads(payload.data)
        except (ValueError, RecursionError):
            encoding = f"{encoding} (damaged)"
    return {"encoding": encoding or "unknown", "data": base64.b64encode(payload.data).decode()}


def text(payload: common.Payload) -> str:
    """One line: the JSON text, or encoding and size."""
    encoding = encoding_of(payload)
    if encoding == "binary/null":
        return "null"
    if encoding in JSON_ENCODINGS:
        try:
            return json.dumps(json.loads(payload.data), ensure_ascii=False)
        except (ValueError, RecursionError):
            encoding = f"{encoding}, damaged"
    return f"<{encoding or 'no encoding'}, {len(payload.data)} bytes>"


def texts(payloads: Iterable[common.Payload]) -> str:
    """Arguments as in a call: `"World", 3`."""
    return ", ".join(text(payload) for payload in payloads)


def failure_text(problem: failure.Failure) -> str:
    """One line: the failure's type and message, then its causes: `Declined: no funds ← Timeout: 5 s`."""
    parts: list[str] = []
    current: failure.Failure | None = problem
    while current is not None and len(parts) < CAUSES_SHOWN_MAX:
        parts.append(_one_failure(current))
        current = current.cause if current.HasField("cause") else None
    return " ← ".join(parts)


def _one_failure(problem: failure.Failure) -> str:
    kind = problem.WhichOneof("failure_info") or ""
    message = " ".join(problem.message.split())
    match kind:
        case "application_failure_info":
            name = problem.application_failure_info.type or "ApplicationError"
        case "activity_failure_info":
            info = problem.activity_failure_info
            name = f"activity {info.activity_type.name}"
        case "child_workflow_execution_failure_info":
            name = f"child {problem.child_workflow_execution_failure_info.workflow_type.name}"
        case _:
            name = "".join(
                word.capitalize() for word in kind.removesuffix("_failure_info").split("_")
            )
    return f"{name}: {message}" if name and message else name or message or "failure"


class InputError(ValueError):
    """An `--input` that cannot be used; the message says what to write."""


def inputs(
    values: Sequence[str], metadata: Sequence[str], *, is_base64: bool
) -> list[common.Payload]:
    """Payloads of the command line's inputs, one per argument.

    Args:
        values: JSON texts, or base64 of anything.
        metadata: `KEY=VALUE` pairs; a repeated key applies to the inputs in order. `encoding` defaults to json/plain.
        is_base64: Decode the values first.

    Raises:
        InputError: Not JSON (while the encoding is JSON), not base64, not UTF-8, or a pair without `=`.
    """
    by_key: dict[str, list[str]] = {}
    for pair in metadata:
        key, equals, content = pair.partition("=")
        if not (key and equals):
            raise InputError(f"--input-meta {pair!r} is not KEY=VALUE")
        by_key.setdefault(key, []).append(content)
    by_key.setdefault("encoding", ["json/plain"])
    payloads: list[common.Payload] = []
    for index, content in enumerate(values):
        # With fewer values than inputs the last one stays in force.
        meta = {key: _encoded(texts[min(index, len(texts) - 1)]) for key, texts in by_key.items()}
        data = _decode_base64(content) if is_base64 else _encoded(content)
        if meta["encoding"].decode() in JSON_ENCODINGS:
            _check_json(data, index)
        payloads.append(common.Payload(metadata=meta, data=data))
    return payloads


def _encoded(content: str) -> bytes:
    try:
        return content.encode()
    except UnicodeEncodeError:
        # What a shell hands over that is not UTF-8 arrives as surrogates.
        raise InputError(
            "an input is not UTF-8 text; send other bytes with --input-base64"
        ) from None


def _decode_base64(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:  # binascii.Error is one of its kinds
        raise InputError("--input-base64 was given, but an input is not base64") from None


def _check_json(data: bytes, index: int) -> None:
    try:
        json.loads(data)
    except RecursionError:
        raise InputError(f"input {index + 1} is nested too deeply") from None
    except ValueError:
        raise InputError(
            f"input {index + 1} is not JSON; a text needs its own quotes: --input '\"World\"' "
            "(or name another encoding with --input-meta encoding=...)"
        ) from None


def pairs(flag: str, values: Sequence[str]) -> dict[str, object]:
    """`KEY=JSON` pairs, as --memo and --search-attribute take them.

    Raises:
        InputError: A pair without `=`, or a value that is not JSON.
    """
    found: dict[str, object] = {}
    for pair in values:
        key, equals, content = pair.partition("=")
        if not (key and equals):
            raise InputError(f"{flag} {pair!r} is not KEY=VALUE")
        try:
            found[key] = json.loads(content)
        except RecursionError:
            raise InputError(f"{flag} {key}: the value is nested too deeply") from None
        except ValueError:
            raise InputError(
                f"{flag} {key}: the value is not JSON; a text needs its own quotes: {key}='\"text\"'"
            ) from None
    return found
