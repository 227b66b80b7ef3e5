"""Checks of requests that need no state: missing, oversized or malformed values. Each raises InvalidArgument."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

from perdure.core.ids import RESERVED_QUEUES
from perdure.core.limits import Limits, bytes_if_longer
from perdure.history.commands.checks import priority_problem
from perdure.wire.api import common, deployment, enums, taskqueue
from perdure.wire.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from perdure.wire.api import workflowservice

    Prioritised = (
        workflowservice.StartWorkflowExecutionRequest
        | workflowservice.SignalWithStartWorkflowExecutionRequest
    )

_DEPLOYMENT_OVERHEAD_BYTES = 40
"""What the reference server keeps of an id for itself when it makes one of a deployment's name and a build id."""


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
    # Nearly all are short or empty: fifteen per workflow.
    if len(value) * 4 > limits.id_length_max and (
        length_bytes := bytes_if_longer(value, limits.id_length_max)
    ):
        raise InvalidArgument(
            f"{field} length exceeds limit: it has {length_bytes} bytes, at most "
            f"{limits.id_length_max} are allowed."
        )
    return value


def workflow_id(value: str, limits: Limits) -> str:
    """A workflow id. Its limit counts characters (S-45): ids in other scripts than Latin keep their length."""
    if len(value) > limits.id_length_max:
        raise InvalidArgument(
            f"WorkflowId length exceeds limit: it has {len(value)} characters, at most "
            f"{limits.id_length_max} are allowed."
        )
    if not value:
        raise InvalidArgument("WorkflowId is not set on request.")
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
    return workflow_id(value.workflow_id, limits), run_id(value.run_id)


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


def priority(request: Prioritised, limits: Limits) -> None:
    """A priority whose numbers make sense, or none."""
    if request.HasField("priority") and (problem := priority_problem(request.priority, limits)):
        raise InvalidArgument(problem)


def links(values: Sequence[common.Link], limits: Limits) -> None:
    """The links of a request: few, small, and each to something."""
    if not values:
        return
    if len(values) > limits.links_per_request_max:
        raise InvalidArgument(
            f"cannot attach more than {limits.links_per_request_max} links per request, got {len(values)}"
        )
    for link in values:
        size_bytes = link.ByteSize()
        if size_bytes > limits.link_bytes_max:
            raise InvalidArgument(
                f"link exceeds allowed size of {limits.link_bytes_max}, got {size_bytes}"
            )
        if problem := _link_problem(link):
            raise InvalidArgument(problem)


def _link_problem(link: common.Link) -> str:
    match link.WhichOneof("variant"):
        case None:
            return "unsupported link variant"
        case "batch_job":
            return "" if link.batch_job.job_id else "batch job link must not have an empty job ID"
        case "workflow_event":
            event = link.workflow_event
            for name, value in (
                ("namespace", event.namespace),
                ("workflow ID", event.workflow_id),
                ("run ID", event.run_id),
            ):
                if not value:
                    return f"workflow event link must not have an empty {name} field"
            if event.event_ref.event_id and not event.event_ref.event_type:
                return "workflow event link ref cannot have an unspecified event type and a non-zero event ID"
        case _:
            pass  # The reference server has no rules for what other links hold.
    return ""


def build_id(value: str, limits: Limits) -> None:
    """The build id of a worker, or none."""
    if bytes_if_longer(value, limits.build_id_bytes_max):
        raise InvalidArgument(
            "Build ID exceeds configured limit.workerBuildIdSize, use a shorter build ID."
        )


def deployment_options(value: deployment.WorkerDeploymentOptions, limits: Limits) -> None:
    """The version of a worker deployment: name and build id, whose length leaves room for both in one id.

    Those of a worker without versioning are not looked at.
    """
    if value.worker_versioning_mode != enums.WORKER_VERSIONING_MODE_VERSIONED:
        return
    name, build = value.deployment_name, value.build_id
    if not name or not build:
        raise InvalidArgument("Deployment name and build id must be set together.")
    longest_bytes = (limits.id_length_max - _DEPLOYMENT_OVERHEAD_BYTES) // 2
    if bytes_if_longer(name, longest_bytes):
        raise InvalidArgument("size of WorkerDeploymentName larger than the maximum allowed")
    for letter in ".:":
        if letter in name:
            raise InvalidArgument(f"worker deployment name cannot contain '{letter}'")
    if name.startswith("__"):
        raise InvalidArgument("WorkerDeploymentName cannot start with '__'")
    if bytes_if_longer(build, longest_bytes):
        raise InvalidArgument("size of BuildID larger than the maximum allowed")


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
