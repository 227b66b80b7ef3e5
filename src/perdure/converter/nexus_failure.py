"""Errors of Nexus handlers (`nexusrpc.HandlerError`) to failures and back.

`nexusrpc` is imported only when such a failure arrives: an exception of its types cannot exist before that.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from google.protobuf import json_format

from perdure.converter.payload import PayloadConverter
from perdure.wire.api import common as common_pb
from perdure.wire.api import enums
from perdure.wire.api import failure as failure_pb
from perdure.wire.failures import valid_text

if TYPE_CHECKING:
    import nexusrpc

_logger = logging.getLogger(__name__)

# How a Nexus failure says that its details are a failure message of this API.
_FAILURE_TYPE = "temporal.api.failure.v1.Failure"

_Retry = enums.NexusHandlerErrorRetryBehavior
_RETRY_BEHAVIORS: dict[bool | None, enums.NexusHandlerErrorRetryBehavior.ValueType] = {
    None: _Retry.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_UNSPECIFIED,
    True: _Retry.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_RETRYABLE,
    False: _Retry.NEXUS_HANDLER_ERROR_RETRY_BEHAVIOR_NON_RETRYABLE,
}
_RETRYABLE_OVERRIDES: dict[int, bool | None] = {v: k for k, v in _RETRY_BEHAVIORS.items()}


def is_handler_error(exception: BaseException) -> TypeGuard[nexusrpc.HandlerError]:
    """Whether `exception` is a `nexusrpc.HandlerError`."""
    module = sys.modules.get("nexusrpc")
    return module is not None and isinstance(exception, module.HandlerError)


def write(
    error: nexusrpc.HandlerError,
    converter: PayloadConverter,
    failure: failure_pb.Failure,
    to_failure: Callable[[BaseException, PayloadConverter, failure_pb.Failure], None],
) -> None:
    """Write a handler error into `failure`; `to_failure` writes its cause."""
    if error.original_failure is not None:
        _write_original(error.original_failure, retryable=error.retryable, failure=failure)
        return
    failure.message = valid_text(error.message)
    if error.stack_trace:
        failure.stack_trace = valid_text(error.stack_trace)
    elif error.__traceback__ is not None:
        failure.stack_trace = valid_text("\n".join(traceback.format_tb(error.__traceback__)))
    if error.__cause__ is not None:
        to_failure(error.__cause__, converter, failure.cause)
    info = failure.nexus_handler_failure_info
    info.type = error.type.name
    info.retry_behavior = _RETRY_BEHAVIORS[error.retryable_override]


def _write_original(
    original: nexusrpc.Failure, *, retryable: bool, failure: failure_pb.Failure
) -> None:
    is_ours = original.metadata and original.metadata.get("type") == _FAILURE_TYPE
    if not (is_ours and _parsed(original.details, failure)):
        info = failure.application_failure_info
        info.type = "NexusFailure"
        info.non_retryable = not retryable
        info.details.payloads.append(
            common_pb.Payload(metadata={"encoding": b"json/plain"}, data=_as_json(original))
        )
    failure.message = valid_text(original.message)
    failure.stack_trace = valid_text(original.stack_trace or "")


def _parsed(details: Mapping[str, Any] | None, failure: failure_pb.Failure) -> bool:
    """Read the details into `failure`; False, and nothing read, when they are no failure."""
    read = failure_pb.Failure()
    try:
        json_format.ParseDict(dict(details or {}), read)
    except Exception:  # noqa: BLE001 - of many kinds, as the reader checks few shapes itself
        return False
    failure.CopyFrom(read)
    return True


def _as_json(original: nexusrpc.Failure) -> bytes:
    try:
        fields: dict[str, Any] = dataclasses.asdict(dataclasses.replace(original, message=""))
        return json.dumps(fields, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        # The message and the stack trace remain.
        return json.dumps({"details": None}, separators=(",", ":")).encode()


def read(failure: failure_pb.Failure) -> BaseException:
    """The handler error that `failure` describes."""
    import nexusrpc

    info = failure.nexus_handler_failure_info
    try:
        kind = nexusrpc.HandlerErrorType[info.type]
    except KeyError:
        _logger.warning("Unknown type of Nexus handler error: %s", info.type)
        kind = nexusrpc.HandlerErrorType.INTERNAL
    bare = failure_pb.Failure()
    bare.CopyFrom(failure)
    bare.ClearField("message")
    bare.ClearField("stack_trace")
    return nexusrpc.HandlerError(
        failure.message or "Nexus handler error",
        type=kind,
        retryable_override=_RETRYABLE_OVERRIDES.get(info.retry_behavior),
        stack_trace=failure.stack_trace or None,
        original_failure=nexusrpc.Failure(
            message=failure.message,
            stack_trace=failure.stack_trace,
            metadata={"type": _FAILURE_TYPE},
            details=_details(bare),
        ),
    )


def _details(bare: failure_pb.Failure) -> dict[str, Any]:
    try:
        return json_format.MessageToDict(bare)
    except (json_format.Error, RecursionError):
        return {}  # a duration out of range, or too many causes
