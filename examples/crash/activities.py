"""Two steps that leave a trace: a line in a file for each time they really run, with the process that ran it."""

from __future__ import annotations

import os
from pathlib import Path

from perdure import activity


def effects() -> Path:
    """The file of traces: `PERDURE_DEMO_EFFECTS`, or `effects.log` here."""
    return Path(os.environ.get("PERDURE_DEMO_EFFECTS", "effects.log"))


def leave_trace(step: str) -> None:
    line = f"{step} pid={os.getpid()} attempt={activity.info().attempt}\n"
    # One write to a file opened for appending: traces of several processes do not mix.
    with effects().open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


@activity.defn
async def charge_card(customer: str) -> str:
    leave_trace("charge_card")
    return f"receipt for {customer}"


@activity.defn
async def send_parcel(receipt: str) -> str:
    leave_trace("send_parcel")
    return f"parcel sent, {receipt}"
