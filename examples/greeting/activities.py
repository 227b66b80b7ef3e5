"""The greeting's one activity."""

from __future__ import annotations

from perdure import activity


@activity.defn
async def compose_greeting(name: str) -> str:
    activity.logger.info("composing a greeting")
    return f"Hello, {name}!"
