"""`WorkflowReplay`: one run's engine. See the package docstring for invariants.

The worker drives it like this; nothing here waits or raises for bad data::

    need = engine.feed(task)
    while need is not None:
        need = engine.feed_page(events, next_token)  # the caller fetched them
    while (activation := engine.next()) is not None:
        need = engine.commit(host.run(activation))  # again: feed_page until None
    if engine.error is None:
        answer = engine.ready()  # Completion, QueryAnswer or None

Not here: the stages, one module each: `buffer` (splitting), `apply` and `matching` (events), `operation_table`
(commands).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from perdure.replay import apply
from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.facts import command_fact, event_fact
from perdure.replay.failures import application
from perdure.replay.jobs import LEGACY_QUERY_ID, Activation, QueryWorkflow, ordered_map
from perdure.replay.local import LOCAL_ACTIVITY_KIND, LocalRequest, LocalResult
from perdure.replay.machines.base import Outgoing
from perdure.replay.machines.update import UpdateRequest
from perdure.replay.mismatch import BadHistory, Mismatch, NondeterminismFound
from perdure.replay.operation_table import sent, take
from perdure.replay.run import Run
from perdure.replay.task import (
    Answer,
    Completion,
    EngineConfig,
    Fatal,
    NeedPage,
    QueryAnswer,
    RunInfo,
    WorkflowTask,
)
from perdure.wire.api import common, enums
from perdure.wire.api import query as queries_api

if TYPE_CHECKING:
    from perdure.wire.api import history

_ANSWERED = enums.QueryResultType.QUERY_RESULT_TYPE_ANSWERED
_FAILED = enums.QueryResultType.QUERY_RESULT_TYPE_FAILED


class WorkflowReplay:
    """Replays and advances one workflow run.

    After `error` is set, `next` and `ready` return None: fail the workflow task (cause
    NonDeterministicError for a Mismatch) and drop the run from the cache.
    """

    def __init__(self, run: RunInfo, config: EngineConfig) -> None:
        self.error: Mismatch | Fatal | None = None
        self._run = Run(run, config)
        self._step: Callable[[], None] | None = None
        """The continuation for when the required history pages have arrived."""
        self._open = False
        """Whether a task is in progress and has not been answered."""
        self._activated = False
        """Whether user code is processing an activation."""
        self._fresh_run = True
        self._queries: list[QueryWorkflow] = []
        self._query_results: dict[str, cmd.QueryResult] = {}
        self._answer: QueryAnswer | None = None
        self._late_results: list[tuple[int, LocalResult]] = []
        """Results of local activities that arrived while user code was busy or no task was open."""
        self._force_new_task = False
        self._started_event_id = 0
        self._versioning_behavior = 0

    # ── what the worker may read ──────────────────────────────────────────────────────────────────

    @property
    def mismatch(self) -> Mismatch | None:
        """The nondeterminism found, if any."""
        return self.error if isinstance(self.error, Mismatch) else None

    @property
    def is_replaying(self) -> bool:
        """Whether the next activation repeats recorded history."""
        return self._run.replaying

    @property
    def is_finished(self) -> bool:
        """Whether user code has closed the workflow, or history shows that it closed."""
        return self._run.finished or self._run.seen_final_event

    @property
    def last_event_id(self) -> int:
        """Id of the newest applied event. A sticky task must begin right after it."""
        return self._run.last_processed_id

    @property
    def pending_operations(self) -> int:
        """The number of open operations of user code."""
        return len(self._run.operations)

    # ── tasks in ──────────────────────────────────────────────────────────────────────────────────

    def feed(self, task: WorkflowTask) -> NeedPage | None:
        """Accept a new workflow task, after the previous one was answered or needed no answer."""
        if self._activated or self._step is not None:
            return self._fail(Fatal("a workflow task arrived before the previous one was answered"))
        run = self._run
        self._open = True
        self._answer = None
        self._query_results = {}
        self._queries = [_query_job(i, q) for i, q in sorted(task.queries.items())]
        if task.query is not None:
            self._queries.append(_query_job(LEGACY_QUERY_ID, task.query))
        self._started_event_id = task.started_event_id
        if self._expired(task):
            return None
        run.previous_started_id = task.previous_started_event_id
        run.replaying = task.previous_started_event_id > 0
        first_id = task.events[0].event_id if task.events else 0
        if not task.events and not self._queries:
            return self._fail(Fatal("the workflow task has neither history nor a query"))
        if self._fresh_run and first_id != 1:
            run.buffer.restart(task.events)
        else:
            run.buffer.load(task.events, task.next_page_token)
        return self._guarded(lambda: self._accept(task))

    def _accept(self, task: WorkflowTask) -> None:
        self._run.requests = [UpdateRequest.from_message(message) for message in task.messages]
        self._force_new_task = False
        self._step = self._begin

    def _expired(self, task: WorkflowTask) -> bool:
        """A query task that was dispatched before a task that this run has already completed."""
        if (
            task.query is None
            or task.started_event_id
            or task.previous_started_event_id >= self._run.current_started_id
        ):
            return False
        self._queries = []
        self._answer = QueryAnswer(None, application("Query expired", "QueryExpired"))
        return True

    def feed_page(
        self, events: Sequence[history.HistoryEvent], next_page_token: bytes
    ) -> NeedPage | None:
        """Deliver the page asked for by `NeedPage`; an empty token means it was the last."""
        self._run.buffer.add_page(events, next_page_token)
        return self._guarded(lambda: None)

    # ── activations ───────────────────────────────────────────────────────────────────────────────

    def next(self) -> Activation | None:
        """The next activation for user code; None if there is nothing to run."""
        if self.error is not None or self._activated or self._step is not None or not self._open:
            return None
        run = self._run
        if not run.jobs and self._queries:
            # Only now: queries see the state that the task's other jobs lead to. A legacy query
            # travels alone.
            activation = run.activation(tuple(self._queries), replaying=True)
            self._queries = []
        elif run.jobs:
            activation = run.take_activation()
        else:
            return None
        self._activated = True
        return activation

    def commit(self, result: cmd.ActivationResult) -> NeedPage | None:
        """Process the result of the activation that `next` returned."""
        if not self._activated:
            return self._fail(Fatal("commands arrived without an activation that asked for them"))
        self._activated = False
        self._run.flags.add_lang(result.used_flags)
        self._versioning_behavior = result.versioning_behavior
        commands: list[cmd.Command] = []
        for command in result.commands:
            if isinstance(command, cmd.QueryResult):
                self._query_results[command.query_id] = command
            else:
                commands.append(command)
        legacy = self._query_results.pop(LEGACY_QUERY_ID, None)
        if legacy is not None:
            self._answer = QueryAnswer(legacy.response, legacy.failure)
            return None
        return self._guarded(lambda: self._take(commands))

    def _take(self, commands: Sequence[cmd.Command]) -> None:
        take(self._run, commands)
        self._deliver_late_results()
        self._step = self._advance

    # ── continuing after pages were fetched ───────────────────────────────────────────────────────

    def _guarded(self, action: Callable[[], None]) -> NeedPage | None:
        """Run `action` and the pending steps. Stop if a page is missing, and turn bad data into `error`."""
        if self.error is not None:
            return None
        try:
            action()
            while self._step is not None:
                need = self._missing_page()
                if need is not None:
                    return need
                step, self._step = self._step, None
                step()
        except NondeterminismFound as found:
            return self._fail(self._describe(found))
        except BadHistory as bad:
            return self._fail(Fatal(bad.message, bad.event_id))
        return None

    def _missing_page(self) -> NeedPage | None:
        run = self._run
        buffer = run.buffer
        if run.seen_final_event or run.jobs:
            return None
        if not buffer.ready(run.current_started_id):
            return NeedPage(buffer.token)
        if buffer.complete and not buffer.empty and buffer.last_event_id < self._started_event_id:
            raise BadHistory(
                f"history ends at event {buffer.last_event_id}, but the workflow task was started "
                f"by event {self._started_event_id}"
            )
        return None

    def _begin(self) -> None:
        """Examine the history of a new task."""
        run = self._run
        if self._fresh_run:
            self._fresh_run = False
            if run.buffer.first_event_id != 1:
                raise BadHistory("the server returned no history for this run")
            completed = run.buffer.next_completed(0)
            if completed is not None:
                apply.observe(run, completed)
        apply.apply_next(run)
        self._deliver_late_results()
        if not run.jobs:
            self._step = self._advance

    def _advance(self) -> None:
        """Apply history until there is work for user code, or no history is left."""
        run = self._run
        if run.jobs:
            return
        applied = apply.apply_next(run)
        if applied and run.replaying and not run.jobs:
            self._step = self._advance

    # ── local activities ──────────────────────────────────────────────────────────────────────────

    def local_requests(self) -> list[LocalRequest]:
        """Local activities to run or cancel now. Call this after each `commit` and `feed`."""
        return self._run.local.take_requests()

    @property
    def waits_for_local_activities(self) -> bool:
        """Whether the task must wait for results of local activities. Keep it alive with `heartbeat`."""
        return self._run.local.outstanding

    def local_result(self, seq: int, result: LocalResult) -> None:
        """Report the result of a local activity. `next` may return work afterwards. Unknown ones are ignored."""
        self._late_results.append((seq, result))
        if self._open and not self._activated and self._step is None:
            self._guarded(self._deliver_late_results)

    def _deliver_late_results(self) -> None:
        run = self._run
        results, self._late_results = self._late_results, []
        for seq, result in results:
            machine = run.operations.find_quietly(LOCAL_ACTIVITY_KIND, seq)
            if machine is not None:
                machine.resolve_executed(result, run)
            run.local.finished(seq)
        run.settle_fresh()

    def heartbeat(self) -> Completion | None:
        """Complete the task early and request a new one, because local activities are still running.

        Returns None while user code still has work. Call this at about 80 % of the task's time-out.
        """
        run = self._run
        blocked = self._activated or self._step is not None or bool(run.jobs)
        if self.error is not None or not self._open or blocked or not run.local.outstanding:
            return None
        self._force_new_task = True
        return self._complete()

    # ── answers out ───────────────────────────────────────────────────────────────────────────────

    def ready(self) -> Answer | None:
        """The answer to the workflow task, returned once; None while there is work, or if no answer is needed.

        A closed run needs no answer. After a replay of a recorded history that is still open, ignore the answer,
        because there is no task to complete.
        """
        if self.error is not None or not self._open or self._activated or self._step is not None:
            return None
        if self._answer is not None:
            self._open = False
            return self._answer
        run = self._run
        answered = bool(self._query_results)
        waiting = bool(run.jobs) or bool(self._queries)
        if run.local.outstanding and answered and not waiting:
            # The query must not wait, and without a new task there would be none for the result.
            self._force_new_task = True
            return self._complete()
        if waiting or run.local.outstanding or (run.seen_final_event and not answered):
            return None
        return self._complete()

    def _complete(self) -> Completion:
        """The answer to a task whose history is applied completely."""
        run = self._run
        self._open = False
        queue: Sequence[Outgoing] = () if run.seen_final_event else tuple(run.commands)
        messages, run.outbox = run.outbox, []
        results = {
            query_id: _query_result(result) for query_id, result in self._query_results.items()
        }
        self._query_results = {}
        run.deployment = run.config.deployment_version
        return Completion(
            commands=[sent(entry.command, run.info) for entry in queue],
            messages=messages,
            query_results=results,
            sdk_metadata=run.flags.take_metadata(),
            versioning_behavior=self._versioning_behavior,
            force_create_new_workflow_task=self._force_new_task,
            is_terminal=bool(queue) and isinstance(queue[-1].command, cmd.TerminalCommand),
        )

    def task_reported(self, reset_history_event_id: int = 0) -> None:
        """The server accepted the completion. The argument is non-zero if it dropped a speculative task."""
        if reset_history_event_id > 0:
            self._run.forget_speculative_task(reset_history_event_id)

    # ── errors ────────────────────────────────────────────────────────────────────────────────────

    def _fail(self, error: Mismatch | Fatal) -> None:
        self.error = error
        self._step = None

    def _describe(self, found: NondeterminismFound) -> Mismatch:
        run = self._run
        event = run.sequence[run.position]
        rest = [*run.task_commands, *run.commands]
        head = run.task_commands[-1] if found.difference and run.task_commands else None
        if head is None and run.commands:
            head = run.commands[0]
        recorded = [e for e in run.sequence if e.event_type in ev.COMMAND_EVENTS]
        return Mismatch(
            rule=found.rule,
            event=event_fact(event),
            command=None if head is None else command_fact(head.command),
            task_started_event_id=run.current_started_id,
            task_events=tuple(event_fact(e) for e in recorded),
            task_commands=tuple(command_fact(entry.command) for entry in rest),
            difference=found.difference,
            history_sdk=run.flags.history_sdk,
            our_sdk=(run.config.sdk_name, run.config.sdk_version),
        )


def _query_job(query_id: str, query: queries_api.WorkflowQuery) -> QueryWorkflow:
    return QueryWorkflow(
        query_id=query_id,
        query_type=query.query_type,
        arguments=query.query_args.payloads,
        headers=ordered_map(query.header.fields),
    )


def _query_result(result: cmd.QueryResult) -> queries_api.WorkflowQueryResult:
    if result.failure is not None:
        return queries_api.WorkflowQueryResult(
            result_type=_FAILED, error_message=result.failure.message, failure=result.failure
        )
    payloads = [] if result.response is None else [result.response]
    return queries_api.WorkflowQueryResult(
        result_type=_ANSWERED, answer=common.Payloads(payloads=payloads)
    )
