"""The public verbs of the run engine, in one place: what shells import.

Each returns a `Transition` (`start` several, to commit together), or reads the state. Errors for callers are raised as
`perdure.wire.errors.RpcError` before anything changed, or are the reply of a transition that must be written as well.
"""

from __future__ import annotations

from perdure.history import families
from perdure.history.activity.attempts import (
    activity_token_by_id,
    cancel_activity,
    complete_activity,
    fail_activity,
    heartbeat,
    start_activity,
    undo_activity_start,
)
from perdure.history.child.command import (
    child_closed,
    child_start_failed,
    child_start_of,
    child_started,
)
from perdure.history.child.start import (
    child_request,
    discard_child,
    release_child,
    start_child,
)
from perdure.history.message.cancel import request_cancel
from perdure.history.message.external import (
    external_cancel_requested,
    external_signaled,
    is_external_answered,
)
from perdure.history.message.query import QueryRoute, query_route
from perdure.history.message.signal import signal
from perdure.history.message.update import closed_before_completion, request_update, update_view
from perdure.history.run.describe import describe, execution_info
from perdure.history.run.signal_with_start import signal_with_start, start_part
from perdure.history.run.start import check_policies, needs_existing, start
from perdure.history.run.terminate import terminate
from perdure.history.run.update_with_start import MESSAGE as UPDATE_WITH_START_FAILED
from perdure.history.run.update_with_start import update_with_start
from perdure.history.run.wake import next_deadline_ns, wake
from perdure.history.workflow_task.attempts import (
    complete_workflow_task,
    fail_workflow_task,
    redeliver,
    reset_sticky,
    start_workflow_task,
    tail,
)

__all__ = [
    "UPDATE_WITH_START_FAILED",
    "QueryRoute",
    "activity_token_by_id",
    "cancel_activity",
    "check_policies",
    "child_closed",
    "child_request",
    "child_start_failed",
    "child_start_of",
    "child_started",
    "closed_before_completion",
    "complete_activity",
    "complete_workflow_task",
    "describe",
    "discard_child",
    "execution_info",
    "external_cancel_requested",
    "external_signaled",
    "fail_activity",
    "fail_workflow_task",
    "families",
    "heartbeat",
    "is_external_answered",
    "needs_existing",
    "next_deadline_ns",
    "query_route",
    "redeliver",
    "release_child",
    "request_cancel",
    "request_update",
    "reset_sticky",
    "signal",
    "signal_with_start",
    "start",
    "start_activity",
    "start_child",
    "start_part",
    "start_workflow_task",
    "tail",
    "terminate",
    "undo_activity_start",
    "update_view",
    "update_with_start",
    "wake",
]
