"""What type checkers infer: this file is checked, and does nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from perdure import activity, workflow

LIMIT = timedelta(seconds=1)


@activity.defn
async def nothing() -> int:
    return 1


@activity.defn
def one(text: str) -> bytes:
    return text.encode()


@activity.defn
async def many(text: str, number: int) -> list[str]:
    return [text] * number


class Mailer:
    @activity.defn
    async def send(self, text: str) -> float:
        return float(len(text))


@workflow.defn
class Child:
    @workflow.run
    async def run(self, text: str) -> dict[str, int]:
        return {text: 1}

    @workflow.signal
    def poke(self, number: int) -> None: ...


async def everything_is_typed() -> None:
    assert_type(await workflow.execute_activity(nothing, start_to_close_timeout=LIMIT), int)
    assert_type(await workflow.execute_activity(one, "x", start_to_close_timeout=LIMIT), bytes)
    assert_type(
        await workflow.execute_activity(many, args=["x", 1], start_to_close_timeout=LIMIT),
        list[str],
    )
    assert_type(
        await workflow.execute_activity_method(Mailer.send, "x", start_to_close_timeout=LIMIT),
        float,
    )
    handle = workflow.start_activity(one, "x", start_to_close_timeout=LIMIT)
    assert_type(handle, workflow.ActivityHandle[bytes])
    assert_type(await handle, bytes)
    child = await workflow.start_child_workflow(Child.run, "x", id="c")
    assert_type(await child, dict[str, int])
    assert_type(await workflow.execute_child_workflow(Child.run, "x"), dict[str, int])
    await child.signal(Child.poke, 1)
    # Wrong types are errors: were they not, these comments would be reported as unnecessary.
    await workflow.execute_activity(one, 1, start_to_close_timeout=LIMIT)  # pyright: ignore[reportCallIssue, reportArgumentType]
    await workflow.execute_activity(nothing, timeout=LIMIT)  # pyright: ignore[reportCallIssue]
    await child.signal(Child.poke, "x")  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_typing_is_checked_by_the_type_checker() -> None:
    assert everything_is_typed.__name__ == "everything_is_typed"
