"""Runs that follow runs: continue-as-new and retries of whole workflows (S-36).

Role: the first event of the run that follows, and its transition, which is written with the closing of the one before.
Invariants: a chain keeps its first run id and its execution time-out; the pointer of the workflow id goes from run to
run in one commit, so that there is always exactly one current run.
Not here: which close event is written (`run.commands`, `run.timeouts`), cron.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.ids import run_key
from perdure.core.limits import RETENTION_FOREVER_NS
from perdure.core.units import later_ns
from perdure.history.activity.retry import RetryDecision, decide
from perdure.history.draft.draft import Draft
from perdure.history.draft.visible import reset_points_of
from perdure.history.run.start import begin
from perdure.history.state.facts import CreateFact, FactKind
from perdure.history.state.run_state import RunState
from perdure.wire.api import common, enums, failure, history, sdk
from perdure.wire.times import duration, timestamp

if TYPE_CHECKING:
    from perdure.history.state.run_state import ResetPoint, RunInfo

_Started = history.WorkflowExecutionStartedEventAttributes


def backoff_ns(draft: Draft, delay_ns: int) -> int:
    """The delay of the next run's first task: as asked, but a chain of very short runs is slowed down."""
    info = draft.state.info
    lifetime_ns = draft.now_ns - info.start_ns - info.first_task_backoff_ns
    least_ns = draft.env.limits.run_interval_min_ns
    if lifetime_ns + delay_ns < least_ns:
        return least_ns - lifetime_ns
    return delay_ns


def follow(draft: Draft, run_id: str, started: _Started, requested_backoff_ns: int) -> None:
    """Start the run that follows the draft's, in the same commit.

    Args:
        draft: Of the run that closes.
        run_id: Of the new run; the close event names it.
        started: What is particular to the new run; what the chain keeps is filled in here.
        requested_backoff_ns: Delay of its first workflow task, before `backoff_ns`.
    """
    old, key = draft.state.info, draft.state.key
    _inherit(started, old, draft.state.key.run_id, run_id)
    started.workflow_id = key.name
    started.prev_auto_reset_points.CopyFrom(reset_points_of(_points_left_behind(draft)))
    started.first_workflow_task_backoff.CopyFrom(duration(backoff_ns(draft, requested_backoff_ns)))
    metadata = sdk.UserMetadata.FromString(old.user_metadata) if old.user_metadata else None
    env = msgspec.structs.replace(draft.env, now_ns=draft.now_ns)
    state = RunState(run_key(key.namespace_id, key.name, run_id))
    with Draft(state, env) as new:
        new.add(started, user_metadata=metadata)
        new.fact(FactKind.CREATE, "", CreateFact(env.new_id()))
        begin(new)
        draft.also(new.done())


def _points_left_behind(draft: Draft) -> tuple[ResetPoint, ...]:
    """The reset points that the next run inherits. Those of the run that closes expire with its retention."""
    retention_ns = draft.env.limits.retention_default_ns
    if retention_ns >= RETENTION_FOREVER_NS:
        return draft.state.reset_points
    expires_ns = later_ns(draft.now_ns, retention_ns)
    run_id = draft.state.key.run_id
    return tuple(
        msgspec.structs.replace(point, expires_ns=expires_ns) if point.run_id == run_id else point
        for point in draft.state.reset_points
    )


def _inherit(started: _Started, old: RunInfo, old_run_id: str, run_id: str) -> None:
    started.continued_execution_run_id = old_run_id
    started.original_execution_run_id = run_id
    started.first_execution_run_id = old.first_run_id
    started.workflow_execution_timeout.CopyFrom(duration(old.execution_timeout_ns))
    if old.execution_expiration_ns:
        started.workflow_execution_expiration_time.CopyFrom(timestamp(old.execution_expiration_ns))
    if old.priority:
        started.priority.CopyFrom(common.Priority.FromString(old.priority))
    if old.parent is not None:
        started.parent_workflow_namespace = old.parent_namespace
        started.parent_workflow_namespace_id = old.parent.namespace_id
        started.parent_workflow_execution.workflow_id = old.parent.name
        started.parent_workflow_execution.run_id = old.parent.run_id
        started.parent_initiated_event_id = old.parent_initiated_event_id
        started.root_workflow_execution.workflow_id = old.root_workflow_id
        started.root_workflow_execution.run_id = old.root_run_id


# Retries.


def decide_run_retry(draft: Draft, cause: failure.Failure) -> RetryDecision:
    """Whether another attempt of the whole workflow follows this failure."""
    info = draft.state.info
    return decide(
        info.retry_policy, info.attempt, cause, info.execution_expiration_ns, draft.now_ns
    )


def retry_run(draft: Draft, run_id: str, cause: failure.Failure, interval_ns: int) -> None:
    """The next attempt: as the run was started, one attempt further."""
    info = draft.state.info
    started = _Started.FromString(info.started_attributes)
    started.attempt = info.attempt + 1
    started.initiator = enums.CONTINUE_AS_NEW_INITIATOR_RETRY
    started.continued_failure.CopyFrom(cause)
    follow(draft, run_id, started, interval_ns)


def run_timeout_failure() -> failure.Failure:
    """What a run's time-out is to its retry policy."""
    return failure.Failure(
        message="workflow timeout",
        source="Server",
        timeout_failure_info=failure.TimeoutFailureInfo(
            timeout_type=enums.TIMEOUT_TYPE_START_TO_CLOSE
        ),
    )
