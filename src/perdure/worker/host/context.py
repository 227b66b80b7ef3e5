"""The runtime behind `perdure.workflow`'s functions, for one run: questions, operations, memo, handlers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import msgspec
from typing_extensions import override

from perdure.activity.definition import Definition as ActivityDefinition
from perdure.common import WorkerDeploymentVersion
from perdure.replay import commands
from perdure.worker.host import upserts
from perdure.worker.host.external import HostedExternal
from perdure.worker.host.loop import TimerOptions, timer_options
from perdure.worker.host.metrics import ReplaySafeMeter
from perdure.worker.interceptors.workflow import (
    ContinueAsNewInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
)
from perdure.workflow._definition import Definition
from perdure.workflow._handler_definitions import (
    QueryDefinition,
    SignalDefinition,
    UpdateDefinition,
)
from perdure.workflow._handlers import warn_async_query, warn_vararg
from perdure.workflow._options import ActivityCancellationType, ActivityOptions
from perdure.workflow._runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from perdure.common import MetricMeter, SearchAttributes, SearchAttributeUpdate
    from perdure.converter import PayloadConverter
    from perdure.worker.host.handlers import Handlers
    from perdure.worker.host.state import RunState
    from perdure.worker.interceptors.workflow import WorkflowOutboundInterceptor
    from perdure.workflow._handler_definitions import HandlerDefinition
    from perdure.workflow._handles import (
        ActivityHandle,
        ChildWorkflowHandle,
        ExternalWorkflowHandle,
    )
    from perdure.workflow._options import ChildOptions, ContinueOptions, LocalActivityOptions
    from perdure.workflow._runtime import Info

    Handler = Callable[..., Any]


_T = TypeVar("_T")


class HostedRuntime(Runtime):
    """Implements every question and command of a running workflow."""

    outbound: WorkflowOutboundInterceptor
    handlers: Handlers

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._meter: MetricMeter | None = None
        self._logger_details: Mapping[str, Any] | None = None

    # ── what the workflow can know ────────────────────────────────────────────────────────────────

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

    # ── timers and conditions ─────────────────────────────────────────────────────────────────────

    @override
    async def sleep(self, seconds: float, *, summary: str | None) -> None:
        loop = self._state.loop
        if self._state.is_stubborn:
            await loop.create_future()
        done: asyncio.Future[None] = loop.create_future()

        def fired() -> None:
            if not done.done():
                done.set_result(None)

        token = timer_options.set(TimerOptions(self._state.converters.workflow.text(summary)))
        try:
            timer = loop.start_timer(seconds, fired)
        finally:
            timer_options.reset(token)

        def cancel_timer(future: asyncio.Future[None]) -> None:
            if future.cancelled():
                timer.cancel()

        done.add_done_callback(cancel_timer)
        await done

    @override
    async def wait_condition(
        self, fn: Callable[[], bool], *, timeout: float | None, timeout_summary: str | None
    ) -> None:
        state = self._state
        if state.is_stubborn:
            await state.loop.create_future()
        state.check_mutable("wait condition")
        cancelled_before = state.cancel_reason is not None

        def cancellation_arrived() -> bool:
            # `wait_for` may prefer a condition or a time-out of the same tick, which must not lose a
            # cancellation of the workflow (single-batch histories only).
            return state.single_batch and not cancelled_before and state.cancel_reason is not None

        met: asyncio.Future[bool] = state.loop.create_future()
        state.conditions.append((fn, met))
        token = timer_options.set(TimerOptions(state.converters.workflow.text(timeout_summary)))
        try:
            await asyncio.wait_for(met, timeout)
        except TimeoutError:
            if cancellation_arrived():
                raise asyncio.CancelledError from None
            raise
        finally:
            if not state.closing:
                # If it is garbage-collected after its worker died, it ends in another context, with nothing to reset.
                with contextlib.suppress(ValueError):
                    timer_options.reset(token)
        if cancellation_arrived():
            raise asyncio.CancelledError

    # ── operations ────────────────────────────────────────────────────────────────────────────────

    @override
    def start_activity(
        self, activity: Any, args: Sequence[Any], options: ActivityOptions
    ) -> ActivityHandle[Any]:
        if self._state.is_stubborn:
            return cast("ActivityHandle[Any]", self._state.loop.create_future())
        self._state.check_mutable("start activity")
        name, arg_types, ret_type, options = _activity(activity, options)
        return self.outbound.start_activity(
            StartActivityInput(
                activity=name,
                args=args,
                headers={},
                disable_eager_execution=self._state.options.disable_eager_activity_execution,
                arg_types=arg_types,
                ret_type=ret_type,
                **_by_name(options),
            )
        )

    @override
    def start_local_activity(
        self, activity: Any, args: Sequence[Any], options: LocalActivityOptions
    ) -> ActivityHandle[Any]:
        if self._state.is_stubborn:
            return cast("ActivityHandle[Any]", self._state.loop.create_future())
        self._state.check_mutable("start local activity")
        name, arg_types, ret_type, _ = _activity(
            activity, ActivityOptions(result_type=options.result_type)
        )
        return self.outbound.start_local_activity(
            StartLocalActivityInput(
                activity=name,
                args=args,
                headers={},
                arg_types=arg_types,
                ret_type=ret_type,
                **_by_name(options),
            )
        )

    @override
    async def start_child_workflow(
        self, workflow: Any, args: Sequence[Any], options: ChildOptions
    ) -> ChildWorkflowHandle[Any, Any]:
        if self._state.is_stubborn:
            await self._state.loop.create_future()
        name, arg_types, ret_type = _workflow(workflow, options.result_type)
        return await self.outbound.start_child_workflow(
            StartChildWorkflowInput(
                workflow=name,
                args=args,
                headers={},
                arg_types=arg_types,
                ret_type=ret_type,
                **_by_name(options),
            )
        )

    @override
    def external_workflow_handle(
        self, workflow_id: str, *, run_id: str | None
    ) -> ExternalWorkflowHandle[Any]:
        return HostedExternal(self._state, workflow_id, run_id, self.outbound)

    @override
    def continue_as_new(
        self, workflow: Any, args: Sequence[Any], options: ContinueOptions
    ) -> NoReturn:
        self._state.check_mutable("continue as new")
        name: str | None = None
        arg_types: list[type] | None = None
        if isinstance(workflow, str):
            name = workflow
        elif workflow is not None:
            name, arg_types, _ = _workflow(workflow, None)
        self.outbound.continue_as_new(
            ContinueAsNewInput(
                workflow=name,
                args=args,
                headers={},
                arg_types=arg_types,
                **_by_name(options),
            )
        )

    @override
    def patch(self, patch_id: str, *, deprecated: bool) -> bool:
        state = self._state
        state.check_mutable("patch")
        known = state.patches.get(patch_id)
        if known is not None:
            return known
        # A run whose history has passed this call without a marker keeps the old code path until it closes.
        use = not state.is_replaying or patch_id in state.patches_notified
        state.patches[patch_id] = use
        if use:
            state.issue(
                commands.SetPatchMarker(patch_id=patch_id, deprecated=deprecated, site=state.site())
            )
        return use

    # ── memo, search attributes, details, earlier runs ────────────────────────────────────────────

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

    # ── handlers ──────────────────────────────────────────────────────────────────────────────────

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


def _activity(
    activity: Any, options: ActivityOptions
) -> tuple[str, list[type] | None, type | None, ActivityOptions]:
    """Name, types and options of an activity given by name or function; decorator options fill gaps."""
    if isinstance(activity, str):
        return activity, None, options.result_type, options
    if not callable(activity):
        message = "Activity must be a string or callable"
        raise TypeError(message)
    definition = ActivityDefinition.must_from_callable(activity)
    if definition.name is None:
        message = "Cannot invoke dynamic activity explicitly"
        raise ValueError(message)
    if definition.options is not None:
        options = _with_defaults(options, definition.options.given())
    return definition.name, definition.arg_types, definition.ret_type, options


def _by_name(options: msgspec.Struct) -> dict[str, Any]:
    """The options as keyword arguments. The inputs of interceptors have all but the type of the result."""
    arguments = msgspec.structs.asdict(options)
    arguments.pop("result_type", None)
    return arguments


_DEFAULTS = ActivityOptions()


def _with_defaults(options: ActivityOptions, defaults: Mapping[str, Any]) -> ActivityOptions:
    merged: dict[str, Any] = {
        name: getattr(options, name)
        for name in options.__struct_fields__
        if getattr(options, name) != getattr(_DEFAULTS, name)
    }
    merged = {**defaults, **merged}
    if "cancellation_type" in merged:
        merged["cancellation_type"] = ActivityCancellationType(merged["cancellation_type"])
    return ActivityOptions(**merged)


def _workflow(
    workflow: Any, result_type: type | None
) -> tuple[str, list[type] | None, type | None]:
    """Name and types of a workflow given by name or by its run method."""
    if isinstance(workflow, str):
        return workflow, None, result_type
    if not callable(workflow):
        message = "Workflow must be a string or callable"
        raise TypeError(message)
    definition = Definition.must_from_run_fn(cast("Callable[..., Any]", workflow))
    if definition.name is None:
        message = "Cannot invoke dynamic workflow explicitly"
        raise TypeError(message)
    return definition.name, definition.arg_types, definition.ret_type
