"""Telling people about an approval."""

from __future__ import annotations

from perdure import activity


@activity.defn
async def notify(text: str) -> None:
    activity.logger.info("notification: %s", text)
