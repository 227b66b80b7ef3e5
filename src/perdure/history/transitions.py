"""The public verbs of the run engine, in one place: what shells import.

Each returns a `Transition` (`start` several, to commit together), or reads the state. Errors for callers are raised as
`perdure.wire.errors.RpcError` before anything changed, or are the reply of a transition that must be written as well.
"""
# pyright: reportUnusedImport=false

from __future__ import annotations

import perdure.history.families
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
