"""The greeting's worker: `perdure worker run examples.greeting.worker:worker`."""

from __future__ import annotations

from .activities import compose_greeting
from .workflows import Greeting

TASK_QUEUE = "greetings"

worker = {
    "task_queue": TASK_QUEUE,
    "workflows": [Greeting],
    "activities": [compose_greeting],
}
