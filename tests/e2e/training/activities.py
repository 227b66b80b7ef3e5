from datetime import timedelta

from perdure import activity


@activity.defn
async def compose_greeting(name: str) -> str:
    activity.logger.info(f"Running activity with parameter {name}")
    return f"Hello, {name}!"


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def my_activity(x: int) -> int:
    return x * 2
