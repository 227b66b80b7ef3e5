"""The known differences between the reference's time-skipping server and ours, each with its reason.

That server has its own, simpler engine. Where it disagrees with the real server, ours follows the real one.
Invariants: a difference without an entry fails the test, and so does an entry that matches nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.reference.differences import Difference, Status

ABSENT, ANY = "(absent)", "*"

NOT_FILLED = "the time-skipping server leaves it out; the real one fills it in"
EMPTY = "the time-skipping server writes an empty message, the real one nothing"
UNLIMITED = "the time-skipping server writes ten years for no limit; the real one writes nothing"
FORGOTTEN = (
    "on the time-skipping server an activity that waits for its next attempt counts as started"
)
RETRIED = "on the time-skipping server a retried run ends as continued as new; on the real one it ends as failed"
WORDS = "each server has its own messages"
CAPPED = "the time-skipping server does not cap a limit by a longer one, or writes ten years for no limit"
NOT_STARTED = "the time-skipping server writes no start before a time-out"
EVENTS = "the time-skipping server does not write the start of every activity"


def _known(path: str, reference: str, ours: str, reason: str) -> Difference:
    return Difference(ANY, path, reference, ours, Status.ON_PURPOSE, reason)


def _absent(*paths: str, reason: str = NOT_FILLED) -> list[Difference]:
    return [_known(path, ABSENT, ANY, reason) for path in paths]


DIFFERENCES: tuple[Difference, ...] = (
    *_absent(
        "client[1 start].response.first_execution_run_id",
        "client[1 start].response.status",
        "*.error.details",
        "*.task_id",
        "*.task_queue.kind",
        "*.request_id",
        "*.started_event_id",
        "*.history[1 WORKFLOW_EXECUTION_STARTED].workflow_id",
        "*.history[1 WORKFLOW_EXECUTION_STARTED].workflow_execution_expiration_time",
        "*.retry_policy.maximum_interval",
        "* poll].response.retry_policy",
        "*.workflow_execution_info.auto_reset_points",
        "*.prev_auto_reset_points",
        "*.history_size_bytes",
        "*.workflow_extended_info.original_start_time",
        "*.workflow_extended_info.run_expiration_time",
        "*.workflow_extended_info.execution_expiration_time",
        "*.workflow_extended_info.cancel_requested",
        "*.pending_activities[*].activity_options",
        "*.pending_activities[*].current_retry_interval",
        "*.pending_activities[*].next_attempt_schedule_time",
        "*CANCELED].identity",
        "*.started.*.last_failure",
        "*WORKFLOW_EXECUTION_FAILED].retry_state",
        "*.initiator",
        "*.request_id_infos.<id *>",
        "*failure.source",
        "*failure.message",
        "*failure.cause.source",
        "*failure.cause.message",
    ),
    _known("runs[*].started.*", ABSENT, "{*", NOT_STARTED),
    _known("*.started_event_id", "event -1", ANY, NOT_STARTED),
    _known(
        "*.workflow_task_completed_event_id",
        "*STARTED*",
        "*COMPLETED*",
        "off by one on that server",
    ),
    _known("*.header", "{}", ABSENT, EMPTY),
    _known("*.sdk_metadata", "{}", ABSENT, EMPTY),
    _known("*.metering_metadata", "{}", ABSENT, EMPTY),
    _known("*.user_metadata", "{}", ABSENT, EMPTY),
    _known("*.input", "[]", ABSENT, EMPTY),
    _known("*.last_completion_result", "[]", ABSENT, EMPTY),
    _known("*.request_id_infos.<id *>", ANY, ABSENT, "the id of another request on that server"),
    _known("*.first_workflow_task_backoff", "0s", ABSENT, EMPTY),
    _known("client[1 start].response.link", ANY, ABSENT, "our server returns no links to events"),
    _known("*.workflow_execution_timeout", "3.1536e+08s", ANY, UNLIMITED),
    _known("*.workflow_run_timeout", "3.1536e+08s", ANY, UNLIMITED),
    _known("runs[*].history", '*CONTINUED_AS_NEW"]', '*EXECUTION_FAILED"]', RETRIED),
    _known("*.status", "*CONTINUED_AS_NEW", "*FAILED", RETRIED),
    _known("*.schedule_to_close_timeout", ANY, ANY, CAPPED),
    _known("*.schedule_to_start_timeout", ANY, ANY, CAPPED),
    _known("*.start_to_close_timeout", ANY, ANY, CAPPED),
    _known("*.heartbeat_timeout", ANY, ANY, CAPPED),
    _known("*.history_length", ANY, ANY, EVENTS),
    _known(
        "*.current_attempt_scheduled_time",
        ANY,
        ANY,
        "on that server the time at which the previous attempt ended",
    ),
    _known("*.error.message", ANY, ANY, WORDS),
    _known(
        "*.pending_activities[*].state",
        "PENDING_ACTIVITY_STATE_STARTED",
        "PENDING_ACTIVITY_STATE_SCHEDULED",
        FORGOTTEN,
    ),
    _known("*.pending_activities[*].last_started_time", ANY, ANY, FORGOTTEN),
    _known(
        "*.pending_activities[*].last_heartbeat_time",
        ANY,
        ANY,
        "on that server the start of an attempt counts as a heartbeat",
    ),
    _known("*.pending_activities[*].scheduled_time", ANY, ANY, FORGOTTEN),
    _known("*.pending_activities[*].expiration_time", ANY, ABSENT, UNLIMITED),
    _known(
        "*.activities_of_closed_run",
        ANY,
        ABSENT,
        "on that server closed runs keep their activities",
    ),
    _known(
        "*WORKFLOW_EXECUTION_TIMED_OUT].retry_state",
        "RETRY_STATE_TIMEOUT",
        "RETRY_STATE_RETRY_POLICY_NOT_SET",
        "the real server names the reason why there is no further run",
    ),
)


class Divergence(NamedTuple):
    """A walk in which the servers agree only until some minute."""

    seed: int
    minute: int
    reason: str


SEEDS: tuple[int, ...] = (
    0, 1, 2, 3, 4, 6, 7, 8, 11, 14, 15, 17, 18, 21, 22, 23, 24, 25, 31, 32, 36, 41, 48, 49, 54, 55, 58,
    59, 63, 67, 69, 70, 72, 75, 77, 78, 83, 89, 91, 99, 100, 101, 102, 104, 106, 109, 112, 114, 117, 120,
    122, 123, 125, 128, 129, 131, 137, 143, 147, 148, 149, 154, 165, 167, 171, 172, 174, 175, 176,
)  # fmt: skip
"""The walks that agree to the end. In others two things happen in one minute, or a known divergence recurs."""

RUN_RETRIED = (
    "a run with a retry policy timed out: on the time-skipping server the chain ends there; the real"
    " server starts another run"
)
DIVERGENCES: tuple[Divergence, ...] = (
    Divergence(126, 271, RUN_RETRIED),
    Divergence(136, 314, RUN_RETRIED),
)
