"""`WorkflowHost`: one run's activations.

Jobs are applied in four sets (R-44), in this order: patches; signals and updates; everything else but queries; queries.
*Legacy* mode (the default, used by most recorded histories) applies one set and drains the loop before the next one.
*Single batch* mode (language flag 2) applies all sets and drains the loop once. Conditions are evaluated only after the
second and third set, and not in an activation with nothing but rejected updates, which a replay does not see.

Invariant: an activation raises an error of user code only if it fails the workflow task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure.core.user_code import quiet_logger
from perdure.replay import jobs
from perdure.replay.commands import ActivationResult, TerminalCommand
from perdure.worker.host import asyncio_compat, binding, guard, inspect, outcome
from perdure.worker.host.context import HostedRuntime
from perdure.worker.host.handlers import Handlers
from perdure.worker.host.jobs import Jobs
from perdure.worker.host.loop import WorkflowLoop
from perdure.worker.host.options import GuardPolicy, HostOptions
from perdure.worker.host.roots import InboundRoot, OutboundRoot
from perdure.worker.host.scan import scan_class
from perdure.worker.host.state import RunEvicted, RunState, running_state
from perdure.worker.host.teardown import tear_down
from perdure.worker.host.watchdog import DeadlockError, WorkflowDeadlock, watchdog
from perdure.workflow._callables import arity_text, name_of, positional_arity
from perdure.workflow._handler_definitions import QueryDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perdure.replay.task import RunInfo
    from perdure.worker.interceptors.workflow import WorkflowInboundInterceptor
    from perdure.workflow._definition import Definition

_log = quiet_logger(__name__)

_PATCHES, _MESSAGES, _OTHERS, _QUERIES = range(4)
_SETS: dict[type, int] = {
    jobs.NotifyHasPatch: _PATCHES,
    jobs.SignalWorkflow: _MESSAGES,
    jobs.DoUpdate: _MESSAGES,
    jobs.QueryWorkflow: _QUERIES,
}

_scanned: dict[type, None] = {}


class WorkflowHost:
    """Runs the code of one run.

    Args:
        definition: The workflow class (`WorkflowRegistry.definition_for`).
        run: The run, and the queue that its worker polls.
        options: The worker's options.

    Example:
        ```python
        host = WorkflowHost(registry.definition_for(run.workflow_type), run, HostOptions())
        while (activation := engine.next()) is not None:
            engine.commit(host.activate(activation))
        host.close()
        ```
    """

    __slots__ = ("_handlers", "_interceptors_ready", "_jobs", "_runtime", "_state")

    def __init__(self, definition: Definition, run: RunInfo, options: HostOptions) -> None:
        asyncio_compat.install()
        state = self._state = RunState(definition, run, options)
        state.guarded = definition.sandboxed and options.guard is not GuardPolicy.OFF
        if state.guarded:
            guard.install()
        binding.rebind_everywhere()
        binding.rebind(definition.cls)
        state.loop = WorkflowLoop(state)
        self._runtime = state.loop.workflow_runtime = HostedRuntime(state)
        self._interceptors_ready = False
        state.queries = _queries_of(definition)

    def activate(self, activation: jobs.Activation) -> ActivationResult:
        """Apply the jobs, run user code until nothing is ready, return its commands.

        Raises:
            Exception: The workflow task fails, because of an error of user code that does not fail the
                workflow, a nondeterministic call or an unknown job. The run must then be evicted.
        """
        state = self._state
        state.begin(activation)
        options = state.options
        budget = options.deadlock_budget_ns
        if activation.is_replaying:
            budget *= options.replay_budget_factor
        self._run_watched(activation.jobs, budget)
        # It refers to the start event, which keeps its whole page of history in memory.
        state.activation = None
        if any(isinstance(command, TerminalCommand) for command in state.commands):
            outcome.warn_unfinished_handlers(state)
        return ActivationResult(
            commands=tuple(state.commands),
            used_flags=tuple(state.used_flags),
            versioning_behavior=int(state.versioning_behavior),
        )

    def _run_watched(self, all_jobs: Sequence[jobs.Job], budget_ns: int) -> None:
        loop = self._state.loop
        watch = loop.watch = watchdog.begin(budget_ns, self._describe)
        try:
            outer = loop.enter()
            try:
                self._run(all_jobs)
            finally:
                loop.leave(outer)
        except WorkflowDeadlock:
            if watch is None or watch.why is None:
                raise
        finally:
            if watch is not None:
                watchdog.end(watch)
                loop.watch = None
        if watch is not None and watch.why is not None:
            raise watch.error() from None

    def _describe(self) -> str:
        run = self._state.run
        return f"Workflow {run.workflow_type} (id {run.workflow_id}, run {run.run_id})"

    def close(self) -> None:
        """Tear the run down. `finally` blocks run now, without any effect on the workflow."""
        watch = watchdog.begin(
            self._state.options.deadlock_budget_ns, lambda: f"The eviction of {self._describe()}"
        )
        try:
            tear_down(self._state)
        except WorkflowDeadlock:
            if watch is None or watch.why is None:
                raise
        finally:
            if watch is not None:
                watchdog.end(watch)

    def timers(self) -> Sequence[tuple[int, float]]:
        """The timers that have not fired: their numbers, and the remaining seconds by the workflow's clock."""
        loop = self._state.loop
        return [(seq, timer.when() - loop.time()) for seq, timer in loop.timers.items()]

    @property
    def wait_for_profile_matters(self) -> bool:
        """Whether a coroutine was passed to `asyncio.wait_for`, whose order of steps depends on the interpreter."""
        return self._state.wait_for_profile_matters

    def stack_trace(self) -> str:
        """The stacks of the run's tasks: the answer to the query `__stack_trace`."""
        return inspect.stack_trace(self._state)

    # ── applying jobs ─────────────────────────────────────────────────────────────────────────────

    def _run(self, all_jobs: Sequence[jobs.Job]) -> None:
        state = self._state
        try:
            self._prepare(all_jobs)
            sets: list[list[jobs.Job]] = [[], [], [], []]
            for job in all_jobs:
                sets[_SETS.get(type(job), _OTHERS)].append(job)
            # The engine sends queries in separate activations.
            assert not (sets[_QUERIES] and any(sets[:_QUERIES]))
            if state.single_batch:
                for jobs_of_set in sets:
                    for job in jobs_of_set:
                        self._jobs.apply(job)
                if all_jobs:
                    self._drain(all_jobs, conditions=bool(sets[_MESSAGES] or sets[_OTHERS]))
                return
            for index, jobs_of_set in enumerate(sets):
                if jobs_of_set:
                    for job in jobs_of_set:
                        self._jobs.apply(job)
                    self._drain(all_jobs, conditions=index in {_MESSAGES, _OTHERS})
            if sets[_QUERIES]:
                self._handlers.answer_stuck_queries()
        except BaseException as error:
            # Some errors of an activation, such as arguments that cannot be decoded, may fail the
            # workflow rather than its task.
            if outcome.is_user_codes(state, error) and state.is_failure_exception(error):
                outcome.fail_workflow(state, error)
            else:
                raise

    def _prepare(self, all_jobs: Sequence[jobs.Job]) -> None:
        if self._interceptors_ready:
            return
        state = self._state
        begins = [job for job in all_jobs if isinstance(job, jobs.InitializeWorkflow)]
        for job in begins:
            state.take_start(job)
        root = InboundRoot(state)
        inbound: WorkflowInboundInterceptor = root
        # Constructors of interceptors, and their `init`, may read the run's info and register handlers.
        innermost = self._runtime.outbound = state.outbound = OutboundRoot(state)
        self._handlers = self._runtime.handlers = Handlers(state, inbound)
        for kind in reversed(state.options.interceptor_classes):
            inbound = kind(inbound)
        inbound.init(innermost)
        self._runtime.outbound = state.outbound = root.outbound
        self._handlers.inbound = inbound
        self._jobs = Jobs(state, inbound, self._handlers)
        for job in begins:
            self._jobs.prepare(job)
        self._interceptors_ready = True

    def _drain(self, all_jobs: Sequence[jobs.Job], *, conditions: bool) -> None:
        """Run until nothing is ready, and evaluate the conditions in between."""
        state, loop = self._state, self._state.loop
        if state.instance is None:
            state.instance = self._instantiate()
        while loop.has_ready:
            loop.drain()
            if state.task_error is not None:
                raise state.task_error
            if conditions and self._conditions_apply(all_jobs):
                self._check_conditions()

    def _conditions_apply(self, all_jobs: Sequence[jobs.Job]) -> bool:
        return self._state.update_accepted or any(
            not isinstance(job, jobs.DoUpdate) for job in all_jobs
        )

    def _check_conditions(self) -> None:
        waiting = self._state.conditions
        still: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        for fn, met in waiting:  # a predicate may append to it during the iteration
            if met.done():
                continue
            if fn():
                met.set_result(True)
            else:
                still.append((fn, met))
        waiting[:] = still

    def _instantiate(self) -> Any:
        state = self._state
        definition, input = state.definition, state.workflow_input
        if input is None:
            message = "The run has not been initialised: its first job is missing"
            raise RuntimeError(message)
        if state.guarded:
            warn_of_pitfalls(definition)
        _check_arity(definition, input.args)
        args = input.args if definition.takes_init_args else ()
        instance = definition.cls(*args)
        if definition.dynamic_config_fn is not None:
            with state.as_read_only(query_or_validator=False):
                config = definition.dynamic_config_fn(instance)
            if config.failure_exception_types is not None:
                state.dynamic_failure_types = tuple(config.failure_exception_types)
            if config.versioning_behavior:
                state.versioning_behavior = config.versioning_behavior
        return instance


def warn_of_pitfalls(definition: Definition) -> None:
    """Log possible nondeterminism in the source of a class, once per class."""
    cls = definition.cls
    if cls not in _scanned:
        _scanned[cls] = None
        for finding in scan_class(cls):
            _log.warning("Workflow %s may not be deterministic: %s", cls.__name__, finding)


def _check_arity(definition: Definition, args: Sequence[object]) -> None:
    """Fail the task with a clear message. A corrected worker or a reset can still save the run."""
    fewest, most = positional_arity(definition.run_fn, bound=True)
    if len(args) < fewest or (most is not None and len(args) > most):
        where = f"{definition.cls.__qualname__}.{name_of(definition.run_fn)}"
        message = (
            f"Workflow {definition.name or definition.cls.__name__} was started with {len(args)} "
            f"argument(s), but {where} takes {arity_text(fewest, most)}"
        )
        raise TypeError(message)


class _BuiltinQuery(QueryDefinition):
    """Shared by all runs: asked in a run's loop, it answers for that run. Nothing is found out by inspection."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "arg_types", [])


def _builtin_query(name: str, fn: Callable[[RunState], Any]) -> QueryDefinition:
    def answer() -> Any:
        state = running_state()
        assert state is not None, "queries are answered inside an activation"
        return fn(state)

    return _BuiltinQuery(name=name, fn=answer, is_method=False)


_BUILTIN_QUERIES = tuple(
    _builtin_query(*each)
    for each in (
        ("__stack_trace", inspect.stack_trace),
        ("__enhanced_stack_trace", inspect.enhanced_stack_trace),
        ("__temporal_workflow_metadata", inspect.workflow_metadata),
    )
)
_queries: dict[type, Mapping[str | None, QueryDefinition]] = {}


def _queries_of(definition: Definition) -> Mapping[str | None, QueryDefinition]:
    """A class's own queries and the built-in ones; one table for all its runs."""
    found = _queries.get(definition.cls)
    if found is None:
        found = {**definition.queries, **{each.name: each for each in _BUILTIN_QUERIES}}
        _queries[definition.cls] = found
    return found


__all__ = ["DeadlockError", "RunEvicted", "WorkflowHost", "warn_of_pitfalls"]
