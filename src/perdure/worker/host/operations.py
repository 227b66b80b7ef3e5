"""Timers, conditions, activities, children, other workflows, patches: what becomes commands.

The half of a run's runtime that starts something; `context` has the questions and the handlers.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NoReturn, cast

from typing_extensions import override

from perdure.activity.definition import Definition as ActivityDefinition
from perdure.replay import commands
from perdure.worker.host.external import HostedExternal
from perdure.worker.host.loop import TimerOptions, timer_options
from perdure.worker.interceptors.workflow import (
    ContinueAsNewInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
)
from perdure.workflow._definition import Definition
from perdure.workflow._options import ActivityCancellationType, ActivityOptions
from perdure.workflow._runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perdure.worker.host.state import RunState
    from perdure.worker.interceptors.workflow import WorkflowOutboundInterceptor
    from perdure.workflow._activities import ActivityHandle
    from perdure.workflow._children import ChildWorkflowHandle
    from perdure.workflow._external import ExternalWorkflowHandle
    from perdure.workflow._options import ChildOptions, ContinueOptions, LocalActivityOptions


class Operations(Runtime):
    """The part of the runtime that starts operations; completed by `context.HostedRuntime`."""

    outbound: WorkflowOutboundInterceptor

    def __init__(self, state: RunState) -> None:
        self._state = state

    # Timers and conditions --------------------------------------------------------------------

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
            # wait_for may prefer a condition or a time-out that came in the same tick; a cancellation
            # of the workflow must not get lost that way (single-batch histories only).
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
                # Collected with a worker that died, this ends in another context, where there is nothing to reset.
                with contextlib.suppress(ValueError):
                    timer_options.reset(token)
        if cancellation_arrived():
            raise asyncio.CancelledError

    # Operations -------------------------------------------------------------------------------

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
                activity_id=options.activity_id,
                task_queue=options.task_queue,
                schedule_to_close_timeout=options.schedule_to_close_timeout,
                schedule_to_start_timeout=options.schedule_to_start_timeout,
                start_to_close_timeout=options.start_to_close_timeout,
                heartbeat_timeout=options.heartbeat_timeout,
                retry_policy=options.retry_policy,
                cancellation_type=options.cancellation_type,
                headers={},
                disable_eager_execution=self._state.options.disable_eager_activity_execution,
                versioning_intent=options.versioning_intent,
                summary=options.summary,
                priority=options.priority,
                arg_types=arg_types,
                ret_type=ret_type,
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
                activity_id=options.activity_id,
                schedule_to_close_timeout=options.schedule_to_close_timeout,
                schedule_to_start_timeout=options.schedule_to_start_timeout,
                start_to_close_timeout=options.start_to_close_timeout,
                retry_policy=options.retry_policy,
                local_retry_threshold=options.local_retry_threshold,
                cancellation_type=options.cancellation_type,
                headers={},
                summary=options.summary,
                arg_types=arg_types,
                ret_type=ret_type,
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
                id=options.id,
                task_queue=options.task_queue,
                cancellation_type=options.cancellation_type,
                parent_close_policy=options.parent_close_policy,
                execution_timeout=options.execution_timeout,
                run_timeout=options.run_timeout,
                task_timeout=options.task_timeout,
                id_reuse_policy=options.id_reuse_policy,
                retry_policy=options.retry_policy,
                cron_schedule=options.cron_schedule,
                memo=options.memo,
                search_attributes=options.search_attributes,
                headers={},
                versioning_intent=options.versioning_intent,
                static_summary=options.static_summary,
                static_details=options.static_details,
                priority=options.priority,
                arg_types=arg_types,
                ret_type=ret_type,
                versioning_override=options.versioning_override,
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
                task_queue=options.task_queue,
                run_timeout=options.run_timeout,
                task_timeout=options.task_timeout,
                backoff_start_interval=options.backoff_start_interval,
                retry_policy=options.retry_policy,
                memo=options.memo,
                search_attributes=options.search_attributes,
                headers={},
                versioning_intent=options.versioning_intent,
                initial_versioning_behavior=options.initial_versioning_behavior,
                arg_types=arg_types,
            )
        )

    @override
    def patch(self, patch_id: str, *, deprecated: bool) -> bool:
        state = self._state
        state.check_mutable("patch")
        known = state.patches.get(patch_id)
        if known is not None:
            return known
        # A run whose history has passed this call without a marker keeps the old path for good.
        use = not state.is_replaying or patch_id in state.patches_notified
        state.patches[patch_id] = use
        if use:
            state.issue(
                commands.SetPatchMarker(patch_id=patch_id, deprecated=deprecated, site=state.site())
            )
        return use


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
