"""The messages between the engine and the worker about local activities (R-48).

While executing, the engine requests that the worker run or cancel them (`LocalRequest`), and the worker reports each
result (`LocalResult`).

What is not here: running them, their retries and time-outs (the worker); how results are recorded
and found again (`machines.local_activity`).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from perdure.replay import commands as cmd
from perdure.replay.jobs import Cancelled, Completed, Failed

LOCAL_ACTIVITY_KIND = "local activity"


class LocalActivityRequest(msgspec.Struct, frozen=True):
    """Run this local activity and call `WorkflowReplay.local_result` with `command.seq`."""

    command: cmd.ScheduleLocalActivity


class LocalActivityCancel(msgspec.Struct, frozen=True):
    """Cancel the running local activity `seq`; its result may still come."""

    seq: int


class LocalResult(msgspec.Struct, frozen=True):
    """How a local activity ended, as the worker saw it.

    `backoff_ns` is set when it must be tried again after longer than the local retry threshold:
    workflow code then sleeps durably. `runtime_ns` moves workflow time on.
    """

    outcome: Completed | Failed | Cancelled
    attempt: int = 1
    runtime_ns: int = 0
    backoff_ns: int | None = None
    original_schedule_time_ns: int | None = None


LocalRequest: TypeAlias = LocalActivityRequest | LocalActivityCancel
