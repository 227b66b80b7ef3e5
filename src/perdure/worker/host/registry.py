"""Which workflow class runs a workflow type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.exceptions import ApplicationError
from perdure.workflow._definition import Definition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class WorkflowRegistry:
    """The workflow classes of a worker.

    Args:
        classes: Classes decorated with `@workflow.defn`.

    Raises:
        ValueError: A class is not decorated, or two have the same type.
    """

    def __init__(self, classes: Iterable[type]) -> None:
        self._by_name: dict[str, Definition] = {}
        self._dynamic: Definition | None = None
        for cls in classes:
            self._add(Definition.must_from_class(cls))

    def _add(self, definition: Definition) -> None:
        if definition.name is None:
            if self._dynamic is not None:
                message = "More than one dynamic workflow"
                raise ValueError(message)
            self._dynamic = definition
            return
        if definition.name in self._by_name:
            message = f"More than one workflow named {definition.name}"
            raise ValueError(message)
        self._by_name[definition.name] = definition

    @property
    def names(self) -> Sequence[str]:
        """Workflow types, sorted."""
        return sorted(self._by_name)

    @property
    def definitions(self) -> Sequence[Definition]:
        """All definitions, the dynamic one last."""
        found = list(self._by_name.values())
        return [*found, self._dynamic] if self._dynamic else found

    def definition_for(self, workflow_type: str) -> Definition:
        """The class for a workflow type, or the dynamic one.

        Raises:
            ApplicationError: Neither exists. The error fails the workflow task and lists what is registered.
        """
        found = self._by_name.get(workflow_type, self._dynamic)
        if found is None:
            available = ", ".join(self.names) or "none"
            message = (
                f"Workflow class {workflow_type} is not registered on this worker, "
                f"available workflows: {available}"
            )
            raise ApplicationError(message, type="NotFoundError")
        return found
