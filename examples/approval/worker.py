"""The approval's worker: `perdure worker run examples.approval.worker:worker`."""

from __future__ import annotations

from .activities import notify
from .workflows import Approval

TASK_QUEUE = "approvals"

worker = {"task_queue": TASK_QUEUE, "workflows": [Approval], "activities": [notify]}
