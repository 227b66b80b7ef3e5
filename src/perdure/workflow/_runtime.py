"""The door between the vocabulary and whatever runs a workflow.

Role: `perdure.workflow`'s functions find the current `Runtime` here. The worker's host implements it and
puts it on its event loop as `workflow_runtime`; a test double may do the same.

Invariants: the lookup costs one attribute of the running loop, and outside workflows it is always None.
Not here: any behaviour.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn, cast

from perdure.workflow._errors import NotInWorkflowEventLoopError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from perdure import common
    from perdure.converter import PayloadConverter
    from perdure.workflow._activities import ActivityHandle
    from perdure.workflow._children import ChildWorkflowHandle
    from perdure.workflow._external import ExternalWorkflowHandle
    from perdure.workflow._info import Info
    from perdure.workflow._options import (
        ActivityOptions,
        ChildOptions,
        ContinueOptions,
        LocalActivityOptions,
    )

    Handler = Callable[..., Any]


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
