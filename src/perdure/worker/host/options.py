"""Options of a worker that apply to all runs that it hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from perdure.common import MetricMeter
from perdure.converter import DataConverter
from perdure.worker.interceptors.workflow import WorkflowInboundInterceptor


class WaitForProfile(Enum):
    """Which interpreter's `asyncio.wait_for` a run gets. They start coroutines in different orders."""

    PY311 = "py311"
    """Up to 3.11: a coroutine becomes a task and starts one tick later."""
    PY312 = "py312"
    """From 3.12 on: a coroutine is awaited in place."""

    @staticmethod
    def of_interpreter() -> WaitForProfile:
        return WaitForProfile.PY312 if sys.version_info >= (3, 12) else WaitForProfile.PY311


class GuardPolicy(Enum):
    """What happens when workflow code calls something that is not deterministic."""

    RAISE = "raise"
    """Fail the workflow task with a message that names the line (the default)."""
    WARN = "warn"
    """Warn once per line and let the call through."""
    OFF = "off"
    """Check nothing."""


@dataclass(frozen=True)
class HostOptions:
    """Options of every run of a worker.

    Attributes:
        data_converter: Only its payload and failure converter are used; codecs run outside.
        interceptor_classes: Inbound interceptors, outermost first.
        failure_exception_types: Exceptions that fail the workflow, in addition to the workflow's own.
        extern_functions: What `workflow.extern_functions()` returns.
        metric_meter: Base of `workflow.metric_meter()`.
        disable_eager_activity_execution: Never request eager execution of activities.
        default_flags: Language flags that new workflow tasks use although history does not have them.
        guard: What to do about nondeterministic calls.
        wait_for_profile: Default: that of the interpreter.
        deadlock_budget_ns: CPU time that one activation may use; 0 for no limit.
        replay_budget_factor: How many times the budget an activation may use while replaying.
    """

    data_converter: DataConverter = field(default_factory=lambda: DataConverter.default)
    interceptor_classes: Sequence[type[WorkflowInboundInterceptor]] = ()
    failure_exception_types: Sequence[type[BaseException]] = ()
    extern_functions: Mapping[str, Callable[..., Any]] = field(
        default_factory=dict[str, Callable[..., Any]]
    )
    metric_meter: MetricMeter = field(default_factory=lambda: MetricMeter.noop)
    disable_eager_activity_execution: bool = False
    default_flags: frozenset[int] = frozenset()
    guard: GuardPolicy = GuardPolicy.RAISE
    wait_for_profile: WaitForProfile = field(default_factory=WaitForProfile.of_interpreter)
    deadlock_budget_ns: int = 2_000_000_000
    replay_budget_factor: int = 5
