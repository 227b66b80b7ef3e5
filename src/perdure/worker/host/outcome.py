"""How a workflow ends, and which errors end it.

| The workflow method ends with | Outcome |
|---|---|
| a result | CompleteWorkflow |
| continue-as-new | ContinueAsNew |
| a cancellation, after the workflow's own cancellation was requested | CancelWorkflowExecution |
| a failure error, `asyncio.TimeoutError`, a configured type, a group of such | FailWorkflow |
| anything else, `sys.exit()` included | an error of the workflow *task*: retried until the code is corrected (R-28) |

An error of a signal handler ends the workflow in the same way. An update handler answers only its own caller
(`handlers`).
"""

from __future__ import annotations

import asyncio
import collections
import json
import warnings
from typing import TYPE_CHECKING

from perdure.core.user_code import passes_through
from perdure.exceptions import CancelledError, is_cancelled_exception
from perdure.replay import commands
from perdure.worker.host.children import search_attributes
from perdure.worker.host.handles import nanoseconds, retry_policy, versioning_intent
from perdure.worker.host.state import RunEvicted
from perdure.worker.host.watchdog import WorkflowDeadlock
from perdure.workflow._errors import ContinueAsNewError
from perdure.workflow._handler_definitions import (
    HandlerUnfinishedPolicy,
    UnfinishedSignalHandlersWarning,
    UnfinishedUpdateHandlersWarning,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from perdure.worker.host.state import RunningHandler, RunState
    from perdure.worker.interceptors.workflow import ContinueAsNewInput


class ContinueAsNewRequested(ContinueAsNewError):
    """Unwinds the workflow. It carries the input of the next run."""

    def __init__(self, input: ContinueAsNewInput) -> None:
        super().__init__("Continue as new")
        self.input = input


async def top_level(state: RunState, work: Callable[[], Awaitable[None]]) -> None:
    """Run the workflow or a signal handler, and turn what it raises into an outcome.

    `work` is called here and not earlier, because a task that is cancelled before its first step must not leave a
    coroutine that was never awaited.
    """
    try:
        try:
            await work()
        except ContinueAsNewRequested as request:
            continue_as_new(state, request.input)
    except (Exception, asyncio.CancelledError) as error:  # user code  # noqa: BLE001
        if state.closing:
            return
        ended(state, error)
    except BaseException as error:  # user code, `sys.exit()` for instance
        if not is_user_codes(state, error):
            raise
        ended(state, error)


def is_user_codes(state: RunState, error: BaseException) -> bool:
    """Whether user code raised it, rather than the code that stops user code."""
    return not (
        state.closing
        or isinstance(error, RunEvicted | WorkflowDeadlock)
        or (not isinstance(error, asyncio.CancelledError) and passes_through(error))
    )


def ended(state: RunState, error: BaseException) -> None:
    """Issue the command for an error that user code did not handle, or fail the task with it."""
    if isinstance(error, asyncio.CancelledError):
        cancelled = CancelledError(str(error))
        cancelled.__traceback__ = error.__traceback__
        error = cancelled
    if state.cancel_reason is not None and is_cancelled_exception(error):
        state.issue(commands.CancelWorkflowExecution())
    elif state.is_failure_exception(error):
        try:
            fail_workflow(state, error)
        except BaseException as inconvertible:  # a user's converter may raise anything
            if not is_user_codes(state, inconvertible):
                raise
            # If it were raised here, only this task of the loop would end, and the run would never close.
            state.task_error = inconvertible
    else:
        state.task_error = error


def complete_workflow(state: RunState, result: object) -> None:
    """Issue the command for a result."""
    payload = state.converters.workflow.one_payload(result)
    state.issue(commands.CompleteWorkflow(result=payload))


def fail_workflow(state: RunState, error: BaseException) -> None:
    """Issue the command for a failure.

    Raises:
        ValueError: The error cannot be converted.
    """
    try:
        failure = state.converters.workflow.to_failure(error)
    except Exception as inner:
        message = "Failed converting workflow exception"
        raise ValueError(message) from inner
    state.issue(commands.FailWorkflow(failure=failure))


def continue_as_new(state: RunState, input: ContinueAsNewInput) -> None:
    """Issue the command that starts the next run."""
    converters = state.converters.workflow
    state.issue(
        commands.ContinueAsNew(
            workflow_type=input.workflow or "",
            task_queue=input.task_queue or "",
            arguments=converters.payloads(input.args),
            workflow_run_timeout_ns=nanoseconds(input.run_timeout),
            workflow_task_timeout_ns=nanoseconds(input.task_timeout),
            memo={key: converters.one_payload(value) for key, value in (input.memo or {}).items()},
            headers=state.headers_of(input.headers),
            search_attributes=search_attributes(input.search_attributes),
            retry_policy=retry_policy(input.retry_policy),
            versioning_intent=versioning_intent(input.versioning_intent),
            initial_versioning_behavior=int(input.initial_versioning_behavior or 0),
            backoff_start_interval_ns=nanoseconds(input.backoff_start_interval),
        )
    )


def warn_unfinished_handlers(state: RunState) -> None:
    """Warn about handlers that are still running when the workflow ends (TMPRL1102)."""
    updates = _to_warn_about(state.running_updates.values())
    if updates:
        listed = json.dumps([{"name": handler.name, "id": handler.id} for handler in updates])
        warnings.warn(
            "[TMPRL1102] The workflow finished while update handlers were running; their callers get "
            "an error instead of a result. Wait for them with `await workflow.wait_condition("
            "workflow.all_handlers_finished)`, or say that this is intended with `@workflow.update("
            "unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)`. Unfinished updates: "
            + listed,
            UnfinishedUpdateHandlersWarning,
            stacklevel=2,
        )
    signals = _to_warn_about(state.running_signals.values())
    if signals:
        counts = collections.Counter(handler.name for handler in signals)
        listed = json.dumps([{"name": name, "count": n} for name, n in counts.most_common()])
        warnings.warn(
            "[TMPRL1102] The workflow finished while signal handlers were running; their work may be "
            "cut short. Wait for them with `await workflow.wait_condition("
            "workflow.all_handlers_finished)`, or say that this is intended with `@workflow.signal("
            "unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)`. Unfinished signals: "
            + listed,
            UnfinishedSignalHandlersWarning,
            stacklevel=2,
        )


def _to_warn_about(handlers: Iterable[RunningHandler]) -> list[RunningHandler]:
    return [
        handler
        for handler in handlers
        if handler.unfinished_policy is HandlerUnfinishedPolicy.WARN_AND_ABANDON
    ]
