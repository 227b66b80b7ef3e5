"""What a worker or a test provides to a running activity: a context variable that is set around the call."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from perdure.activity.cancellation import CancellationDetailsHolder
from perdure.common.events import CompositeEvent
from perdure.common.metrics import MetricMeter
from perdure.common.priority import Priority
from perdure.common.retry import RetryPolicy
from perdure.converter.payload import PayloadConverter

if TYPE_CHECKING:
    from perdure.client import Client


@dataclass(frozen=True)
class Info:
    """The running activity, as `activity.info()` returns it.

    Later versions may add fields, so tests should take it from `ActivityEnvironment.default_info`.

    Attributes:
        activity_id: Unique among the open activities of the workflow.
        activity_type: The name of the activity's type.
        attempt: 1 for the first attempt.
        current_attempt_scheduled_time: When this attempt could start.
        heartbeat_details: The values of the previous attempt's last heartbeat.
        heartbeat_timeout: Limit for the time between two heartbeats; None for no limit.
        is_local: Whether it is a local activity.
        namespace: The namespace.
        schedule_to_close_timeout: Limit for the whole activity; None for no limit.
        scheduled_time: When the first attempt was scheduled.
        start_to_close_timeout: Limit for one attempt; None for no limit.
        started_time: When this attempt started.
        task_queue: The queue that the task came from.
        task_token: Identifies this attempt to the server, for `Client.get_async_activity_handle`.
        workflow_id: The workflow that started it. None, like the other workflow fields, for a standalone activity.
        workflow_namespace: Deprecated: use `namespace`.
        workflow_run_id: The run that started it.
        workflow_type: The type of that workflow.
        priority: Priority and fairness of the task.
        retry_policy: The retry policy in force; None if the server did not report it.
        activity_run_id: The run id of a standalone activity.
        fencing_token: A number that is larger for whatever attempt the server started later. A store that remembers the
            largest one can refuse writes of an attempt whose successor has begun: see `docs/fencing.md`. None for a
            local activity, and if the server did not say when the attempt started.
    """

    activity_id: str
    activity_type: str
    attempt: int
    current_attempt_scheduled_time: datetime
    heartbeat_details: Sequence[Any]
    heartbeat_timeout: timedelta | None
    is_local: bool
    namespace: str
    schedule_to_close_timeout: timedelta | None
    scheduled_time: datetime
    start_to_close_timeout: timedelta | None
    started_time: datetime
    task_queue: str
    task_token: bytes
    workflow_id: str | None
    workflow_namespace: str | None
    workflow_run_id: str | None
    workflow_type: str | None
    priority: Priority
    retry_policy: RetryPolicy | None
    activity_run_id: str | None = None
    fencing_token: int | None = None

    @property
    def in_workflow(self) -> bool:
        """Whether a workflow started the activity."""
        return self.workflow_id is not None

    def logger_details(self) -> Mapping[str, Any]:
        """The details that each log record carries about the activity."""
        return {
            "activity_id": self.activity_id,
            "activity_type": self.activity_type,
            "attempt": self.attempt,
            "namespace": self.namespace,
            "task_queue": self.task_queue,
            "workflow_id": self.workflow_id,
            "workflow_run_id": self.workflow_run_id,
            "workflow_type": self.workflow_type,
        }


@dataclass
class Context:
    """Everything behind the functions of `perdure.activity`. The worker makes and sets one for each attempt.

    Attributes:
        info: The activity; a function because it may be put together late.
        heartbeat: Takes the details; None while interceptors are set up.
        cancelled_event: Set when the activity is cancelled.
        worker_shutdown_event: Set when the worker begins to stop.
        shield_thread_cancel_exception: Delays the exception in threads; None where none is raised.
        payload_converter_class_or_instance: With the activity's context; a class where instances cannot travel.
        runtime_metric_meter: None in other processes.
        client: For async activities.
        cancellation_details: Where the details of a cancellation appear.
    """

    info: Callable[[], Info]
    heartbeat: Callable[..., None] | None
    cancelled_event: CompositeEvent
    worker_shutdown_event: CompositeEvent
    shield_thread_cancel_exception: Callable[[], AbstractContextManager[None]] | None
    payload_converter_class_or_instance: type[PayloadConverter] | PayloadConverter
    runtime_metric_meter: MetricMeter | None
    client: Client | None
    cancellation_details: CancellationDetailsHolder
    _logger_details: Mapping[str, Any] | None = None
    _payload_converter: PayloadConverter | None = None
    _metric_meter: MetricMeter | None = None

    @staticmethod
    def current() -> Context:
        """The context of the running activity.

        Raises:
            RuntimeError: Not in an activity.
        """
        context = _current.get(None)
        if context is None:
            raise RuntimeError("Not in activity context")
        return context

    @staticmethod
    def current_or_none() -> Context | None:
        """The context of the running activity, if there is one."""
        return _current.get(None)

    @staticmethod
    def within(variables: contextvars.Context) -> Context | None:
        """The context of the activity to which these context variables belong, if there is one."""
        return variables.get(_current)

    @staticmethod
    def set(context: Context) -> contextvars.Token[Context]:
        """Make `context` current; give the token to `reset`."""
        return _current.set(context)

    @staticmethod
    def reset(token: contextvars.Token[Context]) -> None:
        """Undo `set`."""
        _current.reset(token)

    @property
    def logger_details(self) -> Mapping[str, Any]:
        """`Info.logger_details`, made once."""
        if self._logger_details is None:
            self._logger_details = self.info().logger_details()
        return self._logger_details

    @property
    def payload_converter(self) -> PayloadConverter:
        """The payload converter of this activity."""
        if self._payload_converter is None:
            converter = self.payload_converter_class_or_instance
            self._payload_converter = (
                converter if isinstance(converter, PayloadConverter) else converter()
            )
        return self._payload_converter

    @property
    def metric_meter(self) -> MetricMeter:
        """The meter with this activity's attributes.

        Raises:
            RuntimeError: The activity runs in another process.
        """
        if self.runtime_metric_meter is None:
            raise RuntimeError(
                "Metrics meter not available in non-threaded sync activities like multiprocess"
            )
        if self._metric_meter is None:
            info = self.info()
            self._metric_meter = self.runtime_metric_meter.with_additional_attributes(
                {
                    "namespace": info.namespace,
                    "task_queue": info.task_queue,
                    "activity_type": info.activity_type,
                }
            )
        return self._metric_meter


_current: contextvars.ContextVar[Context] = contextvars.ContextVar("perdure_activity")


class CompleteAsyncError(BaseException):
    """Raised by `raise_complete_async`; the worker then sends no result."""
