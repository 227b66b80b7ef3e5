"""The vocabulary of activity code: the decorator, and the functions to call inside an activity.

`definition` holds what `defn` records. `context` holds what a worker provides to a running activity, in a context
variable; a thread that the activity starts itself needs a copy of the context. `cancellation` holds the reasons of a
cancellation, and `api` the public functions. Not here: running activities (`perdure.worker`), scheduling them
(`perdure.workflow`).
"""

from __future__ import annotations

from perdure.activity.api import (
    cancellation_details,
    client,
    heartbeat,
    in_activity,
    info,
    is_cancelled,
    is_worker_shutdown,
    metric_meter,
    payload_converter,
    raise_complete_async,
    shield_thread_cancel_exception,
    wait_for_cancelled,
    wait_for_cancelled_sync,
    wait_for_worker_shutdown,
    wait_for_worker_shutdown_sync,
)
from perdure.activity.cancellation import ActivityCancellationDetails
from perdure.activity.context import Info
from perdure.activity.definition import ActivityOptions, defn
from perdure.activity.logs import LoggerAdapter, logger

__all__ = [
    "ActivityCancellationDetails",
    "ActivityOptions",
    "Info",
    "LoggerAdapter",
    "cancellation_details",
    "client",
    "defn",
    "heartbeat",
    "in_activity",
    "info",
    "is_cancelled",
    "is_worker_shutdown",
    "logger",
    "metric_meter",
    "payload_converter",
    "raise_complete_async",
    "shield_thread_cancel_exception",
    "wait_for_cancelled",
    "wait_for_cancelled_sync",
    "wait_for_worker_shutdown",
    "wait_for_worker_shutdown_sync",
]
