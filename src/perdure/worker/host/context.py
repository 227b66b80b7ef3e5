"""The runtime behind `perdure.workflow`'s functions, for one run: questions, memo, handlers.

What starts something is in `operations`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from perdure.common import WorkerDeploymentVersion
from perdure.worker.host import upserts
from perdure.worker.host.metrics import ReplaySafeMeter
from perdure.worker.host.operations import Operations
from perdure.workflow._handler_definitions import (
    QueryDefinition,
    SignalDefinition,
    UpdateDefinition,
)
from perdure.workflow._handlers import warn_async_query, warn_vararg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from perdure.common import MetricMeter, SearchAttributes, SearchAttributeUpdate
    from perdure.converter import PayloadConverter
    from perdure.worker.host.handlers import Handlers
    from perdure.worker.host.state import RunState
    from perdure.workflow._handler_definitions import HandlerDefinition
    from perdure.workflow._info import Info

    Handler = Callable[..., Any]


_T = TypeVar("_T")


class HostedRuntime(Operations):
    """Implements every question and command of a running workflow."""

    handlers: Handlers

    def __init__(self, state: RunState) -> None:
        super().__init__(state)
        self._meter: MetricMeter | None = None
        self._logger_details: Mapping[str, Any] | None = None

    # What the workflow can know ---------------------------------------------------------------

    @override
    def info(self) -> Info:
        return self.outbound.info()

    @override
    def instance(self) -> Any:
        return self._state.instance

    @override
    def time_ns(self) -> int:
        return self._state.time_ns

    @override
    def random(self) -> Random:
        self._state.check_mutable("random")
        return self._state.random

    @override
    def random_seed(self) -> int:
        return self._state.seed

    @override
    def register_random_seed_callback(self, callback: Callable[[int], None]) -> None:
        self._state.check_mutable("register random seed callback")
        self._state.seed_callbacks.append(callback)

    @override
    def is_replaying(self) -> bool:
        return self._state.is_replaying

    @override
    def is_replaying_history_events(self) -> bool:
        return self._state.is_replaying and not self._state.in_query_or_validator

    @override
    def is_read_only(self) -> bool:
        return self._state.read_only

    @override
    def logger_details(self) -> Mapping[str, Any]:
        if self._logger_details is None:
            self._logger_details = self.info().logger_details()
        return self._logger_details

    @override
    def history_length(self) -> int:
        activation = self._state.activation
        return activation.history_length if activation else 0

    @override
    def history_size_bytes(self) -> int:
        activation = self._state.activation
        return activation.history_size_bytes if activation else 0

    @override
    def continue_as_new_suggested(self) -> bool:
        activation = self._state.activation
        return activation is not None and activation.continue_as_new_suggested

    @override
    def target_deployment_version_changed(self) -> bool:
        activation = self._state.activation
        return activation is not None and activation.target_worker_deployment_version_changed

    @override
    def deployment_version(self) -> WorkerDeploymentVersion | None:
        activation = self._state.activation
        version = activation.deployment_version if activation else None
        if version is None:
            return None
        return WorkerDeploymentVersion(version.deployment_name, version.build_id)

    @override
    def payload_converter(self) -> PayloadConverter:
        return self._state.converters.workflow.payload

    @override
    def metric_meter(self) -> MetricMeter:
        if self._meter is None:
            run = self._state.run
            meter = self._state.options.metric_meter.with_additional_attributes(
                {
                    "namespace": run.namespace,
                    "task_queue": run.task_queue,
                    "workflow_type": run.workflow_type,
                }
            )
            self._meter = ReplaySafeMeter(meter, self.is_replaying)
        return self._meter

    @override
    def extern_functions(self) -> Mapping[str, Callable[..., Any]]:
        return self._state.options.extern_functions

    @override
    def cancellation_reason(self) -> str | None:
        return self._state.cancel_reason

    @override
    def is_failure_exception(self, error: BaseException) -> bool:
        return self._state.is_failure_exception(error)

    @override
    def all_handlers_finished(self) -> bool:
        return not self._state.running_updates and not self._state.running_signals

    # Memo, search attributes, details, earlier runs -------------------------------------------

    @override
    def upsert_search_attributes(
        self, attributes: SearchAttributes | Sequence[SearchAttributeUpdate[Any]]
    ) -> None:
        upserts.upsert_search_attributes(self._state, attributes)

    @override
    def memo(self) -> Mapping[str, Any]:
        return upserts.memo(self._state)

    @override
    def memo_value(self, key: str, default: Any, *, type_hint: type | None) -> Any:
        return upserts.memo_value(self._state, key, default, type_hint)

    @override
    def upsert_memo(self, updates: Mapping[str, Any]) -> None:
        upserts.upsert_memo(self._state, updates)

    @override
    def current_details(self) -> str:
        return self._state.current_details

    @override
    def set_current_details(self, details: str) -> None:
        self._state.check_mutable("set current details")
        self._state.current_details = details

    @override
    def has_last_completion_result(self) -> bool:
        return len(self._state.started.last_completion_result.payloads) > 0

    @override
    def last_completion_result(self, type_hint: type | None) -> Any:
        payloads = self._state.started.last_completion_result.payloads
        if len(payloads) != 1:
            return None
        converter: Any = self.payload_converter()
        return converter.from_payload(payloads[0], type_hint)

    @override
    def last_failure(self) -> BaseException | None:
        started = self._state.started
        if not started.HasField("continued_failure"):
            return None
        return self._state.converters.workflow.from_failure(started.continued_failure)

    # Handlers ---------------------------------------------------------------------------------

    def _bound(self, found: HandlerDefinition | None) -> Handler | None:
        return found.bind(self._state.instance) if found is not None else None

    @override
    def signal_handler(self, name: str | None) -> Handler | None:
        return self._bound(self._state.signals.get(name))

    @override
    def query_handler(self, name: str | None) -> Handler | None:
        return self._bound(self._state.queries.get(name))

    @override
    def update_handler(self, name: str | None) -> Handler | None:
        return self._bound(self._state.updates.get(name))

    @override
    def set_signal_handler(self, name: str | None, handler: Handler | None) -> None:
        self._state.check_mutable("set signal handler")
        if handler is None:
            self._state.signals = _without(self._state.signals, name)
            return
        definition = SignalDefinition(name=name, fn=handler, is_method=False)
        if definition.dynamic_vararg:
            warn_vararg("signals", stacklevel=3)
        self._state.signals = {**self._state.signals, name: definition}
        self.handlers.flush_signals(definition)

    @override
    def set_query_handler(self, name: str | None, handler: Handler | None) -> None:
        self._state.check_mutable("set query handler")
        if handler is None:
            self._state.queries = _without(self._state.queries, name)
            return
        if inspect.iscoroutinefunction(handler):
            warn_async_query(stacklevel=3)
        definition = QueryDefinition(name=name, fn=handler, is_method=False)
        if definition.dynamic_vararg:
            warn_vararg("queries", stacklevel=3)
        self._state.queries = {**self._state.queries, name: definition}

    @override
    def set_update_handler(
        self, name: str | None, handler: Handler | None, validator: Handler | None
    ) -> None:
        self._state.check_mutable("set update handler")
        if handler is None:
            self._state.updates = _without(self._state.updates, name)
            return
        definition = UpdateDefinition(name=name, fn=handler, is_method=False)
        if validator is not None:
            definition.set_validator(validator)
        self._state.updates = {**self._state.updates, name: definition}


def _without(table: Mapping[str | None, _T], name: str | None) -> Mapping[str | None, _T]:
    return {known: handler for known, handler in table.items() if known != name}
