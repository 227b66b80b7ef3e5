"""What workflow code asks its surroundings: time, randomness, timers, conditions, patches, memo, details.

Every function raises `NotInWorkflowEventLoopError` outside a workflow. The names shadow builtins and
standard modules on purpose (`random`, `time`): they are used as `workflow.random()`.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, overload

from perdure.common.signatures import UNSET
from perdure.types import AnyType, ParamType
from perdure.workflow import _runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perdure.common import MetricMeter, SearchAttributes, SearchAttributeUpdate
    from perdure.converter import PayloadConverter


def in_workflow() -> bool:
    """Whether the calling code is part of a workflow."""
    return _runtime.maybe_current() is not None


def instance() -> Any:
    """The object of the running workflow's class."""
    return _runtime.current().instance()


# ── time and randomness ───────────────────────────────────────────────────────────────────────────


def now() -> datetime:
    """Workflow time in UTC: the time of the current workflow task, the same on replay."""
    return datetime.fromtimestamp(time(), UTC)


def time() -> float:
    """Workflow time in seconds since the epoch."""
    return time_ns() / 1e9


def time_ns() -> int:
    """Workflow time in nanoseconds since the epoch."""
    return _runtime.current().time_ns()


def random() -> Random:
    """A random number generator that gives the same numbers on replay. Not for secrets."""
    return _runtime.current().random()


def random_seed() -> int:
    """The seed of `random()`. A reset changes it."""
    return _runtime.current().random_seed()


def register_random_seed_callback(callback: Callable[[int], None]) -> None:
    """Have `callback` called with the new seed whenever the seed changes."""
    _runtime.current().register_random_seed_callback(callback)


def new_random(name: str | None = None) -> Random:
    """An additional generator; it reseeds itself when the workflow's seed changes.

    Args:
        name: Mixed into the seed, so that generators of different names (and `random()`) differ.
            Without it the generator starts exactly like `random()`.
    """

    def seed(workflow_seed: int) -> int | str:
        return workflow_seed if name is None else f"{workflow_seed}:{name}"

    generator = Random(seed(random_seed()))  # deterministic by intent  # noqa: S311
    register_random_seed_callback(lambda workflow_seed: generator.seed(seed(workflow_seed)))
    return generator


def uuid4() -> uuid.UUID:
    """A random UUID from `random()`: the same on replay. Not for secrets."""
    return uuid.UUID(bytes=random().getrandbits(128).to_bytes(16, "big"), version=4)


def uuid7() -> uuid.UUID:
    """A UUID that sorts by workflow time (RFC 9562, version 7): the same on replay.

    Within one workflow task the time stands still, so those UUIDs are not ordered among themselves.
    """
    generator = random()
    milliseconds = (time_ns() // 1_000_000) & ((1 << 48) - 1)
    high = (milliseconds << 16) | (7 << 12) | generator.getrandbits(12)
    low = (0b10 << 62) | generator.getrandbits(62)
    return uuid.UUID(int=(high << 64) | low)


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


async def sleep(duration: float | timedelta, *, summary: str | None = None) -> None:
    """Sleep durably: the timer lives in the server and survives every restart.

    Args:
        duration: Seconds, or a timedelta. Zero makes a timer too.
        summary: One line for UI and command line.
    """
    await _runtime.current().sleep(_seconds(duration), summary=summary)


async def wait_condition(
    fn: Callable[[], bool],
    *,
    timeout: timedelta | float | None = None,
    timeout_summary: str | None = None,
) -> None:
    """Wait until `fn` returns true.

    `fn` is called whenever the workflow has made progress; it must be quick and change nothing.

    Args:
        fn: The condition.
        timeout: Longest wait, in seconds or as a timedelta; a durable timer. None: no timer.
        timeout_summary: One line for UI and command line about that timer.

    Raises:
        asyncio.TimeoutError: The condition was not met in time.

    Example:
        >>> await workflow.wait_condition(lambda: self.approved, timeout=timedelta(days=3))
    """
    await _runtime.current().wait_condition(
        fn,
        timeout=None if timeout is None else _seconds(timeout),
        timeout_summary=timeout_summary,
    )


wait_for_condition = wait_condition
"""The same function under its other common name."""


# ── versions of the code ──────────────────────────────────────────────────────────────────────────


def patched(id: str) -> bool:
    """Whether to take the new path of a change to workflow code.

    True for runs that reach this call for the first time, false for runs whose history was made
    before the change. The answer is recorded and stays the same for the run.

    Args:
        id: Name of the change.

    Example:
        >>> if workflow.patched("charge-before-ship"):
        ...     await charge_then_ship()
        ... else:
        ...     await ship_then_charge()
    """
    return _runtime.current().patch(id, deprecated=False)


def deprecate_patch(id: str) -> None:
    """Say that no run needs the old path of a change any more; the old code can go.

    Args:
        id: The name that `patched` had.
    """
    _runtime.current().patch(id, deprecated=True)


# ── what is known about the run ───────────────────────────────────────────────────────────────────


def cancellation_reason() -> str | None:
    """The reason given with the request to cancel this workflow (perhaps ""), None without one."""
    return _runtime.current().cancellation_reason()


def is_failure_exception(err: BaseException) -> bool:
    """Whether raising `err` from `run` would fail the workflow (rather than its task)."""
    return _runtime.current().is_failure_exception(err)


def memo() -> Mapping[str, Any]:
    """The workflow's memo, converted without type hints."""
    return _runtime.current().memo()


@overload
def memo_value(key: str, default: Any = UNSET) -> Any: ...
@overload
def memo_value(key: str, *, type_hint: type[ParamType]) -> ParamType: ...
@overload
def memo_value(
    key: str, default: AnyType, *, type_hint: type[ParamType]
) -> AnyType | ParamType: ...
def memo_value(key: str, default: Any = UNSET, *, type_hint: type | None = None) -> Any:
    """One value of the memo.

    Args:
        key: Its key.
        default: What to return when the memo does not have it.
        type_hint: Type to convert to.

    Raises:
        KeyError: The memo does not have it and there is no default.
    """
    return _runtime.current().memo_value(key, default, type_hint=type_hint)


def upsert_memo(updates: Mapping[str, Any]) -> None:
    """Add, replace or (with a value of None) remove entries of the memo."""
    _runtime.current().upsert_memo(updates)


def upsert_search_attributes(
    attributes: SearchAttributes | Sequence[SearchAttributeUpdate[Any]],
) -> None:
    """Add, replace or remove search attributes.

    Args:
        attributes: Updates made by `SearchAttributeKey.value_set` and `value_unset`. A mapping of
            names to lists is the deprecated form.
    """
    if attributes:
        _runtime.current().upsert_search_attributes(attributes)


def get_current_details() -> str:
    """The text that `set_current_details` left."""
    return _runtime.current().current_details()


def set_current_details(description: str) -> None:
    """Say in a few words (Markdown allowed) what the workflow is doing, for UI and command line."""
    _runtime.current().set_current_details(description)


def has_last_completion_result() -> bool:
    """Whether an earlier run of this schedule or cron left a result."""
    return _runtime.current().has_last_completion_result()


@overload
def get_last_completion_result() -> Any | None: ...
@overload
def get_last_completion_result(type_hint: type[ParamType]) -> ParamType | None: ...
def get_last_completion_result(type_hint: type | None = None) -> Any | None:
    """The result of the last completed run of this schedule or cron, None without one."""
    return _runtime.current().last_completion_result(type_hint)


def get_last_failure() -> BaseException | None:
    """How the previous run failed, None when it did not."""
    return _runtime.current().last_failure()


def all_handlers_finished() -> bool:
    """Whether no signal or update handler is running.

    Example:
        >>> await workflow.wait_condition(workflow.all_handlers_finished)
    """
    return _runtime.current().all_handlers_finished()


def payload_converter() -> PayloadConverter:
    """The converter of this workflow, for raw values of dynamic handlers."""
    return _runtime.current().payload_converter()


def metric_meter() -> MetricMeter:
    """A meter that records nothing while the workflow is replaying."""
    return _runtime.current().metric_meter()


def extern_functions() -> Mapping[str, Callable[..., Any]]:
    """Functions that interceptors put at the disposal of workflow code."""
    return _runtime.current().extern_functions()
