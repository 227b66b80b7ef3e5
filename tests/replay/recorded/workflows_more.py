"""More workflows whose histories are recorded; see `workflows`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.replay.recorded.library import common, exceptions, workflow
from tests.replay.recorded.steps import LONG, OPTIONS, double, greet, refuses, third_time_lucky
from tests.replay.recorded.workflows import defined

if TYPE_CHECKING:
    from perdure.common import RawValue
else:
    RawValue = common.RawValue


@defined
class Messages:
    """Signals with and without a handler, early and late; updates that are accepted, refused, fail and take time."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.finished = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: len(self.seen) >= 1)
        workflow.set_signal_handler("early", self.keep)
        workflow.set_dynamic_signal_handler(self.anything)
        await workflow.wait_condition(lambda: self.finished)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.seen

    @workflow.signal
    async def hear(self, word: str) -> None:
        self.seen.append(f"heard {word}")
        await workflow.execute_activity(greet, word, **OPTIONS)
        self.seen.append(f"answered {word}")

    def keep(self, word: str) -> None:
        self.seen.append(f"kept {word}")

    def anything(self, name: str, args: Sequence[RawValue]) -> None:
        self.seen.append(f"dynamic {name} {len(args)}")

    @workflow.signal
    def finish(self) -> None:
        self.finished = True

    @workflow.update
    async def add(self, word: str) -> int:
        self.seen.append(f"adding {word}")
        await workflow.sleep(0.01)
        await workflow.execute_activity(greet, word, **OPTIONS)
        if word == "bad":
            raise exceptions.ApplicationError("bad word")
        self.seen.append(f"added {word}")
        return len(self.seen)

    @add.validator
    def check(self, word: str) -> None:
        if not word:
            raise ValueError("a word is missing")

    @workflow.query
    def count(self) -> int:
        return len(self.seen)


@defined
class Patches:
    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = []
        if workflow.patched("greets first"):
            seen.append(await workflow.execute_activity(greet, "first", **OPTIONS))
        workflow.deprecate_patch("was there")
        for _ in range(2):
            if workflow.patched("doubles"):
                doubled = await workflow.execute_activity(double, 4, **OPTIONS)
                seen.append(doubled)
        return seen


@defined
class ContinuesAsNew:
    @workflow.run
    async def run(self, rounds: int) -> int:
        await workflow.execute_activity(double, rounds, **OPTIONS)
        if rounds:
            workflow.continue_as_new(rounds - 1, memo={"round": rounds})
        return workflow.memo_value("round")


@defined
class CleansUp:
    """A cancelled workflow: its timer is cancelled, a shielded clean-up runs, and the run ends as cancelled."""

    @workflow.run
    async def run(self) -> None:
        try:
            await asyncio.gather(workflow.sleep(3600), workflow.wait_condition(lambda: False))
        finally:
            await asyncio.shield(
                asyncio.create_task(workflow.execute_activity(greet, "cleaner", **OPTIONS))
            )


@defined
class SwallowsCancellation:
    @workflow.run
    async def run(self) -> list[str]:
        seen: list[str] = []
        for step in range(3):
            try:
                await workflow.sleep(3600 if step == 0 else 0.01)
            except asyncio.CancelledError:
                seen.append(f"swallowed in {step}")
            try:
                await workflow.execute_activity(greet, str(step), **OPTIONS)
            except exceptions.ActivityError:
                seen.append(f"activity {step} cancelled")
        return seen


@defined
class LocalActivities:
    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = [
            await workflow.execute_local_activity(greet, "local", start_to_close_timeout=LONG),
            await workflow.execute_local_activity(
                third_time_lucky,
                start_to_close_timeout=LONG,
                retry_policy=common.RetryPolicy(
                    initial_interval=timedelta(milliseconds=40), backoff_coefficient=2.0
                ),
                local_retry_threshold=timedelta(milliseconds=50),
            ),
        ]
        try:
            await workflow.execute_local_activity(refuses, "local", start_to_close_timeout=LONG)
        except exceptions.FailureError as error:
            seen.append(type(error).__name__)
        seen.append(
            await asyncio.gather(
                *(
                    workflow.execute_local_activity(double, number, start_to_close_timeout=LONG)
                    for number in range(3)
                ),
                workflow.execute_activity(double, 50, **OPTIONS),
            )
        )
        return seen


@defined
class SideEffects:
    """Random numbers, ids and the time decide what the workflow does, and are its result."""

    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = []
        for _ in range(3):
            if workflow.random().random() < 0.5:
                await workflow.sleep(workflow.random().uniform(0.001, 0.01))
            else:
                await workflow.execute_activity(
                    greet, str(workflow.uuid4()), activity_id=str(workflow.uuid4()), **OPTIONS
                )
            seen += [
                str(workflow.uuid4()),
                workflow.random().getrandbits(62),
                workflow.now().isoformat(),
                workflow.time(),
            ]
        return [*seen, workflow.info().run_id, workflow.info().get_current_history_length()]


@defined
class Attributes:
    @workflow.run
    async def run(self) -> list[Any]:
        color = common.SearchAttributeKey.for_keyword("CustomKeyword")
        number = common.SearchAttributeKey.for_int("CustomInt")
        workflow.upsert_search_attributes([color.value_set("green"), number.value_set(7)])
        workflow.upsert_memo({"added": [1, 2], "kept": None})
        await workflow.sleep(0.01)
        workflow.upsert_search_attributes([number.value_unset()])
        attributes = workflow.info().typed_search_attributes
        return [attributes.get(color), attributes.get(number), sorted(workflow.memo())]


@defined
class Child:
    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self, how: str) -> str:
        match how:
            case "fail":
                raise exceptions.ApplicationError("no", type="Childish", non_retryable=True)
            case "again":
                workflow.continue_as_new("greet")
            case "wait":
                await workflow.wait_condition(lambda: self.word != "")
            case _:
                pass
        return f"{how} {self.word}"

    @workflow.signal
    def say(self, word: str) -> None:
        self.word = word


@defined
class Parent:
    @workflow.run
    async def run(self) -> list[str]:
        me = workflow.info().workflow_id
        seen: list[str] = [
            await workflow.execute_child_workflow(Child.run, how, id=f"{me}-{how}")
            for how in ("greet", "again")
        ]

        async def failure(awaitable: Any) -> str:
            try:
                return str(await awaitable)
            except exceptions.ChildWorkflowError as error:
                return type(error.cause).__name__
            except exceptions.FailureError as error:
                return type(error).__name__

        async def waiting(name: str, **options: Any) -> Any:
            return await workflow.start_child_workflow(
                Child.run, "wait", id=f"{me}-{name}", **options
            )

        failing = workflow.execute_child_workflow(Child.run, "fail", id=f"{me}-fail")
        seen.append(await failure(failing))
        signalled = await waiting("signalled")
        seen.append(await failure(waiting("signalled")))
        await signalled.signal(Child.say, "child")
        seen.append(await signalled)
        external = await waiting("external")
        await workflow.get_external_workflow_handle(f"{me}-external").signal("say", "external")
        seen.append(await external)
        nobody = workflow.get_external_workflow_handle(f"{me}-nobody")
        seen += [await failure(nobody.signal("say", "x")), await failure(nobody.cancel())]
        cancelled = await waiting("cancelled")
        cancelled.cancel()
        seen.append(await failure(cancelled))
        from_outside = await waiting("from-outside")
        await workflow.get_external_workflow_handle(f"{me}-from-outside").cancel()
        seen.append(await failure(from_outside))
        for policy in ("TERMINATE", "REQUEST_CANCEL", "ABANDON"):
            await waiting(policy, parent_close_policy=workflow.ParentClosePolicy[policy])
        return seen


@defined
class Fails:
    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.execute_activity(refuses, "cause", **OPTIONS)
        except exceptions.ActivityError as error:
            raise exceptions.ApplicationError("failed", {"a": 1}, type="Failed") from error


@defined
class TaskFails:
    """A workflow task fails during the recording, and its next attempt succeeds."""

    broken = False

    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(greet, "before", **OPTIONS)
        if TaskFails.broken:
            TaskFails.broken = False
            raise RuntimeError("a bug that was mended")
        return await workflow.execute_activity(greet, "after", **OPTIONS)
