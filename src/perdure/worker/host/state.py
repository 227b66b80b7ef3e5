"""Everything that one run remembers between activations.

Role: the one mutable object that the parts of the host share. It has only the few methods that maintain its invariants:
commands are issued through `issue`, which refuses them in read-only code and during teardown.

Not here: decisions; see `jobs`, `handlers`, `outcome`, `context`.
"""

from __future__ import annotations

import _random
import asyncio
import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from perdure.converter.groups import is_group
from perdure.exceptions import FailureError, is_cancelled_exception
from perdure.replay.commands import CallSite
from perdure.worker.host import callsite
from perdure.worker.host.converters import RunConverters
from perdure.worker.host.info import Start, build_info
from perdure.worker.host.loop import WorkflowLoop
from perdure.workflow._errors import ReadOnlyContextError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from perdure.replay.commands import Command
    from perdure.replay.jobs import (
        Activation,
        ChildOutcome,
        ChildStartOutcome,
        InitializeWorkflow,
        Resolution,
        SignalWorkflow,
    )
    from perdure.replay.task import RunInfo
    from perdure.wire.api import common as common_pb
    from perdure.wire.api import history as history_pb
    from perdure.worker.host.options import HostOptions
    from perdure.worker.interceptors.workflow import (
        ExecuteWorkflowInput,
        WorkflowOutboundInterceptor,
    )
    from perdure.workflow._definition import Definition
    from perdure.workflow._handler_definitions import (
        HandlerUnfinishedPolicy,
        QueryDefinition,
        SignalDefinition,
        UpdateDefinition,
    )
    from perdure.workflow._runtime import Info

    Payload = common_pb.Payload
    WorkflowExecutionStartedEventAttributes = history_pb.WorkflowExecutionStartedEventAttributes

RAISE_ON_CANCELLING_COMPLETED_ACTIVITY = 1
"""Language flag: cancelling a task takes precedence over a result of its activity that is already available."""
SINGLE_BATCH = 2
"""Language flag: all jobs of an activation are applied before user code runs."""


MAX_EVICTIONS = 20


class RunEvicted(BaseException):
    """Raised by commands while a run is torn down, so that `finally` blocks end early."""


@dataclass(frozen=True)
class RunningHandler:
    """A signal or update handler that has not finished."""

    name: str
    unfinished_policy: HandlerUnfinishedPolicy
    id: str | None = None


class PendingActivity(Protocol):
    """An activity whose outcome is awaited."""

    def resolve(self, result: Resolution) -> None:
        """Handle the outcome of the activity."""
        ...


class PendingChild(Protocol):
    """A child workflow whose start, then end, is awaited."""

    def resolve_start(self, outcome: ChildStartOutcome) -> bool:
        """Handle the server's answer to the start. Returns False if the child did not start, so it will never close."""
        ...

    def resolve(self, result: ChildOutcome) -> None:
        """Handle the close of the child."""
        ...


class RunRandom(random.Random):
    """A generator that a run owns, so the guard does not check its draws."""

    gauss = random.Random.gauss
    getrandbits = _random.Random.getrandbits
    random = _random.Random.random


class RunState:
    """The state of one run."""

    # A cached run takes only a few KiB, so its state has no dictionary.
    __slots__ = (
        "__weakref__",
        "_info",
        "_random",
        "_streams",
        "activation",
        "activities",
        "available_flags",
        "buffered_signals",
        "cancel_pending",
        "cancel_reason",
        "children",
        "closing",
        "commands",
        "conditions",
        "converters",
        "cpu_clock_reads",
        "current_details",
        "definition",
        "dynamic_failure_types",
        "evictions",
        "external_cancels",
        "external_signals",
        "guarded",
        "in_query_or_validator",
        "instance",
        "is_replaying",
        "loop",
        "memo",
        "options",
        "outbound",
        "patches",
        "patches_notified",
        "primary_task",
        "queries",
        "read_only",
        "run",
        "running_signals",
        "running_updates",
        "seed",
        "seed_callbacks",
        "seqs",
        "signals",
        "signals_handled",
        "single_batch",
        "start",
        "task_error",
        "time_ns",
        "unanswered_queries",
        "update_accepted",
        "updates",
        "used_flags",
        "versioning_behavior",
        "wait_for_profile_matters",
        "workflow_input",
    )

    loop: WorkflowLoop
    outbound: WorkflowOutboundInterceptor
    start: Start

    def __init__(self, definition: Definition, run: RunInfo, options: HostOptions) -> None:
        self.definition = definition
        self.run = run
        self.options = options
        self.converters = RunConverters(options.data_converter, run, self.is_failure_exception)

        # The current activation
        self.activation: Activation | None = None
        self.time_ns = 0
        self.is_replaying = False
        self.single_batch = False
        self.available_flags: frozenset[int] = frozenset()
        self.used_flags: dict[int, None] = {}
        self.commands: list[Command] = []
        self.update_accepted = False
        self.task_error: BaseException | None = None

        # The workflow
        self.instance: Any = None
        self.workflow_input: ExecuteWorkflowInput | None = None
        self.primary_task: asyncio.Task[None] | None = None
        self.cancel_pending = False
        self.cancel_reason: str | None = None
        self.versioning_behavior = definition.versioning_behavior
        self.dynamic_failure_types: tuple[type[BaseException], ...] | None = None
        self._info: Info | None = None
        self.current_details = ""
        self.memo: dict[str, Any] | None = None

        # Contexts in which commands are forbidden
        self.read_only = False
        self.cpu_clock_reads = 0
        self.in_query_or_validator = False
        self.closing = False
        self.evictions = 0
        self.guarded = False

        # Operations in progress, by sequence number
        self.seqs: dict[str, int] = {}
        self.activities: dict[int, PendingActivity] = {}
        self.children: dict[int, PendingChild] = {}
        self.external_signals: dict[int, tuple[asyncio.Future[None], str]] = {}
        self.external_cancels: dict[int, tuple[asyncio.Future[None], str]] = {}
        self.conditions: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []

        # Randomness and patches
        self.seed = 0
        self._random: random.Random | None = None
        self._streams: dict[str, random.Random] = {}
        self.seed_callbacks: list[Callable[[int], None]] = []
        self.patches_notified: set[str] = set()
        self.patches: dict[str, bool] = {}

        self._init_handlers(definition)

    def _init_handlers(self, definition: Definition) -> None:
        # Tables of the class, shared by all its runs. They are replaced, never modified.
        self.signals: Mapping[str | None, SignalDefinition] = definition.signals
        self.queries: Mapping[str | None, QueryDefinition] = definition.queries
        self.updates: Mapping[str | None, UpdateDefinition] = definition.updates
        self.buffered_signals: dict[str, list[SignalWorkflow]] = {}
        self.running_signals: dict[int, RunningHandler] = {}
        self.running_updates: dict[str, RunningHandler] = {}
        self.signals_handled = 0
        self.unanswered_queries: dict[str, tuple[str, asyncio.Task[None]]] = {}

        # Whether `wait_for` got a bare coroutine, which interpreters handle differently (`options`)
        self.wait_for_profile_matters = False

    def release(self) -> None:
        """Break the references back to this object, so that a closed run is freed without the garbage collector."""
        del self.loop, self.converters
        self.primary_task = self.instance = self.workflow_input = None
        if hasattr(self, "outbound"):
            del self.outbound
        for table in (self.activities, self.children, self.external_signals, self.external_cancels):
            table.clear()
        self.conditions.clear()
        self.seed_callbacks.clear()
        self.unanswered_queries.clear()

    @property
    def info(self) -> Info:
        """The result of `workflow.info()`, created on first use."""
        if self._info is None:
            self._info = build_info(self.run, self.start)
        return self._info

    @property
    def started(self) -> WorkflowExecutionStartedEventAttributes:
        """The attributes of the start event, without arguments and headers."""
        return self.start.started()

    def take_start(self, job: InitializeWorkflow) -> None:
        """Take over the start event first, because any user code may read it."""
        assert self.activation is not None  # jobs come in activations
        self.start = Start.from_job(job, self.activation.time_ns)
        self.seed = job.randomness_seed

    def begin(self, activation: Activation) -> None:
        """Take over what is new in an activation."""
        self.activation = activation
        self.time_ns = activation.time_ns
        self.is_replaying = activation.is_replaying
        self.available_flags = activation.available_flags
        self.used_flags = {}
        self.commands = []
        self.update_accepted = False
        self.task_error = None
        self.single_batch = self._flag_in_force(SINGLE_BATCH)

    def _flag_in_force(self, flag: int) -> bool:
        if flag in self.available_flags:
            return True
        if self.is_replaying or flag not in self.options.default_flags:
            return False
        self.used_flags[flag] = None
        return True

    @property
    def random(self) -> random.Random:
        """The run's generator, created on first use because it takes 2.5 KiB."""
        if self._random is None:
            self._random = RunRandom(self.seed)
        return self._random

    def reseed(self, seed: int) -> None:
        """Reseed the run's random numbers, here and in the generators derived from them."""
        self.seed = seed
        if self._random is not None:
            self._random.seed(seed)
        self._streams.clear()
        for callback in self.seed_callbacks:
            callback(seed)

    def stream(self, name: str) -> random.Random:
        """A separate stream of random numbers of the run, so that draws of libraries do not shift the workflow's."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = RunRandom(f"{self.seed}/{name}")
        return found

    def next_seq(self, kind: str) -> int:
        """The next number of a kind of operation, counting from 1."""
        number = self.seqs[kind] = self.seqs.get(kind, 0) + 1
        return number

    def check_mutable(self, action: str) -> None:
        """Refuse `action` in queries and validators, and while the run is being torn down.

        Raises:
            ReadOnlyContextError: The calling code must not change the workflow.
            RunEvicted: The run is being torn down.
        """
        if self.closing:
            self.evictions += 1
            message = f"Ignoring {action} while evicting workflow. This is not an error."
            raise RunEvicted(message)
        if self.read_only:
            message = f"While in read-only function, action attempted: {action}"
            raise ReadOnlyContextError(message)

    @property
    def is_stubborn(self) -> bool:
        """Whether user code swallows the errors that should end it.

        A loop around `except BaseException` would spin endlessly, so it is suspended instead.
        """
        return self.evictions > MAX_EVICTIONS

    def issue(self, command: Command) -> None:
        """Add a command to those of this activation."""
        self.check_mutable("add command")
        self.commands.append(command)

    def site(self) -> CallSite | None:
        """The user's frames on the stack."""
        return callsite.capture(2)

    @contextmanager
    def as_read_only(self, *, query_or_validator: bool) -> Generator[None]:
        """Forbid commands for a block."""
        before = self.read_only, self.in_query_or_validator
        self.read_only, self.in_query_or_validator = True, query_or_validator
        try:
            yield
        finally:
            self.read_only, self.in_query_or_validator = before

    def is_failure_exception(self, error: BaseException) -> bool:
        """Whether an error fails the workflow; every other fails its task (R-28)."""
        own = self.dynamic_failure_types
        if own is None:
            own = tuple(self.definition.failure_exception_types)
        kinds = (
            FailureError,
            asyncio.TimeoutError,
            *own,
            *self.options.failure_exception_types,
        )
        if not is_group(error):
            return isinstance(error, kinds)
        # A TaskGroup raises such a group. It is a failure unless one of its members is a bug.
        waiting: list[BaseException] = [error]
        while waiting:
            each = waiting.pop()
            if isinstance(each, kinds):
                continue
            if is_group(each):
                waiting.extend(each.exceptions)
            elif not is_cancelled_exception(each):
                return False
        return True

    def headers_of(self, headers: Mapping[str, Payload]) -> dict[str, Payload]:
        """Headers in a fixed order, because protobuf maps have none."""
        return {key: headers[key] for key in sorted(headers)}


def running_state() -> RunState | None:
    """The state of the run whose code is calling; None outside workflows."""
    loop = asyncio._get_running_loop()  # None instead of an error  # noqa: SLF001
    return cast("RunState", loop.state) if type(loop) is WorkflowLoop else None
