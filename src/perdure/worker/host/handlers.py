"""Signals, queries and updates: from a job to the user's handler and back.

Invariants: a signal without a handler waits until one is set; one whose arguments cannot be decoded is
dropped (logged). An update is looked up inside its task, so handlers set at the top of `run` are found; its
acceptance is issued before any command of its handler. Queries and validators cannot issue commands.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure.common import RawValue
from perdure.common.signatures import types_of_arguments
from perdure.core.user_code import quiet_logger
from perdure.exceptions import CancelledError
from perdure.replay import commands, jobs
from perdure.worker.host import outcome
from perdure.worker.host.state import RunningHandler
from perdure.worker.interceptors.workflow import (
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
)
from perdure.workflow._errors import ContinueAsNewError, ReadOnlyContextError
from perdure.workflow._runtime import UpdateInfo, set_current_update_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.wire.api import common as common_pb
    from perdure.worker.host.state import RunState
    from perdure.worker.interceptors.workflow import WorkflowInboundInterceptor
    from perdure.workflow._handler_definitions import (
        HandlerDefinition,
        SignalDefinition,
        UpdateDefinition,
    )

    Payload = common_pb.Payload

_log = quiet_logger(__name__)


class Handlers:
    """Runs the handlers of one run.

    Args:
        state: The run.
        inbound: The outermost inbound interceptor.
    """

    __slots__ = ("_state", "inbound")

    def __init__(self, state: RunState, inbound: WorkflowInboundInterceptor) -> None:
        self._state = state
        self.inbound = inbound

    def _arguments(
        self, definition: HandlerDefinition, name: str, payloads: Sequence[Payload]
    ) -> list[Any]:
        """The arguments of the handler. A dynamic handler gets the name and raw values."""
        converters = self._state.converters
        if definition.name is not None:
            types = types_of_arguments(definition.fn, definition.arg_types, len(payloads))
            return converters.decode(payloads, types, converters.workflow)
        if definition.dynamic_vararg:
            types = types_of_arguments(definition.fn, definition.arg_types, len(payloads) + 1)
            known = types[1:] if types else None
            return [name, *converters.decode(payloads, known, converters.workflow)]
        raw: list[type] = [RawValue] * len(payloads)
        return [name, converters.decode(payloads, raw, converters.workflow)]

    # ── signals ───────────────────────────────────────────────────────────────────────────────────

    def signal(self, job: jobs.SignalWorkflow) -> None:
        """Run the signal's handler, or buffer the signal until there is one."""
        state = self._state
        definition = state.signals.get(job.signal_name) or state.signals.get(None)
        if definition is None:
            state.buffered_signals.setdefault(job.signal_name, []).append(job)
        else:
            self._run_signal(definition, job)

    def flush_signals(self, definition: SignalDefinition) -> None:
        """Deliver the signals that waited for this handler, in order of arrival."""
        buffered = self._state.buffered_signals
        names = [definition.name] if definition.name is not None else list(buffered)
        for name in names:
            for job in buffered.pop(name, []):
                self._run_signal(definition, job)

    def _run_signal(self, definition: SignalDefinition, job: jobs.SignalWorkflow) -> None:
        state = self._state
        try:
            arguments = self._arguments(definition, job.signal_name, job.input)
        except Exception:  # converters may raise anything  # noqa: BLE001
            _log.exception(
                "Dropped the signal %s of workflow %s (id %s, run %s): its arguments cannot be decoded",
                job.signal_name,
                state.run.workflow_type,
                state.run.workflow_id,
                state.run.run_id,
            )
            return
        input = HandleSignalInput(job.signal_name, arguments, job.headers)
        state.signals_handled += 1
        number = state.signals_handled
        state.running_signals[number] = RunningHandler(
            job.signal_name, definition.unfinished_policy
        )
        task = state.loop.create_task(
            outcome.top_level(state, lambda: self.inbound.handle_signal(input)),
            name=f"signal: {job.signal_name}",
        )

        def finished(_task: object) -> None:
            state.running_signals.pop(number, None)

        task.add_done_callback(finished)

    # ── queries ───────────────────────────────────────────────────────────────────────────────────

    def query(self, job: jobs.QueryWorkflow) -> None:
        """Answer a query in a task of its own."""
        task = self._state.loop.create_task(self._answer(job), name=f"query: {job.query_type}")
        self._state.unanswered_queries[job.query_id] = (job.query_type, task)

    async def _answer(self, job: jobs.QueryWorkflow) -> None:
        state = self._state
        try:
            with state.as_read_only(query_or_validator=True):
                definition = self._query_definition(job.query_type)
                arguments = self._arguments(definition, job.query_type, job.arguments)
                result = await self.inbound.handle_query(
                    HandleQueryInput(job.query_id, job.query_type, arguments, job.headers)
                )
                payload = state.converters.workflow.one_payload(result)
            answer = commands.QueryResult(query_id=job.query_id, response=payload)
        except BaseException as error:  # user code: the caller is told
            if (
                not outcome.is_user_codes(state, error)
                or job.query_id not in state.unanswered_queries
            ):
                raise
            failure = state.converters.workflow.failure_of(error)
            answer = commands.QueryResult(query_id=job.query_id, failure=failure)
        state.unanswered_queries.pop(job.query_id, None)
        state.issue(answer)

    def _query_definition(self, name: str) -> HandlerDefinition:
        queries = self._state.queries
        definition = queries.get(name) or queries.get(None)
        if definition is None:
            known = " ".join(sorted(known for known in queries if known))
            message = f"Query handler for '{name}' expected but not found, known queries: [{known}]"
            raise RuntimeError(message)
        return definition

    def answer_stuck_queries(self) -> None:
        """Fail queries whose handler awaits something, because nothing can wake it."""
        state = self._state
        # Each suspended query has left the run in read-only mode and restores the mode that it found.
        state.read_only = state.in_query_or_validator = False
        stuck, state.unanswered_queries = state.unanswered_queries, {}
        for query_id, (name, task) in stuck.items():
            task.cancel()
            state.loop.drain()
            state.read_only = state.in_query_or_validator = False
            error = RuntimeError(
                f"Query handler for '{name}' did not finish: a query cannot wait for anything"
            )
            failure = state.converters.workflow.failure_of(error)
            state.issue(commands.QueryResult(query_id=query_id, failure=failure))

    # ── updates ───────────────────────────────────────────────────────────────────────────────────

    def update(self, job: jobs.DoUpdate) -> None:
        """Validate and run an update in a task of its own."""
        self._state.loop.create_task(_Update(self, job).run(), name=f"update: {job.name}")

    def update_definition(self, job: jobs.DoUpdate) -> UpdateDefinition:
        """The handler for an update.

        Raises:
            RuntimeError: There is none; the update is rejected.
        """
        updates = self._state.updates
        definition = updates.get(job.name) or updates.get(None)
        if definition is None:
            known = " ".join(sorted(name for name in updates if name))
            message = (
                f"Update handler for '{job.name}' expected but not found, and there is no dynamic "
                f"handler. known updates: [{known}]"
            )
            raise RuntimeError(message)
        return definition

    def update_arguments(self, definition: UpdateDefinition, job: jobs.DoUpdate) -> list[Any]:
        """The arguments of the validator or the handler. They are decoded again for each."""
        return self._arguments(definition, job.name, job.input)

    @property
    def state(self) -> RunState:
        return self._state


class _Update:
    """One update in progress."""

    def __init__(self, handlers: Handlers, job: jobs.DoUpdate) -> None:
        self._handlers = handlers
        self._state = handlers.state
        self._job = job
        self._accepted = False

    async def run(self) -> None:
        job, state = self._job, self._state
        set_current_update_info(UpdateInfo(id=job.id, name=job.name))
        try:
            input = self._validated()
            self._respond(commands.UpdateAccepted())
            self._accepted = state.update_accepted = True
            result = await self._handlers.inbound.handle_update_handler(input)
            payload = state.converters.workflow.one_payload(result)
            self._respond(commands.UpdateCompleted(payload))
        except (Exception, asyncio.CancelledError) as error:  # user code  # noqa: BLE001
            if not state.closing:
                self._failed(error)
        except ContinueAsNewError:
            state.task_error = RuntimeError("Cannot continue as new from an update handler")
        except BaseException as error:  # user code, `sys.exit()` for instance
            if not outcome.is_user_codes(state, error):
                raise
            self._failed(error)
        finally:
            state.running_updates.pop(job.id, None)

    def _validated(self) -> HandleUpdateInput:
        job, state, handlers = self._job, self._state, self._handlers
        definition = handlers.update_definition(job)
        state.running_updates[job.id] = RunningHandler(
            job.name, definition.unfinished_policy, job.id
        )
        if job.run_validator and definition.validator is not None:
            # Not repeated on replay: decoding must not draw from the run's random numbers here.
            with state.as_read_only(query_or_validator=True):
                arguments = handlers.update_arguments(definition, job)
                input = HandleUpdateInput(job.id, job.name, arguments, job.headers)
                handlers.inbound.handle_update_validator(input)
        # The validator may have changed its arguments; the handler must not see that.
        arguments = handlers.update_arguments(definition, job)
        # An interceptor may correct the arguments, so the call of the handler decides.
        if job.run_validator and not state.options.interceptor_classes:
            misfit = definition.misfit(arguments)
            if misfit is not None:
                raise TypeError(misfit)
        return HandleUpdateInput(job.id, job.name, arguments, job.headers)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            error = CancelledError(f"Cancellation raised within update {error}")
        state = self._state
        if isinstance(error, ReadOnlyContextError):
            state.task_error = error
        elif not self._accepted:
            self._respond(commands.UpdateRejected(state.converters.workflow.failure_of(error)))
        elif state.is_failure_exception(error):
            try:
                failure = state.converters.workflow.to_failure(error)
            except BaseException as inconvertible:  # converters may raise anything
                if not outcome.is_user_codes(state, inconvertible):
                    raise
                state.task_error = inconvertible
                return
            self._respond(commands.UpdateRejected(failure))
        else:
            state.task_error = error

    def _respond(
        self,
        response: commands.UpdateAccepted | commands.UpdateRejected | commands.UpdateCompleted,
    ) -> None:
        self._state.issue(
            commands.UpdateResponse(
                protocol_instance_id=self._job.protocol_instance_id, response=response
            )
        )
