"""The worker of `make demo`: `perdure worker run examples.crash.worker:worker`."""

from __future__ import annotations

from .activities import charge_card, send_parcel
from .workflows import Purchase

worker = {
    "task_queue": "purchases",
    "workflows": [Purchase],
    "activities": [charge_card, send_parcel],
}
