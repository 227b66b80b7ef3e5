"""The door between the vocabulary and whatever runs a workflow.

Role: `perdure.workflow`'s functions find the current `Runtime` here. The worker's host implements it and
puts it on its event loop as `workflow_runtime`; a test double may do the same. `Info` is here because the two need each
other: a runtime returns it, and its methods ask the runtime about the current task.

Invariants: the lookup costs one attribute of the running loop, and outside workflows it is always None.
Not here: any behaviour, and how the values of `Info` are read from history (`perdure.worker.host.info`).
"""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

from perdure.workflow._errors import NotInWorkflowEventLoopError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta
    from random import Random

    from perdure import common
    from perdure.converter import PayloadConverter
    from perdure.wire.api import common as common_pb
    from perdure.workflow._handles import (
        ActivityHandle,
        ChildWorkflowHandle,
        ExternalWorkflowHandle,
    )
    from perdure.workflow._options import (
        ActivityOptions,
        ChildOptions,
        ContinueOptions,
        LocalActivityOptions,
    )

    Handler = Callable[..., Any]
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
    priority: common.Priority
    raw_memo: Mapping[str, Payload]
    retry_policy: common.RetryPolicy | None
    run_id: str
    run_timeout: timedelta | None
    search_attributes: common.SearchAttributes
    start_time: datetime
    task_queue: str
    task_timeout: timedelta
    typed_search_attributes: common.TypedSearchAttributes
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
        version = current().deployment_version()
        return version.build_id if version else ""

    def get_current_deployment_version(self) -> common.WorkerDeploymentVersion | None:
        """Deployment version of the worker that completed the current task. Deterministic."""
        return current().deployment_version()

    def get_current_history_length(self) -> int:
        """Number of events up to the current task."""
        return current().history_length()

    def get_current_history_size(self) -> int:
        """Size of the history up to the current task, in bytes."""
        return current().history_size_bytes()

    def is_continue_as_new_suggested(self) -> bool:
        """Whether the server thinks that the history is getting too long."""
        return current().continue_as_new_suggested()

    def is_target_worker_deployment_version_changed(self) -> bool:
        """Whether new runs would start on another deployment version than this one."""
        return current().target_deployment_version_changed()


_update_info: contextvars.ContextVar[UpdateInfo] = contextvars.ContextVar("perdure_update_info")


def set_current_update_info(info: UpdateInfo) -> None:
    """For the host: the update of the current task and of the tasks that it will start."""
    _update_info.set(info)


def current_update_info() -> UpdateInfo | None:
    """The update whose handler, or a task started by it, is calling; None elsewhere."""
    return _update_info.get(None)


class Runtime(ABC):
    """What a running workflow can ask for. Durations are seconds where users pass seconds."""

    @abstractmethod
    def info(self) -> Info: ...
    @abstractmethod
    def instance(self) -> Any: ...
    @abstractmethod
    def time_ns(self) -> int: ...
    @abstractmethod
    def random(self) -> Random: ...
    @abstractmethod
    def random_seed(self) -> int: ...
    @abstractmethod
    def register_random_seed_callback(self, callback: Callable[[int], None]) -> None: ...
    @abstractmethod
    def is_replaying(self) -> bool: ...
    @abstractmethod
    def is_replaying_history_events(self) -> bool: ...
    @abstractmethod
    def is_read_only(self) -> bool: ...
    @abstractmethod
    def logger_details(self) -> Mapping[str, Any]: ...
    @abstractmethod
    def history_length(self) -> int: ...
    @abstractmethod
    def history_size_bytes(self) -> int: ...
    @abstractmethod
    def continue_as_new_suggested(self) -> bool: ...
    @abstractmethod
    def target_deployment_version_changed(self) -> bool: ...
    @abstractmethod
    def deployment_version(self) -> common.WorkerDeploymentVersion | None: ...
    @abstractmethod
    def payload_converter(self) -> PayloadConverter: ...
    @abstractmethod
    def metric_meter(self) -> common.MetricMeter: ...
    @abstractmethod
    def extern_functions(self) -> Mapping[str, Callable[..., Any]]: ...
    @abstractmethod
    def cancellation_reason(self) -> str | None: ...
    @abstractmethod
    def is_failure_exception(self, error: BaseException) -> bool: ...
    @abstractmethod
    def all_handlers_finished(self) -> bool: ...

    # Things that become commands

    @abstractmethod
    async def sleep(self, seconds: float, *, summary: str | None) -> None: ...
    @abstractmethod
    async def wait_condition(
        self, fn: Callable[[], bool], *, timeout: float | None, timeout_summary: str | None
    ) -> None: ...
    @abstractmethod
    def start_activity(
        self, activity: Any, args: Sequence[Any], options: ActivityOptions
    ) -> ActivityHandle[Any]: ...
    @abstractmethod
    def start_local_activity(
        self, activity: Any, args: Sequence[Any], options: LocalActivityOptions
    ) -> ActivityHandle[Any]: ...
    @abstractmethod
    async def start_child_workflow(
        self, workflow: Any, args: Sequence[Any], options: ChildOptions
    ) -> ChildWorkflowHandle[Any, Any]: ...
    @abstractmethod
    def external_workflow_handle(
        self, workflow_id: str, *, run_id: str | None
    ) -> ExternalWorkflowHandle[Any]: ...
    @abstractmethod
    def continue_as_new(
        self, workflow: Any, args: Sequence[Any], options: ContinueOptions
    ) -> NoReturn: ...
    @abstractmethod
    def patch(self, patch_id: str, *, deprecated: bool) -> bool: ...
    @abstractmethod
    def upsert_search_attributes(
        self, attributes: common.SearchAttributes | Sequence[common.SearchAttributeUpdate[Any]]
    ) -> None: ...

    # Memo, details, results of earlier runs

    @abstractmethod
    def memo(self) -> Mapping[str, Any]: ...
    @abstractmethod
    def memo_value(self, key: str, default: Any, *, type_hint: type | None) -> Any: ...
    @abstractmethod
    def upsert_memo(self, updates: Mapping[str, Any]) -> None: ...
    @abstractmethod
    def current_details(self) -> str: ...
    @abstractmethod
    def set_current_details(self, details: str) -> None: ...
    @abstractmethod
    def has_last_completion_result(self) -> bool: ...
    @abstractmethod
    def last_completion_result(self, type_hint: type | None) -> Any: ...
    @abstractmethod
    def last_failure(self) -> BaseException | None: ...

    # Handlers; `name` None is the dynamic one

    @abstractmethod
    def signal_handler(self, name: str | None) -> Handler | None: ...
    @abstractmethod
    def query_handler(self, name: str | None) -> Handler | None: ...
    @abstractmethod
    def update_handler(self, name: str | None) -> Handler | None: ...
    @abstractmethod
    def set_signal_handler(self, name: str | None, handler: Handler | None) -> None: ...
    @abstractmethod
    def set_query_handler(self, name: str | None, handler: Handler | None) -> None: ...
    @abstractmethod
    def set_update_handler(
        self, name: str | None, handler: Handler | None, validator: Handler | None
    ) -> None: ...


def maybe_current() -> Runtime | None:
    """The runtime of the workflow that the calling code is part of, or None."""
    loop = asyncio._get_running_loop()  # the running loop, or None without raising  # noqa: SLF001
    return cast("Runtime | None", getattr(loop, "workflow_runtime", None))


def current() -> Runtime:
    """Like `maybe_current`, but raises `NotInWorkflowEventLoopError` outside workflows."""
    runtime = maybe_current()
    if runtime is None:
        raise NotInWorkflowEventLoopError
    return runtime


def info() -> Info:
    """Information about the running workflow.

    Raises:
        NotInWorkflowEventLoopError: Outside a workflow.
    """
    return current().info()
