"""Workflow classes that fit, or nearly fit, the recorded histories. Imported under either library.

`REPLAY_LIBRARY` names the package whose `workflow` module the classes use.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from datetime import timedelta
from typing import Any

_library = os.environ.get("REPLAY_LIBRARY", "perdure")
workflow: Any = importlib.import_module(f"{_library}.workflow")
exceptions: Any = importlib.import_module(f"{_library}.exceptions")

TRACES_HISTORIES = (
    "reference-server-official-worker/traces",
    "reference-server-official-worker/traces_in_one_batch",
    "reference-server-official-worker/traces_two_signals_at_start",
    "reference-server-official-worker/traces_two_signals_at_start_in_one_batch",
    "ours-server-ours-worker/traces",
)
GREETS_HISTORIES = ("reference-server-official-worker/greets", "ours-server-ours-worker/greets")
LIMIT = timedelta(seconds=30)


def hello(activity: str = "greet") -> Any:
    return workflow.execute_activity(activity, "Enchi", schedule_to_close_timeout=LIMIT)


class TracingBase:
    """What the variants change one method of."""

    def __init__(self) -> None:
        self.finished = False

    async def main(self) -> None:
        timer = asyncio.create_task(self.timer())
        greeting = asyncio.create_task(self.greeting())
        await asyncio.gather(timer, greeting)

    async def timer(self) -> None:
        await workflow.sleep(0.02)

    async def greeting(self) -> None:
        await hello()

    async def on_signal(self) -> None:
        await workflow.wait_condition(lambda: True)

    async def on_update(self) -> None:
        await workflow.wait_condition(lambda: True)


def tracing(base: type) -> type:
    """A workflow class around a variant of `TracingBase`; made at import, at module level."""

    async def run(self: Any) -> None:
        await self.main()
        await workflow.wait_condition(lambda: self.finished)

    async def hear(self: Any, name: str) -> None:
        await self.on_signal()
        self.finished |= name == "last"

    async def change(self: Any, name: str) -> None:
        await self.on_update()

    for fn in (run, hear, change):
        fn.__qualname__ = f"{base.__name__}.{fn.__name__}"
        fn.__module__ = base.__module__
    base.run = workflow.run(run)
    base.hear = workflow.signal(hear)
    base.change = workflow.update(change)
    return workflow.defn(name="Traces")(base)


@tracing
class Same(TracingBase):
    """Does what was recorded."""


@tracing
class Swapped(TracingBase):
    async def main(self) -> None:
        await asyncio.gather(self.greeting(), self.timer())


@tracing
class WithoutTimer(TracingBase):
    async def timer(self) -> None: ...


@tracing
class OneMoreTick(TracingBase):
    async def timer(self) -> None:
        await asyncio.sleep(0)
        await workflow.sleep(0.02)


@tracing
class OneMoreTickInGreeting(TracingBase):
    async def greeting(self) -> None:
        await asyncio.sleep(0)
        await hello()


@tracing
class AnotherActivity(TracingBase):
    async def greeting(self) -> None:
        await hello("say_goodbye")


@tracing
class AnotherDuration(TracingBase):
    async def timer(self) -> None:
        await workflow.sleep(99)


@tracing
class SignalSleeps(TracingBase):
    async def on_signal(self) -> None:
        await workflow.sleep(1)


@tracing
class UpdateSleeps(TracingBase):
    async def on_update(self) -> None:
        await workflow.sleep(1)


@tracing
class UpdateFails(TracingBase):
    async def on_update(self) -> None:
        raise exceptions.ApplicationError("no")


@tracing
class UpdateIsBroken(TracingBase):
    async def on_update(self) -> None:
        raise ValueError("a bug")


@tracing
class WaitsWithTimeout(TracingBase):
    async def greeting(self) -> None:
        await asyncio.wait_for(hello(), 60)


@tracing
class TimeoutInstead(TracingBase):
    async def timer(self) -> None:
        try:  # noqa: SIM105
            await asyncio.wait_for(asyncio.Event().wait(), 0.02)
        except TimeoutError:
            pass


@tracing
class ShieldsGreeting(TracingBase):
    async def greeting(self) -> None:
        await asyncio.shield(asyncio.create_task(hello()))


@tracing
class UsesGroup(TracingBase):
    async def main(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.timer())
            group.create_task(self.greeting())


class HelloBase:
    async def body(self, name: str) -> Any:
        return await hello()


def greets(base: type) -> type:
    """A workflow class around a variant of `HelloBase`."""

    async def run(self: Any, name: str) -> Any:
        return await self.body(name)

    run.__qualname__ = f"{base.__name__}.run"
    run.__module__ = base.__module__
    run.__annotations__ = {"name": str, "return": Any}
    base.run = workflow.run(run)
    return workflow.defn(name="Greets")(base)


@greets
class Greets(HelloBase):
    """Does what was recorded."""


@greets
class GreetsTwice(HelloBase):
    async def body(self, name: str) -> Any:
        await hello()
        return await hello()


@greets
class DoesNothing(HelloBase):
    async def body(self, name: str) -> Any:
        return name


@greets
class PatchedBefore(HelloBase):
    async def body(self, name: str) -> Any:
        if workflow.patched("change"):
            await workflow.sleep(1)
        return await hello()


@greets
class DeprecatedPatch(HelloBase):
    async def body(self, name: str) -> Any:
        workflow.deprecate_patch("change")
        return await hello()


@greets
class UpsertsMemo(HelloBase):
    async def body(self, name: str) -> Any:
        workflow.upsert_memo({"k": "v"})
        return await hello()


@greets
class AnotherActivityId(HelloBase):
    async def body(self, name: str) -> Any:
        return await workflow.execute_activity(
            "greet", name, activity_id="mine", schedule_to_close_timeout=LIMIT
        )


@greets
class ContinuesAsNew(HelloBase):
    async def body(self, name: str) -> Any:
        await hello()
        workflow.continue_as_new(name)


@greets
class Fails(HelloBase):
    async def body(self, name: str) -> Any:
        await hello()
        raise exceptions.ApplicationError("no")


@greets
class IsBroken(HelloBase):
    async def body(self, name: str) -> Any:
        await hello()
        raise ValueError("a bug")


@greets
class StartsChild(HelloBase):
    async def body(self, name: str) -> Any:
        return await workflow.execute_child_workflow("Child", name, id="child")


@greets
class CancelsEarly(HelloBase):
    async def body(self, name: str) -> Any:
        handle = workflow.start_activity("greet", name, schedule_to_close_timeout=LIMIT)
        handle.cancel()
        try:
            await handle
        except asyncio.CancelledError:
            return None


CASES: list[tuple[type, str]] = [
    *(
        (cls, history)
        for cls in (
            Same, Swapped, WithoutTimer, OneMoreTick, OneMoreTickInGreeting, AnotherActivity,
            AnotherDuration, SignalSleeps, UpdateSleeps, UpdateFails, UpdateIsBroken,
            WaitsWithTimeout, TimeoutInstead, ShieldsGreeting, UsesGroup,
        )
        for history in TRACES_HISTORIES
    ),
    *(
        (cls, history)
        for cls in (
            Greets, GreetsTwice, DoesNothing, PatchedBefore, DeprecatedPatch, UpsertsMemo,
            AnotherActivityId, ContinuesAsNew, Fails, IsBroken, StartsChild, CancelsEarly,
        )
        for history in GREETS_HISTORIES
    ),
]  # fmt: skip
