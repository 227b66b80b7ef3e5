"""Checks of requests that need no state: missing, oversized or malformed values. Each raises InvalidArgument."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

from perdure.core.ids import RESERVED_QUEUES
from perdure.core.limits import Limits, bytes_if_longer
from perdure.wire.api import common, taskqueue
from perdure.wire.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.message import Message


def not_supported(field: str) -> InvalidArgument:
    """The refusal of a field for something that is not built."""
    return InvalidArgument(f"{field} is not supported by this version of Perdure.")


def text(value: str, field: str, limits: Limits) -> str:
    """A required name or id within the length limit."""
    if not value:
        raise InvalidArgument(f"{field} is not set on request.")
    return optional_text(value, field, limits)


def optional_text(value: str, field: str, limits: Limits) -> str:
    """A name or id that may be empty, within the length limit."""
    if length_bytes := bytes_if_longer(value, limits.id_length_max):
        raise InvalidArgument(
            f"{field} length exceeds limit: it has {length_bytes} bytes, at most "
            f"{limits.id_length_max} are allowed."
        )
    return value


def run_id(value: str) -> str:
    """Empty, or a UUID (S-27)."""
    if value:
        try:
            UUID(value)
        except ValueError:
            raise InvalidArgument("Invalid RunId.") from None
    return value


def execution(value: common.WorkflowExecution, limits: Limits) -> tuple[str, str]:
    """(workflow id, run id or empty) of a request's execution."""
    if not value.workflow_id and not value.run_id:
        raise InvalidArgument("Execution is not set on request.")
    return text(value.workflow_id, "WorkflowId", limits), run_id(value.run_id)


def queue_name(value: taskqueue.TaskQueue, limits: Limits) -> str:
    """The name of a request's task queue, which may get tasks: no reserved one."""
    name = described_queue_name(value, limits)
    optional_text(value.normal_name, "TaskQueue", limits)
    if name.startswith(RESERVED_QUEUES):
        raise InvalidArgument(
            f"task queue name cannot start with reserved prefix {RESERVED_QUEUES}"
        )
    return name


def described_queue_name(value: taskqueue.TaskQueue, limits: Limits) -> str:
    """The name of a task queue that a request asks about. Tools ask about partitions, which have reserved names."""
    name = text(value.name, "TaskQueue", limits)
    if not name.isprintable():
        raise InvalidArgument("TaskQueue must not contain control characters.")
    return name


def page_size(value: int, default: int, maximum: int) -> int:
    """A page size: 0 means the default, and anything above the maximum means the maximum."""
    if value < 0:
        raise InvalidArgument("PageSize must not be negative.")
    return min(value or default, maximum)


def encoded(request: Message) -> bytes:
    """A request as bytes, the same for equal requests of one process."""
    return request.SerializeToString(deterministic=True)


def fingerprint(encoded_request: bytes) -> bytes:
    """What tells a repeated answer to a task from another answer to it (D-47): both carry the same task token."""
    return blake2b(encoded_request, digest_size=16).digest()
