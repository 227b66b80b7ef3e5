"""What the command line's tests run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.common import RawValue
from perdure.exceptions import ApplicationError
from perdure.wire.api import common


@activity.defn
async def shout(text: str) -> str:
    return text.upper()


@activity.defn
async def fail_for_ever() -> None:
    raise ApplicationError("no\nfunds", type="Declined")


@workflow.defn
class Open:
    """Open until it is told to end; it knows what it was given and what it was sent."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.sent: list[Any] = []
        self.is_over = False

    @workflow.run
    async def run(self, *given: Any) -> list[Any]:
        self.given = list(given)
        await workflow.wait_condition(lambda: self.is_over)
        return self.sent

    @workflow.signal
    def note(self, *values: Any) -> None:
        self.sent.append(list(values))

    @workflow.signal
    def finish(self) -> None:
        self.is_over = True

    @workflow.query
    def state(self, *values: Any) -> list[Any]:
        return [self.given, self.sent, list(values)]

    @workflow.query
    def nothing(self) -> None:
        return None

    @workflow.query
    def broken(self) -> None:
        raise ApplicationError("cannot\nsay")


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, *given: Any) -> Any:
        return list(given)


@workflow.defn
class Nothing:
    @workflow.run
    async def run(self) -> None:
        return None


@workflow.defn
class Fails:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no\nfunds", type="Declined")


@workflow.defn
class FailsSealed:
    """Its failure has details in an encoding that the command line cannot read."""

    @workflow.run
    async def run(self) -> None:
        sealed = common.Payload(metadata={"encoding": b"binary/encrypted"}, data=b"?")
        raise ApplicationError("no key", RawValue(sealed), type="Sealed")


@workflow.defn
class Steps:
    """An activity, a child and a memo, then closed."""

    @workflow.run
    async def run(self, text: str) -> str:
        return await workflow.execute_activity(
            shout, text, start_to_close_timeout=timedelta(seconds=10)
        )


@workflow.defn
class Waits:
    """A child that is open, an activity that fails again and again, and one that nobody takes."""

    @workflow.run
    async def run(self) -> None:
        await workflow.start_child_workflow("Open", id=f"{workflow.info().workflow_id}/child")
        limit = timedelta(hours=1)
        await asyncio.gather(
            workflow.execute_activity("fail_for_ever", start_to_close_timeout=limit),
            workflow.execute_activity(
                "shout", "x", start_to_close_timeout=limit, task_queue="nobody"
            ),
        )


WORKFLOWS = [Open, Echo, Nothing, Fails, FailsSealed, Steps, Waits]
ACTIVITIES = [shout, fail_for_ever]
