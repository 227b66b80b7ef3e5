"""What a payload belongs to: converters and codecs may depend on it (a key per workflow, for instance).

The same payload gets the same context on both of its ways. A workflow's context names the workflow that the payload is
an input or output *of*: for a child that is the child, not its parent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self


class SerializationContext(ABC):  # noqa: B024 - a marker that users may test for
    """Base of the contexts."""


@dataclass(frozen=True)
class WorkflowSerializationContext(SerializationContext):
    """The payload belongs to a workflow (for schedules, `workflow_id` is the configured prefix)."""

    namespace: str
    workflow_id: str


@dataclass(frozen=True)
class ActivitySerializationContext(SerializationContext):
    """The payload belongs to an activity; the workflow's fields are None for standalone ones."""

    namespace: str
    activity_id: str | None
    activity_type: str | None
    activity_task_queue: str | None
    workflow_id: str | None
    workflow_type: str | None
    is_local: bool


@dataclass(frozen=True)
class NexusSerializationContext(SerializationContext):
    """The payload belongs to a Nexus operation."""

    endpoint: str
    service: str
    operation: str


class WithSerializationContext(ABC):
    """Mixed into converters and codecs that want the context.

    Before use, the library replaces such an object by ``with_context(context)``.
    """

    @abstractmethod
    def with_context(self, context: SerializationContext) -> Self:
        """An object like this one that knows `context`; ``self`` when that makes no difference."""
