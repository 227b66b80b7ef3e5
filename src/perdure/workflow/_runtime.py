"""The lookup of the runtime, and the values that describe the running workflow.

The functions of `perdure.workflow` find the current `Runtime` here. The worker's host implements `Runtime` and puts it
on its event loop as `workflow_runtime`; a test double may do the same. `Info` is in this module because the two need
each other: a runtime returns it, and its methods ask the runtime about the current task.

Invariants: the lookup costs one attribute of the running loop, and outside workflows it gives None.
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
    """The workflow that started this one as its child.

    Attributes:
        namespace: Its namespace.
        run_id: Its run id.
        workflow_id: Its workflow id.
    """

    namespace: str
    run_id: str
    workflow_id: str


@dataclass(frozen=True)
class RootInfo:
    """The topmost workflow in the chain of parents.

    Attributes:
        run_id: Its run id.
        workflow_id: Its workflow id.
    """

    run_id: str
    workflow_id: str


@dataclass(frozen=True)
class UpdateInfo:
    """The update whose handler is running.

    Attributes:
        id: The update's id.
        name: The update's name.
    """

    id: str
    name: str

    def logger_details(self) -> Mapping[str, Any]:
        """The details that log records inside the handler carry."""
        return {"update_id": self.id, "update_name": self.name}


@dataclass(frozen=True)
class Info:
    """The running workflow, as `workflow.info()` returns it.

    Users never construct it, and later versions may add fields. It is immutable, except that `search_attributes`,
    `typed_search_attributes` and `raw_memo` follow the workflow's own upserts.

    Attributes:
        attempt: 1 for the first run; each retry of the workflow adds 1.
        continued_run_id: The previous run of the chain; None for the first.
        cron_schedule: The cron schedule that starts the runs, if there is one.
        execution_timeout: Limit for all runs of the chain together; None for no limit.
        first_execution_run_id: The first run of the chain of continue-as-new, retries and cron runs.
        headers: Headers of the start, as payloads by name.
        namespace: The workflow's namespace.
        original_execution_run_id: The run id in the start event. A reset keeps it and changes `run_id`.
        parent: The parent workflow; None for a workflow that is not a child.
        root: The topmost parent; None for a workflow that is not a child.
        priority: Priority and fairness of the workflow's tasks.
        raw_memo: The memo as payloads by key.
        retry_policy: How failed runs are retried; None for not at all.
        run_id: The id of this run.
        run_timeout: Limit for one run; None for no limit.
        search_attributes: Deprecated: use `typed_search_attributes`.
        start_time: Workflow time of the first workflow task.
        task_queue: The queue of the workflow's tasks.
        task_timeout: Limit for one workflow task.
        typed_search_attributes: The workflow's search attributes.
        workflow_id: The workflow id.
        workflow_start_time: Time of the start event.
        workflow_type: The name of the workflow's type.
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
        """The details that log records of this workflow carry."""
        return {
            "attempt": self.attempt,
            "namespace": self.namespace,
            "run_id": self.run_id,
            "task_queue": self.task_queue,
            "workflow_id": self.workflow_id,
            "workflow_type": self.workflow_type,
        }

    def get_current_build_id(self) -> str:
        """The build id of the worker that completes the current task; empty if it has none.

        Replay gives the same value.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        version = current().deployment_version()
        return version.build_id if version else ""

    def get_current_deployment_version(self) -> common.WorkerDeploymentVersion | None:
        """The deployment version of the worker that completes the current task. Replay gives the same value.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return current().deployment_version()

    def get_current_history_length(self) -> int:
        """The number of events in the history, up to the current task.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return current().history_length()

    def get_current_history_size(self) -> int:
        """The size of the history up to the current task, in bytes.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return current().history_size_bytes()

    def is_continue_as_new_suggested(self) -> bool:
        """Whether the server suggests to continue as new, because the history is getting long.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return current().continue_as_new_suggested()

    def is_target_worker_deployment_version_changed(self) -> bool:
        """Whether new runs would start on another deployment version than this run's.

        Raises:
            NotInWorkflowEventLoopError: The caller is not workflow code.
        """
        return current().target_deployment_version_changed()


_update_info: contextvars.ContextVar[UpdateInfo] = contextvars.ContextVar("perdure_update_info")


def set_current_update_info(info: UpdateInfo) -> None:
    """For the host: the update of the current task and of the tasks that it will start."""
    _update_info.set(info)


def current_update_info() -> UpdateInfo | None:
    """The update whose handler is calling, also from tasks that the handler started. None elsewhere.

    Example:
        ```python
        @workflow.defn
        class Cart:
            @workflow.update
            async def add(self, item: str) -> str:
                update = workflow.current_update_info()
                return f"{update.name} {update.id}" if update else ""

            @workflow.run
            async def run(self) -> None:
                await workflow.wait_condition(lambda: False)


        async with Worker(client, task_queue="carts", workflows=[Cart]):
            cart = await client.start_workflow(Cart.run, id="cart-7", task_queue="carts")
            assert await cart.execute_update(Cart.add, "book", id="u-1") == "add u-1"
        ```
    """
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

    # Operations that become commands

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
    """The running workflow: ids, type, task queue, time-outs, parent.

    Raises:
        NotInWorkflowEventLoopError: The caller is not workflow code.

    Example:
        ```python
        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> str:
                return f"{workflow.info().workflow_type} {workflow.info().workflow_id}"


        async with Worker(client, task_queue="orders", workflows=[Order]):
            assert (
                await client.execute_workflow(Order.run, id="o-7", task_queue="orders")
                == "Order o-7"
            )
        ```
    """
    return current().info()
