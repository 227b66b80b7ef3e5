"""What a payload belongs to. Converters and codecs may depend on it, for instance to use a key per workflow.

A payload has the same context when it is written and when it is read. The workflow in a context is the one that the
payload is an input or output *of*: for a child workflow it is the child, not the parent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self


class SerializationContext(ABC):  # noqa: B024 - a marker that users may test for
    """Base of the serialization contexts: what a payload belongs to."""


@dataclass(frozen=True)
class WorkflowSerializationContext(SerializationContext):
    """The payload belongs to a workflow.

    Attributes:
        namespace: The namespace.
        workflow_id: The workflow id; for a schedule, the configured prefix of the ids.
    """

    namespace: str
    workflow_id: str


@dataclass(frozen=True)
class ActivitySerializationContext(SerializationContext):
    """The payload belongs to an activity. The fields of the workflow are None for a standalone activity.

    Attributes:
        namespace: The namespace.
        activity_id: The activity's id.
        activity_type: The name of its type.
        activity_task_queue: The queue of its tasks.
        workflow_id: The workflow that scheduled it.
        workflow_type: The type of that workflow.
        is_local: Whether it is a local activity.
    """

    namespace: str
    activity_id: str | None
    activity_type: str | None
    activity_task_queue: str | None
    workflow_id: str | None
    workflow_type: str | None
    is_local: bool


@dataclass(frozen=True)
class NexusSerializationContext(SerializationContext):
    """The payload belongs to a Nexus operation.

    Attributes:
        endpoint: The endpoint.
        service: The service.
        operation: The operation.
    """

    endpoint: str
    service: str
    operation: str


class WithSerializationContext(ABC):
    """Base of converters and codecs that use the serialization context.

    Before use, the library replaces such an object with the result of `with_context`.
    """

    @abstractmethod
    def with_context(self, context: SerializationContext) -> Self:
        """An object like this one that knows a context; this object itself if the context makes no difference.

        Args:
            context: What the payloads belong to.
        """
