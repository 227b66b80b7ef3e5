"""What the handlers of commands check, with the cause that the failed workflow task will carry (S-7).

Messages name the command and the field, never a payload's value.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from perdure.core.ids import RESERVED_QUEUES
from perdure.core.limits import bytes_if_longer
from perdure.history.commands.search_attributes import (
    BadSearchAttributes,
    SearchAttributesTooLarge,
    check_attributes,
    name_types,
)
from perdure.history.commands.table import Cause, Command, CommandRejected, command_name
from perdure.wire.api import common, enums
from perdure.wire.errors import shown
from perdure.wire.times import duration, duration_ns

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from perdure.core.limits import Limits
    from perdure.entity.env import Env
    from perdure.wire.api import sdk

DEFAULT_INITIAL_INTERVAL_S = 1
DEFAULT_BACKOFF_COEFFICIENT = 2.0
DEFAULT_MAXIMUM_INTERVALS = 100
"""The longest pause between attempts, in initial intervals (S-28)."""

_BAD_SEARCH = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
_TIMEOUT_ERRORS = frozenset(
    f"TemporalTimeout:{name}"
    for name in ("StartToClose", "ScheduleToStart", "ScheduleToClose", "Heartbeat")
)


class CommandChecks:
    """Checks of one command; each failure raises `CommandRejected` with the same cause."""

    def __init__(self, command: Command, cause: Cause.ValueType, limits: Limits) -> None:
        self._command = command
        self._cause = cause
        self._limits = limits

    def reject(self, message: str) -> CommandRejected:
        return CommandRejected(self._cause, f"{command_name(self._command)}: {message}")

    def id(self, value: str, field: str) -> None:
        """A name that must be there and fit."""
        if not value:
            raise self.reject(f"{field} is not set.")
        limit = self._limits.id_length_max
        if length_bytes := bytes_if_longer(value, limit):
            raise self.reject(f"{field} has {length_bytes} bytes; the limit is {limit}.")

    def workflow_id(self, value: str) -> None:
        """A workflow id. Commands may name any id that requests may start, so the limit counts characters (S-45)."""
        if not value:
            raise self.reject("workflow id is not set.")
        limit = self._limits.id_length_max
        if len(value) > limit:
            raise self.reject(f"workflow id has {len(value)} characters; the limit is {limit}.")

    def queue_name(self, value: str) -> None:
        """The name of a task queue: one that can be polled."""
        self.id(value, "task queue")
        if not value.isprintable():
            raise self.reject("task queue must not contain control characters.")
        if value.startswith(RESERVED_QUEUES):
            raise self.reject(
                f"task queue name cannot start with reserved prefix {RESERVED_QUEUES}"
            )

    def namespace(self, name: str, env: Env, own_id: str) -> tuple[str, str]:
        """(id, name) of the namespace that the command is for: the run's own when it names none."""
        if name in ("", env.namespace):
            return own_id, env.namespace
        namespace_id = env.namespace_id_of(name)
        if not namespace_id:
            raise self.reject(f"Namespace {shown(name)} is not found.")
        if not self._limits.allows_cross_namespace_commands:
            # The reference server's words: users look for them.
            raise CommandRejected(self._cause, "cross namespace commands are not allowed")
        return namespace_id, name

    def duration_ns(self, value: Duration, field: str) -> int:
        """The duration, capped at a hundred years."""
        try:
            return duration_in_range(value, self._limits.duration_max_ns)
        except ValueError as error:
            raise self.reject(f"{field} {error}.") from None

    def search_attributes(
        self, value: common.SearchAttributes, env: Env, namespace: str = ""
    ) -> common.SearchAttributes:
        """Check that the attributes may be set, and return a copy that names their types.

        A bad name or value has the same cause for all commands.

        Args:
            value: The attributes of the command.
            env: The environment of the run.
            namespace: The namespace in which they are to be set; empty for the run's own.
        """
        result = common.SearchAttributes()
        result.CopyFrom(value)
        if namespace in ("", env.namespace):
            namespace, registered = env.namespace, env.search_attributes
        else:
            registered = env.search_attributes_of(namespace)
        if not value.indexed_fields or registered is None:
            return result
        try:
            check_attributes(value, registered, namespace, self._limits)
        except BadSearchAttributes as error:
            raise CommandRejected(_BAD_SEARCH, str(error)) from None
        except SearchAttributesTooLarge as error:
            # As with a payload that no row can hold: it ends the run (S-7).
            raise CommandRejected(self._cause, str(error), terminates=True) from None
        name_types(result, registered)
        return result

    def blob(self, size_bytes: int, field: str) -> None:
        """A payload that a row can hold. One that does not fit ends the run, not only the task (S-7).

        Args:
            size_bytes: The size of the payload.
            field: The field as the reference's message names it, with its punctuation: ".Input" or ". Input".
        """
        if size_bytes > self._limits.blob_size_bytes_max:
            raise self._exceeds(field)

    def memo(self, size_bytes: int, field: str) -> None:
        """A memo that a run may have. One that is too large ends the run, as with `blob`."""
        if size_bytes > self._limits.memo_size_bytes_max:
            raise self._exceeds(field)

    def _exceeds(self, field: str) -> CommandRejected:
        # Exactly the reference server's text, without numbers: users compare with it.
        text = f"{command_name(self._command)}CommandAttributes{field} exceeds size limit."
        return CommandRejected(self._cause, text, terminates=True)

    def priority(self, value: common.Priority) -> None:
        """A priority whose numbers make sense."""
        if problem := priority_problem(value, self._limits):
            raise self.reject(f"invalid priorities: {problem}")

    def retry_policy(self, policy: common.RetryPolicy) -> common.RetryPolicy:
        """The policy with its defaults filled in."""
        try:
            return complete_retry_policy(policy, self._limits.duration_max_ns)
        except ValueError as error:
            raise self.reject(f"retry policy: {error}.") from None


def duration_in_range(value: Duration, maximum_ns: int) -> int:
    """The duration in ns, at most `maximum_ns`.

    Raises:
        ValueError: It is negative, or its parts have different signs.
    """
    ns = duration_ns(value)
    if not ns and not value.seconds:
        return 0
    if ns < 0 or (value.seconds > 0 > value.nanos) or (value.seconds < 0 < value.nanos):
        raise ValueError("is negative or malformed")
    return min(ns, maximum_ns)


def complete_retry_policy(policy: common.RetryPolicy, maximum_ns: int) -> common.RetryPolicy:
    """The policy with defaults for what it leaves open (S-28). It may be shared: copy it, never change it.

    Raises:
        ValueError: A value makes no sense; the message says which.
    """
    return _completed(policy.SerializeToString(), maximum_ns)


@lru_cache(maxsize=256)
def _completed(encoded: bytes, maximum_ns: int) -> common.RetryPolicy:
    # A program has few policies and many activities.
    result = common.RetryPolicy.FromString(encoded)
    if not duration_ns(result.initial_interval):
        result.initial_interval.FromSeconds(DEFAULT_INITIAL_INTERVAL_S)
    initial_ns = _interval(result.initial_interval, "initial interval", maximum_ns)
    if not math.isfinite(result.backoff_coefficient):
        raise ValueError("the backoff coefficient is not a finite number")
    if not result.backoff_coefficient:
        result.backoff_coefficient = DEFAULT_BACKOFF_COEFFICIENT
    if not duration_ns(result.maximum_interval):
        longest_ns = min(initial_ns * DEFAULT_MAXIMUM_INTERVALS, maximum_ns)
        result.maximum_interval.CopyFrom(duration(longest_ns))
    if result.maximum_attempts == 1:
        return result  # No retries: the rest is never read.
    longest_ns = _interval(result.maximum_interval, "maximum interval", maximum_ns)
    if result.backoff_coefficient < 1:
        raise ValueError("the backoff coefficient is less than 1")
    if longest_ns < initial_ns:
        raise ValueError("the maximum interval is shorter than the initial interval")
    if result.maximum_attempts < 0:
        raise ValueError("the maximum number of attempts is negative")
    for name in result.non_retryable_error_types:
        if name.startswith("TemporalTimeout:") and name not in _TIMEOUT_ERRORS:
            raise ValueError(f"{shown(name)} names no kind of time-out")
    return result


def _interval(value: Duration, name: str, maximum_ns: int) -> int:
    try:
        ns = duration_in_range(value, maximum_ns)
    except ValueError as error:
        raise ValueError(f"the {name} {error}") from None
    value.CopyFrom(duration(ns))
    return ns


def metadata_of(command: Command) -> sdk.UserMetadata | None:
    """Summary and details that the command gives its event."""
    return command.user_metadata if command.HasField("user_metadata") else None


def text_payloads(text: str) -> common.Payloads:
    """A text as a worker's default converter would encode it."""
    payload = common.Payload(metadata={"encoding": b"json/plain"}, data=f'"{text}"'.encode())
    return common.Payloads(payloads=[payload])


def priority_problem(priority: common.Priority, limits: Limits) -> str:
    """Why this priority cannot be given; empty if it can. The words are the reference server's, except the last."""
    if priority.priority_key < 0:
        return "priority key can't be negative"
    if bytes_if_longer(priority.fairness_key, limits.fairness_key_bytes_max):
        return "fairness key length exceeds limit"
    weight = priority.fairness_weight
    if weight < 0:
        return "fairness weight must be greater than zero"
    return "" if math.isfinite(weight) else "fairness weight must be a finite number"


def pending_limit(cause: Cause.ValueType, what: str, count: int, limit: int) -> None:
    """Reject a command that would exceed the limit of pending operations of its kind.

    The words are the reference server's: users look for them.
    """
    if count >= limit:
        raise CommandRejected(
            cause,
            f"the number of pending {what}, {count}, has reached the per-workflow limit of {limit}",
        )


ACTIVITIES_LIMIT = enums.WORKFLOW_TASK_FAILED_CAUSE_PENDING_ACTIVITIES_LIMIT_EXCEEDED
CHILDREN_LIMIT = enums.WORKFLOW_TASK_FAILED_CAUSE_PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED
SIGNALS_LIMIT = enums.WORKFLOW_TASK_FAILED_CAUSE_PENDING_SIGNALS_LIMIT_EXCEEDED
CANCELS_LIMIT = enums.WORKFLOW_TASK_FAILED_CAUSE_PENDING_REQUEST_CANCEL_LIMIT_EXCEEDED
