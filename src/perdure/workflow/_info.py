"""What a workflow can know about itself: `Info` and its parts.

Not here: how the values are read from history (`perdure.worker.host.info`).
"""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.workflow import _runtime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from perdure.common import (
        Priority,
        RetryPolicy,
        SearchAttributes,
        TypedSearchAttributes,
        WorkerDeploymentVersion,
    )
    from perdure.wire.api import common as common_pb

    Payload = common_pb.Payload


@dataclass(frozen=True)
class ParentInfo:
    """The workflow that started this one as its child."""

    namespace: str
    run_id: str
    workflow_id: str


@dataclass(frozen=True)
class RootInfo:
    """The workflow at the top of the chain of parents."""

    run_id: str
    workflow_id: str


@dataclass(frozen=True)
class UpdateInfo:
    """The update whose handler is running."""

    id: str
    name: str

    def logger_details(self) -> Mapping[str, Any]:
        """What log records inside the handler carry."""
        return {"update_id": self.id, "update_name": self.name}


@dataclass(frozen=True)
class Info:
    """The running workflow, as `workflow.info()` returns it.

    Never constructed by users; fields may be added. Everything is immutable but `search_attributes`,
    `typed_search_attributes` and `raw_memo`, which follow the workflow's own upserts.

    Attributes:
        start_time: Workflow time of the first workflow task.
        workflow_start_time: Time of the start event.
        original_execution_run_id: Run id in the start event; resets keep it, `run_id` changes.
        first_execution_run_id: First run of the chain of continue-as-new, retries and cron.
        search_attributes: Deprecated form; use `typed_search_attributes`.
    """

    attempt: int
    continued_run_id: str | None
    cron_schedule: str | None
    execution_timeout: timedelta | None
    first_execution_run_id: str
    headers: Mapping[str, Payload]
    namespace: str
    original_execution_run_id: str
    parent: ParentInfo | None
    root: RootInfo | None
    priority: Priority
    raw_memo: Mapping[str, Payload]
    retry_policy: RetryPolicy | None
    run_id: str
    run_timeout: timedelta | None
    search_attributes: SearchAttributes
    start_time: datetime
    task_queue: str
    task_timeout: timedelta
    typed_search_attributes: TypedSearchAttributes
    workflow_id: str
    workflow_start_time: datetime
    workflow_type: str

    def logger_details(self) -> Mapping[str, Any]:
        """What log records of this workflow carry."""
        return {
            "attempt": self.attempt,
            "namespace": self.namespace,
            "run_id": self.run_id,
            "task_queue": self.task_queue,
            "workflow_id": self.workflow_id,
            "workflow_type": self.workflow_type,
        }

    def get_current_build_id(self) -> str:
        """Build id of the worker that completed the current task, or "". Deterministic."""
        version = _runtime.current().deployment_version()
        return version.build_id if version else ""

    def get_current_deployment_version(self) -> WorkerDeploymentVersion | None:
        """Deployment version of the worker that completed the current task. Deterministic."""
        return _runtime.current().deployment_version()

    def get_current_history_length(self) -> int:
        """Number of events up to the current task."""
        return _runtime.current().history_length()

    def get_current_history_size(self) -> int:
        """Size of the history up to the current task, in bytes."""
        return _runtime.current().history_size_bytes()

    def is_continue_as_new_suggested(self) -> bool:
        """Whether the server thinks that the history is getting too long."""
        return _runtime.current().continue_as_new_suggested()

    def is_target_worker_deployment_version_changed(self) -> bool:
        """Whether new runs would start on another deployment version than this one."""
        return _runtime.current().target_deployment_version_changed()


_update_info: contextvars.ContextVar[UpdateInfo] = contextvars.ContextVar("perdure_update_info")


def set_current_update_info(info: UpdateInfo) -> None:
    """For the host: the update of the current task and of the tasks that it will start."""
    _update_info.set(info)


def current_update_info() -> UpdateInfo | None:
    """The update whose handler, or a task started by it, is calling; None elsewhere."""
    return _update_info.get(None)


def info() -> Info:
    """Information about the running workflow.

    Raises:
        NotInWorkflowEventLoopError: Outside a workflow.
    """
    return _runtime.current().info()
